"""Where a run that broke off can go on: the frames after which the cache is as after the first of a shot.

The first frame of a shot forgets everything. Within a shot, a frame will do on which every stage fired and
read nothing but this frame (a key frame), at a position that is a multiple of every clock's rate, so that the
clocks go on in step when positions are counted from it. Played again as the first frame of a shot, it leaves
the cache, and what the clocks remember, as it did in the run that broke off.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm

from runtime.schedule.clocks import Every, single_clocks
from runtime.schedule.flow_schedules import played_manifest
from runtime.schedule.schedule import Schedule
from runtime.step import StepLike
from staged_onnx import Manifest

__all__ = ["Restart", "RestartFinder"]


@dataclass(frozen=True)
class Restart:
    """Where to go on.

    index: of the frame in its source; it is played again, as the first of a shot. steps: how many steps came
    before its own. shot: the number of its shot.
    """

    index: int
    steps: int
    shot: int


class RestartFinder:
    """Looks at the steps of a run, in order; `last` is where it could go on after those seen so far.

    Args:
        schedule: What was played.
        manifest: The bundle's.
    """

    def __init__(self, schedule: Schedule, manifest: Manifest) -> None:
        played = played_manifest(manifest, schedule.movement)
        self._all = {stage.name for stage in played.stages if not stage.between} | {played.head.name}
        clocks = [single for clock in schedule.clocks for single in single_clocks(clock)]
        self._cycle = lcm(*(clock.rate for clock in clocks if isinstance(clock, Every)))
        # What is mixed with older values at a key frame, and what a pipeline is filled with, depends on how
        # the shot began.
        fuses = schedule.movement is not None and schedule.movement.options.fuse > 0
        mixes = any(transform.when == "fired" for transform in schedule.transforms)
        self._only_shots = fuses or mixes or bool(schedule.fill)
        self._steps = 0
        self._shot: int | None = None
        self._began = 0
        self.last: Restart | None = None

    def add(self, step: StepLike) -> None:
        """Look at the next step."""
        if step.shot != self._shot:
            self._shot, self._began = step.shot, self._steps
        if self._steps == self._began or self._is_key(step):
            self.last = Restart(step.index, self._steps, step.shot)
        self._steps += 1

    def _is_key(self, step: StepLike) -> bool:
        if self._only_shots or (self._steps - self._began) % self._cycle or step.moved:
            return False
        read = {frame for values in step.provenance.values() for frame in values.values()}
        return self._all <= set(step.fired) and read == {step.index}
