"""One HTML page of segmentations with DIGITS' display options (opacity, line width, mask, gamma)."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clockwork_onnx.digits.views import LINE_WIDTH, OPACITY, Views
from runtime.report.html import Section, make_section, write_page

__all__ = ["Sample", "inline_png", "views_section", "write_views_page"]


@dataclass(frozen=True)
class Sample:
    """One picture of the page: its name, the frame uint8 (height, width, 3), its labels and views."""

    name: str
    image: np.ndarray
    labels: np.ndarray
    views: Views


def inline_png(picture: np.ndarray) -> str:
    """A picture, uint8 with 1, 3 or 4 channels, as a data address: without losses, since alpha is data."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _values(sample: Sample) -> dict[str, Any]:
    return {
        "name": sample.name, "frame": inline_png(sample.image), "seg": inline_png(sample.views.seg),
        "labels": inline_png(sample.labels), "legend": sample.views.legend,
        "is_binary": sample.views.is_binary,
    }  # fmt: skip


def _page_values(samples: Iterable[Sample]) -> dict[str, Any]:
    kept = [_values(sample) for sample in samples]
    return {
        "samples": kept, "has_binary": any(sample["is_binary"] for sample in kept),
        "settings": {"opacity": OPACITY, "lineWidth": LINE_WIDTH},
    }  # fmt: skip


def views_section(samples: Iterable[Sample]) -> Section:
    """The same as a section of another page.

    Args:
        samples: The pictures, in the order in which they are shown.

    Returns:
        The section.
    """
    return make_section(
        Path(__file__).with_name("views_parts.html"),
        _page_values(samples),
        title="As DIGITS shows it",
        text="Fill, line and mask of each frame; the class under the pointer stands out in its legend. The "
        "files of all frames are in views/.",
    )


def write_views_page(path: Path, samples: Iterable[Sample], *, title: str, subtitle: str = "") -> None:
    """Write the page, complete in itself.

    Args:
        path: Where the page goes.
        samples: The pictures, in the order in which they are shown.
        title: The page's title.
        subtitle: A line below it.
    """
    values = {"title": title, "subtitle": subtitle, **_page_values(samples)}
    write_page(path, Path(__file__).with_suffix(".html"), values)
