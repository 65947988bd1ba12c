"""Deciding: which stages fire on a frame, by what their clocks want to know.

`Deciding` is the `Tick` that a clock is handed: it is pointed at one stage after another, in the net's order.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from statistics import median

import numpy as np

from runtime.engine.cache import Entry
from runtime.engine.open_schedule import OpenSchedule, OpenStage
from runtime.engine.probes import Probe
from runtime.schedule.clocks import Measured

__all__ = ["Deciding"]

COSTS_KEPT = 9
"""Passes of a stage of which the median tells what it costs."""


class Deciding:
    """The clocks of one opened schedule at work.

    Args:
        opened: The schedule.
        complete: Called with an entry of the cache before a probe looks at its newest version: returns when
            that is written.
        wait: Called before time is looked at: returns when what was handed over to a GPU is done.
    """

    def __init__(
        self, opened: OpenSchedule, complete: Callable[[Entry], None], wait: Callable[[], None]
    ) -> None:
        self._stages = opened.stages
        self._head = opened.head.name
        self._complete = complete
        self._wait = wait
        self._keeps_images = opened.asks_functions
        self._costs: dict[str, deque[float]] = {
            name: deque(maxlen=COSTS_KEPT) for name in (*(s.name for s in opened.stages), self._head)
        }
        self._measured: dict[Measured, float] = {}
        self.before: Sequence[bool] = ()
        self.signal: float | None = None
        """What the first clock that measured something on this frame saw."""
        self.start_shot()

    def start_shot(self) -> None:
        """Forget the frames so far: every stage of a full pass fires on the next one."""
        self.position = 0
        self._fired_at = [-1 if stage.between else 0 for stage in self._stages]
        self._previous: np.ndarray | None = None

    def begin_frame(self, position: int, image: np.ndarray, began: float) -> None:
        """Open a frame.

        Args:
            position: Its place in its shot, from 0.
            image: The frame, uint8 height x width x 3, RGB.
            began: When it arrived, by time.perf_counter.
        """
        self.position, self._image, self._began = position, image, began
        self.signal = None

    def end_frame(self) -> None:
        """Keep of the frame what the next one is compared with."""
        if self._keeps_images:
            self._previous = self._image.copy()

    def fires(self, stage: OpenStage) -> bool:
        """Whether the stage fires on this frame. Stages must be asked in order, once per frame."""
        if self.position == 0:
            for probe in stage.probes.values():
                self._ready(probe)
                probe.start()
            return not stage.between
        self._stage = stage
        self._measured.clear()
        self.before = [fired == self.position for fired in self._fired_at[: stage.number]]
        fires = stage.clock.fires(self)
        for probe in stage.probes.values():
            probe.settle(fires)
        if self._measured and self.signal is None:
            self.signal = next(iter(self._measured.values()))
        if fires:
            self._fired_at[stage.number] = self.position
        return fires

    def fires_early(self, stage: OpenStage, position: int) -> bool:
        """Whether a stage fires on a frame of which it needs nothing.

        Args:
            stage: The stage.
            position: The frame's place in its shot.

        Returns:
            False too where the stage does need something of the frame.
        """
        self.position = position
        return stage.early_at(position) and stage.clock.fires(self)

    @property
    def since(self) -> int:
        """Frames since the stage in question last fired."""
        return self.position - self._fired_at[self._stage.number]

    def measure(self, what: Measured) -> float:
        """The number that a sensor of the stage in question gives on this frame; measured once."""
        if what not in self._measured:
            probe = self._stage.probes[what]
            self._ready(probe)
            previous = self._previous if self._previous is not None else self._image
            self._measured[what] = probe.measure(self._image, previous)
        return self._measured[what]

    def fits(self, budget_ms: float) -> bool:
        """Whether the stage in question and the head can be done within the budget."""
        self._wait()
        needed = sum(median(self._costs[name]) for name in (self._stage.name, self._head))
        return (time.perf_counter() - self._began) * 1e3 + needed <= budget_ms

    def learn_costs(self, ms: dict[str, float]) -> None:
        """Remember what a frame's stages took, for budgets."""
        for name, costs in self._costs.items():
            if name in ms:
                costs.append(ms[name])

    def _ready(self, probe: Probe) -> None:
        for entry in probe.entries:
            self._complete(entry)
