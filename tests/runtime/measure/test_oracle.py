from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import runtime
from runtime.measure.oracle import oracle_labels
from tests.support.toy_bundles import chain, frame_of


@pytest.mark.parametrize("schedule", ["skip:4", "pipeline:2", "adaptive:0.5", "warp:3"])
def test_single_frames_get_what_running_everything_gives(tmp_path: Path, schedule: str) -> None:
    """In the middle of a run of any schedule, on frames that do not follow each other."""
    bundle = chain(tmp_path / "three.staged", 3, size=(16, 24))
    frames = [frame_of(3 * i, (16, 24)) for i in range(12)]
    with runtime.open(bundle, device="cpu", schedule="oracle", threads=1) as player:
        wanted = [np.array(step.labels) for step in player.play(frames)]
    with runtime.open(bundle, device="cpu", schedule=schedule, threads=1) as player:
        for _ in player.play(frames[:7]):
            pass
        found = oracle_labels(player, [frames[9], frames[2], frames[5]])
    for labels, number in zip(found, (9, 2, 5), strict=True):
        np.testing.assert_array_equal(labels, wanted[number])
