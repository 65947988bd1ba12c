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
from runtime.engine.open_schedule import OpenSchedule
from runtime.schedule.clocks import has_budget
from runtime.step import Step

__all__ = ["Engine"]


class Engine:
    """Plays an opened schedule: frames begin in order, and each is finished by its `InFlight`."""

    def __init__(self, opened: OpenSchedule, executor: Executor) -> None:
        self._opened = opened
        self.dispatch = Dispatch(opened, executor)
        self._deciding = Deciding(opened, self.dispatch.complete, self.dispatch.wait)
        self._waits = opened.schedule.waits
        self._waiting: list[InFlight] = []
        self._key_at = 0
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
        self._waiting = []
        self._begun = None
        self._position = 0
        self.dispatch.start_shot()
        self._deciding.start_shot()

    def begin(self, frame: InFlight) -> None:
        """Take the next frame of the shot in; its pictures are of the engine's size.

        Its work is handed to the executor at once, or, where values are blended from the key frames around a
        frame, when the next key frame has come or the shot has ended.
        """
        position, deciding = self._position, self._deciding
        self._position += 1
        frame.position = position
        if self._begun is None:
            self.cache.begin_frame(position)
        self.dispatch.arrive(frame)
        deciding.begin_frame(position, frame.image, frame.began)
        if self._waits:
            self._waiting.append(frame)
            fires = deciding.fires(self._opened.stages[0])  # the clock of the first stage speaks for all
            self.dispatch.note_ms()
            if fires:
                self.end_wait()
        else:
            self._play(frame)
        frame.signal = deciding.signal
        deciding.end_frame()

    def _play(self, frame: InFlight) -> None:
        """Decide on a frame, stage by stage, and hand its work over."""
        dispatch = self.dispatch
        begun, self._begun = self._begun or {}, None
        fired = []
        for stage in self._opened.stages:
            if self._deciding.fires(stage):
                frame.add(begun.get(stage.number) or dispatch.run(stage, frame.position))
                dispatch.transform(stage, "fired")
                fired.append(stage.number)
            else:
                dispatch.transform(stage, "kept")
        dispatch.run_head(fired)
        self._end(frame)

    def end_wait(self) -> None:
        """The newest frame becomes a key frame, on which all stages run; then the frames before it that have
        waited for it are blended from it and from the key frame before them, in order, and labelled.
        """
        if not self._waiting:
            return
        *between, key = self._waiting
        self._waiting = []
        dispatch, stages = self.dispatch, self._opened.stages
        dispatch.look(key)
        for stage in stages:
            key.add(dispatch.run(stage, key.position))
            dispatch.transform(stage, "fired")
        dispatch.note_ms()
        for i, frame in enumerate(between):
            dispatch.look(frame, [*between[i + 1 :], key])
            frame.delay = key.position - frame.position
            blended = [dispatch.transform(stage, "kept") for stage in stages]
            if any(blended):
                dispatch.run_head(())
            else:
                dispatch.stand()
            self._end(frame)
            # its stages have already run for the key frame after it; what it is made of is as old as this
            frame.ages = dict.fromkeys(frame.ages, frame.position - self._key_at)
        self._key_at = key.position
        dispatch.look(key)
        for stage in stages:
            dispatch.restore(stage)
        dispatch.run_head(range(len(stages)))
        self._end(key)

    def _end(self, frame: InFlight) -> None:
        """All of a frame's work is handed over."""
        self.dispatch.end_frame(self._opened.stages)
        frame.decided = time.perf_counter()

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
        entries = (self.cache[name] for name in self._opened.frame_names)
        pictures = {entry.name: np.zeros(entry.shape, entry.dtype) for entry in entries}
        for _ in range(2):
            self.start_shot()
            frame = InFlight(None, pictures, 0, "", None, 0, time.perf_counter())
            self.begin(frame)
            step = frame.finish()
        self.learn_costs(step)
