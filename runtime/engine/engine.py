"""One frame through the stages: which fire, what each reads and writes, in the order of the reference.

Deciding asks the clocks; dispatch chooses versions and buffers and hands the work to the executor. An
executor that does everything at once makes this the sequential reference; threads only change when the same
work is done. So does starting a stage before its frame has come, where it reads only what earlier frames
left.
"""

from __future__ import annotations

import time

import numpy as np

from runtime.engine.cache import FeatureCache
from runtime.engine.deciding import Deciding
from runtime.engine.dispatch import Dispatch
from runtime.engine.executors import Executor
from runtime.engine.in_flight import InFlight, Work
from runtime.engine.opening import OpenSchedule
from runtime.schedule.clocks import has_budget
from runtime.step import Step

__all__ = ["Engine"]


class Engine:
    """Plays an opened schedule: frames begin in order, and each is finished by its `InFlight`."""

    def __init__(self, opened: OpenSchedule, executor: Executor) -> None:
        self._opened = opened
        self.dispatch = Dispatch(opened, executor)
        self._deciding = Deciding(opened, self.dispatch.complete)
        self._begun: dict[int, Work] | None = None
        self._position = 0
        if any(has_budget(stage.clock) for stage in opened.stages):
            self._warm_up()
        self.start_shot()

    @property
    def cache(self) -> FeatureCache:
        """The feature cache."""
        return self._opened.cache

    def start_shot(self) -> None:
        """Forget everything; the next frame is a full pass."""
        self._begun = None
        self._position = 0
        self.dispatch.start_shot()
        self._deciding.start_shot()

    def begin(self, frame: InFlight, image: np.ndarray) -> None:
        """Decide on the frame, and hand its work to the executor. image: uint8 of the engine's size, RGB."""
        position, dispatch, deciding = self._position, self.dispatch, self._deciding
        if self._begun is None:
            self.cache.begin_frame(position)
        begun, self._begun = self._begun or {}, None
        dispatch.begin_frame(frame, image, position)
        deciding.begin_frame(position, image, frame.began)
        fired = False
        for stage in self._opened.stages:
            if deciding.fires(stage):
                frame.add(begun.get(stage.number) or dispatch.run(stage, position))
                fired = True
            else:
                dispatch.move(stage)
        dispatch.run_head(fired)
        dispatch.end_frame(self._opened.stages)
        deciding.end_frame()
        frame.signal = deciding.signal
        frame.decided = time.perf_counter()
        self._position += 1

    def begin_next(self) -> None:
        """Begin those stages of the next frame that need nothing of it, if that frame goes on with the shot:
        their clocks go by its position, and all that they read is lagged. So a pipeline's deep stages work
        while the next frame is waited for, and its labels do not wait for them. Where a shot begins instead,
        the work was in vain and what it wrote is forgotten.
        """
        position = self._position
        early = [stage for stage in self._opened.stages if self._deciding.fires_early(stage, position)]
        if early:
            self.cache.begin_frame(position)
            self._begun = {stage.number: self.dispatch.run(stage, position) for stage in early}

    def learn_costs(self, step: Step) -> None:
        """Remember what the step's stages took, for budgets."""
        self._deciding.learn_costs(step.ms)

    def close(self) -> None:
        """Let go of buffers and bindings, also where somebody still holds the engine (a traceback, say)."""
        self.dispatch.bindings.clear()
        self._opened.close()

    def _warm_up(self) -> None:
        """Two full passes of an empty frame: the first pays for memory, the second tells the costs."""
        image = np.zeros((*self._opened.size, 3), np.uint8)
        for _ in range(2):
            self.start_shot()
            frame = InFlight(image, 0, "", None, 0, time.perf_counter())
            self.begin(frame, image)
            step = frame.finish()
        self.learn_costs(step)
