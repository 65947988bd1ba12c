"""Mixing maps that were moved along the flow: between two key frames, and at a key frame with what is fresh.

    blend[p] = second[p] + share[p] (first[p] - second[p])

where each map is read as `staged_onnx.warp` has it, along its own flow, or as it is. Scores that are carried
have their channels together, h x w x C, since then a pixel is moved by copying a row.

Labels of mixed scores are made in the same graph, so that the scores never leave the device. Where the label
maps that go with the scores agree once they are moved, a mixture of the scores has that label too. So scores
are read and mixed only where the maps differ, which is at about a seventh of the pixels eight frames apart:
less work at full size than mixing everywhere at half the size, and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import DTypeLike
from onnx import TensorProto, helper

from caffe_port.onnx_graph import OnnxGraph
from staged_onnx.frame_graphs import emit_resize
from staged_onnx.outputs import emit_labels
from staged_onnx.warp import emit_moved, emit_moved_labels, emit_moved_rows, emit_rows_at, emit_steps

__all__ = ["BlendInput", "blend_graph", "blend_labels_graph", "residual_graph", "settled_labels_graph"]

WINDOW = 5
"""Pixels on a side over which a residual is averaged."""


@dataclass(frozen=True)
class BlendInput:
    """One of the maps that are mixed: its input, and the input with the flow that it is read along."""

    name: str
    flow: str = ""


def blend_graph(
    inputs: Sequence[BlendInput],
    shape: Sequence[int],
    feeds: Mapping[str, Sequence[int]],
    *,
    dtype: DTypeLike = np.float32,
    extent: tuple[float, float] = (1.0, 1.0),
    padding: str = "border",
) -> onnx.ModelProto:
    """A model with the output `moved`, like its inputs: one map, or two of them mixed by the input `share`.

    Args:
        inputs: One map or two, of the shape `shape`: 1 x C x h x w, or h x w x C.
        shape: The maps' shape.
        feeds: Shapes of the other inputs by name: the flows, H x W x 2 in (x, y) pixels of their grid, and
            `share`, 1 x 1 x H x W, of the first map. Those that nothing reads are declared all the same.
        dtype: The maps' type, float32 or float16; they are mixed in float32.
        extent: Height and width of the maps' grid as a multiple of the frame's; for 1 x C x h x w.
        padding: What is read beyond the edge, "border" or "zeros".

    Returns:
        The model.
    """
    g, kind = OnnxGraph(), helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    mixed = _emit_mixed(g, inputs, shape, feeds, kind, extent, padding)
    mixed = g.node("Reshape", mixed, g.ints(*shape)) if len(shape) == 3 else mixed
    if kind != TensorProto.FLOAT:
        mixed = g.node("Cast", mixed, to=kind)
    g.output(mixed, "moved", list(shape), kind)
    return g.model("blend")


def blend_labels_graph(
    inputs: Sequence[BlendInput],
    shape: Sequence[int],
    feeds: Mapping[str, Sequence[int]],
    size: tuple[int, int],
    *,
    dtype: DTypeLike = np.float32,
    padding: str = "border",
) -> onnx.ModelProto:
    """As `blend_graph` for scores, h x w x C, with their label map as the output `moved`.

    Args:
        inputs: One map of scores or two.
        shape: The maps' shape, (h, w, C).
        feeds: As in `blend_graph`.
        size: Height and width of the label map.
        dtype: As in `blend_graph`.
        padding: As in `blend_graph`.

    Returns:
        The model; `moved` is uint8, `size`.
    """
    height, width, channels = shape
    g = OnnxGraph()
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    rows = _emit_mixed(g, inputs, shape, feeds, kind, (1.0, 1.0), padding)
    planes = g.node("Transpose", g.node("Reshape", rows, g.ints(-1, channels)), perm=[1, 0])
    scores = g.node("Reshape", planes, g.ints(1, channels, height, width))
    if (height, width) != size:
        scores = emit_resize(g, scores, g.ints(1, channels, *size))
    g.output(emit_labels(g, scores, channels, None), "moved", list(size), TensorProto.UINT8)
    return g.model("blend")


def settled_labels_graph(
    maps: Sequence[BlendInput],
    labels: Sequence[BlendInput],
    shape: Sequence[int],
    feeds: Mapping[str, Sequence[int]],
    size: tuple[int, int],
    *,
    dtype: DTypeLike = np.float32,
    padding: str = "border",
) -> onnx.ModelProto:
    """A model with the output `moved`, a label map (uint8, `size`): of two label maps where they agree, and
    of the mixed scores where they do not.

    Args:
        maps: One map of scores or two, of the shape `shape`, h x w x C, mixed by the input `share`.
        labels: The two label maps (uint8, `size`), each with the flow along which it is moved, if any.
        shape: The scores' shape.
        feeds: As for `blend_graph`.
        size: Height and width of the frame.
        dtype: As for `blend_graph`.
        padding: As for `blend_graph`.

    Returns:
        The model.
    """
    g, kind = OnnxGraph(), helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    scores = [g.input(each.name, list(shape), kind) for each in maps]
    found = [g.input(each.name, list(size), TensorProto.UINT8) for each in labels]
    fed = {name: g.input(name, list(dims)) for name, dims in feeds.items()}
    steps = {
        name: emit_steps(g, fed[name], feeds[name], size)
        for name in dict.fromkeys(each.flow for each in (*maps, *labels) if each.flow)
    }
    found = [
        emit_moved_labels(g, value, steps[each.flow], size, padding) if each.flow else value
        for each, value in zip(labels, found, strict=True)
    ]
    first, second = (g.node("Reshape", value, g.ints(-1)) for value in found)
    differ = g.node("NonZero", g.node("Not", g.node("Equal", first, second)))
    pixels = g.node("Squeeze", differ, g.ints(0))
    rows = [
        emit_rows_at(g, value, pixels, steps.get(each.flow), shape, size, padding)
        for each, value in zip(maps, scores, strict=True)
    ]
    mixed = rows[0]
    if len(rows) == 2:
        share = emit_resize(g, fed["share"], g.ints(1, 1, *size))
        share = g.node("Gather", g.node("Reshape", share, g.ints(-1)), pixels, axis=0)
        mixed = _emit_mixture(g, rows[0], rows[1], g.node("Unsqueeze", share, g.ints(1)))
    planes = g.node("Unsqueeze", g.node("Transpose", mixed, perm=[1, 0]), g.ints(0, 2))
    best = g.node("Squeeze", emit_labels(g, planes, shape[2], None), g.ints(0))
    settled = g.node("ScatterElements", first, pixels, best, axis=0)
    g.output(g.node("Reshape", settled, g.ints(*size)), "moved", list(size), TensorProto.UINT8)
    return g.model("blend")


def _emit_mixed(
    g: OnnxGraph,
    inputs: Sequence[BlendInput],
    shape: Sequence[int],
    feeds: Mapping[str, Sequence[int]],
    kind: int,
    extent: tuple[float, float],
    padding: str,
) -> str:
    """The mixture as float32: 1 x C x h x w, or h w x C."""
    maps = [g.input(each.name, list(shape), kind) for each in inputs]
    fed = {name: g.input(name, list(dims)) for name, dims in feeds.items()}
    if kind != TensorProto.FLOAT:
        maps = [g.node("Cast", value, to=TensorProto.FLOAT) for value in maps]
    rows = len(shape) == 3
    moved = []
    for each, value in zip(inputs, maps, strict=True):
        if each.flow and rows:
            value = emit_moved_rows(g, value, fed[each.flow], shape, feeds[each.flow], padding)
        elif each.flow:
            value = emit_moved(g, value, fed[each.flow], shape, feeds[each.flow], extent, padding)
        elif rows:
            value = g.node("Reshape", value, g.ints(-1, shape[2]))
        moved.append(value)
    if len(moved) == 1:
        return moved[0]
    share, grid = fed["share"], tuple(shape[:2] if rows else shape[2:])
    if tuple(feeds["share"][2:]) != grid:
        share = emit_resize(g, share, g.ints(1, 1, *grid))
    if rows:
        share = g.node("Reshape", share, g.ints(-1, 1))
    return _emit_mixture(g, moved[0], moved[1], share)


def _emit_mixture(g: OnnxGraph, first: str, second: str, share: str) -> str:
    return g.node("Add", second, g.node("Mul", share, g.node("Sub", first, second)))


def residual_graph(grid: tuple[int, int]) -> onnx.ModelProto:
    """A model from `image` and `source` (grey levels, h x w, `grid`) and `path` (h x w x 2) to `residual`,
    h x w: the mean over 5 x 5 pixels, fewer at the edge, of |image - source read along the path|.
    """
    g = OnnxGraph()
    image, source = (g.input(name, list(grid)) for name in ("image", "source"))
    path = g.input("path", [*grid, 2])
    moved = emit_moved_rows(g, source, path, (*grid, 1), (*grid, 2), "border")
    difference = g.node("Abs", g.node("Sub", image, g.node("Reshape", moved, g.ints(*grid))))
    plane = g.node("Unsqueeze", difference, g.ints(0, 1))
    edge = WINDOW // 2
    mean = g.node("AveragePool", plane, kernel_shape=[WINDOW] * 2, pads=[edge] * 4, count_include_pad=0)
    g.output(g.node("Squeeze", mean, g.ints(0, 1)), "residual", list(grid))
    return g.model("residual")
