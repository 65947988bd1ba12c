"""The views of a run as files: PNGs per frame, the legends as JSON, one page of samples."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clockwork_onnx.digits.views import LINE_WIDTH, display, draw_views
from clockwork_onnx.digits.views_page import Sample, write_views_page
from staged_onnx.palettes import Classes
from weights.whole_file import whole_file

__all__ = ["ViewWriter"]

MAX_SAMPLES = 12


class ViewWriter:
    """Writes the views of each frame into a folder.

    `NAME-fill.png`, `-line.png`, `-seg.png` and `-mask.png` (RGBA), `NAME-view.png` (the frame as DIGITS
    first shows it), and at the end `views.json` and `views.html`.

    Args:
        folder: Where to write; made with the first frame.
        classes: The labels' classes.
        colours: A colour map of `clockwork_onnx.digits.views`.
        line_width: Width of the line, in pixels.
        named: Legends with names, else "Class #n".
    """

    def __init__(
        self,
        folder: Path,
        classes: Classes,
        *,
        colours: str = "dataset",
        line_width: float = LINE_WIDTH,
        named: bool = True,
    ) -> None:
        self.folder = folder
        self._options: dict[str, Any] = {"colours": colours, "line_width": line_width, "named": named}
        self._classes = classes
        self._legends: list[dict[str, Any]] = []
        self._samples: list[Sample] = []
        self._every = 1

    def write(self, image: np.ndarray, labels: np.ndarray, name: str) -> None:
        """Write the views of one frame.

        Args:
            image: uint8 (height, width, 3).
            labels: uint8 (height, width).
            name: What its files are called, without a suffix; what a file name cannot hold becomes "_".
        """
        views = draw_views(labels, self._classes, **self._options)
        shown = display(image, views, line_width=self._options["line_width"])
        base = "".join(c if c.isalnum() or c in "._-" else "_" for c in name) or "frame"
        self.folder.mkdir(parents=True, exist_ok=True)
        for kind, picture in (("fill", views.fill), ("line", views.line), ("seg", views.seg),
                              ("mask", views.mask), ("view", shown)):  # fmt: skip
            with whole_file(self.folder / f"{base}-{kind}.png") as partial:
                Image.fromarray(picture).save(partial, "PNG")
        self._legends.append({"frame": base, "is_binary": views.is_binary,
                              "legend": [asdict(entry) for entry in views.legend]})  # fmt: skip
        if (len(self._legends) - 1) % self._every == 0:
            self._samples.append(Sample(base, image.copy(), labels.copy(), views))
            if len(self._samples) > MAX_SAMPLES:
                self._samples, self._every = self._samples[::2], 2 * self._every

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The frames that a page shows."""
        return tuple(self._samples)

    def finish(self, title: str, subtitle: str = "") -> None:
        """Write the legends and the page, where there was a frame.

        Args:
            title: The page's title.
            subtitle: What stands below it.
        """
        if not self._legends:
            return
        with whole_file(self.folder / "views.json") as partial:
            partial.write_text(json.dumps({"frames": self._legends}, indent=1), "utf-8")
        write_views_page(self.folder / "views.html", self._samples, title=title, subtitle=subtitle)
