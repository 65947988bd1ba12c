"""Mixing maps that were moved along the flow: between two key frames, and at a key frame with what is fresh.

    blend[p] = second[p] + share[p] (first[p] - second[p])

where each map is read as `staged_onnx.warp` has it, along its own flow, or as it is. With `labels` the mixed
scores are resized to the frame and become labels in the same graph, so that they never leave the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import DTypeLike
from onnx import TensorProto, helper

from caffe_port.onnx_graph import OnnxGraph
from staged_onnx.frame_graphs import emit_labels, emit_resize
from staged_onnx.warp import emit_moved

__all__ = ["BlendInput", "blend_graph", "residual_graph"]

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
    feeds: dict[str, tuple[int, ...]],
    *,
    dtype: DTypeLike = np.float32,
    extent: tuple[float, float] = (1.0, 1.0),
    padding: str = "border",
    labels: tuple[int, int] | None = None,
) -> onnx.ModelProto:
    """A model with the output `moved`: one map, or two of them mixed by the input `share`.

    Args:
        inputs: One map or two, each 1 x C x h x w (`shape`).
        shape: Of the maps.
        feeds: Shapes of the other inputs by name: the flows, H x W x 2 in (x, y) pixels of their grid, and
            `share`, 1 x 1 x H x W, of the first map. Those that nothing reads are declared all the same.
        dtype: Of the maps, float32 or float16; they are mixed in float32.
        extent: Height and width of the maps' grid as a multiple of the frame's.
        padding: What is read beyond the edge, "border" or "zeros".
        labels: Height and width of the frame; `moved` is then its label map (uint8).
    """
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    g = OnnxGraph()
    maps = [g.input(each.name, list(shape), kind) for each in inputs]
    fed = {name: g.input(name, list(dims)) for name, dims in feeds.items()}
    if kind != TensorProto.FLOAT:
        maps = [g.node("Cast", value, to=TensorProto.FLOAT) for value in maps]
    moved = [
        emit_moved(g, value, fed[each.flow], shape, feeds[each.flow], extent, padding) if each.flow else value
        for each, value in zip(inputs, maps, strict=True)
    ]
    mixed = moved[0]
    if len(moved) == 2:
        share = fed["share"]
        if tuple(feeds["share"][2:]) != tuple(shape[2:]):
            share = emit_resize(g, share, g.ints(1, 1, *shape[2:]))
        mixed = g.node("Add", moved[1], g.node("Mul", share, g.node("Sub", moved[0], moved[1])))
    if labels is not None:
        if tuple(shape[2:]) != labels:
            mixed = emit_resize(g, mixed, g.ints(1, shape[1], *labels))
        g.output(emit_labels(g, mixed, shape[1], None), "moved", list(labels), TensorProto.UINT8)
        return g.model("blend")
    if kind != TensorProto.FLOAT:
        mixed = g.node("Cast", mixed, to=kind)
    g.output(mixed, "moved", list(shape), kind)
    return g.model("blend")


def residual_graph(grid: tuple[int, int]) -> onnx.ModelProto:
    """A model from `image` and `source` (grey levels, h x w, `grid`) and `path` (h x w x 2) to `residual`,
    h x w: the mean over 5 x 5 pixels, fewer at the edge, of |image - source read along the path|.
    """
    g = OnnxGraph()
    planes = [g.node("Unsqueeze", g.input(name, list(grid)), g.ints(0, 1)) for name in ("image", "source")]
    path = g.input("path", [*grid, 2])
    moved = emit_moved(g, planes[1], path, (1, 1, *grid), (*grid, 2), (1.0, 1.0), "border")
    difference = g.node("Abs", g.node("Sub", planes[0], moved))
    edge = WINDOW // 2
    mean = g.node("AveragePool", difference, kernel_shape=[WINDOW] * 2, pads=[edge] * 4, count_include_pad=0)
    g.output(g.node("Squeeze", mean, g.ints(0, 1)), "residual", list(grid))
    return g.model("residual")
