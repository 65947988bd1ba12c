"""A few of the random nets of `random_fork_nets.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.parity.random_fork_nets import TOLERANCE, compare


@pytest.mark.parametrize("number", range(36))
def test_every_layer_is_as_its_fork_has_it(tmp_path: Path, number: int) -> None:
    for what, error in compare(np.random.default_rng([1, number]), tmp_path):
        assert error <= TOLERANCE, what
