"""Every schedule's provenance, frame by frame, against expectations written by hand."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from toy_bundles import chain, frame_of

import runtime
from runtime.player import Player
from runtime.sessions.device import choose_device
from staged_onnx import read_bundle
from weights.errors import BundleError, ScheduleError, UsageError, VideoError

REDS = [7, 20, 33, 46, 59, 72, 85, 98]


def play(bundle: Path, schedule: str, frames: list, **options) -> list[runtime.Step]:
    with runtime.open(bundle, device="cpu", schedule=schedule, threads=1, **options) as player:
        return list(player.play(frames))


def sources(steps: list[runtime.Step], value: str = "head") -> list[tuple[int, ...]]:
    """For each step the frames that the head's inputs come from, deepest first, as the papers write it."""
    return [tuple(reversed(step.provenance["head"].values())) for step in steps if "head" in step.fired]


def check_labels(steps: list[runtime.Step], frames_used: list[tuple[int, ...]], reds: list[int]) -> None:
    """The labels are computed from exactly the frames that the provenance claims."""
    for step, used in zip(steps, frames_used, strict=True):
        assert np.all(step.labels == sum(reds[i] for i in used) % 256), (step.index, used)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chain(tmp_path_factory.mktemp("toy") / "three.staged")


FRAMES = [frame_of(red) for red in REDS]
ALL = ("stage1", "stage2", "stage3", "head")

# deepest stage first: which frame the outputs of stages 3, 2, 1 come from
EXPECTED = {
    "oracle": [(t, t, t) for t in range(8)],
    "alternating": [(t - t % 2, t, t) for t in range(8)],
    "exponential": [(t - t % 4, t - t % 2, t) for t in range(8)],
    "rates:1,2,4": [(t - t % 4, t - t % 2, t) for t in range(8)],
    "rates:1,2,4@0,1,3": [
        (0, 0, 0),
        (0, 1, 1),
        (0, 1, 2),
        (3, 3, 3),
        (3, 3, 4),
        (3, 5, 5),
        (3, 5, 6),
        (7, 7, 7),
    ],
    "rates:1,1,3": [(t - t % 3, t, t) for t in range(8)],
    "pipeline:2": [(0, 0, 0)] + [(t - 1, t, t) for t in range(1, 8)],
    "pipeline:3": [(0, 0, 0), (0, 0, 1)] + [(t - 2, t - 1, t) for t in range(2, 8)],
    "pipeline:3@youtube": [(0, 0, 0), (0, 0, 1)] + [(t - 2, t - 1, t) for t in range(2, 8)],
    "pipeline:3@lib": [(0, 0, 0), (0, 1, 1), (1, 1, 2)] + [(t - 2, t - 1, t) for t in range(3, 8)],
    "always;every:2;every:4": [(t - t % 4, t - t % 2, t) for t in range(8)],
    "any(every:3,every:4)": [(last, t, t) for t, last in enumerate([0, 0, 0, 3, 4, 4, 6, 6])],
    "all(every:2,every:3)": [(t - t % 6, t, t) for t in range(8)],
    "not(every:2)": [(last, t, t) for t, last in enumerate([0, 1, 1, 3, 3, 5, 5, 7])],
    "never": [(0, t, t) for t in range(8)],
}


@pytest.mark.parametrize("overlap", [False, True], ids=["sequential", "overlapping"])
@pytest.mark.parametrize("schedule", EXPECTED)
def test_schedule(three: Path, schedule: str, overlap: bool) -> None:
    steps = play(three, schedule, FRAMES, overlap=overlap)
    assert sources(steps) == EXPECTED[schedule]
    check_labels(steps, EXPECTED[schedule], REDS)
    for t, (step, used) in enumerate(zip(steps, EXPECTED[schedule], strict=True)):
        assert step.ages == {"stage3": t - used[0], "stage2": t - used[1], "stage1": t - used[2]}
        assert set(step.ms) == {*step.fired, "total"}


def test_fired_stages_of_alternating(three: Path) -> None:
    steps = play(three, "alternating", FRAMES[:4])
    without = ("stage1", "stage2", "head")
    assert [step.fired for step in steps] == [ALL, without, ALL, without]


def test_provenance_of_every_input(three: Path) -> None:
    step = play(three, "pipeline:3", FRAMES)[5]
    assert step.provenance == {
        "stage1": {"frame": 5},
        "stage2": {"v1": 4},
        "stage3": {"v2": 3},
        "head": {"v1": 5, "v2": 4, "v3": 3},
    }


def test_lib_fill_reads(three: Path) -> None:
    steps = play(three, "pipeline:3@lib", FRAMES[:3])
    assert steps[1].provenance["stage2"] == {"v1": 1} and steps[1].provenance["stage3"] == {"v2": 0}
    assert steps[2].provenance["stage2"] == {"v1": 1} and steps[2].provenance["stage3"] == {"v2": 1}


@pytest.mark.parametrize("overlap", [False, True])
def test_skip_repeats_the_output_object(three: Path, overlap: bool) -> None:
    steps = play(three, "skip:3", FRAMES[:7], overlap=overlap)
    assert [step.fired for step in steps] == [ALL, (), (), ALL, (), (), ALL]
    assert steps[1].labels is steps[0].labels and steps[2].labels is steps[0].labels
    assert steps[3].labels is not steps[0].labels
    assert [step.ages["stage1"] for step in steps] == [0, 1, 2, 0, 1, 2, 0]
    assert steps[4].provenance == {}
    check_labels(steps, [(t - t % 3,) * 3 for t in range(7)], REDS)


def test_labels_outlive_later_steps(three: Path) -> None:
    with runtime.open(three, device="cpu", schedule="oracle") as player:
        kept = [(step.labels, step.labels.copy()) for step in player.play(FRAMES)]
    assert all(np.array_equal(a, b) for a, b in kept)
    assert len({labels.ctypes.data for labels, _ in kept}) == len(FRAMES)


def test_head_that_reads_pixels_runs_on_every_frame_but_not_when_skipping(tmp_path: Path) -> None:
    bundle = chain(tmp_path / "pixels.staged", reads_frame=True)
    assert ["head" in step.fired for step in play(bundle, "rates:2,2,2", FRAMES[:4])] == [True] * 4
    assert ["head" in step.fired for step in play(bundle, "skip:2", FRAMES[:4])] == [True, False, True, False]


def test_head_rests_when_none_of_its_inputs_changed(three: Path) -> None:
    steps = play(three, "rates:2,2,2", FRAMES[:4])
    assert [step.fired for step in steps] == [ALL, (), ALL, ()]
    assert steps[1].labels is steps[0].labels


@dataclass
class Shot:
    image: np.ndarray
    index: int
    shot_start: bool = False
    time: Fraction | None = None
    name: str = "x"


@pytest.mark.parametrize("overlap", [False, True])
def test_shots_and_sizes_reset(three: Path, overlap: bool) -> None:
    reds = [5, 6, 7, 8, 9, 10, 11, 12]
    sizes = [(4, 6)] * 5 + [(3, 5)] * 2 + [(4, 6)]
    frames = [
        Shot(frame_of(r, s), 10 + i, shot_start=i == 2)
        for i, (r, s) in enumerate(zip(reds, sizes, strict=True))
    ]
    steps = play(three, "pipeline:3", frames, overlap=overlap)
    expected = [(0, 0, 0), (0, 0, 1), (2, 2, 2), (2, 2, 3), (2, 3, 4), (5, 5, 5), (5, 5, 6), (7, 7, 7)]
    assert sources(steps) == [tuple(10 + i for i in used) for used in expected]
    check_labels(steps, expected, reds)
    assert [step.shot for step in steps] == [0, 0, 1, 1, 1, 2, 2, 3]
    assert [step.labels.shape for step in steps] == sizes
    assert [step.index for step in steps] == list(range(10, 18))


def test_a_shot_restarts_the_phase_of_the_clocks(three: Path) -> None:
    frames = [Shot(frame_of(r), i, shot_start=i == 3) for i, r in enumerate(REDS)]
    steps = play(three, "rates:1,1,2", frames)
    assert ["stage3" in step.fired for step in steps] == [True, False, True, True, False, True, False, True]


def test_frame_attributes_reach_the_step(three: Path) -> None:
    frame = Shot(frame_of(1), 40, time=Fraction(7, 3), name="p_40")
    (step,) = play(three, "oracle", [frame])
    assert (step.index, step.time, step.name) == (40, Fraction(7, 3), "p_40")
    assert step.provenance["stage1"] == {"frame": 40}


def test_two_stages(tmp_path: Path) -> None:
    bundle = chain(tmp_path / "two.staged", 2)
    assert sources(play(bundle, "pipeline:2", FRAMES[:4])) == [(0, 0), (0, 1), (1, 2), (2, 3)]
    assert sources(play(bundle, "exponential", FRAMES[:4])) == [(0, 0), (0, 1), (2, 2), (2, 3)]
    with pytest.raises(ScheduleError, match="found 2 stages; expected 3 or more"):
        play(bundle, "pipeline:3", FRAMES[:1])


def test_four_stages_in_pipelines_of_two_and_three(tmp_path: Path) -> None:
    bundle = chain(tmp_path / "four.staged", 4)
    assert sources(play(bundle, "pipeline:2", FRAMES[:5]))[4] == (3, 4, 4, 4)
    assert sources(play(bundle, "pipeline:3", FRAMES[:5]))[4] == (2, 3, 4, 4)
    assert sources(play(bundle, "pipeline:4", FRAMES[:5]))[4] == (1, 2, 3, 4)
    assert sources(play(bundle, "pipeline:4@lib", FRAMES[:5])) == [
        (0, 0, 0, 0), (0, 1, 1, 1), (1, 1, 2, 2), (1, 2, 2, 3), (2, 2, 3, 4),
    ]  # fmt: skip


def test_one_stage(tmp_path: Path) -> None:
    bundle = chain(tmp_path / "one.staged", 1)
    assert sources(play(bundle, "alternating", FRAMES[:3])) == [(0,), (2,)]
    with pytest.raises(ScheduleError, match="cannot watch this value"):
        play(bundle, "adaptive:0.5", FRAMES[:3])


def test_play_begins_afresh_each_time(three: Path) -> None:
    with runtime.open(three, device="cpu", schedule="alternating") as player:
        first = list(player.play(FRAMES[:2]))
        again = list(player.play(FRAMES[:2]))
    assert [s.fired for s in first] == [s.fired for s in again] and again[0].index == 0 and again[0].shot == 0


def test_reset_changes_the_schedule_and_keeps_sessions(three: Path) -> None:
    with runtime.open(three, device="cpu", schedule="oracle") as player:
        list(player.play(FRAMES[:2]))
        parts = dict(player._parts)
        player.reset("pipeline:3")
        steps = list(player.play(FRAMES))
        assert dict(player._parts) == parts
    assert sources(steps) == EXPECTED["pipeline:3"]


def test_an_old_play_cannot_disturb_a_new_one(three: Path) -> None:
    with runtime.open(three, device="cpu", schedule="oracle") as player:
        old = player.play(FRAMES)
        next(old)
        list(player.play(FRAMES[:1]))
        with pytest.raises(UsageError, match="has ended"):
            next(old)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((4, 6), np.uint8),
        np.zeros((4, 6, 4), np.uint8),
        np.zeros((4, 6, 3)),
        np.zeros((0, 6, 3), np.uint8),
        "x",
    ],
    ids=["grey", "rgba", "float", "empty", "text"],
)
def test_what_is_no_frame_is_named(three: Path, frame: object) -> None:
    expected = r"^frame 1: not a frame; found .*; expected uint8 \(height, width, 3\), RGB"
    with pytest.raises(VideoError, match=expected):
        play(three, "oracle", [FRAMES[0], frame])


def test_a_closed_player_plays_no_more(three: Path) -> None:
    player = runtime.open(three, device="cpu")
    player.close()
    with pytest.raises(UsageError, match="closed"):
        player.play(FRAMES)


def test_a_stage_that_contradicts_its_manifest(tmp_path: Path) -> None:
    bundle = chain(tmp_path / "bad.staged", 2)
    (bundle / "stage2.onnx").write_bytes((bundle / "stage1.onnx").read_bytes())
    with pytest.raises(BundleError, match=r'stage2.onnx: frame 0: input "frame" of stage2 does not fit'):
        play(bundle, "oracle", FRAMES[:1])
    (bundle / "stage2.onnx").write_bytes(b"<html>")
    with pytest.raises(BundleError, match=r"stage2\.onnx: not an ONNX model; found a damaged or cut file"):
        play(bundle, "oracle", FRAMES[:1])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_graph_can_stand_for_a_stages_file(tmp_path: Path, precision: str) -> None:
    """A bundle whose stage is given as a graph, with its weights in the bundle's folder."""
    path = chain(tmp_path / "one.staged", 1)
    model = onnx.load(path / "stage1.onnx")
    (mark,) = (t for t in model.graph.initializer if onnx.numpy_helper.to_array(t).tolist() == 1000)
    mark.CopyFrom(onnx.numpy_helper.from_array(np.array([1100.0], np.float32), mark.name))
    (path / "weights").mkdir()
    (path / "weights" / "stage1.bin").write_bytes(mark.raw_data)
    onnx.external_data_helper.set_external_data(mark, "weights/stage1.bin", 0, 4)
    mark.ClearField("raw_data")
    bundle = dataclasses.replace(read_bundle(path), graphs={"stage1": model.SerializeToString()})
    plan = runtime.parse_schedule("oracle", bundle.manifest)
    with Player(bundle, choose_device("cpu", precision=precision), plan) as player:
        (step,) = player.play([frame_of(3)])
    assert np.all(step.labels == 103)
