"""What the layers that read maps between their points share: sizes, rounding, and values by index.

Points are read through Gather, not GridSample, whose normalised coordinates lose the last digits of a place
in a wide map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from caffe_port.graph import GraphBuilder
from weights.errors import UnsupportedError

__all__ = ["Plane", "bilinear", "clamp", "columns_of", "half_up", "limited", "plane_of"]

INT64, FLOAT = 7, 1

MOST = 2**24
"""Numbers that a constant made from sizes may hold: 64 MB, some hundred times what published nets need."""


def limited(what: str, number: int, most: int = MOST) -> None:
    """Refuse what a prototxt of a few bytes could ask for but no net needs, before it is made.

    Args:
        what: What is counted, for the message.
        number: How many are asked for.
        most: How many are accepted.

    Raises:
        UnsupportedError: `number` is above `most`.
    """
    if number > most:
        raise UnsupportedError(f"too many {what}", found=number, expected=f"at most {most}")


@dataclass(frozen=True)
class Plane:
    """Height and width of a map in the graph: int64 vectors of one element."""

    height: str
    width: str


def plane_of(g: GraphBuilder, value: str, name: str) -> Plane:
    """The height and width of a value as values of the graph: constants where they are known.

    Args:
        g: The graph.
        value: The net's value, N x C x H x W.
        name: What the graph calls it.

    Returns:
        Height and width, int64 vectors of one element.
    """
    dims = g.dims(value)
    height, width = (
        g.ints(dim) if dim is not None else g.sizes_of(name, axis)
        for axis, dim in zip((2, 3), dims[2:], strict=True)
    )
    return Plane(height, width)


def as_float(g: GraphBuilder, name: str) -> str:
    """An integer value as float32."""
    return g.node("Cast", name, to=FLOAT)


def half_up(g: GraphBuilder, x: str) -> str:
    """C's round(): to the nearest whole number, halves away from 0 (ONNX's Round takes them to the even).

    Args:
        g: The graph.
        x: Floats of any shape.

    Returns:
        Floats of the same shape.
    """
    size = g.node("Abs", x)
    whole = g.node("Floor", size)
    half = g.node("GreaterOrEqual", g.node("Sub", size, whole), g.const(np.float32(0.5)))
    return g.node("Mul", g.node("Sign", x), g.node("Add", whole, as_float(g, half)))


def clamp(g: GraphBuilder, x: str, low: str, high: str) -> str:
    """min(max(x, low), high)."""
    return g.node("Min", g.node("Max", x, low), high)


def columns_of(g: GraphBuilder, rois: str) -> tuple[str, ...]:
    """The columns of regions.

    Args:
        g: The graph.
        rois: (R, 5) or (R, 5, 1, 1).

    Returns:
        Image, x1, y1, x2, y2: five values of (R, 1).
    """
    flat = g.node("Reshape", rois, g.ints(-1, 5))
    return g.nodes("Split", flat, g.ints(1, 1, 1, 1, 1), axis=1, outputs=5)


def bilinear(
    g: GraphBuilder,
    x: str,
    plane: Plane,
    channels: int,
    item: str,
    corners: tuple[str, str, str, str],
    weights: tuple[str, str],
) -> str:
    """Values of a map between four points; all indices and weights broadcast against each other.

    Args:
        g: The graph.
        x: The map, (N, C, H, W).
        plane: Its height and width.
        channels: C.
        item: The item in the batch.
        corners: Rows y0 and y1, columns x0 and x1 (float, inside the map).
        weights: How far the point is from y0 to y1, and from x0 to x1.

    Returns:
        (..., C) for indices of shape (...).
    """
    rows = g.node("Reshape", g.node("Transpose", x, perm=[0, 2, 3, 1]), g.ints(-1, channels))
    top, bottom, left, right = (g.node("Cast", c, to=INT64) for c in corners)
    start = g.node("Mul", g.node("Cast", item, to=INT64), plane.height)

    def at(row: str, column: str) -> str:
        index = g.node("Add", g.node("Mul", g.node("Add", start, row), plane.width), column)
        return g.node("Gather", rows, index, axis=0)

    one = g.const(np.float32(1))
    down, across = weights
    total = ""
    for row, part in ((top, g.node("Sub", one, down)), (bottom, down)):
        for column, share in ((left, g.node("Sub", one, across)), (right, across)):
            weight = g.node("Unsqueeze", g.node("Mul", share, part), g.ints(-1))
            term = g.node("Mul", weight, at(row, column))
            total = g.node("Add", total, term) if total else term
    return total
