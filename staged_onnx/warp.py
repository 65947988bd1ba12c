"""The warp as a graph: a value follows the optical flow.

Flow is backward flow: height x width x 2 float32, (x, y) in pixels of its own grid, and what belongs at pixel
p of this frame is read from the earlier one at p + flow[p]. This is the convention of MXNet's GridGenerator
(transform_type "warp") and BilinearSampler, which Deep Feature Flow and Accel use: with

    grid = 2 (p + flow) / (size - 1) - 1

they read at (grid + 1) (size - 1) / 2, bilinearly, with zeros outside. ONNX's GridSample does the same with
align_corners=1 and padding_mode="zeros"; but float32 coordinates of a wide map leave an error of 1e-5 pixels
and more. So here GridSample reads the four pixels around, each at a whole position, and the fractions of the
flow mix them. Opset 17; ONNX Runtime has float32 kernels on the CPU and on CUDA.

A value and the flow may have different grids. Both are laid over the frame with pixel centres at half, as all
resizing here does; a value whose grid reaches beyond the frame, as in a net that pads its input by 100, says
by its `extent` how far, and is laid centred over it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray
from onnx import TensorProto, helper

from caffe_port.onnx_graph import OnnxGraph
from staged_onnx.frame_graphs import emit_resize
from weights.errors import UsageError

__all__ = [
    "PADDINGS",
    "emit_moved",
    "emit_moved_labels",
    "emit_moved_rows",
    "emit_rows_at",
    "emit_steps",
    "path_graph",
    "warp_graph",
    "warp_labels_graph",
]

PADDINGS = ("border", "zeros")
"""What is read beyond the value's edge: its nearest pixel, or zero."""


def warp_graph(
    shape: Sequence[int],
    flow: Sequence[int],
    *,
    dtype: DTypeLike = np.float32,
    extent: tuple[float, float] = (1.0, 1.0),
    padding: str = "border",
    hidden: Sequence[int] | None = None,
) -> onnx.ModelProto:
    """A model from `value` and `flow` to `moved`, as the value.

    A motion by whole pixels of the value moves it bit for bit, inside the frame.

    Args:
        shape: The value's shape, 1 x C x h x w.
        flow: The flow's shape, H x W x 2.
        dtype: The value's, float32 or float16; the warp itself is done in float32.
        extent: Height and width of the value's grid as a multiple of the frame's.
        padding: One of PADDINGS.
        hidden: Shape (1 x 1 x H x W) of a third input `hidden`, which replaces the value's last channel.

    Returns:
        The model.

    Raises:
        UsageError: The shapes are not those of a map and a flow.
    """
    if len(shape) != 4 or shape[0] != 1 or min(shape) < 1:
        raise UsageError("only a map can be warped", found=_text(shape), expected="1 x C x h x w")
    _check(flow, padding)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    g = OnnxGraph()
    value = g.input("value", list(shape), kind)
    field = g.input("flow", list(flow))
    if hidden is not None:
        value = g.node("Slice", value, g.ints(0), g.ints(shape[1] - 1), g.ints(1))
    if kind != TensorProto.FLOAT:
        value = g.node("Cast", value, to=TensorProto.FLOAT)
    moved = emit_moved(g, value, field, shape, flow, extent, padding)
    if kind != TensorProto.FLOAT:
        moved = g.node("Cast", moved, to=kind)
    if hidden is not None:
        mask = g.input("hidden", list(hidden))
        if tuple(hidden[2:]) != tuple(shape[2:]):
            mask = emit_resize(g, mask, g.ints(1, 1, *shape[2:]))
        if kind != TensorProto.FLOAT:
            mask = g.node("Cast", mask, to=kind)
        moved = g.node("Concat", moved, mask, axis=1)
    g.output(moved, "moved", list(shape), kind)
    return g.model("warp")


def warp_labels_graph(
    size: Sequence[int], flow: Sequence[int], *, padding: str = "border"
) -> onnx.ModelProto:
    """As `warp_graph` for label maps (uint8, `size`): the nearest label; with "zeros" 0 beyond the edge."""
    if len(size) != 2 or min(size) < 1:
        raise UsageError("not a label map's shape", found=_text(size), expected="H x W")
    _check(flow, padding)
    g = OnnxGraph()
    value = g.input("value", list(size), TensorProto.UINT8)
    steps = emit_steps(g, g.input("flow", list(flow)), flow, size)
    moved = emit_moved_labels(g, value, steps, size, padding)
    g.output(moved, "moved", list(size), TensorProto.UINT8)
    return g.model("warp")


def path_graph(flow: Sequence[int], grid: tuple[int, int]) -> onnx.ModelProto:
    """A model from `path` (h x w x 2) and `flow` (`flow`, H x W x 2) to `longer`, the path that ends where
    the flow does. grid: h and w; each is in pixels of its own grid.

    With the flow that leads from this frame to the one before, and the path that leads from there to an
    earlier frame, longer[p] = flow[p] + path[p + flow[p]] leads from here to that frame. A value that is
    moved along the path at once is interpolated once, however long the path is; moved from frame to frame it
    would blur.
    """
    g = OnnxGraph()
    shape = (1, 2, *grid)
    path = g.node("Reshape", _emit_planes(g, g.input("path", [*grid, 2])), g.ints(2, -1))
    field = _emit_flow(g, g.input("flow", list(flow)), flow, shape, (1.0, 1.0))
    steps = _emit_steps(g, field, grid, (flow[0], flow[1]))
    wholes = [g.node("Floor", step) for step in steps]

    def read(right: int, below: int) -> str:
        index, _ = _emit_index(g, wholes, grid, right, below)
        both = g.node("Concat", *[g.node("Unsqueeze", index, g.ints(0))] * 2, axis=0)
        return g.node("GatherElements", path, both, axis=1)

    flat = [g.node("Reshape", step, g.ints(1, -1)) for step in steps]
    x, y = (g.node("Sub", s, g.node("Floor", s)) for s in flat)
    above, under = (_emit_between(g, read(0, row), read(1, row), x) for row in (0, 1))
    before = _emit_between(g, above, under, y)
    longer = g.node("Add", g.node("Concat", *flat, axis=0), before)
    rows = g.node("Transpose", g.node("Reshape", longer, g.ints(2, *grid)), perm=[1, 2, 0])
    g.output(rows, "longer", [*grid, 2])
    return g.model("path")


def emit_moved(
    g: OnnxGraph,
    value: str,
    flow: str,
    shape: Sequence[int],
    grid: Sequence[int],
    extent: tuple[float, float],
    padding: str,
) -> str:
    """Nodes from a map (1 x C x h x w, `shape`, float32) and a flow (H x W x 2, `grid`) to the moved map.

    extent: height and width of the map's grid as a multiple of the frame's.
    """
    field = _emit_flow(g, flow, grid, shape, extent)
    return _emit_warp(g, value, field, shape, (grid[0] * extent[0], grid[1] * extent[1]), padding)


def emit_moved_rows(
    g: OnnxGraph, value: str, flow: str, shape: Sequence[int], grid: Sequence[int], padding: str
) -> str:
    """As `emit_moved` for a map whose channels lie together, h x w x C (`shape`); the result is h w x C.

    Four rows per pixel are copied and mixed, which on a CPU takes a quarter of the time of reading planes.
    """
    height, width, channels = shape
    field = _emit_flow(g, flow, grid, (1, channels, height, width), (1.0, 1.0))
    steps = _emit_steps(g, field, (height, width), (grid[0], grid[1]))
    wholes = [g.node("Floor", step) for step in steps]
    rows = g.node("Reshape", value, g.ints(-1, channels))

    def read(right: int, below: int) -> str:
        index, moves = _emit_index(g, wholes, (height, width), right, below)
        found = g.node("Gather", rows, index, axis=0)
        if padding == "zeros":
            inside = g.node("And", *(g.node("Equal", *move) for move in moves))
            inside = g.node("Reshape", inside, g.ints(-1, 1))
            found = g.node("Where", inside, found, g.const(np.float32(0)))
        return found

    x, y = (
        g.node("Reshape", g.node("Sub", step, whole), g.ints(-1, 1))
        for step, whole in zip(steps, wholes, strict=True)
    )
    above, under = (_emit_between(g, read(0, row), read(1, row), x) for row in (0, 1))
    return _emit_between(g, above, under, y)


def emit_steps(g: OnnxGraph, flow: str, grid: Sequence[int], size: Sequence[int]) -> tuple[str, str]:
    """Nodes from a flow (H x W x 2, `grid`) to x and y in pixels of a map of `size`, each h x w."""
    field = _emit_flow(g, flow, grid, (1, 1, *size), (1.0, 1.0))
    return _emit_steps(g, field, size, (grid[0], grid[1]))


def emit_moved_labels(
    g: OnnxGraph, value: str, steps: tuple[str, str], size: Sequence[int], padding: str
) -> str:
    """Nodes from a label map (uint8, `size`) and its `emit_steps` to the moved map: nearest labels."""
    index, moves = _emit_index(g, [g.node("Round", step) for step in steps], size)
    flat = g.node("Reshape", value, g.ints(-1))
    moved = g.node("Reshape", g.node("GatherElements", flat, index, axis=0), g.ints(*size))
    if padding == "zeros":
        inside = g.node("And", *(g.node("Equal", *move) for move in moves))
        moved = g.node("Where", inside, moved, g.const(np.uint8(0), np.uint8))
    return moved


def emit_rows_at(
    g: OnnxGraph,
    value: str,
    pixels: str,
    steps: tuple[str, str] | None,
    shape: Sequence[int],
    size: Sequence[int],
    padding: str,
) -> str:
    """Nodes that read some pixels of a map whose channels lie together: n x C, float32.

    Args:
        g: The graph.
        value: The map, h x w x C (`shape`).
        pixels: Which pixels of the frame, as n numbers, row by row (int64).
        steps: What `emit_steps` made for the frame's size, None where the map has not moved.
        shape: The map's shape.
        size: Height and width of the frame.
        padding: What is read beyond the edge.
    """
    height, width, channels = shape
    columns = g.const(np.array(size[1], np.int64), np.int64)
    places = (g.node("Mod", pixels, columns), g.node("Div", pixels, columns))
    wholes, fractions = zip(
        *(
            _emit_place(g, place, step, pixels, length, frame)
            for place, step, length, frame in zip(
                places, steps or ("", ""), (width, height), (size[1], size[0]), strict=True
            )
        ),
        strict=True,
    )
    rows = g.node("Reshape", value, g.ints(-1, channels))

    def read(right: int, below: int) -> str:
        ends, moves = [], []
        for whole, length, more in zip(wholes, (width, height), (right, below), strict=True):
            there = g.node("Add", whole, g.const(np.float32(more))) if more else whole
            kept = g.node("Clip", there, g.const(np.float32(0)), g.const(np.float32(length - 1)))
            ends.append(g.node("Cast", kept, to=TensorProto.INT64))
            moves.append(g.node("Equal", there, kept))
        across = g.const(np.array(width, np.int64), np.int64)
        found = g.node("Gather", rows, g.node("Add", g.node("Mul", ends[1], across), ends[0]), axis=0)
        found = g.node("Cast", found, to=TensorProto.FLOAT)
        if padding == "zeros":
            inside = g.node("Unsqueeze", g.node("And", *moves), g.ints(1))
            found = g.node("Where", inside, found, g.const(np.float32(0)))
        return found

    x, y = fractions
    if not x:
        return read(0, 0)
    above, under = (_emit_between(g, read(0, row), read(1, row), x) for row in (0, 1))
    return _emit_between(g, above, under, y)


def _emit_place(g: OnnxGraph, place: str, step: str, pixels: str, length: int, frame: int) -> tuple[str, str]:
    """Along one axis, where pixels of a frame lie in a map of `length`, a step farther: the whole number, and
    the fraction as n x 1, "" where it is 0 everywhere.

    The fraction of the step is taken by itself: added to a place far from 0 it would be rounded.
    """
    whole = g.node("Cast", place, to=TensorProto.FLOAT)
    fraction = g.node("Gather", g.node("Reshape", step, g.ints(-1)), pixels, axis=0) if step else ""
    if length != frame:
        scale, half = g.const(np.float32(length / frame)), g.const(np.float32(0.5))
        there = g.node("Sub", g.node("Mul", g.node("Add", whole, half), scale), half)
        whole = g.node("Floor", there)
        rest = g.node("Sub", there, whole)
        fraction = g.node("Add", rest, g.node("Mul", fraction, scale)) if fraction else rest
    if not fraction:
        return whole, ""
    more = g.node("Floor", fraction)
    return g.node("Add", whole, more), g.node("Unsqueeze", g.node("Sub", fraction, more), g.ints(1))


def _check(flow: Sequence[int], padding: str) -> None:
    if len(flow) != 3 or flow[2] != 2 or min(flow) < 1:
        raise UsageError("not a flow's shape", found=_text(flow), expected="H x W x 2")
    if padding not in PADDINGS:
        raise UsageError("unknown padding of a warp", found=padding, expected=" or ".join(PADDINGS))


def _emit_planes(g: OnnxGraph, flow: str) -> str:
    """H x W x 2 to 1 x 2 x H x W."""
    return g.node("Unsqueeze", g.node("Transpose", flow, perm=[2, 0, 1]), g.ints(0))


def _emit_flow(
    g: OnnxGraph, flow: str, grid: Sequence[int], shape: Sequence[int], extent: tuple[float, float]
) -> str:
    """The flow at the value's pixels, 1 x 2 x h x w, still in pixels of the flow's grid."""
    planes = _emit_planes(g, flow)
    if extent != (1.0, 1.0):
        down, across = (_normalised(_positions(shape[2 + i], grid[i], extent[i]), grid[i]) for i in (0, 1))
        where = np.stack(np.meshgrid(across, down), axis=-1)[np.newaxis]
        return _grid_sample(g, planes, g.const(where), "border")
    if tuple(shape[2:]) != tuple(grid[:2]):
        return emit_resize(g, planes, g.ints(1, 2, shape[2], shape[3]))
    return planes


def _emit_steps(
    g: OnnxGraph, field: str, size: Sequence[int], flow_size: tuple[float, float]
) -> tuple[str, str]:
    """A field (1 x 2 x h x w, `size`) in pixels of the value: x and y, each h x w.

    They are planes of their own because ONNX Runtime is slow on maps that end in an axis of 1 or 2.
    flow_size: height and width of the value in the flow's pixels.
    """
    planes = g.nodes("Split", field, g.ints(1, 1), outputs=2, axis=1)
    steps = []
    for plane, length, own in zip(planes, (size[1], size[0]), flow_size[::-1], strict=True):
        step = g.node("Squeeze", plane, g.ints(0, 1))
        steps.append(g.node("Mul", step, g.const(np.float32(length / own))) if length != own else step)
    return steps[0], steps[1]


def _emit_warp(
    g: OnnxGraph,
    value: str,
    field: str,
    shape: Sequence[int],
    flow_size: tuple[float, float],
    padding: str,
) -> str:
    """`value` read at p + field[p]. flow_size: height and width of the value in the flow's pixels."""
    height, width = shape[2], shape[3]
    steps = _emit_steps(g, field, (height, width), flow_size)
    wholes = [g.node("Floor", step) for step in steps]

    def read(right: int, below: int) -> str:
        """The value at the whole part of the step, and so many pixels farther."""
        across = _normalised(np.arange(width) + right, width).reshape(1, width)
        down = _normalised(np.arange(height) + below, height).reshape(height, 1)
        ends = []
        for whole, start, length in zip(wholes, (across, down), (width, height), strict=True):
            moved = g.node("Mul", whole, g.const(np.float32(2 / max(length - 1, 1))))
            ends.append(g.node("Unsqueeze", g.node("Add", moved, g.const(start)), g.ints(0, 3)))
        return _grid_sample(g, value, g.node("Concat", *ends, axis=3), padding, "nearest")

    x, y = (g.node("Sub", step, whole) for step, whole in zip(steps, wholes, strict=True))
    above, under = (_emit_between(g, read(0, row), read(1, row), x) for row in (0, 1))
    return _emit_between(g, above, under, y)


def _emit_between(g: OnnxGraph, a: str, b: str, share: str) -> str:
    """a where the share is 0, to b where it is 1; a itself, bit for bit, where it is 0."""
    return g.node("Add", a, g.node("Mul", share, g.node("Sub", b, a)))


def _emit_index(
    g: OnnxGraph, wholes: Sequence[str], size: Sequence[int], right: int = 0, below: int = 0
) -> tuple[str, list[tuple[str, str]]]:
    """Which pixel of a flat map lies `wholes` and so many pixels farther, the nearest one at its edge.

    And for x and y: where that would be, and where it is once it is kept in the map. GatherElements by this
    index takes a tenth of the time that GridSample takes for one plane or two.
    """
    places, moves = [], []
    for whole, length, more, axis in zip(wholes, size[::-1], (right, below), (1, 0), strict=True):
        here = (np.arange(length) + more).astype(np.float32)
        there = g.node("Add", whole, g.const(here.reshape([length if i == axis else 1 for i in (0, 1)])))
        kept = g.node("Clip", there, g.const(np.float32(0)), g.const(np.float32(length - 1)))
        places.append(g.node("Cast", kept, to=TensorProto.INT32))
        moves.append((there, kept))
    x, y = places
    index = g.node("Add", g.node("Mul", y, g.const(np.int32(size[1]), np.int32)), x)
    return g.node("Reshape", index, g.ints(-1)), moves


def _grid_sample(g: OnnxGraph, value: str, grid: str, padding: str, mode: str = "bilinear") -> str:
    return g.node("GridSample", value, grid, mode=mode, padding_mode=padding, align_corners=1)


def _positions(count: int, size: int, extent: float) -> NDArray[np.float64]:
    """Where the centres of `count` pixels, centred over `extent` times a grid of `size`, lie in that grid."""
    frame = 0.5 + ((np.arange(count) + 0.5) / count - 0.5) * extent
    return frame * size - 0.5


def _normalised(position: NDArray[np.number], size: int) -> NDArray[np.float32]:
    """Pixel positions as GridSample counts them: -1 at the first pixel, 1 at the last."""
    return (2 * np.asarray(position, np.float64) / max(size - 1, 1) - 1).astype(np.float32)


def _text(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
