"""One self-contained HTML page of an evaluation: numbers, plots, and frames side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from clockwork_onnx.evaluation.datasets.base import VOID
from clockwork_onnx.evaluation.results.tables import Table
from runtime.report import plots
from runtime.report.html import inline_picture
from runtime.report.html import write_page as write_html
from staged_onnx.palettes import Classes

__all__ = ["Page", "ShownFrame", "difference_picture", "write_page"]

# Colours that are told apart with any of the usual kinds of colour blindness.
_RIGHT_BOTH, _WRONG_BOTH = (236, 239, 241), (168, 176, 183)
_LOST, _WON, _OTHER = (213, 94, 0), (0, 114, 178), (240, 220, 40)

SHOWN_WIDTH = 480
"""Pixels of the widest picture on the page."""

_TEMPLATE = Path(__file__).with_name("eval.html")
_READING = {
    "Accuracy against counted cost": (
        "Higher is better, further left is cheaper. A line joins the schedules of one family, each named by "
        "its setting; small points are beaten by others of their family, grey discs mark the Pareto front. "
        "The shaded area between two lines says which family gives more for the same work."
    ),
    "Accuracy against measured time": (
        "The same by time on the machine that made this page. Other work on the machine, and stages that "
        "wait for each other, show here."
    ),
    "The adaptive clock's threshold": (
        "A high threshold fires the deepest stage seldom, which is cheap and leaves old labels. A good "
        "threshold lies where the right curve begins to fall."
    ),
}
"""How to read a plot, by its caption."""


@dataclass(frozen=True)
class ShownFrame:
    """A frame for the gallery.

    image: uint8, H x W x 3, RGB. truth: its true label map, H x W, or None. outputs: label maps by schedule.
    """

    name: str
    image: NDArray[np.uint8]
    truth: NDArray[np.uint8] | None
    outputs: Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Page:
    """What goes on the page.

    facts: what was measured, by name. findings: sentences. plots: pairs of caption and figure.
    frame_text: how the frames were chosen, in a sentence.
    """

    title: str
    facts: Mapping[str, str]
    findings: Sequence[str]
    tables: Sequence[Table]
    plots: Sequence[tuple[str, Figure]]
    frames: Sequence[ShownFrame] = field(default_factory=tuple)
    classes: Classes | None = None
    frame_text: str = ""


def write_page(path: Path, page: Page) -> None:
    """Write the page.

    Args:
        path: The file; its folder is made, and it appears whole or not at all. It needs no other file.
        page: What goes on it.

    Raises:
        VideoError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    classes = page.classes
    colours = classes.colours() if classes is not None else np.zeros((256, 3), np.uint8)
    if classes is not None and len(classes) <= VOID:
        colours[VOID] = (255, 255, 255)
    values = {
        "title": page.title,
        "subtitle": "",
        "facts": list(page.facts.items()),
        "findings": page.findings,
        "plots": [
            {"caption": caption, "reading": _READING.get(caption, ""), "drawn": plots.svg(figure, caption)}
            for caption, figure in page.plots
        ],
        "tables": [
            {"title": table.title, "columns": table.columns, "rows": table.texts()} for table in page.tables
        ],
        "frames": [_frame(frame, colours) for frame in page.frames],
        "frame_text": page.frame_text,
        "classes": _legend(zip(classes.names, classes.palette, strict=True)) if classes is not None else [],
        "differences": _legend(
            [
                ("lost: the oracle was right, the schedule is not", _LOST),
                ("won: the other way round", _WON),
                ("both wrong in different ways, or no label", _OTHER),
                ("the same and right", _RIGHT_BOTH),
                ("the same, but wrong or not scored", _WRONG_BOTH),
            ]
        ),
    }
    write_html(path, _TEMPLATE, values)


def difference_picture(
    truth: NDArray[np.uint8] | None, oracle: NDArray[np.uint8], output: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Show where a schedule differs from the oracle.

    Args:
        truth: The true label map, H x W, or None.
        oracle: The oracle's label map, H x W.
        output: The schedule's.

    Returns:
        uint8, H x W x 3. Vermillion: the oracle was right and the schedule is not; blue: the other way round;
        yellow: both wrong in different ways, or no truth to tell. Light grey: the same and right, darker:
        the same and wrong or void.
    """
    same = output == oracle
    known = truth is not None
    is_void = truth == VOID if truth is not None else np.ones_like(same)
    oracle_right = (oracle == truth) & ~is_void if known else np.zeros_like(same)
    output_right = (output == truth) & ~is_void if known else np.zeros_like(same)
    picture = np.empty((*output.shape, 3), np.uint8)
    picture[:] = _OTHER
    picture[same] = _WRONG_BOTH
    picture[same & (oracle_right | (not known))] = _RIGHT_BOTH
    picture[~same & oracle_right] = _LOST
    picture[~same & output_right] = _WON
    return picture


def _frame(frame: ShownFrame, colours: NDArray[np.uint8]) -> dict[str, Any]:
    def labels(picture: NDArray[np.uint8]) -> str:
        return inline_picture(picture, SHOWN_WIDTH, "labels")

    given = [(inline_picture(frame.image, SHOWN_WIDTH), "frame", False)]
    if frame.truth is not None:
        given.append((labels(colours[frame.truth]), "true label", True))
    oracle = frame.outputs.get("oracle")
    if oracle is not None:
        given.append((labels(colours[oracle]), "oracle", True))
    schedules = []
    for name, output in frame.outputs.items():
        if name == "oracle":
            continue
        pair = [(labels(colours[output]), name)]
        if oracle is not None:
            difference = difference_picture(frame.truth, oracle, output)
            pair.append((labels(difference), _said(frame.truth, oracle, output)))
        schedules.append(pair)
    return {"name": frame.name, "given": given, "schedules": schedules}


def _said(truth: NDArray[np.uint8] | None, oracle: NDArray[np.uint8], output: NDArray[np.uint8]) -> str:
    differs = output != oracle
    text = f"{np.mean(differs):.1%} other than the oracle"
    if truth is None:
        return text
    lost, won = (np.mean(differs & (one == truth)) for one in (oracle, output))
    return f"{text}: lost {lost:.1%}, won {won:.1%}"


def _legend(entries: Any) -> list[tuple[str, str]]:
    return [(name, "rgb({}, {}, {})".format(*colour)) for name, colour in entries]
