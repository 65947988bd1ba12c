"""A run that goes on at a restart gives what it would have given without a break."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runtime
from runtime.schedule.restart import RestartFinder
from runtime.step import Step
from runtime.video.frames import Frame
from tests.runtime.schedule.test_between import flow, picture
from tests.support.feature_flow_nets import frames as pattern
from tests.support.feature_flow_nets import thin_bundle

COUNT = 19
SHOT = 12
SCHEDULES = {
    # schedule: the restarts found after each of the first SHOT frames of the first shot, each once
    "oracle": tuple(range(SHOT)),
    "skip:3": (0, 3, 6, 9),
    "rates:1,2,3": (0, 6),
    "alternating": tuple(range(0, SHOT, 2)),
    "exponential": tuple(range(0, SHOT, 4)),
    "adaptive:0.02": None,
    "pipeline:2": (0,),
    "pipeline:3": (0,),
    "rates:1,4,4@0,1,1": (0,),
    "warp:3": (0, 3, 6, 9),
    "warp:4@of=scores": (0, 4, 8),
    "warp:adaptive:0.02": None,
    "warp:3@fuse": (0,),
    "warp-feature:3": (0, 3, 6, 9),
    "correct:4": (0, 4, 8),
    "correct:4@chained": (0, 4, 8),
    "between:3": (0, 3, 6, 9),
    "between:3@fuse": (0,),
}


def shot_frames(images: list[np.ndarray]) -> list[Frame]:
    return [Frame(i + 5, None, image, f"{i}", shot_start=i == SHOT) for i, image in enumerate(images)]


def told(step: Step) -> tuple[Any, ...]:
    return (step.index, step.shot, step.fired, step.ages, step.signal, step.provenance, step.moved)


def check(bundle: Path, schedule: str, frames: list[Frame], **options: Any) -> list[int]:
    """Play, then again from every restart; returns where in the first shot there are restarts."""
    found = []
    with runtime.open(bundle, device="cpu", schedule=schedule, threads=1, **options) as player:
        steps = list(player.play(frames))
        finder = RestartFinder(player.schedule, player.bundle.manifest)
        for count, step in enumerate(steps, 1):
            finder.add(step)
            restart = finder.last
            assert restart is not None and restart.steps < count
            if restart.steps != count - 1:
                continue
            found.append(restart.steps)
            assert restart.index == step.index and restart.shot == step.shot
            again = list(player.play(frames[restart.steps :], first_shot=restart.shot))
            for one, other in zip(steps[restart.steps + 1 :], again[1:], strict=True):
                assert told(one) == told(other)
                np.testing.assert_array_equal(one.labels, other.labels)
            np.testing.assert_array_equal(step.labels, again[0].labels)
    assert SHOT in found
    return [place for place in found if place < SHOT]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_going_on_gives_the_same(fcn: Path, schedule: str) -> None:
    frames = shot_frames([picture(t % 11) for t in range(COUNT)])
    found = check(fcn, schedule, frames, flow=flow)
    expected = SCHEDULES[schedule]
    assert tuple(found) == expected if expected is not None else len(found) > 1


@pytest.mark.parametrize("schedule", ["accel:3", "dff:3", "skip:3"])
def test_features_with_a_flow_of_their_own(tmp_path: Path, schedule: str) -> None:
    system = "dff" if schedule.startswith("dff") else "accel-18"
    bundle, _, _ = thin_bundle(system, tmp_path)
    found = check(bundle.path, schedule, shot_frames(pattern(COUNT)))
    assert found == [0, 3, 6, 9]
