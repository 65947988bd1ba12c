"""Compare the nets of Deep Feature Flow and Accel at full width with MXNet's answers.

    mxnetvenv/bin/python -m tests.parity.make_mxnet_fixtures --accel Accel --full FOLDER
    python -m tests.parity.compare_full_width FOLDER

The fixtures that the tests use have an eighth of the channels; this takes a minute and 2 GB of memory.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

from tests.parity.test_mxnet import EVERY, OURS, answers, inputs_of, net_of


def main() -> int:
    """Print max |a - b| / max |b| for every stored blob; 1 if any is above 1e-4."""
    worst = 0.0
    for path in sorted(Path(sys.argv[1]).glob("*.h5")):
        name, _, text = path.stem.rpartition("-")
        height, width = (int(n) for n in text.split("x"))
        with tempfile.TemporaryDirectory() as folder, h5py.File(path) as file:
            net = net_of(name, Path(folder), size=(height, width))
            expected = {OURS.get(blob, blob): values[()] for blob, values in file["outputs"].items()}
            got = answers(net, inputs_of(net, (height, width)), list(expected))
        for blob, values in expected.items():
            step = EVERY if got[blob].shape[2] == height else 1
            error = np.abs(got[blob][:, :, ::step, ::step] - values).max() / np.abs(values).max()
            worst = max(worst, float(error))
            print(f"{path.stem} {blob}: {error:.2g}")
    return int(worst > 1e-4)


if __name__ == "__main__":
    sys.exit(main())
