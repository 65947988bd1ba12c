"""The comparison with other runtimes: who takes part gives the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import CONTESTANTS, OURS, opened, write_net
from caffe_port.nets import fcn8s
from tests.support.small_nets import THIN


@pytest.mark.parametrize("name", [*OURS, "OpenCV"])
def test_contestants_agree(tmp_path: Path, name: str) -> None:
    (tmp_path / "fcn8s.prototxt").write_text(fcn8s(5, widths=THIN, size=(80, 96)))
    net, shape = write_net(f"thin={tmp_path / 'fcn8s.prototxt'}@100x120", tmp_path)
    assert (net, shape) == ("thin", (1, 3, 100, 120))
    data = np.load(tmp_path / "input.npy")
    plain, other = (np.array(opened(n, tmp_path / "net.onnx", data, 1)()) for n in (CONTESTANTS[0], name))
    assert other.shape == plain.shape == (1, 5, 100, 120)
    assert np.abs(other - plain).max() < 1e-5 * np.abs(plain).max()
