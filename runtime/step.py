"""What a player hands out for one frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

import numpy as np

from weights.errors import UsageError
from weights.notebook import html_text

__all__ = ["Origin", "Step", "StepLike"]


@dataclass(frozen=True, eq=False)
class Origin:
    """Where each pixel's label comes from, on the grid of the flow paths, h x w, laid over the frame.

    age: int16, frames since the key frame that it comes from; below 0, frames until it. moved: float32,
    h x w x 2, the way from here to where it is in that key frame, (x, y) in pixels of the grid. sure:
    float32, 0 to 1, how well that way explains the picture; 1 where it does exactly.
    """

    age: np.ndarray
    moved: np.ndarray
    sure: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Step:
    """One frame's result and the record of how it came about.

    index, name, time: the frame's own, time in seconds. shot: how many shots began before this one.
    output: what the bundle gives, read-only: the labels (uint8, height x width of the frame), or what `kind`
    says (see `staged_onnx.outputs`). It stays valid, and is the previous step's own array where the head had
    nothing new to work on. fired: names of the stages that ran, "head" included, in the net's order.
    ages: stage name -> frames since the frame that its output, as the head uses it now, was computed on.
    signal: what the first watching clock measured, None where none did. ms: milliseconds by stage name, and
    "total" from the frame's arrival to its labels: more than the sum where a frame had to wait or, the first
    of its size, had sessions opened for it; less where a pipeline's stages ran before it came. provenance:
    fired stage -> {input name: index of the frame that the value was computed on}. moved: carried value ->
    how often it was transformed since it was computed, for those values that were. delay: frames after this
    one that had to come before its labels could be made. html: draws the step for a notebook. origin: where
    each pixel's label comes from, where the schedule was asked for it (`@origin`).
    """

    index: int
    name: str
    time: Fraction | None
    shot: int
    output: np.ndarray
    fired: tuple[str, ...]
    ages: dict[str, int]
    signal: float | None
    ms: dict[str, float]
    provenance: dict[str, dict[str, int]]
    moved: dict[str, int] = field(default_factory=dict)
    delay: int = 0
    kind: str = "labels"
    html: Callable[[Step], str] | None = None
    origin: Origin | None = None

    def __repr__(self) -> str:
        fired = ", ".join(self.fired) or "nothing"
        size = " x ".join(map(str, self.output.shape))
        ms = self.ms.get("total", 0.0)
        return f"Step({self.index}, {self.kind} {size}, fired: {fired}, {ms:.1f} ms)"

    def _repr_html_(self) -> str:
        return self.html(self) if self.html is not None else f"<code>{html_text(repr(self), 200)}</code>"

    @property
    def labels(self) -> np.ndarray:
        """The label map, uint8 height x width of the frame.

        Raises:
            UsageError: The bundle gives something else.
        """
        if self.kind != "labels":
            raise UsageError(
                "this bundle gives no labels",
                found=f"a {self.kind}",
                hint="it is in step.output",
            )
        return self.output


class StepLike(Protocol):
    """What logs and pictures read of a step, one of a player or one read back: all of it but the labels."""

    @property
    def index(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def time(self) -> Fraction | None: ...
    @property
    def shot(self) -> int: ...
    @property
    def fired(self) -> Sequence[str]: ...
    @property
    def ages(self) -> Mapping[str, int]: ...
    @property
    def signal(self) -> float | None: ...
    @property
    def ms(self) -> Mapping[str, float]: ...
    @property
    def provenance(self) -> Mapping[str, Mapping[str, int]]: ...
    @property
    def moved(self) -> Mapping[str, int]: ...
    @property
    def delay(self) -> int: ...
