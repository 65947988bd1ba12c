"""One HTML page of segmentations with DIGITS' display options (opacity, line width, mask, gamma)."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image

from clockwork_onnx.digits.views import LINE_WIDTH, OPACITY, Views
from weights.showing import html_text
from weights.whole_file import whole_file

__all__ = ["Sample", "inline_png", "write_views_page"]


@dataclass(frozen=True)
class Sample:
    """One picture of the page: its name, the frame uint8 (height, width, 3), its labels and views."""

    name: str
    image: np.ndarray
    labels: np.ndarray
    views: Views


def inline_png(picture: np.ndarray) -> str:
    """A picture, uint8 with 1, 3 or 4 channels, as a data address."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _figure(number: int, sample: Sample) -> str:
    legend = "".join(
        f'<span class="class" data-class="{entry.index}"><i style="background:{entry.hex_color}"></i>'
        f"{html_text(entry.text)}</span>"
        for entry in sample.views.legend
    )
    kind = "binary" if sample.views.is_binary else "segment"
    return (
        f'<figure class="card" data-number="{number}"><div class="stack">'
        f'<img class="frame" alt="{html_text(sample.name)}" src="{inline_png(sample.image)}">'
        f'<img class="over {kind}" alt="its segmentation" src="{inline_png(sample.views.seg)}">'
        f'<img class="labels" alt="" src="{inline_png(sample.labels)}"></div>'
        f'<figcaption><b>{html_text(sample.name)}</b><div class="legend">{legend or "no class but 0"}</div>'
        "</figcaption></figure>"
    )


def write_views_page(path: Path, samples: Iterable[Sample], *, title: str, subtitle: str = "") -> None:
    """Write the page, complete in itself.

    Args:
        path: of the page.
        samples: the pictures, in the order in which they are shown.
        title: of the page.
        subtitle: a line below it.
    """
    kept = list(samples)
    template = resources.files("clockwork_onnx.digits").joinpath("views_page.html").read_text("utf-8")
    page = Template(template).substitute(
        title=html_text(title),
        subtitle=html_text(subtitle),
        figures="".join(_figure(number, sample) for number, sample in enumerate(kept)),
        settings=json.dumps({"opacity": OPACITY, "lineWidth": LINE_WIDTH}),
        threshold="" if any(sample.views.is_binary for sample in kept) else "hidden",
    )
    with whole_file(path) as partial:
        partial.write_text(page, "utf-8")
