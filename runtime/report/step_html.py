"""What a notebook shows of a step: the overlay with its legend, and the step's record below it."""

from __future__ import annotations

from weakref import ref

import numpy as np

from runtime.report.html import inline_picture
from runtime.report.overlay import Overlay, colours, legend
from runtime.step import Step
from staged_onnx.palettes import Classes
from weights.notebook import html_text

__all__ = ["StepHtml"]

WIDTH = 640


class StepHtml:
    """Draws a step. It does not keep the frame: where nobody else does, there is the result alone.

    Args:
        classes: Names and colours of labels or scores, None where there are none.
        image: The frame, uint8 height x width x 3, RGB; None where it is not at hand.
    """

    def __init__(self, classes: Classes | None, image: np.ndarray | None) -> None:
        self._classes = classes
        self._image = ref(image) if image is not None else None

    def __reduce__(self) -> tuple[type[StepHtml], tuple[Classes | None, None]]:
        return StepHtml, (self._classes, None)  # a reference to what others hold does not travel

    def __call__(self, step: Step) -> str:
        """HTML of the step."""
        image = self._image() if self._image is not None else None
        caption = f"<p><code>{html_text(repr(step), 200)}</code></p>"
        picture = self._picture(step, image)
        if picture is None:
            return f"<div>{caption}</div>"
        return f'<div><img src="{inline_picture(picture, WIDTH)}" style="max-width:100%">{caption}</div>'

    def _picture(self, step: Step, image: np.ndarray | None) -> np.ndarray | None:
        if image is not None:
            drawn = Overlay(self._classes, show_status=False)
            return drawn.draw(image, step.output, kind=step.kind)
        if step.kind == "labels":
            flat = colours(step.output, self._classes.palette if self._classes is not None else ())
            if self._classes is None:
                return flat
            return np.concatenate([flat, legend(self._classes, flat.shape[1], max_height=flat.shape[0])])
        return step.output if step.kind == "picture" else None
