"""random_weights: shapes, seeds, and every filler of filler.hpp."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_port import random_weights
from tests.support.ported import one_layer, read_text
from weights.errors import UnsupportedError
from weights.upsample import bilinear_filler


def weight(folder: Path, filler: str, kernel: int = 5, outputs: int = 64) -> np.ndarray:
    param = f"num_output: {outputs} kernel_size: {kernel} bias_term: false weight_filler {{ {filler} }}"
    net = read_text(
        one_layer("Convolution", {"x": (1, 32, 9, 9)}, f"convolution_param {{ {param} }}"), folder
    )
    (array,) = random_weights(net, seed=3)["l"]
    assert array.dtype == np.float32 and array.shape == (outputs, 32, kernel, kernel)
    return array


def test_constant_and_uniform(tmp_path: Path) -> None:
    assert (weight(tmp_path, 'type: "constant" value: 0.25') == 0.25).all()
    w = weight(tmp_path, 'type: "uniform" min: -2 max: 6')
    assert w.min() >= -2 and w.max() <= 6 and w.mean() == pytest.approx(2, abs=0.1)


def test_gaussian(tmp_path: Path) -> None:
    w = weight(tmp_path, 'type: "gaussian" mean: 1 std: 0.5')
    assert w.mean() == pytest.approx(1, abs=0.02) and w.std() == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize(("norm", "fan"), [("FAN_IN", 800), ("FAN_OUT", 1600), ("AVERAGE", 1200)])
def test_xavier_and_msra(tmp_path: Path, norm: str, fan: int) -> None:
    """Bound sqrt(3/n), deviation sqrt(2/n); n is the count over the first axis (in), the second (out)."""
    w = weight(tmp_path, f'type: "xavier" variance_norm: {norm}')
    assert abs(w).max() == pytest.approx(np.sqrt(3 / fan), rel=0.01)
    w = weight(tmp_path, f'type: "msra" variance_norm: {norm}')
    assert w.std() == pytest.approx(np.sqrt(2 / fan), rel=0.02)


def test_positive_unitball(tmp_path: Path) -> None:
    w = weight(tmp_path, 'type: "positive_unitball"')
    assert (w >= 0).all()
    np.testing.assert_allclose(w.reshape(64, -1).sum(1), 1, rtol=1e-5)


def test_bilinear(tmp_path: Path) -> None:
    w = weight(tmp_path, 'type: "bilinear"', kernel=4)
    np.testing.assert_array_equal(w, np.broadcast_to(bilinear_filler(4), w.shape))


def test_unknown_filler(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match='unknown filler; found "magic"'):
        weight(tmp_path, 'type: "magic"')


def test_no_filler_is_no_dead_net(tmp_path: Path) -> None:
    for filler in ("", 'type: "constant"'):
        assert weight(tmp_path, filler).std() == pytest.approx(np.sqrt(2 / 800), rel=0.02)


def test_seeds(tmp_path: Path) -> None:
    net = read_text(
        one_layer("Convolution", {"x": (1, 3, 9, 9)}, "convolution_param { num_output: 4 kernel_size: 3 }"),
        tmp_path,
    )
    first, again, other = (random_weights(net, seed=s)["l"][0] for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_statistics_that_change_nothing(tmp_path: Path) -> None:
    mean, variance, factor = random_weights(read_text(one_layer("BatchNorm", {"x": (1, 3, 4, 4)}), tmp_path))[
        "l"
    ]
    assert not mean.any() and (variance == 1).all() and factor.tolist() == [1.0]
