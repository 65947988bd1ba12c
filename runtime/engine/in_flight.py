"""A frame under way: its work, what was decided on it, and the step that comes of it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from runtime.engine.executors import Task
from runtime.engine.transform_runner import Sight
from runtime.report.step_html import StepHtml
from runtime.step import Origin, Step
from staged_onnx import FRAME
from staged_onnx.palettes import Classes

__all__ = ["InFlight", "Result", "Work"]


class Result:
    """The output of one run of the head, copied out of its buffer as soon as it has run; read-only.

    kind: what it is, one of `staged_onnx.outputs.KINDS`.
    """

    __slots__ = ("array", "kind")

    array: np.ndarray

    def __init__(self, kind: str) -> None:
        self.kind = kind


@dataclass(frozen=True)
class Work:
    """One run of a stage or of the head; came_from: index of the frame of every value that it reads."""

    name: str
    task: Task
    came_from: dict[str, int]


@dataclass(eq=False, slots=True)
class InFlight:
    """A frame from its arrival to its result.

    frame: what the caller played. pictures: those of it that the stages read, by name. began: when it
    arrived, by time.perf_counter; decided: when all its work had been handed over. position: frames since the
    start of its shot. sight: as transforms see it. delay: frames that had to come before its labels could be
    made. classes: of the labels or scores. The other fields become the step's.
    """

    frame: object
    pictures: Mapping[str, np.ndarray]
    index: int
    name: str
    time: Fraction | None
    shot: int
    began: float
    decided: float = 0.0
    position: int = 0
    sight: Sight | None = None
    delay: int = 0
    tasks: list[tuple[str, Task]] = field(default_factory=list)
    provenance: dict[str, dict[str, int]] = field(default_factory=dict)
    ages: dict[str, int] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=dict)
    signal: float | None = None
    host_ms: dict[str, float] = field(default_factory=dict)
    result: Result | None = None
    classes: Classes | None = None
    origin: Origin | None = None

    @property
    def image(self) -> np.ndarray:
        """The picture that is labelled, uint8 (height, width, 3), RGB."""
        return self.pictures[FRAME]

    def add(self, work: Work) -> None:
        """Take a stage's or the head's work into the record."""
        self.tasks.append((work.name, work.task))
        self.provenance[work.name] = work.came_from

    def finish(self) -> Step:
        """Wait for the frame's work and make its step.

        Returns:
            The step.

        Raises:
            BaseException: What a part of the work raised.
        """
        for _, task in self.tasks:
            task.wait()
        assert self.result is not None
        ms = dict(self.host_ms)
        for name, task in self.tasks:
            ms[name] = ms.get(name, 0.0) + task.ms
        ended = max((task.ended for _, task in self.tasks), default=self.decided)
        ms["total"] = (max(ended, self.decided) - self.began) * 1e3
        return Step(
            index=self.index,
            name=self.name,
            time=self.time,
            shot=self.shot,
            output=self.result.array,
            kind=self.result.kind,
            fired=tuple(self.provenance),
            ages=self.ages,
            signal=self.signal,
            ms=ms,
            provenance=self.provenance,
            moved=self.moved,
            delay=self.delay,
            html=StepHtml(self.classes, self.image),
            origin=self.origin,
        )

    def abandon(self) -> None:
        """Wait until nothing works on the frame any more, whatever comes of it."""
        for _, task in self.tasks:
            with contextlib.suppress(BaseException):
                task.wait()
