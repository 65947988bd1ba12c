"""One self-contained HTML page of an evaluation: numbers, plots, and frames side by side."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from evaluation.metrics import VOID
from evaluation.plots import png
from evaluation.tables import Table
from staged_onnx.palettes import Classes

__all__ = ["Page", "ShownFrame", "difference_picture", "write_page"]

_RIGHT_BOTH, _WRONG_BOTH = (236, 239, 241), (176, 184, 190)
_LOST, _WON, _OTHER = (220, 50, 47), (42, 140, 80), (240, 170, 40)

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2129; max-width: 1180px; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-size: 13px; } th, td { padding: .25rem .6rem; text-align: right; }
th:first-child, td:first-child { text-align: left; } tbody tr:nth-child(odd) { background: #f4f6f8; }
thead th { border-bottom: 2px solid #1d2129; } .wide { overflow-x: auto; }
img { max-width: 100%; height: auto; } figure { margin: 0; }
.frames { display: grid; gap: .5rem; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); }
.frames img { width: 100%; image-rendering: pixelated; } figcaption { font-size: 12px; color: #4a5361; }
.swatch { display: inline-block; width: .9em; height: .9em; margin: 0 .3em 0 1em; vertical-align: -.1em; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem 1.2rem; } footer { margin-top: 3rem; color: #4a5361; }
"""

_WORDS = """
<p>A network for labelling every pixel of a picture is cut into <b>stages</b>, shallow to deep. The shallow
stages follow edges and motion and are cheap to repeat; what the deep ones find (which things there are)
changes slowly. A <b>schedule</b> says which stage runs (<b>fires</b>) on which frame; a stage that does not
fire lends its last result, and a small <b>head</b> puts the picture together.</p>
<dl>
<dt>oracle</dt><dd>Everything fires on every frame: the accuracy to compare with, and the cost 1.</dd>
<dt>skip:N</dt><dd>Everything on every N-th frame; the frames between repeat the last picture.</dd>
<dt>rates:A,B,.. alternating, exponential</dt><dd>Each stage at a rate of its own: the shallow ones on every
frame, the deep ones on every second, fourth, ... frame.</dd>
<dt>pipeline:N</dt><dd>All stages on every frame, but the deep ones work on what the shallow ones left one or
two frames ago, so that they can run side by side.</dd>
<dt>adaptive:T</dt><dd>The deep stage fires when at least the share T of the shallow labels has changed since
it last fired.</dd>
<dt>mean IU</dt><dd>Intersection over union of predicted and true pixels, averaged over classes: 1 is
perfect. <b>fwIU</b> weights classes by their size.</dd>
<dt>MACs</dt><dd>Multiply-accumulates that were carried out, as a share of the oracle's.</dd>
<dt>age</dt><dd>Frames since a stage's result was computed.</dd>
<dt>changes</dt><dd>Share of pixels whose label changes from one frame to the next.</dd>
</dl>
"""


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
    part = path.with_name(path.name + ".part")
    part.write_text(_html(page), encoding="utf-8")
    os.replace(part, path)


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
        f"<style>{_STYLE}</style></head><body><h1>{escape(page.title)}</h1>",
        _WORDS,
        "<h2>What was measured</h2><table><tbody>",
        *(f"<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>" for k, v in page.facts.items()),
        "</tbody></table>",
    ]
    if page.findings:
        parts += ["<h2>Findings</h2><ul>", *(f"<li>{escape(text)}</li>" for text in page.findings), "</ul>"]
    for table in page.tables:
        parts.append(_table(table))
    for caption, figure in page.plots:
        parts.append(f"<h2>{escape(caption)}</h2><figure>{_image(png(figure), 'png', caption)}</figure>")
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
    parts = ["<h2>Frames</h2>"]
    if classes is not None:
        swatches = (
            f'<span class="swatch" style="background:rgb{tuple(colour)}"></span>{escape(name)}'
            for name, colour in zip(classes.names, classes.palette, strict=True)
        )
        parts.append(f"<p>{''.join(swatches)}</p>")
    parts.append(
        "<p>Difference from the oracle: red where the oracle was right and the schedule is not, green where "
        "it is the other way round, orange where both are wrong or there is no label, grey where they "
        "agree.</p>"
    )
    for frame in page.frames:
        parts.append(f'<h3>{escape(frame.name)}</h3><div class="frames">')
        parts.append(_cell("frame", frame.image, "jpeg"))
        if frame.truth is not None:
            parts.append(_cell("label", colours[frame.truth]))
        oracle = frame.outputs.get("oracle")
        for schedule, labels in frame.outputs.items():
            parts.append(_cell(schedule, colours[labels]))
            if oracle is not None and schedule != "oracle":
                picture = difference_picture(frame.truth, oracle, labels)
                share = float(np.mean(labels != oracle))
                parts.append(_cell(f"{schedule}: {share:.1%} other than the oracle", picture))
        parts.append("</div>")
    return "\n".join(parts)


def _cell(caption: str, picture: NDArray[np.uint8], kind: str = "png") -> str:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format=kind, **({"quality": 85} if kind == "jpeg" else {}))
    figure = _image(out.getvalue(), kind, caption)
    return f"<figure>{figure}<figcaption>{escape(caption)}</figcaption></figure>"


def _image(data: bytes, kind: str, text: str) -> str:
    return f'<img alt="{escape(text)}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'
