"""Schedules whose values follow the picture: what fires, what is moved, and what comes out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runtime
from runtime.flow.fields import Flow
from runtime.measure.calibrate import calibrate
from runtime.schedule.clocks import Always, Every, Follow, Watch
from runtime.schedule.grammar import parse_schedule
from runtime.schedule.schedule import Schedule
from runtime.video.frames import Frame
from staged_onnx import Manifest, read_bundle
from tests.support.toy_bundles import chain
from weights.errors import BundleError, ClockworkError, FlowError, ScheduleError

SIZE = (12, 18)
STEP = (2, -1)
"""By how many pixels, x and y, the picture moves a frame."""
PICTURE = np.random.default_rng(5).integers(0, 120, (80, 90), np.uint8)


def picture(t: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Frame t of a picture that moves by STEP a frame: red and green are the picture, blue tells t."""
    x, y = 40 - STEP[0] * t, 30 - STEP[1] * t
    image = np.zeros((*size, 3), np.uint8)
    image[..., :2] = PICTURE[y : y + size[0], x : x + size[1], None]
    image[..., 2] = t
    return image


def flow(previous: np.ndarray, current: np.ndarray) -> Flow:
    """The true backward flow, told by the blue of the two frames."""
    frames = float(current[0, 0, 2]) - float(previous[0, 0, 2])
    return np.broadcast_to(np.float32(STEP) * np.float32(-frames), (*current.shape[:2], 2))


def came_from(image: np.ndarray, frames: int) -> np.ndarray:
    """The image as it is after that many frames, its border repeated where nothing is known."""
    height, width = image.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    rows, columns = rows - STEP[1] * frames, columns - STEP[0] * frames
    return np.asarray(image[rows.clip(0, height - 1), columns.clip(0, width - 1)])


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stages; a label is the sum of the reds that both stages saw."""
    return chain(tmp_path_factory.mktemp("toy") / "two.staged", 2, size=SIZE)


def play(bundle: Path, schedule: str, frames: Any, **options: Any) -> list[runtime.Step]:
    options = {"flow": flow, **options}
    with runtime.open(bundle, device="cpu", schedule=schedule, **options) as player:
        return list(player.play(frames))


def manifest_of(bundle: Path) -> Manifest:
    return read_bundle(bundle).manifest


# -- what comes out --------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("start", ["previous", "key"])
def test_labels_follow_the_picture_exactly(toy: Path, overlap: bool, start: str) -> None:
    steps = play(toy, f"warp:4@from={start}", (picture(t) for t in range(10)), overlap=overlap)
    for t, step in enumerate(steps):
        key = picture(t - t % 4)[..., 0] * 2
        np.testing.assert_array_equal(step.labels, came_from(key, t % 4))
        fired = ("stage1", "stage2", "head", "labels") if t % 4 == 0 else ("labels",)
        assert step.fired == fired
        assert step.moved == ({"label_map": t % 4} if t % 4 else {})
        assert step.ages == dict.fromkeys(("stage1", "stage2", "head"), t % 4)
        assert step.provenance["labels"] == {"label_map": t - t % 4}


@pytest.mark.parametrize("overlap", [False, True])
def test_the_last_stages_values_follow_and_the_others_are_fresh(toy: Path, overlap: bool) -> None:
    steps = play(toy, "correct:3@scale=1", (picture(t) for t in range(7)), overlap=overlap)
    for t, step in enumerate(steps):
        deep = came_from(picture(t - t % 3)[..., 0], t % 3).astype(int)
        np.testing.assert_allclose(step.labels, picture(t)[..., 0] + deep, atol=1)
        assert step.fired == (("stage1", "stage2", "head") if t % 3 == 0 else ("stage1", "head"))
        assert step.moved == ({"v2": t % 3} if t % 3 else {})
        assert step.provenance["head"] == {"v1": t, "v2": t - t % 3}


def test_all_that_the_head_reads_follows(three: Path) -> None:
    steps = play(three, "warp-feature:3@scale=1", (picture(t) for t in range(7)))
    for t, step in enumerate(steps):
        key = picture(t - t % 3)[..., 0].astype(int) * 3
        np.testing.assert_allclose(step.labels, came_from(key % 256, t % 3), atol=3)
        assert step.fired == (("stage1", "stage2", "stage3", "head") if t % 3 == 0 else ("head",))
        assert step.moved == (dict.fromkeys(("v1", "v2", "v3"), t % 3) if t % 3 else {})


def test_scores_follow_the_picture(fcn: Path) -> None:
    """Scores that are moved by whole pixels give the labels that are moved, inside the frame."""
    size = (72, 86)
    frames = [np.kron(picture(0, (9, 11)), np.ones((8, 8, 1), np.uint8))[: size[0], : size[1]]]
    frames += [came_from(frames[0], 1), came_from(frames[0], 2)]
    for t, frame in enumerate(frames):
        frame[..., 2] = t
    steps = play(fcn, "warp:3@of=scores@scale=1", frames)
    assert [s.moved for s in steps] == [{}, {"label_map": 1}, {"label_map": 2}]
    assert len(np.unique(steps[0].labels)) > 1
    for t in (1, 2):
        inside = (slice(0, size[0] - 2), slice(4, None))
        np.testing.assert_array_equal(steps[t].labels[inside], came_from(steps[0].labels, t)[inside])


def test_key_frames_are_the_oracles(fcn: Path) -> None:
    frames = [np.random.default_rng(t).integers(0, 256, (72, 86, 3), np.uint8) for t in range(5)]
    oracle = play(fcn, "oracle", frames)
    for schedule in ("warp:2", "warp:2@of=scores@scale=1", "warp-feature:2", "correct:2",
                     "warp:2@occlusion=fresh@scale=1"):  # fmt: skip
        for want, got in list(zip(oracle, play(fcn, schedule, frames), strict=True))[::2]:
            assert (want.labels == got.labels).all(), schedule


def test_a_value_on_a_padded_grid_moves_as_far_as_the_picture(fcn: Path) -> None:
    """Stride 16 and pads of 100: 16 pixels of motion are one of the value, wherever it lies."""
    frames = [np.zeros((80, 96, 3), np.uint8) for _ in range(2)]
    frames[1][..., 2] = 1

    def sixteen(previous: np.ndarray, current: np.ndarray) -> Flow:
        return np.broadcast_to(np.float32([-16, 16]), (*current.shape[:2], 2))

    with runtime.open(fcn, device="cpu", schedule="correct:2", flow=sixteen) as player:
        steps = player.play(frames)
        next(steps)
        entry = player.cache["upscore2"]
        value = np.random.default_rng(0).normal(size=entry.shape).astype(np.float32)
        version = entry.read(0)
        entry.buffers[version.buffer].update_inplace(value)
        next(steps)
        moved = entry.buffers[entry.read(0).buffer].numpy()
    assert value.shape[2] * 16 > 80 * 1.2
    np.testing.assert_allclose(moved[..., :-1, 1:], value[..., 1:, :-1], atol=2e-4)


def test_a_static_shot_is_as_skipping(fcn: Path) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (72, 86, 3), np.uint8)
    still = [frame.copy() for _ in range(9)]
    skipped = play(fcn, "skip:4", still)
    for schedule in ("warp:4", "warp:4@of=scores@scale=1"):
        steps = play(fcn, schedule, still, flow="skimage")
        for want, got in zip(skipped, steps, strict=True):
            np.testing.assert_array_equal(got.labels, want.labels)
            assert got.moved == {}
        assert [s.fired for s in steps].count(()) == 6


def test_fresh_scores_where_something_came_into_view(fcn: Path) -> None:
    """All is hidden in the left half: it shows what `correct` shows; the right half what `warp` does."""
    size = (72, 86)
    frames = [np.random.default_rng(t).integers(0, 256, (*size, 3), np.uint8) for t in range(2)]
    for t, frame in enumerate(frames):
        frame[..., 2] = t

    def left_hidden(previous: np.ndarray, current: np.ndarray) -> Flow:
        field = np.zeros((*size, 2), np.float32)
        field[:, :43, 0] = 3  # forward and backward alike: does not lead back
        field[:, 43:, 0] = -0.1 if current[0, 0, 2] == 1 else 0.1
        return field

    kinds = ("warp:2@of=scores@scale=1", "correct:2@scale=1", "warp:2@occlusion=fresh@scale=1")
    warped, corrected, mixed = (play(fcn, kind, frames, flow=left_hidden)[1] for kind in kinds)
    assert (warped.labels != corrected.labels).any()
    np.testing.assert_array_equal(mixed.labels[:, :38], corrected.labels[:, :38])
    np.testing.assert_array_equal(mixed.labels[:, 48:], warped.labels[:, 48:])
    assert mixed.fired == ("stage1", "stage2", "head", "labels")
    assert mixed.moved == {"upscore2": 1, "kept_scores": 1}


# -- shots, sizes, resets --------------------------------------------------------------------------------


def test_shots_and_sizes_start_anew(toy: Path) -> None:
    frames = [Frame(t, None, picture(t), str(t), shot_start=t == 3) for t in range(6)]
    frames += [Frame(t, None, picture(t, (14, 20)), str(t)) for t in range(6, 9)]
    for overlap in (False, True):
        steps = play(toy, "warp:4", frames, overlap=overlap)
        assert ["head" in s.fired for s in steps] == [True, False, False] * 3
        assert [s.shot for s in steps] == [0] * 3 + [1] * 3 + [2] * 3
        for t, step in enumerate(steps):
            key = frames[t - t % 3].image[..., 0] * 2
            np.testing.assert_array_equal(step.labels, came_from(key, t % 3))


def test_a_player_goes_from_one_schedule_to_another(toy: Path) -> None:
    frames = [picture(t) for t in range(3)]
    with runtime.open(toy, device="cpu", schedule="warp:3", flow=flow) as player:
        first = [s.labels for s in player.play(frames)]
        assert [stage.name for stage in player.manifest.stages] == ["stage1", "stage2", "head"]
        player.reset("oracle")
        assert [stage.name for stage in player.manifest.stages] == ["stage1", "stage2"]
        assert [s.fired for s in player.play(frames)] == [("stage1", "stage2", "head")] * 3
        player.reset(parse_schedule("warp:3", player.bundle.manifest))
        for again, labels in zip(player.play(frames), first, strict=True):
            np.testing.assert_array_equal(again.labels, labels)


def test_one_schedule_in_two_players_at_a_time(toy: Path) -> None:
    plan = parse_schedule("warp:4", manifest_of(toy))
    with (
        runtime.open(toy, device="cpu", schedule=plan, flow=flow) as one,
        runtime.open(toy, device="cpu", schedule=plan, flow=flow) as other,
    ):
        pairs = zip(one.play(map(picture, range(6))), other.play(map(picture, range(8, 14))), strict=True)
        for t, (a, b) in enumerate(pairs):
            np.testing.assert_array_equal(a.labels, came_from(picture(t - t % 4)[..., 0] * 2, t % 4))
            np.testing.assert_array_equal(b.labels, came_from(picture(8 + t - t % 4)[..., 0] * 2, t % 4))


# -- adaptive --------------------------------------------------------------------------------------------


def test_a_full_pass_is_due_where_the_path_does_not_explain(toy: Path) -> None:
    """The picture moves as the flow says until frame 4, where half of it becomes another one."""

    def frames() -> Iterator[np.ndarray]:
        for t in range(8):
            frame = picture(t, (40, 48))
            if t >= 4:
                frame[:, :24, :2] = 255 - frame[:, :24, :2]
            yield frame

    steps = play(toy, "warp:adaptive:0.45", frames())
    assert ["head" in s.fired for s in steps] == [t in (0, 4) for t in range(8)]
    assert steps[0].signal is None
    assert steps[3].signal is not None and steps[4].signal is not None
    assert steps[4].signal > 0.45 > steps[3].signal


def test_adaptive_schedules_make_a_full_pass_at_least_every_so_often(toy: Path) -> None:
    frames = [picture(t) for t in range(18)]
    fired = [t for t, s in enumerate(play(toy, "warp:adaptive:20", frames)) if "head" in s.fired]
    assert fired == [0, 16]
    frames = frames[:14]
    steps = play(toy, "correct:adaptive:20@max=5", frames)
    assert [t for t, s in enumerate(steps) if "stage2" in s.fired] == [0, 5, 10]
    steps = play(toy, "warp:adaptive:0@min=3", frames)
    assert [t for t, s in enumerate(steps) if "head" in s.fired] == [0, 3, 6, 9, 12]


def test_distance_since_the_key_frame(toy: Path) -> None:
    length = np.hypot(*STEP) / np.hypot(*SIZE)
    steps = play(toy, f"warp:distance:{2.5 * length}", (picture(t) for t in range(8)))
    assert [t for t, s in enumerate(steps) if "head" in s.fired] == [0, 3, 6]
    assert steps[2].signal == pytest.approx(2 * length, rel=1e-3)


def test_any_clock_may_decide(toy: Path) -> None:
    frames = [picture(t) for t in range(9)]
    steps = play(toy, "warp:any(every:6,distance:0.4)@scale=1", frames)
    by_distance = int(np.ceil(0.4 * np.hypot(*SIZE) / np.hypot(*STEP)))
    expected = [0]
    for t in range(1, 9):
        if t % 6 == 0 or t - expected[-1] >= by_distance:
            expected.append(t)
    assert [t for t, s in enumerate(steps) if "head" in s.fired] == expected


@pytest.mark.parametrize("schedule", ["warp:adaptive:0@max=6", "correct:distance:0", "warp:adaptive:0@min=2"])
@pytest.mark.parametrize("budget", [0.2, 0.5])
def test_thresholds_from_unlabelled_video(toy: Path, schedule: str, budget: float) -> None:
    schedule += "@flow=skimage"
    rng = np.random.default_rng(2)
    places = np.cumsum(rng.integers(0, 2, 24)) % 12
    frames = [Frame(t, None, picture(int(at), (24, 32)), str(t)) for t, at in enumerate(places)]
    frames[11] = dataclasses.replace(frames[11], shot_start=True)
    for frame in frames:
        frame.image[..., 2] = 0
    with runtime.open(toy, device="cpu", schedule="oracle") as player:
        found = calibrate(player, frames, budget, schedule=schedule)
        assert found.shots == 2 and found.frames == 24
        player.reset(found.schedule)
        fired = ["stage2" in step.fired for step in player.play(frames)]
    assert found.schedule.startswith(schedule.partition(":0")[0])
    assert found.share == sum(fired) / len(frames)
    assert abs(found.share - budget) <= 0.15
    assert found.measure == ("distance" if "distance" in schedule else "residual")


# -- time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", [False, True])
def test_flow_is_in_the_times(toy: Path, overlap: bool) -> None:
    steps = play(toy, "warp:3", (picture(t) for t in range(6)), overlap=overlap)
    for t, step in enumerate(steps):
        assert ("flow" in step.ms and "transform" in step.ms) == (t % 3 != 0)
        if not overlap:
            assert sum(ms for name, ms in step.ms.items() if name != "total") <= step.ms["total"]


def test_an_estimators_error_names_the_frame(toy: Path) -> None:
    def broken(previous: np.ndarray, current: np.ndarray) -> Flow:
        return np.full((*SIZE, 2), np.nan, np.float32)

    with pytest.raises(FlowError, match=r"frame 1: .*not finite"):
        play(toy, "warp:3", (picture(t) for t in range(6)), flow=broken)
    with pytest.raises(FlowError, match="not finite"):
        play(toy, "warp:3", (picture(t) for t in range(6)), flow=broken, overlap=True)


# -- text ------------------------------------------------------------------------------------------------


def parsed(bundle: Path, text: str, **options: Any) -> Schedule:
    return parse_schedule(text, manifest_of(bundle), **options)


def test_clocks_of_each_kind(three: Path) -> None:
    assert parsed(three, "warp:8").clocks == (Every(8),) * 4
    assert parsed(three, "warp:8@3").clocks == (Every(8, 3),) * 4
    assert parsed(three, "warp-feature:8").clocks == (Every(8),) * 3
    assert parsed(three, "correct:8").clocks == (Always(), Always(), Every(8))
    first, *others = parsed(three, "warp:adaptive:0.2@max=9@flow=skimage").clocks
    assert isinstance(first, Watch) and (first.theta, first.maximum) == (0.2, 9)
    assert others == [Follow()] * 3
    assert str(parsed(three, "warp:8@of=labels")) == "warp:8@of=labels"


def test_options_reach_the_movement(three: Path) -> None:
    text = "warp:8@flow=skimage/4@scale=0.25@from=key@padding=zeros@occlusion=previous"
    movement = parsed(three, text).movement
    assert movement is not None
    options = movement.options
    found = (options.flow, float(options.scale or 0), options.start, options.padding, options.occlusion)
    assert found == ("skimage/4", 0.25, "key", "zeros", "previous")


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("warp", ScheduleError, "unknown schedule or clock"),
        ("warp:0", ScheduleError, "bad rate"),
        ("warp:x", ScheduleError, "expected a number of frames, or a clock: .* adaptive, distance, pixels"),
        ("warp:any(distance:0.1", ScheduleError, "unclosed bracket"),
        ("warp:4@scale=2", ScheduleError, "bad scale"),
        ("warp:4@scale=1/0", ScheduleError, "bad scale"),
        ("warp:4@scale=nan", ScheduleError, "bad scale"),
        ("warp:4@from=future", ScheduleError, "unknown start"),
        ("warp:4@padding=mirror", ScheduleError, "unknown padding"),
        ("warp:4@occlusion=guess", ScheduleError, "unknown way with occlusions"),
        ("warp:4@of=logits", ScheduleError, "unknown result"),
        ("warp:4@of=labels@occlusion=fresh", ScheduleError, "needs scores"),
        ("correct:4@of=scores", ScheduleError, "does not go with correct"),
        ("warp-feature:4@occlusion=fresh", ScheduleError, "does not go with warp-feature"),
        ("warp:4@flow=magic", FlowError, "unknown flow estimator"),
        ("warp:adaptive", ScheduleError, "a threshold is missing"),
        ("warp:distance", ScheduleError, "expected distance:THETA"),
        ("warp:adaptive:0.2@blob=v1", ScheduleError, "unknown option"),
        ("warp:distance:-1", ScheduleError, "bad threshold"),
        ("distance:1", ScheduleError, "unknown schedule or clock"),
        ("warp:4@of=scores", BundleError, "does not say where its scores are"),
    ],
)
def test_what_cannot_be_read(three: Path, text: str, error: type[ClockworkError], words: str) -> None:
    with pytest.raises(error, match=words):
        parsed(three, text)


def test_correct_needs_two_stages(tmp_path: Path) -> None:
    one = chain(tmp_path / "one.staged", 1, size=SIZE)
    with pytest.raises(ScheduleError, match="1 stage; expected 2 or more"):
        parsed(one, "correct:4")
    assert parsed(one, "warp:4").clocks == (Every(4),) * 2


def test_a_bundles_own_schedule_names_no_model(three: Path) -> None:
    with pytest.raises(FlowError, match="names a file"):
        parsed(three, "warp:4@flow=raft.onnx", files=False)
    with pytest.raises(FlowError, match=r"raft.onnx"):
        parsed(three, "warp:4@flow=raft.onnx")
