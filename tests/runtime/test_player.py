"""Every schedule's provenance, frame by frame, against expectations written by hand."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest

import runtime
from runtime.player import Player
from runtime.sessions.device import choose_device
from staged_onnx import read_bundle
from tests.support.toy_bundles import chain, frame_of
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
        parts = dict(player._sessions)
        player.reset("pipeline:3")
        steps = list(player.play(FRAMES))
        assert dict(player._sessions) == parts
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


# -- one frame at a time ---------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("schedule", ["alternating", "pipeline:3", "skip:3", "adaptive:0.3"])
def test_frames_that_are_pushed_give_the_steps_of_a_play(three: Path, schedule: str, overlap: bool) -> None:
    played = play(three, schedule, FRAMES)
    with runtime.open(three, device="cpu", schedule=schedule, threads=1, overlap=overlap) as player:
        pushed = [player.step(frame) for frame in FRAMES]
        again = [player.step(frame) for frame in FRAMES[:2]]
        player.end_shot()
        shot = [player.step(frame) for frame in FRAMES[:2]]
    for one, other in zip(pushed, played, strict=True):
        assert np.array_equal(one.labels, other.labels)
        assert (one.index, one.shot, one.fired, one.provenance) == (
            other.index,
            other.shot,
            other.fired,
            other.provenance,
        )
    assert [step.index for step in again] == [8, 9] and {step.shot for step in again} == {0}
    assert [step.shot for step in shot] == [1, 1] and shot[0].fired == ALL
    assert shot[0].provenance["head"] == {"v1": 10, "v2": 10, "v3": 10}


def test_a_push_after_a_play_begins_afresh_and_ends_the_play(three: Path) -> None:
    with runtime.open(three, device="cpu", schedule="alternating") as player:
        steps = player.play(FRAMES)
        next(steps)
        step = player.step(FRAMES[3])
        assert (step.index, step.shot, step.fired) == (0, 0, ALL)
        with pytest.raises(UsageError, match="has ended"):
            next(steps)


def test_a_frame_that_cannot_be_played_is_no_frame_of_the_shot(three: Path) -> None:
    with runtime.open(three, device="cpu", schedule="alternating") as player:
        player.step(FRAMES[0])
        with pytest.raises(VideoError, match="frame 1: not a frame"):
            player.step("x")
        assert player.step(FRAMES[2]).fired == ("stage1", "stage2", "head")


def test_labels_are_read_only(three: Path) -> None:
    """A frame on which nothing fires hands out the labels of the frame before: nobody may change them."""
    first, second = play(three, "skip:4", FRAMES[:2])
    assert second.labels is first.labels
    with pytest.raises(ValueError, match="read-only"):
        first.labels[:] = 0


# -- the life of a player --------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["pipeline:3", "oracle", "warp:3@flow=skimage"])
def test_closing_from_another_thread_at_any_moment(three: Path, schedule: str) -> None:
    """The play ends with its last step or with an error that says so; nothing hangs, no thread is left."""
    random = np.random.default_rng(0)
    before = threading.active_count()
    for _ in range(25):
        player = runtime.open(three, device="cpu", schedule=schedule, threads=1, overlap=True)
        closing = threading.Timer(float(random.uniform(0, 0.05)), player.close)
        closing.start()
        with contextlib.suppress(UsageError):
            for _ in player.play(FRAMES * 20):
                pass
        closing.join(30)
        assert not closing.is_alive()
        player.close()
    assert threading.active_count() <= before


@pytest.mark.parametrize("overlap", [False, True])
def test_closing_in_the_loop_ends_it(three: Path, overlap: bool) -> None:
    with (
        runtime.open(three, device="cpu", schedule="pipeline:3", overlap=overlap) as player,
        pytest.raises(UsageError, match="this play has ended"),
    ):
        for step in player.play(FRAMES):
            if step.index == 2:
                player.close()


def test_two_threads_cannot_use_one_player(three: Path) -> None:
    inside, go_on = threading.Event(), threading.Event()

    class Slow:
        """A frame whose picture takes its time."""

        @property
        def image(self) -> np.ndarray:
            inside.set()
            assert go_on.wait(20)
            return FRAMES[0]

    with runtime.open(three, device="cpu", schedule="oracle") as player:
        other = threading.Thread(target=player.step, args=(Slow(),))
        other.start()
        assert inside.wait(20)
        with pytest.raises(UsageError, match="in use by another thread"):
            player.step(FRAMES[0])
        go_on.set()
        other.join(20)
        assert player.step(FRAMES[1]).index == 1


def test_a_dropped_player_gives_its_threads_back(three: Path) -> None:
    before = threading.active_count()
    player = runtime.open(three, device="cpu", schedule="pipeline:3", threads=1, overlap=True)
    list(player.play(FRAMES))
    assert threading.active_count() > before
    del player
    gc.collect()
    deadline = time.monotonic() + 20
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_leaving_python_without_closing_a_player(three: Path) -> None:
    script = (
        "import numpy as np, runtime\n"
        f"player = runtime.open({str(three)!r}, device='cpu', schedule='pipeline:3', overlap=True)\n"
        "steps = player.play(np.zeros((4, 6, 3), np.uint8) for _ in range(9))\n"
        "print(next(steps).index)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "0", "")
