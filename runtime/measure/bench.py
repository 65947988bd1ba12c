"""How long stages, schedules and the un-staged net take on one device, in one run.

Everything that is compared takes turns, round by round, so that a change of the machine's speed meets all
alike. Ratios are medians of the rounds' ratios.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from runtime.engine.executors import Executor, Inline, Threads
from runtime.measure.end_to_end import WholeRun
from runtime.open_player import threads_per_stage
from runtime.player import Player
from runtime.schedule.grammar import parse_schedule
from runtime.schedule.schedule import Schedule
from runtime.sessions.device import Device
from runtime.sessions.memory import allocate, download, upload
from runtime.sessions.session import Session
from runtime.sessions.stage_sessions import StageSessions
from runtime.step import Step
from runtime.video.pictures import checked_pictures
from staged_onnx import FRAME, Bundle, Manifest
from weights.errors import UsageError

__all__ = ["Bench", "KeyFrames", "ScheduleTimes", "Timing", "bench", "moving_frames"]

Pictures = Mapping[str, np.ndarray]
"""The pictures of a frame by name."""
PAPER_LATENCY = {"pipeline:2": 0.77, "pipeline:3": 0.59}
"""Latency as a share of the full pass that the paper gives for its pipelines."""
AHEAD = (0, 1)
"""Frames begun ahead where stages have threads: none for early labels, one for more frames per second."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds of `count` passes."""

    median: float
    p95: float
    count: int

    @staticmethod
    def of(ms: Sequence[float]) -> Timing:
        """The summary of measured times."""
        return Timing(float(np.median(ms)), float(np.percentile(ms, 95)), len(ms))


@dataclass(frozen=True)
class KeyFrames:
    """What frames take on which the deepest stage fires, and those between them.

    amortised: milliseconds per frame of a video of any length, (key + (interval - 1) between) / interval.
    """

    interval: int
    key: Timing
    between: Timing
    amortised: float


@dataclass(frozen=True)
class ScheduleTimes:
    """One schedule's times.

    frame: a whole frame, arrival to labels. stages: one pass of a stage, of the head, of the optical flow and
    the warp, by name. fires: share of the frames on which it ran. fps: frames per second, source not counted.
    throughput: times the oracle's. predicted: share of the oracle's time that the fired stages took there,
    and flow and warp here; measured: share that this schedule really took. latency: median frame time as a
    share of the oracle's; what a pipeline does between frames is not in it. overlap: stages ran in threads of
    their own, and `ahead` frames were begun before the labels of the one before were out. key_frames: where
    the deepest stage fires every Kth frame, what such a frame and the others take.
    """

    schedule: str
    frame: Timing
    stages: dict[str, Timing]
    fires: dict[str, float]
    fps: float
    throughput: float
    predicted: float
    measured: float
    latency: float
    overlap: bool = False
    ahead: int = 0
    paper_latency: float | None = None
    key_frames: KeyFrames | None = None


@dataclass(frozen=True)
class Bench:
    """A whole bench run; `whole` is the un-staged net, and `staging` the oracle's time as a multiple of it.

    host_copies: copies between host and device that a profile of the oracle counted, per frame. cpu_nodes:
    nodes that ran on the CPU although the device is a GPU, with their number per frame. end_to_end: runs from
    a video to files, where they were asked for.
    """

    bundle: str
    device: str
    reason: str
    precision: str
    size: tuple[int, int]
    frames: int
    rounds: int
    whole: Timing | None
    staging: float | None
    schedules: tuple[ScheduleTimes, ...]
    host_copies: float
    cpu_nodes: dict[str, float] = field(default_factory=dict)
    end_to_end: tuple[WholeRun, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def moving_frames(size: tuple[int, int], count: int, seed: int = 0) -> list[np.ndarray]:
    """Frames of coarse noise that moves 3 pixels per frame.

    Args:
        size: Height and width.
        count: How many frames.
        seed: The same seed gives the same frames.

    Returns:
        uint8 arrays (height, width, 3).
    """
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (size[0] // 16 + 2, size[1] // 16 + 2, 3), np.uint8)
    picture = np.kron(coarse, np.ones((16, 16, 1), np.uint8))
    return [np.ascontiguousarray(np.roll(picture, 3 * t, axis=1)[: size[0], : size[1]]) for t in range(count)]


def _made_up(manifest: Manifest, size: tuple[int, int], count: int) -> list[Pictures]:
    """Moving noise for each picture that a bundle takes per frame."""
    made = {}
    for seed, frame in enumerate(manifest.frames):
        noise = moving_frames(size, count, seed)
        made[frame.name] = [picture[:, :, : frame.planes].astype(frame.dtype) for picture in noise]
    return [{name: pictures[t] for name, pictures in made.items()} for t in range(count)]


def bench(
    bundle: Bundle,
    device: Device,
    schedules: Sequence[str] = ("oracle", "alternating", "skip:2"),
    *,
    size: tuple[int, int] | None = None,
    frames: Sequence[Any] | None = None,
    count: int = 8,
    rounds: int = 5,
    warm_up: int = 3,
    whole: str | PathLike[str] | None = None,
    signal: str | None = None,
) -> Bench:
    """Time a bundle under schedules that take turns, so that a busy machine slows all of them.

    Schedules with lags are timed with stages in threads, too, without and with a frame begun ahead.

    Args:
        bundle: What to time.
        device: Where it runs.
        schedules: As text; the oracle is always among them, for the ratios.
        size: (height, width) of made-up frames, by default the bundle's reference size.
        frames: Real ones of one size instead, as for `Player.play`.
        count: Frames per round.
        rounds: How often all take turns.
        warm_up: Frames that each plays before.
        whole: The un-staged net's ONNX file, by default the bundle's own, if it has one.
        signal: The blob that adaptive clocks watch.

    Returns:
        Times in milliseconds, and the ratios of their medians.

    Raises:
        UsageError, ScheduleError, BundleError, DeviceError: Something does not fit, or cannot run.
    """
    if min(count, rounds, warm_up) < 1:
        raise UsageError("count, rounds and warm_up begin at 1", found=f"{count}, {rounds}, {warm_up}")
    if frames is None:
        frames = _made_up(bundle.manifest, size or bundle.manifest.reference_size, count)
    pictures = [checked_pictures(frame, bundle.manifest) for frame in frames]
    if not pictures:
        raise UsageError("no frames to time", found="an empty sequence")
    shape = (pictures[0][FRAME].shape[0], pictures[0][FRAME].shape[1])
    plans = _plans(bundle, schedules, signal)
    file = Path(whole) if whole is not None else _own_whole(bundle)
    with ExitStack() as stack:
        # sessions are shared: weights lie in memory once for all schedules, and once more for threads
        moved = frozenset[str]().union(*(plan.moved_values for plan, _ in plans))
        parts = {False: stack.enter_context(closing(StageSessions(bundle, device, shape, moved=moved)))}
        if plans[-1][1].overlaps:
            side_by_side = replace(device, threads=threads_per_stage(bundle, device))
            parts[True] = stack.enter_context(
                closing(StageSessions(bundle, side_by_side, shape, moved=moved))
            )
        runs = [
            stack.enter_context(closing(_Run(bundle, parts[executor.overlaps], plan, executor)))
            for plan, executor in plans
        ]
        net = stack.enter_context(closing(_Whole(file, device, pictures[0]))) if file is not None else None
        _take_turns([*([net] if net is not None else []), *runs], pictures, rounds, warm_up)
    copies, on_cpu = _profile(bundle, device, pictures[:warm_up])
    oracle = runs[0]
    staging = None
    if net is not None:
        staging = median(a / b for a, b in zip(oracle.walls, net.walls, strict=True))
    return Bench(
        bundle.manifest.name, str(device), device.reason, device.precision, shape, len(pictures), rounds,
        Timing.of(net.ms) if net is not None else None, staging,
        tuple(run.times(oracle) for run in runs), copies, on_cpu,
    )  # fmt: skip


def _plans(bundle: Bundle, schedules: Sequence[str], signal: str | None) -> list[tuple[Schedule, Executor]]:
    """Each schedule with its executor, the oracle first; those with lags in threads, too, at the end."""
    names = dict.fromkeys(["oracle", *schedules])
    plans: list[tuple[Schedule, Executor]] = [
        (parse_schedule(name, bundle.manifest, signal=signal), Inline()) for name in names
    ]
    return plans + [(plan, Threads(ahead)) for plan, _ in plans if plan.lagged_values for ahead in AHEAD]


def _take_turns(
    contestants: Sequence[_Run | _Whole], pictures: Sequence[Pictures], rounds: int, warm_up: int
) -> None:
    for one in contestants:
        one.play(pictures[:warm_up])
        one.clear()
    for _ in range(rounds):
        for one in contestants:
            one.play(pictures)


def _own_whole(bundle: Bundle) -> Path | None:
    return Path(bundle.path) / bundle.manifest.whole if bundle.manifest.whole else None


class _Run:
    """One schedule under test."""

    def __init__(self, bundle: Bundle, parts: StageSessions, plan: Schedule, executor: Executor) -> None:
        self.player = Player(bundle, parts.device, plan, executor=executor, sessions=parts)
        self.plan = plan
        self.executor = executor
        self.names = [part.name for part in (*bundle.manifest.stages, bundle.manifest.head)]
        self.steps: list[Step] = []
        self.walls: list[float] = []

    def close(self) -> None:
        self.player.close()

    def clear(self) -> None:
        self.steps.clear()
        self.walls.clear()

    def play(self, frames: Sequence[Pictures]) -> None:
        start = time.perf_counter()
        self.steps += self.player.play(frames)
        self.walls.append(time.perf_counter() - start)

    def stage(self, name: str) -> list[float]:
        return [step.ms[name] for step in self.steps if name in step.ms]

    def times(self, oracle: _Run) -> ScheduleTimes:
        # optical flow, warp and whatever else the oracle never runs has no pass of its own to go by
        full = {name: median(ms) for name in self.names if (ms := oracle.stage(name))}
        others = sorted({name for step in self.steps for name in step.ms} - {*full, "total"})
        moving = sum(sum(self.stage(name)) for name in others) / len(self.steps)
        fires = {name: len(self.stage(name)) / len(self.steps) for name in [*full, *others]}
        frame = Timing.of([step.ms["total"] for step in self.steps])
        ratios = [mine / theirs for mine, theirs in zip(self.walls, oracle.walls, strict=True)]
        return ScheduleTimes(
            str(self.plan), frame, {name: Timing.of(ms) for name in fires if (ms := self.stage(name))},
            fires, len(self.steps) / sum(self.walls), 1 / median(ratios),
            (sum(fires[name] * full[name] for name in full) + moving) / sum(full.values()),
            median(ratios),
            frame.median / median(step.ms["total"] for step in oracle.steps), self.executor.overlaps,
            self.executor.ahead, PAPER_LATENCY.get(str(self.plan)), self.key_frames(),
        )  # fmt: skip

    def key_frames(self) -> KeyFrames | None:
        """The times of key frames and of the others; None for a schedule without, or with one kind alone."""
        interval, deepest = self.plan.interval, self.player.bundle.manifest.stages[-1].name
        keys = [step.ms["total"] for step in self.steps if deepest in step.fired]
        others = [step.ms["total"] for step in self.steps if deepest not in step.fired]
        if interval is None or self.plan.waits or not keys or not others:
            return None
        key, between = Timing.of(keys), Timing.of(others)
        return KeyFrames(interval, key, between, (key.median + (interval - 1) * between.median) / interval)


class _Whole:
    """The un-staged net under test, with its buffers bound as a stage's are."""

    def __init__(self, file: Path, device: Device, pictures: Pictures) -> None:
        shapes = {name: picture.shape for name, picture in pictures.items()}
        self.session = Session(file, device, shapes, name="whole net", borders={})
        self.frames = {
            name: allocate(picture.shape, picture.dtype.type, device) for name, picture in pictures.items()
        }
        name, port = next(iter(self.session.outputs.items()))
        shape = port.shape or self.session.output_shapes(self.frames)[name]
        self.dtype = port.dtype
        self.result = allocate(shape, port.dtype, device)
        self.binding = self.session.bind(self.frames, {name: self.result})
        self.ms: list[float] = []
        self.walls: list[float] = []

    def close(self) -> None:
        self.session.close()

    def clear(self) -> None:
        self.ms.clear()
        self.walls.clear()

    def play(self, frames: Sequence[Pictures]) -> None:
        start = time.perf_counter()
        for frame in frames:
            began = time.perf_counter()
            for name, picture in frame.items():
                upload(picture, self.frames[name], self.session.device)
            self.session.run(self.binding)
            download(self.result, self.dtype, self.session.device)
            self.ms.append((time.perf_counter() - began) * 1e3)
        self.walls.append(time.perf_counter() - start)


def _profile(bundle: Bundle, device: Device, frames: Sequence[Pictures]) -> tuple[float, dict[str, float]]:
    """Copies between host and device, and nodes on the CPU beside a GPU, a frame of the oracle."""
    plan = parse_schedule("oracle", bundle.manifest)
    with tempfile.TemporaryDirectory() as folder:
        size = (frames[0][FRAME].shape[0], frames[0][FRAME].shape[1])
        parts = StageSessions(bundle, device, size, profile=str(Path(folder) / "profile_"))
        with closing(parts), Player(bundle, device, plan, sessions=parts) as player:
            for _ in player.play(frames):
                pass
            opened = [part for part in (*parts.stages, parts.head, parts.key_head) if part is not None]
            events = [e for part in opened for e in _events(part.session.end_profile())]
    copies = sum(event["args"].get("op_name", "").startswith("Memcpy") for event in events)
    on_cpu: dict[str, float] = {}
    if device.kind != "cpu":
        for event in events:
            if event["args"].get("provider") == "CPUExecutionProvider":
                op = event["args"].get("op_name", event["name"])
                on_cpu[op] = on_cpu.get(op, 0.0) + 1 / len(frames)
    return copies / len(frames), on_cpu


def _events(path: str) -> Iterator[dict[str, Any]]:
    """The kernel runs in a profile of ONNX Runtime."""
    for event in json.loads(Path(path).read_text()):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            yield event
