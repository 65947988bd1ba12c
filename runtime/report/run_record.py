"""What a run amounts to, gathered step by step in bounded memory: counts, times, and a strip to draw.

A live run may go on for days, so that no step is kept. Times are counted in classes 1 % wide, which gives
medians and percentiles to 1 %; the strip has at most `COLUMNS` columns, each of which stands for one frame
until there are more frames, then for 2, 4, 8, ...
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from runtime.step import StepLike

__all__ = ["COLUMNS", "Column", "RunRecord", "Spread"]

COLUMNS = 1000
"""Columns that can be told apart in a picture of usual width."""
_HEAD_ORDER = {"head": 1, "labels": 2}
_CLASS = math.log(1.01)


class Spread:
    """Numbers above 0 of which only classes 1 % wide are kept: how many fell into each, and their sum."""

    def __init__(self) -> None:
        self._classes: dict[int, list[float]] = {}
        self.count = 0
        self.sum = 0.0

    def add(self, number: float) -> None:
        """Count one number; numbers at or below 1e-9 share a class."""
        place = round(math.log(max(number, 1e-9)) / _CLASS)
        one = self._classes.setdefault(place, [0, 0.0])
        one[0] += 1
        one[1] += number
        self.count += 1
        self.sum += number

    def quantile(self, share: float) -> float:
        """The number that `share` (0 to 1) of all numbers do not exceed, to 1 %; NaN without numbers."""
        wanted = share * (self.count - 1)
        passed = 0.0
        for place in sorted(self._classes):
            count, total = self._classes[place]
            passed += count
            if passed > wanted:
                return total / count
        return math.nan


@dataclass
class Column:
    """Consecutive frames taken together.

    first: the first one's index in the source. frames: how many. fired, ages, moved: by stage, on how many
    of them it fired, the sum of its output's ages, and on how many it worked on moved values. starts: how
    many began a shot. signals: how many had a finite signal, of which low, high and signal_sum.
    """

    first: int
    frames: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    ages: Counter[str] = field(default_factory=Counter)
    moved: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    signals: int = 0
    signal_sum: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, step: StepLike, starts: bool) -> None:
        """Count a frame in.

        Args:
            step: The frame's step.
            starts: Whether the frame begins a shot.
        """
        self.frames += 1
        self.fired.update(step.fired)
        self.ages.update(step.ages)
        if step.moved:
            self.moved.update(name for name in _HEAD_ORDER if name in step.fired)
        self.starts += starts
        if step.signal is not None and math.isfinite(step.signal):
            self.signals += 1
            self.signal_sum += step.signal
            self.low, self.high = min(self.low, step.signal), max(self.high, step.signal)

    def join(self, other: Column) -> None:
        """Count the next column in."""
        self.frames += other.frames
        for mine, theirs in (
            (self.fired, other.fired),
            (self.ages, other.ages),
            (self.moved, other.moved),
        ):
            mine.update(theirs)
        self.starts += other.starts
        self.signals += other.signals
        self.signal_sum += other.signal_sum
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)


class RunRecord:
    """Counts the steps of a run.

    Attributes:
        frames: How many steps there were.
        shots: How many shots.
        fires: Stage -> on how many frames it fired.
        ms: Stage, other part, or "total" -> the spread of its milliseconds, over the frames that have any.
        ages: Stage -> on how many frames its output had an age.
        age_sums, oldest: Stage -> sum of these ages, and the greatest of them, in frames.
        signals: How many frames had a finite signal; signal_sum: their sum.
        delay_sum, longest_delay: Of the frames that had to come after one before it could be labelled.
        no_numbers: How many frames had a signal that was NaN or infinite.
        columns: The strip; all but the last stand for the same number of frames.
    """

    def __init__(self) -> None:
        self.frames = self.shots = self.signals = self.no_numbers = 0
        self.signal_sum = 0.0
        self.delay_sum = self.longest_delay = 0
        self.fires: Counter[str] = Counter()
        self.ages: Counter[str] = Counter()
        self.age_sums: Counter[str] = Counter()
        self.oldest: dict[str, int] = {}
        self.ms: defaultdict[str, Spread] = defaultdict(Spread)
        self.columns: list[Column] = []
        self._per_column = 1
        self._shot: int | None = None
        self._seen: dict[str, None] = {}

    @classmethod
    def of(cls, steps: Iterable[StepLike]) -> RunRecord:
        """The record of steps that are at hand, such as those read back from a log."""
        record = cls()
        for step in steps:
            record.add(step)
        return record

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that occurred, in order of appearance; then the head, then what follows it."""
        return tuple(sorted(self._seen, key=lambda name: _HEAD_ORDER.get(name, 0)))

    def add(self, step: StepLike) -> None:
        """Count one step; nothing of it is kept."""
        starts = step.shot != self._shot
        self._shot = step.shot
        self.shots += starts
        self._seen.update(dict.fromkeys((*step.ages, *step.fired)))
        self.fires.update(step.fired)
        for stage, age in step.ages.items():
            self.ages[stage] += 1
            self.age_sums[stage] += age
            self.oldest[stage] = max(age, self.oldest.get(stage, 0))
        for part, ms in step.ms.items():
            self.ms[part].add(ms)
        if step.signal is not None:
            if math.isfinite(step.signal):
                self.signals += 1
                self.signal_sum += step.signal
            else:
                self.no_numbers += 1
        self.delay_sum += step.delay
        self.longest_delay = max(self.longest_delay, step.delay)
        if self.frames % self._per_column == 0:
            self._new_column(step.index)
        self.columns[-1].add(step, starts)
        self.frames += 1

    def mean_age(self, stage: str) -> float | None:
        """Mean age in frames of a stage's output; None where it never had one."""
        return self.age_sums[stage] / self.ages[stage] if self.ages[stage] else None

    @property
    def mean_signal(self) -> float | None:
        """Mean of the finite signals; None where there was none."""
        return self.signal_sum / self.signals if self.signals else None

    def _new_column(self, index: int) -> None:
        if len(self.columns) == COLUMNS:
            for one, other in zip(self.columns[::2], self.columns[1::2], strict=True):
                one.join(other)
            del self.columns[1::2]
            self._per_column *= 2
        self.columns.append(Column(index))
