"""The clocks of A3 and A15."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import runtime
from clockwork_onnx.evaluation.datasets import shapes as shapes_data
from clockwork_onnx.evaluation.datasets.base import DataSet
from clockwork_onnx.evaluation.paper.own_clocks import LabelMapChange, pixel_schedule, visible_schedule
from clockwork_onnx.evaluation.paper.protocols import Options, adaptive
from clockwork_onnx.evaluation.scoring.runs import Run
from clockwork_onnx.evaluation.scoring.truncated import StageRunner
from staged_onnx import Bundle
from weights.errors import UsageError


def frames(*values: int) -> list[np.ndarray]:
    return [np.full((1, 1, 3), value, np.uint8) for value in values]


def label_map(frame: np.ndarray) -> np.ndarray:
    """Ten positions, of which as many as the frame's value carry label 1."""
    return (np.arange(10) < frame[0, 0, 0]).astype(np.int64)


def changes(reference: str, threshold: float, *values: int) -> list[float]:
    change = LabelMapChange(label_map, threshold, reference)
    return [change(now, before) for before, now in pairwise(frames(*values))]


def test_change_against_the_last_frame_that_fired() -> None:
    # From 0: 1 and 2 do not reach 0.3, 3 does and is the new reference, 5 does not, 6 does.
    assert changes("fired", 0.3, 0, 1, 2, 3, 5, 6, 7) == pytest.approx([0.1, 0.2, 0.3, 0.2, 0.3, 0.1])


def test_change_against_the_frame_before() -> None:
    assert changes("previous", 0.3, 0, 1, 2, 3, 5, 6, 7) == pytest.approx([0.1, 0.1, 0.1, 0.2, 0.1, 0.1])


def test_a_frame_that_follows_another_begins_a_shot() -> None:
    change = LabelMapChange(label_map, 0.9, "fired")
    a, b, c, d = frames(0, 2, 5, 6)
    assert change(b, a) == pytest.approx(0.2)
    assert change(d, c) == pytest.approx(0.1)  # not 0.6: c was the first frame of its shot


@pytest.fixture(scope="module")
def video() -> DataSet:
    return shapes_data.read(frames=6, size=(80, 96), kinds=["fast", "slow"])


def fires(bundle: Bundle, video: DataSet, schedule: str | runtime.Schedule) -> list[bool]:
    fired = []
    with runtime.open(bundle.path, device="cpu", schedule=schedule) as player:
        for shot in video.shots:
            steps = player.play([sample.read_image() for sample in shot.samples])
            fired += ["stage3" in step.fired for step in steps]
    return fired


def test_the_visible_part_is_what_the_head_crops_out(shapes_bundle: Bundle, video: DataSet) -> None:
    run = Run(shapes_bundle, video, "cpu")
    schedule = visible_schedule(run, adaptive(0.3), Options(signal_area="visible"))
    # The head crops score_pool4 at offset 2 to the size of upscore2.
    runner = StageRunner(shapes_bundle, "cpu")
    expected = []
    for shot in video.shots:
        reference = None
        for sample in shot.samples:
            runner.run(sample.read_image())
            rows, columns = runner.value("upscore2").shape[2:]
            labels = runner.value("score_pool4")[0, :, 2 : 2 + rows, 2 : 2 + columns].argmax(axis=0)
            fire = reference is None or np.mean(labels != reference) >= 0.3
            expected.append(bool(fire))
            reference = labels if fire else reference
    assert fires(shapes_bundle, video, schedule) == expected
    assert 2 < sum(expected) < len(expected)


def test_zero_fires_always_and_strictly_above_one_never(shapes_bundle: Bundle, video: DataSet) -> None:
    run = Run(shapes_bundle, video, "cpu")
    always = visible_schedule(run, adaptive(0.0), Options())
    assert all(fires(shapes_bundle, video, always))
    never = visible_schedule(run, adaptive(1.0), Options(comparison=">"))
    assert sum(fires(shapes_bundle, video, never)) == len(video.shots)


def test_a_head_without_a_crop_has_no_visible_part(toy: Bundle, video: DataSet) -> None:
    with pytest.raises(UsageError, match="does not crop the signal"):
        visible_schedule(Run(toy, replace(video, shots=()), "cpu"), adaptive(0.1), Options())


def test_pixel_clock_on_both_kinds_of_values(shapes_bundle: Bundle, video: DataSet) -> None:
    assert pixel_schedule(shapes_bundle, 0.2, Options()) == "pixels:0.2"
    assert pixel_schedule(shapes_bundle, 0.2, Options(comparison=">")) == "pixels:0.2@strict"
    changes = []
    for shot in video.shots:
        images = [sample.read_image().astype(np.float64) for sample in shot.samples]
        changes.append([(abs(a - b) / np.maximum((a + b) / 2, 1e-9)).mean() for a, b in pairwise(images)])
    lower, upper = sorted(value for shot in changes for value in shot)[2:4]
    theta = round((lower + upper) / 2, 6)
    assert lower < theta < upper
    expected = [fire for shot in changes for fire in (True, *(bool(value >= theta) for value in shot))]
    raw = pixel_schedule(shapes_bundle, theta, Options(pixel_values="raw"))
    assert fires(shapes_bundle, video, raw) == expected
    assert 2 < sum(expected) < len(expected)
