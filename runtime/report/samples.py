"""Frames of a run to show: as stale as the schedule lets them become, and some that are fresh."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from runtime.step import StepLike

__all__ = ["Sample", "SampleKeeper"]


@dataclass(frozen=True, eq=False)
class Sample:
    """A frame that is shown.

    step: its record. image: uint8, height x width x 3, RGB. labels: uint8, height x width, as played.
    oracle: the labels that running every stage on this frame gives, None where that was not done. more: the
    further pictures of the frame, by name.
    """

    step: StepLike
    image: np.ndarray
    labels: np.ndarray
    oracle: np.ndarray | None = None
    more: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def age(self) -> int:
        """The age of the oldest stage's output, in frames."""
        return max(self.step.ages.values(), default=0)


class SampleKeeper:
    """Chooses frames while a run of unknown length goes on, and keeps only those.

    The run so far is divided into a few parts of equal length, and of each part the stalest frame is kept,
    of two equally stale ones the later; when there are too many parts, neighbours become one. So are the
    fresh frames chosen, in fewer parts.

    Args:
        stale: The most stale frames kept.
        fresh: The most fresh ones.
    """

    def __init__(self, stale: int = 6, fresh: int = 2) -> None:
        self._stale = _Parts(stale, lambda sample: sample.age)
        self._fresh = _Parts(fresh, lambda sample: -sample.age)

    def add(
        self,
        step: StepLike,
        image: np.ndarray,
        labels: np.ndarray,
        more: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Consider a frame. The arrays are kept, not copied.

        Args:
            step: The frame's step.
            image: The frame's picture, uint8 height x width x 3, RGB.
            labels: What came out for it.
            more: Its other pictures by name.
        """
        sample = Sample(step, image, labels, more=more or {})
        self._stale.add(sample)
        self._fresh.add(sample)

    def samples(self) -> list[Sample]:
        """The frames kept, in order; where nothing was ever stale, these are fresh ones."""
        fresh = [sample for sample in self._fresh.kept if sample.age == 0]
        chosen = {sample.step.index: sample for sample in (*self._stale.kept, *fresh)}
        return [chosen[index] for index in sorted(chosen)]


class _Parts:
    def __init__(self, most: int, worth: Callable[[Sample], int]) -> None:
        self.kept: list[Sample] = []
        self._most = most
        self._worth = worth
        self._length = 1
        self._frames = 0

    def add(self, sample: Sample) -> None:
        if self._frames % self._length == 0:
            if len(self.kept) == self._most:
                pairs = zip(self.kept[::2], self.kept[1::2], strict=True)
                self.kept = [self._better(one, other) for one, other in pairs]
                self._length *= 2
            self.kept.append(sample)
        else:
            self.kept[-1] = self._better(self.kept[-1], sample)
        self._frames += 1

    def _better(self, one: Sample, other: Sample) -> Sample:
        return one if self._worth(one) > self._worth(other) else other


def with_oracle(samples: list[Sample], oracle: list[np.ndarray]) -> list[Sample]:
    """The samples beside the oracle's labels of the same frames."""
    return [replace(sample, oracle=labels) for sample, labels in zip(samples, oracle, strict=True)]
