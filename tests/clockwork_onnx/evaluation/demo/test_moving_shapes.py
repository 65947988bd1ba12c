"""Moving values on generated video: better where things move, the same where nothing does."""

from __future__ import annotations

import numpy as np
import pytest

import runtime
from clockwork_onnx.evaluation.datasets.shapes_video import CLASS_NAMES, Shot, shapes_shot
from clockwork_onnx.evaluation.demo.demo import embedded_bundle
from clockwork_onnx.evaluation.scoring.metrics import Confusion
from runtime import Step
from staged_onnx import Bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return embedded_bundle(tmp_path_factory.mktemp("demo") / "shapes-fcn8s.staged")


def play(bundle: Bundle, schedule: str, shot: Shot) -> list[Step]:
    with runtime.open(bundle.path, device="cpu", schedule=schedule, threads=1) as player:
        return list(player.play(shot.frames))


def mean_iu(steps: list[Step], shot: Shot) -> float:
    found = Confusion(len(CLASS_NAMES))
    for step, truth in zip(steps, shot.labels, strict=True):
        found.add(truth, step.labels)
    return found.scores().mean_iu


@pytest.mark.parametrize("flow", ["auto", "skimage"])
def test_on_a_static_shot_warp_is_skip(bundle: Bundle, flow: str) -> None:
    shot = shapes_shot(12, frames=9, speed="static")
    for warp, skip in (("warp:4", "skip:4"), ("warp:adaptive:0.01@max=4", "skip:4")):
        moved = play(bundle, f"{warp}@flow={flow}", shot)
        for step, still in zip(moved, play(bundle, skip, shot), strict=True):
            np.testing.assert_array_equal(step.labels, still.labels)
            assert step.moved == {}
        assert [step.fired != () for step in moved] == [t % 4 == 0 for t in range(9)]


@pytest.mark.parametrize("pan", [False, True])
def test_on_moving_shots_warp_keeps_what_skip_loses(bundle: Bundle, pan: bool) -> None:
    """At least half of what skipping costs in mean IU, with the same passes of the network."""
    shot = shapes_shot(3, frames=9, speed="fast", pan=pan)
    runs = {schedule: play(bundle, schedule, shot) for schedule in ("oracle", "skip:4", "warp:4")}
    oracle, skip, warp = (mean_iu(steps, shot) for steps in runs.values())
    assert oracle - warp < 0.5 * (oracle - skip)
    fires = [sum("stage3" in step.fired for step in steps) for steps in runs.values()]
    assert fires == [9, 3, 3]
