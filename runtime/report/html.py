"""Every HTML page: one template engine, one base template, pictures inside the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from weights.errors import VideoError
from weights.shown import shown
from weights.whole_file import whole_file

__all__ = ["Section", "inline_picture", "make_section", "write_page"]

_HERE = Path(__file__).parent


def write_page(path: str | PathLike[str], template: Path, values: dict[str, Any]) -> None:
    """Render a template into a file that needs no other file.

    Args:
        path: The page; it appears whole or not at all.
        template: An HTML file; it may extend `base.html` and import `macros.html`, which lie here.
        values: What the template's names stand for. Text is escaped, and made fit to show; a name that the
            template uses and that is missing is an error.

    Raises:
        VideoError: The file cannot be written.
    """
    page = _environment(template.parent).get_template(template.name).render(values)
    try:
        with whole_file(path) as partial:
            partial.write_text(page, encoding="utf-8")
    except OSError as error:
        raise VideoError("cannot be written", file=path, found=error.strerror) from error


@dataclass(frozen=True)
class Section:
    """A part of a page that is made elsewhere.

    Attributes:
        title: Its heading.
        text: A paragraph below that.
        style: CSS, for the page's head.
        content: HTML.
    """

    title: str
    text: str
    style: Markup
    content: Markup


def make_section(template: Path, values: dict[str, Any], *, title: str, text: str) -> Section:
    """Render a section from a template with the macros `style` and `content`.

    Args:
        template: An HTML file that holds the two.
        values: What the names in them stand for, as for `write_page`.
        title: The heading.
        text: A paragraph.

    Returns:
        The section.
    """
    parts: Any = _environment(template.parent).get_template(template.name).make_module(values)
    return Section(title, text, parts.style(), parts.content())


@lru_cache(maxsize=8)
def _environment(folder: Path) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, _HERE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: shown(value) if type(value) is str else value,
    )


def inline_picture(
    image: np.ndarray, width: int, kind: Literal["photo", "labels"] = "photo", quality: int = 80
) -> str:
    """Make an address that holds a picture.

    Args:
        image: uint8, height x width x 3, RGB.
        width: The most pixels across; a wider picture is made smaller.
        kind: "photo" is written as WebP with losses; "labels", pictures of few colours, without, and no
            colours arise between those that are there.
        quality: Quality of a photo, 0 to 100.

    Returns:
        A `data:` address for the `src` of an image.
    """
    picture = Image.fromarray(np.ascontiguousarray(image))
    if picture.width > width:
        how = Image.Resampling.LANCZOS if kind == "photo" else Image.Resampling.NEAREST
        picture = picture.resize((width, max(1, round(picture.height * width / picture.width))), how)
    out = io.BytesIO()
    if kind == "photo":
        picture.save(out, format="webp", quality=quality, method=4)
        return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode("ascii")
    if picture.getcolors(256):
        picture = picture.quantize(256, dither=Image.Dither.NONE)
    picture.save(out, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")
