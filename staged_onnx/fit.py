"""Bringing a frame to a size that the net takes, and its results back on the frame.

A net takes one size, or any on a grid: `remainder` and a whole number of times `multiple` on each axis. A
frame is resized to that size, or fitted without being resized, as DeepLab's ImageSegData layer does: one that
is smaller is padded at the bottom and right with the mean, which is 0 after it has been subtracted; of one
that is larger the middle is taken. The results go the opposite way: the rows and columns of the padding are
cut off, and around the middle of a larger frame they are 0, so that what the net has not seen is of the first
class (background).
"""

from __future__ import annotations

from collections.abc import Mapping

from caffe_port.net import Net, Shape
from caffe_port.onnx_graph import OnnxGraph
from caffe_port.shapes import infer_shapes
from weights.errors import ClockworkError

__all__ = ["emit_fit", "emit_unfit", "emit_unpad", "nearest_fit", "net_size", "size_multiple"]

MULTIPLES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Multiples of the frame's size that nets are tried for."""
TRIED = (1, 2, 3, 5, 7)
"""Steps of a multiple from the net's own size that are tried."""


def size_multiple(net: Net, inputs: Mapping[str, Shape], scores: str = "") -> tuple[int, int] | None:
    """The steps, down and across, by which a frame may be larger than one that the net takes.

    Found by trying, on each axis, which larger inputs have shapes that fit each other (two maps that are
    added or concatenated need one size; whether they have it depends on how strides round).

    Args:
        net: The net.
        inputs: Shapes of its inputs (N, C, H, W) that fit; all of them grow together.
        scores: A value that must stay as large as the first input where it is so at these sizes.

    Returns:
        The steps, or None where no step up to 128 pixels serves.
    """
    picture = next(iter(inputs))
    shapes = infer_shapes(net, inputs)
    same = scores if scores and shapes[scores][2:] == shapes[picture][2:] else picture

    def takes(axis: int, more: int) -> bool:
        larger = {
            name: tuple(size + more * (i == axis) for i, size in enumerate(shape))
            for name, shape in inputs.items()
        }
        try:
            found = infer_shapes(net, larger)
        except ClockworkError:
            return False
        return found[same][2:] == found[picture][2:]

    down, across = (
        next((step for step in MULTIPLES if all(takes(axis, step * n) for n in TRIED)), 0) for axis in (2, 3)
    )
    return (down, across) if down and across else None


def nearest_fit(
    size: tuple[int, int], multiple: tuple[int, int], remainder: tuple[int, int]
) -> tuple[int, int]:
    """The smallest size on a grid that is no smaller than a frame.

    Args:
        size: The frame's height and width.
        multiple: The grid's steps, down and across.
        remainder: What is left when a size on the grid is divided by its step.

    Returns:
        Height and width.
    """
    height, width = (s + (r - s) % m for s, m, r in zip(size, multiple, remainder, strict=True))
    return height, width


def net_size(
    g: OnnxGraph,
    frame: str,
    size: tuple[int, int] | None,
    multiple: tuple[int, int],
    remainder: tuple[int, int],
) -> str:
    """The height and width of the net's input for a frame.

    Args:
        g: The graph.
        frame: The picture, H x W x 3 or x 1.
        size: The one size that the net takes, if it takes one only.
        multiple: As in `nearest_fit`.
        remainder: As in `nearest_fit`.

    Returns:
        Two int64.
    """
    if size is not None:
        return g.ints(*size)
    own = g.sizes_of(frame, 0, 1)
    if multiple == (1, 1):
        return own
    return g.node("Add", own, g.node("Mod", g.node("Sub", g.ints(*remainder), own), g.ints(*multiple)))


def emit_fit(g: OnnxGraph, x: str, frame: str, target: str) -> str:
    """Nodes from 1 x C x H x W, mean subtracted, to 1 x C x h x w: padded, or the middle of what is larger.

    Args:
        g: The graph.
        x: The picture.
        frame: The value H x W x 3 that tells the frame's size.
        target: (h, w), as `net_size` makes it.

    Returns:
        1 x C x h x w.
    """
    start, kept = _kept(g, frame, target)
    middle = g.node("Slice", x, start, g.node("Add", start, kept), g.ints(2, 3))
    pads = g.node("Concat", g.ints(0, 0, 0, 0, 0, 0), g.node("Sub", target, kept), axis=0)
    return g.node("Pad", middle, pads)


def emit_unfit(g: OnnxGraph, x: str, frame: str, target: str) -> str:
    """Nodes from a map on the net's input to one on the frame.

    Args:
        g: The graph.
        x: The map, 1 x K x h x w.
        frame: The picture, which tells the frame's size.
        target: Height and width of the net's input, two int64.

    Returns:
        1 x K x H x W.
    """
    start, kept = _kept(g, frame, target)
    seen = g.node("Slice", x, g.ints(0, 0), kept, g.ints(2, 3))
    behind = g.node("Sub", g.node("Sub", g.sizes_of(frame, 0, 1), kept), start)
    pads = g.node("Concat", g.ints(0, 0), start, g.ints(0, 0), behind, axis=0)
    return g.node("Pad", seen, pads)


def emit_unpad(g: OnnxGraph, x: str, frame: str, target: str) -> str:
    """Nodes that cut a picture of a size of its own where the padding of the net's input ends.

    Args:
        g: The graph.
        x: The picture that comes out, 1 x C x h x w.
        frame: The picture that went in, which tells the frame's size.
        target: Height and width of the net's input, two int64.

    Returns:
        1 x C x h' x w'.
    """
    _, kept = _kept(g, frame, target)
    end = g.node("Div", g.node("Mul", g.sizes_of(x, 2, 3), kept), target)
    return g.node("Slice", x, g.ints(0, 0), end, g.ints(2, 3))


def _kept(g: OnnxGraph, frame: str, target: str) -> tuple[str, str]:
    """Where in the frame the part begins that the net sees, and how large that is: (down, across) each."""
    whole = g.sizes_of(frame, 0, 1)
    kept = g.node("Min", whole, target)
    return g.node("Div", g.node("Sub", whole, kept), g.ints(2, 2)), kept
