"""The threshold that makes a clock fire on a given share of unlabelled video.

One pass over the video, without the clocked stage and those after it, collects what the clock looks at
(argmax maps, values, or frames). What any threshold would have done follows from these: the clock is
asked again, frame by frame, with the reference that it would have had. Nothing is run twice.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from runtime.engine.probes import mean_of, measure_of
from runtime.flow.paths import FlowPaths
from runtime.player import Player
from runtime.schedule.clocks import Drift, Never, Sensor, Watch
from runtime.schedule.grammar import parse_schedule
from runtime.schedule.schedule import Schedule
from runtime.sessions.memory import download
from runtime.transform import Moment
from staged_onnx import Bundle
from weights.errors import BundleError, ScheduleError, UsageError
from weights.whole_file import whole_file

__all__ = ["Calibration", "Point", "calibrate", "keep_schedule"]

CURVE_POINTS = 33
MAX_BYTES = 2 << 30


@dataclass(frozen=True)
class Point:
    """A threshold and the share of frames on which it fires."""

    theta: float
    share: float


@dataclass(frozen=True)
class Calibration:
    """What a calibration found.

    theta: the threshold whose `share` of fired frames is nearest to `budget`, first frames of shots
    counted as fired. schedule: text that plays it. signal, measure: what the clock looks at and how.
    curve: share by threshold, over the range in which it changes.
    """

    theta: float
    share: float
    budget: float
    schedule: str
    signal: str
    measure: str
    frames: int
    shots: int
    curve: tuple[Point, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            **{name: getattr(self, name) for name in self.__dataclass_fields__ if name != "curve"},
            "curve": [{"theta": point.theta, "share": point.share} for point in self.curve],
        }


def calibrate(
    player: Player, frames: Iterable[Any], budget: float = 0.5, *, schedule: str = "adaptive:0"
) -> Calibration:
    """Find the threshold at which the last stage fires on a share of unlabelled frames.

    Args:
        player: Lends its bundle and device; it may go on playing afterwards from a fresh start.
        frames: As for `Player.play`.
        budget: The share of frames, above 0 and at most 1, on which the last stage is to fire.
        schedule: A clock with a threshold (adaptive, pixels, confidence, warp:adaptive, correct:distance,
            ...) and its options; the number in it does not matter.

    Returns:
        The threshold whose share is nearest to the budget, and the curve it was found on.

    Raises:
        UsageError: The budget is out of range, there are no two frames of one shot, the signal is 0 on
            every frame (a still video), or it is NaN or infinite on some frame.
        ScheduleError: The clock has no threshold.
    """
    if not 0 < budget <= 1:
        raise UsageError("bad budget", found=budget, expected="above 0, at most 1")
    plan = parse_schedule(schedule, player.bundle.manifest, signal=_signal_of(player))
    watch = next((clock for clock in reversed(plan.clocks) if isinstance(clock, Watch)), None)
    if watch is None:
        raise ScheduleError(
            "nothing to calibrate",
            found=f'"{schedule}"',
            expected="adaptive:0, pixels:0, confidence:0 or warp:adaptive:0",
        )
    if isinstance(watch.sensor, Drift):
        recording = _record_drift(watch, watch.sensor, plan, frames)
    else:
        recording = _record(player, watch.sensor, frames)
    theta, curve = _search(recording, watch, budget)
    head, _, options = schedule.partition("@")
    text = f"{head.rpartition(':')[0]}:{theta:.6g}" + (f"@{options}" if options else "")
    blob = watch.sensor.value
    usual = ("frame", player.bundle.manifest.signal)
    if isinstance(watch.sensor, Sensor) and blob not in usual and "@blob=" not in text:
        text += f"@blob={blob}"
    return Calibration(
        theta, recording.share(watch, theta), budget, text, blob, recording.measure,
        len(recording.shots), len(set(recording.shots)), curve,
    )  # fmt: skip


def keep_schedule(bundle: Bundle, schedule: str) -> None:
    """Make a schedule the bundle's own, in its manifest; the file is replaced as a whole or not at all.

    Args:
        bundle: The bundle.
        schedule: The schedule's text.

    Raises:
        ScheduleError, FlowError: The text is wrong, or does not fit the bundle.
        BundleError: The manifest cannot be written.
    """
    manifest = replace(bundle.manifest, schedule=schedule)
    parse_schedule(schedule, manifest, files=False)
    target = Path(bundle.path) / "manifest.json"
    try:
        with whole_file(target) as partial:
            partial.write_text(json.dumps(manifest.to_json(), indent=1) + "\n", "utf-8")
            partial.chmod(target.stat().st_mode & 0o777)
    except OSError as error:
        raise BundleError("the manifest cannot be written", file=target, found=str(error)) from None


def _signal_of(player: Player) -> str | None:
    """The value that the player's own adaptive clock watches, if it has one."""
    clock = player.schedule.clocks[-1]
    if isinstance(clock, Watch) and isinstance(clock.sensor, Sensor) and clock.sensor.value != "frame":
        return clock.sensor.value
    return None


class _Recording:
    """What a clock would have seen on every frame: `kept` values, and the shot of each."""

    def __init__(self, measure: str, mean: tuple[float, ...]) -> None:
        self.measure = measure
        self.mean = np.asarray(mean, np.float32)
        self.kept: list[np.ndarray] = []
        self.shots: list[int] = []
        self.numbers: dict[tuple[int, int], float] = {}

    def number(self, frame: int, reference: int) -> float:
        """What the sensor measures on `frame` with this reference frame.

        Raises:
            UsageError: The number is NaN or infinite, so that no threshold can be compared with it.
        """
        key = (frame, frame if self.measure == "peak" else reference)
        if key not in self.numbers:
            self.numbers[key] = self._measured(frame, reference)
        number = self.numbers[key]
        if not math.isfinite(number):
            raise UsageError(
                "the signal is not a number that a threshold can be compared with",
                frame=frame,
                found=number,
                hint="look for NaN or infinity in the weights: clockwork weights FILE",
            )
        return number

    def _measured(self, frame: int, reference: int) -> float:
        if self.measure == "peak":
            return float(self.kept[frame])
        a, b = self.kept[frame], self.kept[reference]
        if self.measure == "argmax":
            return float(np.count_nonzero(a != b) / a.size)
        return _relative(a - self.mean, b - self.mean)

    @property
    def largest(self) -> float:
        """The largest number measured so far."""
        return max(self.numbers.values())

    def share(self, watch: Watch, theta: float) -> float:
        """The share of frames on which the clock fires at this threshold."""
        clock = replace(watch, theta=theta)
        tick = _Replay(self)
        fired = 0
        for frame, shot in enumerate(self.shots):
            first = frame == 0 or shot != self.shots[frame - 1]
            tick.frame, tick.since = frame, frame - tick.fired
            if first or clock.fires(tick):
                tick.fired = frame
                fired += 1
        return fired / len(self.shots)


class _Replay:
    """A tick of the past."""

    position = 0
    since = 0
    before: Sequence[bool] = ()

    def __init__(self, recording: _Recording) -> None:
        self.recording = recording
        self.frame = self.fired = 0

    def measure(self, sensor: object) -> float:
        previous = isinstance(sensor, Sensor) and sensor.reference == "previous"
        reference = self.frame - 1 if previous else self.fired
        return self.recording.number(self.frame, reference)

    def fits(self, budget_ms: float) -> bool:
        raise AssertionError("a clock with a threshold asks for no budget")


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    size = np.abs(a) + np.abs(b)
    size[size == 0] = 1
    return float(np.mean(2 * np.abs(a - b) / size, dtype=np.float32))


def _record(player: Player, sensor: Sensor, frames: Iterable[Any]) -> _Recording:
    """Play the frames without the clocked stage, and keep what its sensor looks at."""
    manifest = player.bundle.manifest
    plan = parse_schedule("oracle", manifest)
    plan = replace(plan, clocks=(*plan.clocks[:-1], Never()))
    recording: _Recording | None = None
    size = 0
    with Player(player.bundle, player.device, plan) as collector:
        for step in collector.play(frames):
            entry = collector.cache[sensor.value]
            value = download(entry.buffers[entry.read(0).buffer], entry.dtype, entry.device)
            if recording is None:
                measure = measure_of(sensor, entry.shape, manifest)
                recording = _Recording(measure, mean_of(sensor.value, manifest))
            recording.shots.append(step.shot)
            recording.kept.append(_keep(value, recording.measure))
            size += recording.kept[-1].nbytes
            if size > MAX_BYTES:
                raise UsageError(
                    "the video is too long to calibrate on",
                    found=f"{len(recording.shots)} frames, {size >> 20} MB",
                    expected=f"at most {MAX_BYTES >> 20} MB",
                    hint="use fewer frames",
                )
    if recording is None:
        raise UsageError("nothing to calibrate on", found="no frames")
    return recording


def _record_drift(watch: Watch, drift: Drift, plan: Schedule, frames: Iterable[Any]) -> _Recording:
    """Follow the frames from every key frame that there could have been; the network does not run."""
    movement, reach = plan.movement, watch.maximum
    assert movement is not None and reach is not None
    paths = FlowPaths(movement.options, tracks=reach + 1)
    recording = _Recording(drift.measure, (0.0,))
    images: deque[np.ndarray] = deque(maxlen=reach + 1)
    since = 0
    for index, frame in enumerate(frames):
        image = np.array(getattr(frame, "image", frame))
        starts = not images or image.shape != images[-1].shape or getattr(frame, "shot_start", False)
        since = 0 if starts else since + 1
        recording.shots.append(recording.shots[-1] + starts if recording.shots else 0)
        for back in range(1, min(since, reach) + 1):
            moment = Moment(frame, image, images[-1], images[-back], since, index)
            recording.numbers[index, index - back] = paths.measure(drift.measure, moment)
        images.append(image)
    if not recording.shots:
        raise UsageError("nothing to calibrate on", found="no frames")
    return recording


def _keep(value: np.ndarray, measure: str) -> np.ndarray:
    """What has to be remembered of a value to compare it with any other later."""
    if measure == "relative":
        return np.array(value)
    scores = value.astype(np.float32)
    if measure == "argmax":
        best = scores.argmax(1)
        return best.astype(np.uint8 if scores.shape[1] <= 256 else np.int32)
    scores = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(np.mean(1 / scores.sum(1)))


def _search(recording: _Recording, watch: Watch, budget: float) -> tuple[float, tuple[Point, ...]]:
    """The threshold with the share nearest to the budget, and the curve.

    The share need not be monotone in the threshold, because the reference depends on what fired: the curve is
    sampled over the range of all numbers seen on the way, then the interval around the best point is halved.
    """
    shares: dict[float, float] = {}

    def share(theta: float) -> float:
        if theta not in shares:
            shares[theta] = recording.share(watch, theta)
        return shares[theta]

    low, high = _range(recording, watch, share)
    for theta in np.linspace(low, high, CURVE_POINTS):
        share(_nice(theta))
    for _ in range(24):
        thetas = sorted(shares)
        best = min(thetas, key=lambda theta: (abs(shares[theta] - budget), theta))
        if shares[best] == budget:
            break
        at = thetas.index(best)
        for other in thetas[max(0, at - 1) : at + 2]:
            share(_nice((best + other) / 2))
    best = min(sorted(shares), key=lambda theta: abs(shares[theta] - budget))
    curve = tuple(Point(theta, shares[theta]) for theta in sorted(shares))
    return _middle(recording, watch, best, shares), curve


def _range(recording: _Recording, watch: Watch, share: Callable[[float], float]) -> tuple[float, float]:
    """Thresholds between which the share changes.

    Numbers against an old reference exceed those against the frame before, and which references there are
    depends on the threshold: it is raised above all numbers measured until none exceeds it. That ends,
    because there are only as many numbers as pairs of frames.
    """
    frames = range(1, len(recording.shots))
    neighbours = [recording.number(t, t - 1) for t in frames if recording.shots[t] == recording.shots[t - 1]]
    if not neighbours:
        raise UsageError("nothing to calibrate on", found="no two frames of one shot")
    share(0.0)
    if watch.below:
        return min(neighbours), max(neighbours)
    if max(neighbours) == 0:
        raise UsageError(
            "nothing to calibrate on",
            found="a signal that is 0 on every frame: a still video",
            expected="a video in which something moves",
        )
    top = 0.0
    while top <= recording.largest:
        top = max(_nice(recording.largest * 1.0001), float(np.nextafter(recording.largest, np.inf)))
        share(top)
    return 0.0, top


def _middle(recording: _Recording, watch: Watch, best: float, shares: dict[float, float]) -> float:
    """The middle of the thresholds that give the same share, away from the steps on both sides."""
    thetas = sorted(shares)
    at = thetas.index(best)
    last = at
    while last + 1 < len(thetas) and shares[thetas[last + 1]] == shares[best]:
        last += 1
    middle = _nice((best + thetas[last]) / 2)
    return middle if recording.share(watch, middle) == shares[best] else best


def _nice(theta: float) -> float:
    """Six digits: what the schedule's text carries."""
    return float(f"{theta:.6g}")
