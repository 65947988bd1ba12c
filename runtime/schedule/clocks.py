"""Clocks: what decides whether a stage fires on a frame. All are data; `fires` is asked once per frame.

On the first frame of a shot every stage fires, whatever its clock says; the clock is not asked then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Protocol

import numpy as np

__all__ = [
    "All",
    "Always",
    "Any",
    "Budget",
    "Clock",
    "Drift",
    "Every",
    "Follow",
    "Learned",
    "Measured",
    "Never",
    "Not",
    "Sensor",
    "Tick",
    "Watch",
    "by_position",
    "has_budget",
    "sensors_of",
    "single_clocks",
]

BUDGET_RETRY = 30


class Tick(Protocol):
    """What a clock may look at on one frame, for one stage."""

    @property
    def position(self) -> int:
        """Frames since the start of the shot."""

    @property
    def since(self) -> int:
        """Frames since this stage last fired."""

    @property
    def before(self) -> Sequence[bool]:
        """Whether the stages before this one fire on this frame."""

    def measure(self, what: Measured) -> float:
        """The number that a sensor gives on this frame."""

    def fits(self, budget_ms: float) -> bool:
        """Whether this stage and the head can be done within the budget, counted from the frame's arrival."""


class Clock(Protocol):
    """Anything that decides whether a stage fires."""

    def fires(self, tick: Tick) -> bool:
        """Whether the stage fires on this frame."""


@dataclass(frozen=True)
class Always:
    """Fires on every frame."""

    def fires(self, tick: Tick) -> bool:
        """True."""
        return True


@dataclass(frozen=True)
class Never:
    """Fires on the first frame of a shot only."""

    def fires(self, tick: Tick) -> bool:
        """False."""
        return False


@dataclass(frozen=True)
class Follow:
    """Fires when the stage `back` places before does."""

    back: int = 1

    def fires(self, tick: Tick) -> bool:
        """As that stage."""
        return tick.before[-self.back]


@dataclass(frozen=True)
class Every:
    """Fires on frame t of a shot when (t - phase) mod rate is 0."""

    rate: int
    phase: int = 0

    def fires(self, tick: Tick) -> bool:
        """By the frame's position in its shot."""
        return (tick.position - self.phase) % self.rate == 0


@dataclass(frozen=True)
class Sensor:
    """A number measured on a value of the cache, on the device.

    value: "frame" or a carried value. measure:
    - "argmax": share of positions whose argmax over channels differs from the reference map's;
    - "relative": mean of |a - b| / ((|a| + |b|) / 2) against the reference, 0 where both are 0; of the frame,
      after the net's mean is subtracted;
    - "peak": mean over positions of the largest softmax probability; needs no reference;
    - "auto": "argmax" for a value with one channel per class, else "relative".
    reference: "fired", the value when the stage last fired, or "previous", the one of the frame before.
    """

    value: str
    measure: str = "auto"
    reference: str = "fired"


@dataclass(frozen=True)
class Drift:
    """A number measured on how a value has been moved since it was computed.

    value: one that follows the picture. measure: "residual", how badly the path explains the frame, or
    "distance", how long the path is (see `runtime.flow.paths`).
    """

    value: str
    measure: str


@dataclass(frozen=True)
class Watch:
    """Fires when a sensor's number reaches `theta`.

    strict: above theta instead of at or above it. below: under theta (strict) or at or under it. minimum:
    frames since the last firing before which it never fires; maximum: those after which it always does.
    """

    sensor: Sensor | Drift
    theta: float
    strict: bool = False
    below: bool = False
    minimum: int = 1
    maximum: int | None = None

    def fires(self, tick: Tick) -> bool:
        """Measure always, so that every frame has its number, then compare."""
        number = tick.measure(self.sensor)
        if tick.since < self.minimum:
            return False
        if self.maximum is not None and tick.since >= self.maximum:
            return True
        if self.below:
            return number < self.theta if self.strict else number <= self.theta
        return number > self.theta if self.strict else number >= self.theta


@dataclass(frozen=True)
class Learned:
    """Fires when a function of what the net has seen and computed reaches `theta`.

    model: a callable on two uint8 arrays (height, width, 3), the frame and the one before, that returns a
    number; or the path of an ONNX model of one number. The model takes two such arrays, in this order, or
    values of the cache by their names ("score_pool4"; "score_pool4@fired" is the one from when the stage
    last fired).
    """

    model: Callable[[np.ndarray, np.ndarray], float] | str | PathLike[str]
    theta: float = 0.5
    minimum: int = 1
    maximum: int | None = None

    def fires(self, tick: Tick) -> bool:
        """Ask the model on every frame."""
        number = tick.measure(self)
        if self.maximum is not None and tick.since >= self.maximum:
            return True
        return tick.since >= self.minimum and number >= self.theta


Measured = Sensor | Learned | Drift
"""Everything that a clock can measure."""


@dataclass(frozen=True)
class Budget:
    """Fires when the stage and the head fit into what is left of `ms` milliseconds per frame.

    What a stage costs is the median of its last passes. A stage that did not fit for `maximum` frames fires
    nevertheless, so that its value does not age without end and its cost is measured again.
    """

    ms: float
    maximum: int = BUDGET_RETRY

    def fires(self, tick: Tick) -> bool:
        """By the time spent on this frame so far."""
        return tick.since >= self.maximum or tick.fits(self.ms)


@dataclass(frozen=True)
class Any:
    """Fires when one of its clocks does. All are asked, so that each measures on every frame."""

    clocks: tuple[Clock, ...]

    def fires(self, tick: Tick) -> bool:
        """Logical or."""
        answers = [clock.fires(tick) for clock in self.clocks]
        return any(answers)


@dataclass(frozen=True)
class All:
    """Fires when all of its clocks do. All are asked, so that each measures on every frame."""

    clocks: tuple[Clock, ...]

    def fires(self, tick: Tick) -> bool:
        """Logical and."""
        answers = [clock.fires(tick) for clock in self.clocks]
        return all(answers)


@dataclass(frozen=True)
class Not:
    """Fires when its clock does not."""

    clock: Clock

    def fires(self, tick: Tick) -> bool:
        """Logical not."""
        return not self.clock.fires(tick)


def single_clocks(clock: Clock) -> Iterator[Clock]:
    """The clocks that a combination is made of, in the order in which they are written."""
    match clock:
        case Any(clocks=clocks) | All(clocks=clocks):
            for part in clocks:
                yield from single_clocks(part)
        case Not(clock=inner):
            yield from single_clocks(inner)
        case _:
            yield clock


def sensors_of(clock: Clock) -> Iterator[Measured]:
    """Everything that a clock measures, in the order in which it is written."""
    for single in single_clocks(clock):
        if isinstance(single, Watch):
            yield single.sensor
        elif isinstance(single, Learned):
            yield single


def by_position(clock: Clock) -> bool:
    """Whether a clock goes by the frame's position in its shot alone, so that it can be asked beforehand."""
    return all(isinstance(single, Always | Never | Every) for single in single_clocks(clock))


def has_budget(clock: Clock) -> bool:
    """Whether a clock goes by what stages cost."""
    return any(isinstance(single, Budget) for single in single_clocks(clock))
