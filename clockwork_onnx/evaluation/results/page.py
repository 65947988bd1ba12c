"""One self-contained HTML page of an evaluation: numbers, plots, and frames side by side."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from clockwork_onnx.evaluation.datasets.base import VOID
from clockwork_onnx.evaluation.results.page_text import INTRODUCTION, READING, STYLE
from clockwork_onnx.evaluation.results.plots import png
from clockwork_onnx.evaluation.results.tables import Table
from staged_onnx.palettes import Classes
from weights.whole_file import whole_file

__all__ = ["Page", "ShownFrame", "difference_picture", "write_page"]

_RIGHT_BOTH, _WRONG_BOTH = (236, 239, 241), (176, 184, 190)
_LOST, _WON, _OTHER = (220, 50, 47), (42, 140, 80), (240, 170, 40)

SHOWN_WIDTH = 480
"""Pixels of the widest picture on the page."""


@dataclass(frozen=True)
class ShownFrame:
    """A frame for the gallery: `image` H x W x 3, `truth` H x W or None, `outputs` label maps by schedule."""

    name: str
    image: NDArray[np.uint8]
    truth: NDArray[np.uint8] | None
    outputs: Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Page:
    """What goes on the page. `findings` are sentences; `plots` are (caption, figure)."""

    title: str
    facts: Mapping[str, str]
    findings: Sequence[str]
    tables: Sequence[Table]
    plots: Sequence[tuple[str, Figure]]
    frames: Sequence[ShownFrame] = field(default_factory=tuple)
    classes: Classes | None = None


def write_page(path: Path, page: Page) -> None:
    """Write the page; it appears whole, and needs no other file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_text(_html(page), encoding="utf-8")


def difference_picture(
    truth: NDArray[np.uint8] | None, oracle: NDArray[np.uint8], output: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Where a schedule differs from the oracle, H x W x 3.

    Red: the oracle was right and the schedule is not; green: the other way round; orange: both wrong in
    different ways, or no truth to tell. Light grey: the same and right, darker: the same and wrong or void.
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


def _html(page: Page) -> str:
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(page.title)}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{STYLE}</style></head><body><h1>{escape(page.title)}</h1>",
        INTRODUCTION,
        "<h2>What was measured</h2><table><tbody>",
        *(f"<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>" for k, v in page.facts.items()),
        "</tbody></table>",
    ]
    if page.findings:
        parts += ["<h2>Findings</h2><ul>", *(f"<li>{escape(text)}</li>" for text in page.findings), "</ul>"]
    for caption, figure in page.plots:
        parts.append(f"<h2>{escape(caption)}</h2>")
        if caption in READING:
            parts.append(f"<p>{escape(READING[caption])}</p>")
        parts.append(f"<figure>{_image(png(figure), 'png', caption)}</figure>")
    for table in page.tables:
        parts.append(_table(table))
    if page.frames:
        parts.append(_gallery(page))
    parts.append("<footer>Made by clockwork-onnx.</footer></body></html>\n")
    return "\n".join(parts)


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.texts()
    )
    return (
        f'<h2>{escape(table.title)}</h2><div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _gallery(page: Page) -> str:
    classes = page.classes
    colours = classes.colours() if classes is not None else np.zeros((256, 3), np.uint8)
    if classes is not None and len(classes) <= VOID:
        colours[VOID] = (255, 255, 255)
    parts = [
        "<h2>Frames side by side</h2><p>Frames evenly spread over the video, of those (5, 11, 17, ... of a "
        "shot) that come last before most fixed clocks fire anew. The frame, its true label (white: not "
        "scored), the oracle, and for each schedule its labels and where they differ from the oracle's.</p>"
    ]
    if classes is not None:
        pairs = zip(classes.names, classes.palette, strict=True)
        parts.append(_legend("Classes", [(name, tuple(colour)) for name, colour in pairs]))
    parts.append(
        _legend(
            "Differences",
            [
                ("lost: the oracle was right, the schedule is not", _LOST),
                ("won: the other way round", _WON),
                ("both wrong in different ways, or no label", _OTHER),
                ("the same and right", _RIGHT_BOTH),
                ("the same, but wrong or not scored", _WRONG_BOTH),
            ],
        )
    )
    parts += [_frame(frame, colours) for frame in page.frames]
    return "\n".join(parts)


def _frame(frame: ShownFrame, colours: NDArray[np.uint8]) -> str:
    given = [_cell("frame", frame.image, "jpeg")]
    if frame.truth is not None:
        given.append(_cell("true label", colours[frame.truth]))
    oracle = frame.outputs.get("oracle")
    if oracle is not None:
        given.append(_cell("oracle", colours[oracle]))
    schedules = {name: labels for name, labels in frame.outputs.items() if name != "oracle"}
    parts = [f'<h3>{escape(frame.name)}</h3><div class="frame">']
    parts.append(
        f'<div class="given" style="grid-row: 1 / span {max(len(schedules), 1)}">{"".join(given)}</div>'
    )
    for schedule, labels in schedules.items():
        pair = [_cell(schedule, colours[labels])]
        if oracle is not None:
            pair.append(
                _cell(_said(frame.truth, oracle, labels), difference_picture(frame.truth, oracle, labels))
            )
        parts.append(f'<div class="pair">{"".join(pair)}</div>')
    return "".join([*parts, "</div>"])


def _said(truth: NDArray[np.uint8] | None, oracle: NDArray[np.uint8], output: NDArray[np.uint8]) -> str:
    differs = output != oracle
    text = f"{np.mean(differs):.1%} other than the oracle"
    if truth is None:
        return text
    lost, won = (np.mean(differs & (one == truth)) for one in (oracle, output))
    return f"{text}: lost {lost:.1%}, won {won:.1%}"


def _legend(title: str, entries: Sequence[tuple[str, tuple[int, ...]]]) -> str:
    swatches = (
        f'<span><span class="swatch" style="background:rgb{colour}"></span>{escape(name)}</span> '
        for name, colour in entries
    )
    return f'<p class="legend"><b>{title}</b> {"".join(swatches)}</p>'


def _cell(caption: str, picture: NDArray[np.uint8], kind: str = "png") -> str:
    shown = Image.fromarray(picture)
    if shown.width > SHOWN_WIDTH:
        # Labels stay labels: no colours that lie between two classes.
        how = Image.Resampling.NEAREST if kind == "png" else Image.Resampling.LANCZOS
        shown = shown.resize((SHOWN_WIDTH, max(1, round(shown.height * SHOWN_WIDTH / shown.width))), how)
    if kind == "png":
        shown = shown.quantize(256, dither=Image.Dither.NONE) if shown.getcolors(256) else shown
    out = io.BytesIO()
    shown.save(out, format=kind, **({"quality": 85} if kind == "jpeg" else {"optimize": True}))
    figure = _image(out.getvalue(), kind, caption)
    return f"<figure>{figure}<figcaption>{escape(caption)}</figcaption></figure>"


def _image(data: bytes, kind: str, text: str) -> str:
    return f'<img alt="{escape(text)}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'
