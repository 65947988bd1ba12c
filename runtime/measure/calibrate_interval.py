"""The longest interval between key frames whose labels still agree with the oracle, on unlabelled video.

The oracle's labels, the network on every frame, stand in for the true ones: a schedule is as good as the
share of pixels on which it says what the oracle says. With the interval found so, the weight of fusion is the
one whose labels agree best on the frames between key frames; those are what moving values is for, while on
key frames every mixture takes the labels away from the oracle's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from runtime.player import Player
from runtime.video.frames import pictures_of
from weights.errors import UsageError

__all__ = ["INTERVALS", "IntervalCalibration", "IntervalPoint", "calibrate_interval"]

INTERVALS = (2, 3, 4, 6, 8, 12, 16)
WEIGHTS = (0.3, 0.5, 0.7)
MAX_BYTES = 2 << 30


@dataclass(frozen=True)
class IntervalPoint:
    """One schedule: agreement with the oracle on all frames, and on those that are not key frames; network:
    share of the frames on which the whole network ran.
    """

    schedule: str
    interval: int
    weight: float
    agreement: float
    between: float
    network: float


@dataclass(frozen=True)
class IntervalCalibration:
    """What a calibration found.

    schedule: text that plays it. wanted: the agreement asked for, agreement: what the schedule has. points:
    all that were played.
    """

    schedule: str
    agreement: float
    wanted: float
    frames: int
    shots: int
    points: tuple[IntervalPoint, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def calibrate_interval(
    player: Player,
    frames: Iterable[Any],
    agreement: float = 0.95,
    *,
    kind: str = "between",
    intervals: Sequence[int] = INTERVALS,
    weights: Sequence[float] = WEIGHTS,
) -> IntervalCalibration:
    """Find the longest interval whose labels agree with the oracle's, and the best weight of fusion for it.

    Args:
        player: Lends its bundle and sessions; it plays the last of the schedules afterwards.
        frames: As for `Player.play`. All are kept, since each schedule plays them.
        agreement: The share of pixels, above 0 and at most 1, on which labels are to agree.
        kind: "between", "warp" or "skip", with options behind an @ that every schedule is to have.
        intervals: Those to be tried.
        weights: Weights of fusion to be tried; none for skip.

    Returns:
        The schedule, and what all of them reach. Where no interval reaches the agreement, the shortest.

    Raises:
        UsageError: The agreement is out of range, there are no two frames, or they take too much memory.
        ScheduleError: The kind does not fit the bundle.
    """
    if not 0 < agreement <= 1:
        raise UsageError("bad agreement", found=agreement, expected="above 0, at most 1")
    kept = _kept(frames)
    name, at, options = kind.partition("@")
    oracle, shots = _labels(player, kept, "oracle")
    points = []
    for interval in sorted(intervals):
        text = f"{name}:{interval}{at}{options}"
        points.append(_measured(player, kept, oracle, text, interval, 0.0))
    good = [point for point in points if point.agreement >= agreement]
    best = good[-1] if good else points[0]
    if name != "skip" and "fuse" not in options:
        fused = [
            _measured(player, kept, oracle, f"{best.schedule}@fuse={weight:g}", best.interval, weight)
            for weight in weights
        ]
        points += fused
        best = max([best, *fused], key=lambda point: point.between)
    return IntervalCalibration(best.schedule, best.agreement, agreement, len(kept), shots, tuple(points))


def _kept(frames: Iterable[Any]) -> list[Any]:
    kept, size = [], 0
    for frame in frames:
        image, _ = pictures_of(frame)
        kept.append(frame)
        size += int(np.asarray(image).nbytes)
        if size > MAX_BYTES:
            raise UsageError(
                "the video is too long to calibrate on",
                found=f"{len(kept)} frames, {size >> 20} MB",
                expected=f"at most {MAX_BYTES >> 20} MB",
                hint="use fewer frames",
            )
    if len(kept) < 2:
        raise UsageError("nothing to calibrate on", found=f"{len(kept)} frames", expected="two or more")
    return kept


def _labels(player: Player, frames: Sequence[Any], schedule: str) -> tuple[list[np.ndarray], int]:
    """Every frame's labels, and how many shots there were."""
    player.reset(schedule)
    steps = list(player.play(frames))
    return [step.labels for step in steps], steps[-1].shot + 1


def _measured(
    player: Player,
    frames: Sequence[Any],
    oracle: Sequence[np.ndarray],
    schedule: str,
    interval: int,
    weight: float,
) -> IntervalPoint:
    player.reset(schedule)
    last = player.bundle.manifest.stages[-1].name
    all_frames, between = [], []
    for step, labels in zip(player.play(frames), oracle, strict=True):
        same = float(np.mean(step.labels == labels))
        all_frames.append(same)
        if last not in step.fired:
            between.append(same)
    share = 1 - len(between) / len(all_frames)
    mean = float(np.mean(all_frames))
    return IntervalPoint(
        schedule, interval, weight, mean, float(np.mean(between)) if between else mean, share
    )
