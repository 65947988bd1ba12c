"""Fitting frames to a net of one size without resizing them, as DeepLab's ImageSegData layer does.

A frame that is smaller than the net's input is padded at the bottom and right with the mean, which is 0
after it has been subtracted; of one that is larger the middle is taken. The scores go the opposite way: the
rows and columns of the padding are cut off, and around the middle of a larger frame they are 0, so that what
the net has not seen is of the first class (background).
"""

from __future__ import annotations

from caffe_port.onnx_graph import OnnxGraph

__all__ = ["emit_fit", "emit_unfit"]


def emit_fit(g: OnnxGraph, x: str, frame: str, planes: int, size: tuple[int, int]) -> str:
    """Nodes from 1 x C x H x W, mean subtracted, to 1 x C x h x w.

    Args:
        g: the graph.
        x: the picture.
        frame: the value H x W x 3 that tells the frame's size.
        planes: C.
        size: (h, w).
    """
    start, kept = _kept(g, frame, size)
    middle = g.node("Slice", x, start, g.node("Add", start, kept), g.ints(2, 3))
    pads = g.node("Concat", g.ints(0, 0, 0, 0, 0, 0), g.node("Sub", g.ints(*size), kept), axis=0)
    return g.node("Reshape", g.node("Pad", middle, pads), g.ints(1, planes, *size))


def emit_unfit(g: OnnxGraph, scores: str, frame: str, size: tuple[int, int]) -> str:
    """Nodes from scores on the net's input, 1 x K x h x w, to scores on the frame, 1 x K x H x W."""
    start, kept = _kept(g, frame, size)
    seen = g.node("Slice", scores, g.ints(0, 0), kept, g.ints(2, 3))
    behind = g.node("Sub", g.node("Sub", g.sizes_of(frame, 0, 1), kept), start)
    pads = g.node("Concat", g.ints(0, 0), start, g.ints(0, 0), behind, axis=0)
    return g.node("Pad", seen, pads)


def _kept(g: OnnxGraph, frame: str, size: tuple[int, int]) -> tuple[str, str]:
    """Where in the frame the part begins that the net sees, and how large that is: (down, across) each."""
    whole = g.sizes_of(frame, 0, 1)
    kept = g.node("Min", whole, g.ints(*size))
    return g.node("Div", g.node("Sub", whole, kept), g.ints(2, 2)), kept
