"""Schedules of bundles that move features by their own flow: what comes from where, and what comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import runtime
from runtime.player import Player
from runtime.schedule.grammar import parse_schedule
from runtime.step import Step
from staged_onnx import Bundle
from staged_onnx.feature_flow import FeatureFlowPlan
from tests.support.feature_flow_nets import Blobs, Plain, frames, thin_bundle, thin_nets, weights_of
from weights.errors import BundleError, ScheduleError

Made = tuple[Bundle, FeatureFlowPlan, Blobs]


@pytest.fixture(scope="module")
def dff(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return thin_bundle("dff", tmp_path_factory.mktemp("dff"))


@pytest.fixture(scope="module")
def accel18(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return thin_bundle("accel-18", tmp_path_factory.mktemp("accel"))


def play(made: Made, schedule: str, count: int, **options: object) -> list[Step]:
    with runtime.open(made[0].path, "cpu", schedule, **options) as player:  # type: ignore[arg-type]
        return list(player.play(frames(count)))


def came_from(steps: list[Step]) -> list[tuple[int, int, int, int]]:
    """For each frame: the frame of the head's picture, of its features, and the two that the flow joins; -1
    where there is no flow.
    """
    found = []
    for step in steps:
        flow = step.provenance.get("flow", {"frame": -1, "reference_frame": -1})
        head = step.provenance["head"]
        found.append((head["frame"], head["conv_feat"], flow["frame"], flow["reference_frame"]))
    return found


@pytest.mark.parametrize("schedule", ["dff:1", "accel:1", "oracle"])
def test_interval_1_is_key_frames_alone(dff: Made, accel18: Made, schedule: str) -> None:
    for made in (dff, accel18):
        steps = play(made, schedule, 3)
        assert came_from(steps) == [(0, 0, -1, -1), (1, 1, -1, -1), (2, 2, -1, -1)]
        assert all(step.fired == ("reference", "features", "head") and not step.moved for step in steps)


def test_deep_feature_flow_looks_back_to_the_key_frame(dff: Made) -> None:
    assert came_from(play(dff, "dff:5", 7)) == [
        (0, 0, -1, -1),
        (1, 0, 1, 0),
        (2, 0, 2, 0),
        (3, 0, 3, 0),
        (4, 0, 4, 0),
        (5, 5, -1, -1),
        (6, 5, 6, 5),
    ]
    ten = [(0, 0, -1, -1), *((t, 0, t, 0) for t in range(1, 10)), (10, 10, -1, -1), (11, 10, 11, 10)]
    assert came_from(play(dff, "dff:10", 12)) == ten


def test_accel_looks_back_to_the_frame_before(accel18: Made) -> None:
    steps = play(accel18, "accel:5", 7)
    assert came_from(steps) == [
        (0, 0, -1, -1),
        (1, 0, 1, 0),
        (2, 0, 2, 1),
        (3, 0, 3, 2),
        (4, 0, 4, 3),
        (5, 5, -1, -1),
        (6, 5, 6, 5),
    ]
    assert [step.fired for step in steps[:2]] == [
        ("reference", "features", "head"),
        ("reference", "flow", "correction", "head"),
    ]
    assert [step.provenance["head"].get("18_score") for step in steps] == [None, 1, 2, 3, 4, None, 6]
    assert [step.moved.get("conv_feat", 0) for step in steps] == [0, 1, 2, 3, 4, 0, 1]
    assert [step.ages["features"] for step in steps] == [0, 1, 2, 3, 4, 0, 1]
    assert all(step.ages["flow"] == 0 for step in steps if "flow" in step.fired)
    ten = [(0, 0, -1, -1), *((t, 0, t, t - 1) for t in range(1, 10)), (10, 10, -1, -1)]
    assert came_from(play(accel18, "accel:10", 11)) == ten


def test_a_shot_begins_with_a_key_frame(accel18: Made) -> None:
    with runtime.open(accel18[0].path, "cpu", "accel:5") as player:
        first = [player.step(frame) for frame in frames(3)]
        player.end_shot()
        second = [player.step(frame) for frame in frames(2)]
    assert [step.fired for step in first[:2]] == [step.fired for step in second]
    np.testing.assert_array_equal(first[1].labels, second[1].labels)


@pytest.mark.parametrize(("system", "schedule"), [("dff", "dff:4"), ("accel18", "accel:10")])
def test_equals_the_graphs_composed_by_hand(
    request: pytest.FixtureRequest, system: str, schedule: str
) -> None:
    made: Made = request.getfixturevalue(system)
    plain, shown = Plain(made[1], made[2]), frames(10)
    interval = int(schedule.partition(":")[2])
    key = earlier = shown[0]
    features = source = np.zeros(0)
    with runtime.open(made[0].path, "cpu", schedule) as player:
        for number, step in enumerate(player.play(shown)):
            if number % interval == 0:
                features, labels = plain.key(shown[number])
                key, source = shown[number], features
            elif system == "dff":
                features, labels = plain.between(shown[number], key, source)
            else:
                features, labels = plain.between(shown[number], earlier, features)
            earlier = shown[number]
            entry = player.cache["conv_feat"]
            cached = entry.buffers[entry.read(0).buffer].numpy()
            assert np.abs(cached - features).max() <= 1e-5 * np.abs(features).max()
            assert (step.labels == labels).mean() > 0.999  # scores may tie


def test_identity_correction_makes_accel_101_the_net_of_every_frame(tmp_path: Path) -> None:
    key, between = thin_nets("accel-101", tmp_path)
    blobs = weights_of(key, between)
    channels = blobs["corr"][0].shape[0]
    weight = np.zeros((channels, 2 * channels, 1, 1), np.float32)
    weight[:, channels:, 0, 0] = np.eye(channels, dtype=np.float32)
    blobs["corr"] = (weight, np.zeros(channels, np.float32))
    made = thin_bundle("accel-101", tmp_path, blobs)
    expected = [step.labels for step in play(made, "oracle", 4)]
    for step, labels in zip(play(made, "accel:4", 4), expected, strict=True):
        np.testing.assert_array_equal(step.labels, labels)


def test_skipping_repeats_the_key_frame(accel18: Made) -> None:
    steps = play(accel18, "skip:3", 5)
    assert [step.fired for step in steps] == [("reference", "features", "head"), (), ()] * 1 + [
        ("reference", "features", "head"),
        (),
    ]
    assert steps[1].labels is steps[0].labels


def test_threads_change_nothing(accel18: Made) -> None:
    for one, other in zip(
        play(accel18, "accel:3", 7), play(accel18, "accel:3", 7, overlap=True), strict=True
    ):
        assert (one.fired, one.provenance, one.moved) == (other.fired, other.provenance, other.moved)
        np.testing.assert_array_equal(one.labels, other.labels)


def test_the_bundle_has_its_schedule_as_default(dff: Made, accel18: Made) -> None:
    for made, schedule in ((dff, "dff:5"), (accel18, "accel:5")):
        with runtime.open(made[0].path, "cpu") as player:
            assert isinstance(player, Player)
            assert str(player.schedule) == schedule
            assert player.schedule.interval == 5
            assert parse_schedule(schedule, made[0].manifest) == player.schedule


@pytest.mark.parametrize(
    "text", ["alternating", "adaptive:0.5", "warp:4", "accel", "accel:0", "dff:x", "a;b"]
)
def test_other_schedules_are_refused(accel18: Made, text: str) -> None:
    with pytest.raises(ScheduleError):
        parse_schedule(text, accel18[0].manifest)


def test_a_size_at_which_flow_and_features_differ_is_refused(accel18: Made) -> None:
    with runtime.open(accel18[0].path, "cpu") as player:
        with pytest.raises(BundleError, match=r"do not fit at a frame of 65x96.*multiples of 4"):
            player.step(np.zeros((65, 96, 3), np.uint8))
        assert player.step(np.zeros((68, 100, 3), np.uint8)).labels.shape == (68, 100)
