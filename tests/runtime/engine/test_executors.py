"""Threads that change when the work is done, and nothing else; and nothing left behind."""

from __future__ import annotations

import gc
import os
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise, takewhile
from pathlib import Path

import numpy as np
import pytest

import runtime
from caffe_port.onnx_graph import OnnxGraph
from runtime.engine.executors import Task, Threads
from runtime.player import Player
from runtime.schedule.grammar import parse_schedule
from runtime.sessions.device import choose_device
from runtime.video.frames import Frame
from staged_onnx import read_bundle
from tests.support.toy_bundles import (
    chain,
    frame_input,
    frame_of,
    head_model,
    red_of,
    stage_json,
    value_input,
    value_output,
    write_bundle,
)
from weights.errors import ClockworkError, DeviceError


class Noted(Task):
    """A task that has run but never looks done, so that whoever depends on it says so."""

    __slots__ = ()
    done = False  # type: ignore[assignment]


class Recording:
    """Lanes that run everything at once and keep what waits for what."""

    ahead = 1
    overlaps = True

    def __init__(self) -> None:
        self.log: list[tuple[str, Task]] = []

    def submit(self, lane: str, work: Callable[[], None], after: Iterable[Task] = ()) -> Task:
        task = Noted(work, after)
        task.run()
        self.log.append((lane, task))
        return task

    def close(self) -> None:
        pass


def dependencies(bundle: Path, schedule: str, frame: int) -> dict[str, set[str]]:
    """What each part of one frame's work waits for: "stage1" of the same frame, "stage1-1" of the one
    before.
    """
    opened, lanes = read_bundle(bundle), Recording()
    plan = parse_schedule(schedule, opened.manifest)
    with Player(opened, choose_device("cpu", threads=1), plan, executor=lanes) as player:
        list(player.play(frame_of(r) for r in range(frame + 1)))
    runs, names = Counter[str](), {}
    for lane, task in lanes.log:  # every part runs once a frame, some before their frame has come
        names[task] = (lane, runs[lane])
        runs[lane] += 1
    found = {}
    for task, (lane, t) in names.items():
        if t == frame:
            others = (names[other] for other in task.after)
            found[lane] = {f"{other}-{t - then}".removesuffix("-0") for other, then in others}
    return found


def test_stages_of_a_pipeline_wait_for_the_frame_before_only(three: Path) -> None:
    waits = dependencies(three, "pipeline:3", 9)
    for stage, needs in (("stage1", set()), ("stage2", {"stage1-1"}), ("stage3", {"stage2-1"})):
        others = waits[stage] - needs
        assert needs <= waits[stage]
        # besides, only for whoever used the buffers long ago: not this frame, and not the head before
        assert all(int(other.rpartition("-")[2] or 0) >= 1 for other in others), waits
        assert "head-1" not in others
    assert {"stage1", "stage2", "stage3"} <= waits["head"]


def begun_before(bundle: Path, schedule: str) -> list[list[str]]:
    """For each of 4 frames the parts that had been begun when the frame was asked for."""
    opened, lanes = read_bundle(bundle), Recording()
    asked: list[int] = []

    def frames() -> Iterator[np.ndarray]:
        for r in range(4):
            asked.append(len(lanes.log))
            yield frame_of(r)

    plan = parse_schedule(schedule, opened.manifest)
    with Player(opened, choose_device("cpu", threads=1), plan, executor=lanes) as player:
        list(player.play(frames()))
    log = [lane for lane, _ in lanes.log]
    # what comes after the last frame's head
    return [list(reversed(list(takewhile(lambda lane: lane != "head", reversed(log[:n]))))) for n in asked]


def test_a_pipelines_deep_stages_begin_before_their_frame_comes(three: Path) -> None:
    assert begun_before(three, "pipeline:3") == [[], ["stage2", "stage3"], ["stage2", "stage3"]] + [
        ["stage2", "stage3"]
    ]
    # the second frame's fill has lag 0 from stage1 to stage2, so that only stage3 can go ahead
    assert begun_before(three, "pipeline:3@lib")[1] == ["stage3"]
    assert begun_before(three, "pipeline:2") == [[], ["stage3"], ["stage3"], ["stage3"]]
    for schedule in ("oracle", "alternating", "skip:2", "adaptive:0.3"):
        assert begun_before(three, schedule) == [[]] * 4


def test_a_shot_that_begins_forgets_what_was_begun_ahead(three: Path) -> None:
    """Provenance and labels as if nothing had been begun for a frame that never came."""
    shots = [Frame(r, None, frame_of(r), "", shot_start=r == 3) for r in range(6)]
    for overlap in (False, True):
        with runtime.open(three, device="cpu", schedule="pipeline:3", overlap=overlap) as player:
            steps = list(player.play(shots))
            assert [step.provenance["head"] for step in steps] == [
                {"v1": t, "v2": max(t - 1, first), "v3": max(t - 2, first)}
                for t, first in zip(range(6), (0, 0, 0, 3, 3, 3), strict=True)
            ]
            alone = list(player.play(frame_of(r) for r in range(3, 6)))
        for one, other in zip(steps[3:], alone, strict=True):
            assert np.array_equal(one.labels, other.labels)


def test_without_lags_a_frame_can_still_follow_the_one_before_stage_by_stage(three: Path) -> None:
    waits = dependencies(three, "oracle", 9)
    assert "stage1" in waits["stage2"] and "stage2" in waits["stage3"]
    assert not {"stage2-1", "stage3-1", "head-1"} & waits["stage1"]


def test_lanes_run_at_the_same_time_and_in_order() -> None:
    lanes = Threads()
    meeting = threading.Barrier(2, timeout=20)
    order: list[int] = []
    tasks = [lanes.submit(lane, meeting.wait) for lane in ("a", "b")]
    tasks += [lanes.submit("a", lambda i=i: order.append(i)) for i in range(20)]
    tasks.append(lanes.submit("b", lambda: order.append(20), after=tasks))
    for task in tasks:
        task.wait()
    assert order == list(range(21))
    lanes.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("clockwork")]


def test_an_error_reaches_who_waits_and_who_depends() -> None:
    lanes = Threads()

    def fail() -> None:
        raise ValueError("no")

    ran: list[int] = []
    first = lanes.submit("a", fail)
    second = lanes.submit("b", lambda: ran.append(1), after=[first])
    third = lanes.submit("b", lambda: ran.append(2))
    for task in (first, second):
        with pytest.raises(ValueError, match="no"):
            task.wait()
    third.wait()
    assert ran == [2]
    lanes.close()


def failing_bundle(path: Path) -> Path:
    """Stage 2 fails when the frame's red is 3 or more: it takes that element of a list of three."""
    one, two = OnnxGraph(), OnnxGraph()
    value_output(one, red_of(one, frame_input(one)), "v1")
    before = value_input(two, "v1")
    at = two.node("Cast", two.node("ReduceMean", before, keepdims=0), to=7)
    after = two.node("Add", before, two.node("Gather", two.const([0.0, 0.0, 0.0]), at))
    value_output(two, after, "v2")
    return write_bundle(
        path,
        [
            (stage_json("stage1", ["frame"], ["v1"]), one.model("one")),
            (stage_json("stage2", ["v1"], ["v2"]), two.model("two")),
        ],
        (stage_json("head", ["v1", "v2"], ["labels"]), head_model(["v1", "v2"], False)),
    )


def held() -> tuple[int, int]:
    """Open files and threads of this process. What earlier tests dropped is collected first."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))


def held_again(before: tuple[int, int]) -> bool:
    """Whether no more is held than before; the kernel may list a thread for a moment after it was joined."""
    end = time.monotonic() + 5
    while (now := held()) != before and time.monotonic() < end:
        time.sleep(0.01)
    return now == before


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")
@pytest.mark.parametrize("overlap", [False, True])
def test_nothing_is_left_after_an_error(tmp_path: Path, overlap: bool) -> None:
    bundle = failing_bundle(tmp_path / "bad.staged")
    before = held()
    caught: list[ClockworkError] = []
    for _ in range(3):
        done = []
        try:
            with runtime.open(bundle, device="cpu", schedule="oracle", threads=2, overlap=overlap) as player:
                for step in player.play(frame_of(r) for r in (0, 1, 2, 3, 0)):
                    done.append(step.index)
        except DeviceError as error:
            caught.append(error)  # and its traceback with everything in it
        assert done == [0, 1, 2]
    assert len(caught) == 3 and all("frame 3: stage2 failed" in str(error) for error in caught)
    assert held_again(before)  # with the errors, their tracebacks and all that these hold still there


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")
@pytest.mark.parametrize("overlap", [False, True])
def test_nothing_is_left_when_the_consumer_stops_early(three: Path, overlap: bool) -> None:
    before = held()
    player = runtime.open(three, device="cpu", schedule="adaptive:0.2", threads=2, overlap=overlap)
    steps = player.play(frame_of(r) for r in range(50))
    next(steps)
    next(steps)
    player.close()
    assert held_again(before)


def test_after_an_error_a_player_begins_afresh(tmp_path: Path) -> None:
    bundle = failing_bundle(tmp_path / "bad.staged")
    with runtime.open(bundle, device="cpu", schedule="rates:2,2", overlap=True) as player:
        with pytest.raises(DeviceError):
            list(player.play(frame_of(r) for r in (1, 1, 9, 1)))
        steps = list(player.play(frame_of(r) for r in (2, 1)))
    assert [int(step.labels[0, 0]) for step in steps] == [4, 4]
    assert steps[0].fired == ("stage1", "stage2", "head")


def test_an_error_of_the_source_passes_through(three: Path) -> None:
    def frames():
        yield frame_of(1)
        yield frame_of(2)
        raise OSError("camera gone")

    with runtime.open(three, device="cpu", schedule="oracle", overlap=True) as player:
        steps = player.play(frames())
        assert next(steps).index == 0
        with pytest.raises(OSError, match="camera gone"):
            list(steps)


@pytest.mark.parametrize("schedule", ["oracle", "pipeline:3", "adaptive:0.3", "skip:3"])
@pytest.mark.parametrize("overlap", [False, True])
def test_memory_is_steady(three: Path, schedule: str, overlap: bool) -> None:
    """Python objects over two thousand frames; the buffers are looked at in test_cache.

    Two windows: what threads happen to hold at one moment is in one of them, what leaks is in both. The
    smallest object has 16 bytes, so that one left over on every frame comes to more than 10,000.
    """
    with runtime.open(three, device="cpu", schedule=schedule, threads=1, overlap=overlap) as player:
        steps = player.play(frame_of(i % 251) for i in range(2200))
        tracemalloc.start()
        for _ in range(200):
            next(steps)
        levels = []
        for _ in range(3):
            gc.collect()  # empties Python's own lists of free objects too
            levels.append(tracemalloc.get_traced_memory()[0])
            for _ in range(999 if len(levels) < 3 else 0):
                next(steps)
        tracemalloc.stop()
    grown = [after - before for before, after in pairwise(levels)]
    assert min(grown) < 10_000, f"{grown} bytes over 999 frames each"


def test_overlap_gives_the_same_steps_under_load(three: Path) -> None:
    """Many frames through threads against the sequential reference, for schedules that use every kind of
    edge.
    """
    rng = np.random.default_rng(0)
    frames = [frame_of(int(r)) for r in rng.integers(0, 256, 150)]
    for schedule in ("oracle", "pipeline:3", "pipeline:3@lib", "exponential", "adaptive:0.5"):
        for ahead in (0, 1, 3):
            runs = []
            for overlap in (False, True):
                with runtime.open(
                    three, device="cpu", schedule=schedule, threads=1, overlap=overlap, ahead=ahead
                ) as player:
                    runs.append(list(player.play(frames)))
            for one, other in zip(*runs, strict=True):
                assert np.array_equal(one.labels, other.labels)
                assert (one.fired, one.provenance, one.ages, one.signal, one.shot, one.index) == (
                    other.fired, other.provenance, other.ages, other.signal, other.shot, other.index,
                )  # fmt: skip


def test_half_precision_runs_and_carries_half_values(tmp_path: Path) -> None:
    bundle = chain(tmp_path / "one.staged", 1)
    with runtime.open(bundle, device="cpu", schedule="oracle", precision="fp16") as player:
        steps = list(player.play(frame_of(r) for r in (3, 4)))
        assert {entry.dtype for entry in player.cache.describe()} == {"uint8", "float16"}
    assert [int(step.labels[0, 0]) for step in steps] == [3, 4]
