"""The views of a segmentation as DIGITS' image segmentation extension draws them.

fill  the colour of each pixel's class, opaque where the class is not 0
line  the same colours, opaque within `line_width` pixels inside the boundary of each class but 0
seg   the same colours; alpha is 128 + the signed distance from the boundary of the pixel's class, so that a
      table over alpha shows lines, areas and what lies outside (`display_table`)
mask  black where the class is 0
and a legend of the classes in the picture, 0 left out.

Where a picture has one class only, line and seg are as fill, as in DIGITS. Alpha stays within 1..255 where
DIGITS' wraps around beyond 127 pixels of distance. The colour map `paired` takes its twelve colours evenly
over all classes of the net; DIGITS' stretches it over the classes of the first picture that it draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clockwork_onnx.digits.distance import signed_distance
from staged_onnx.palettes import Classes, voc_palette
from weights.errors import UsageError

__all__ = ["COLOUR_MAPS", "LegendEntry", "Views", "colour_map", "display", "display_table", "draw_views"]

COLOUR_MAPS = ("dataset", "paired", "none")
BOUNDARY = 128
"""The alpha of `seg` on the boundary itself."""
OPACITY, LINE_WIDTH = 0.3, 3
"""What DIGITS shows first."""
VOID = 255


@dataclass(frozen=True)
class LegendEntry:
    """One class of a picture: label, name, colour as #rrggbb."""

    index: int
    text: str
    hex_color: str


@dataclass(frozen=True)
class Views:
    """The views of one label map, each uint8 (height, width, 4): red, green, blue, alpha.

    `is_binary`: the net has two classes; DIGITS then shows one of them in white and offers a threshold.
    """

    fill: np.ndarray
    line: np.ndarray
    seg: np.ndarray
    mask: np.ndarray
    legend: tuple[LegendEntry, ...]
    is_binary: bool


def colour_map(name: str, classes: Classes) -> np.ndarray:
    """The colour of every label.

    Args:
        name: "dataset": the classes' own colours, the VOC palette's beyond them (255 is (224, 224, 192));
            "paired": Matplotlib's map of that name; "none": grey as dark as the label is low.
        classes: The net's classes.

    Returns:
        uint8, 256 x 3, RGB.

    Raises:
        UsageError: There is no such map.
    """
    if name == "dataset":
        table = np.array(voc_palette(), np.uint8)
        table[: len(classes)] = np.array(classes.palette, np.uint8)
        return table
    if name == "paired":
        from matplotlib import colormaps

        shades = colormaps["Paired"](np.arange(256) / max(1, len(classes) - 1))
        return np.asarray((shades[:, :3] * 255).astype(np.uint8))
    if name == "none":
        return np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    raise UsageError("no such colour map", found=name, expected=", ".join(COLOUR_MAPS))


def _legend(
    present: Sequence[int], colours: np.ndarray, classes: Classes, named: bool
) -> tuple[LegendEntry, ...]:
    def text(index: int) -> str:
        return classes.names[index] if named and index < len(classes) else f"Class #{index}"

    return tuple(
        LegendEntry(index, text(index), "#" + bytes(colours[index]).hex()) for index in present if index != 0
    )


def draw_views(
    labels: np.ndarray,
    classes: Classes,
    *,
    colours: str = "dataset",
    line_width: float = LINE_WIDTH,
    named: bool = True,
) -> Views:
    """All views of one label map.

    Args:
        labels: uint8 (height, width).
        classes: The classes of the net that made them.
        colours: A colour map, see `colour_map`.
        line_width: Width of `line`, in pixels.
        named: The legend has the classes' names; else it says "Class #n".

    Returns:
        The views and the legend.
    """
    table = colour_map(colours, classes)
    fill = np.dstack([table[labels], np.where(labels > 0, 255, 0).astype(np.uint8)])
    line, seg = fill.copy(), fill.copy()
    present = np.unique(labels).tolist()
    if len(present) > 1:
        lines = np.zeros(labels.shape, bool)
        furthest = np.ones(labels.shape)
        for index in present:
            if index == 0:
                continue
            region = labels == index
            distance = signed_distance(region)
            lines |= region & (distance < line_width)
            np.maximum(furthest, distance + BOUNDARY, out=furthest)
        line[..., 3] = np.where(lines, 255, 0)
        seg[..., 3] = furthest.clip(1, 255)
    mask = np.zeros_like(fill)
    mask[..., 3] = np.where(labels > 0, 0, 255)
    return Views(fill, line, seg, mask, _legend(present, table, classes, named), len(classes) == 2)


def display_table(
    opacity: float = OPACITY, mask: float = 0.0, line_width: float = LINE_WIDTH, threshold: float = 0.0
) -> np.ndarray:
    """The opacity at which DIGITS shows each alpha of `seg`; alpha 0 stays clear.

    Args:
        opacity: The opacity inside the line.
        mask: The opacity below the boundary; on the line it is 1.
        line_width: The line's width, in pixels.
        threshold: How far the boundary is moved, in pixels, for binary segmentations.

    Returns:
        float64 (256,), each from 0 to 1.
    """
    alpha = np.arange(256)
    boundary = BOUNDARY + threshold
    shown = np.where(alpha < boundary, mask, np.where(alpha < boundary + line_width, 1.0, opacity))
    shown[0] = 0.0
    return shown


def display(
    image: np.ndarray,
    views: Views,
    *,
    opacity: float = OPACITY,
    mask: float = 0.0,
    line_width: float = LINE_WIDTH,
    threshold: float = 0.0,
) -> np.ndarray:
    """The frame with `seg` over it, as DIGITS shows it at first: uint8 RGB of the frame's size.

    Args:
        image: uint8 (height, width, 3).
        views: The views of its labels.
        opacity: See `display_table`.
        mask: See `display_table`.
        line_width: See `display_table`.
        threshold: Moves the boundary of a binary segmentation, whose colours are black outside and white
            inside.

    Returns:
        uint8, height x width x 3, RGB.
    """
    table = display_table(opacity, mask, line_width, threshold if views.is_binary else 0.0)
    shown = table[views.seg[..., 3]][..., None]
    colour = views.seg[..., :3].astype(np.float64)
    if views.is_binary:
        inside = views.seg[..., 3] >= BOUNDARY + threshold
        colour = np.where(inside, 255.0, 0.0)[..., None]
    return np.asarray((image * (1 - shown) + colour * shown + 0.5).astype(np.uint8))
