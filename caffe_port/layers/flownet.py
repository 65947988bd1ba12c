"""Layers of optical flow: those of FlowNet and FlowNet 2 (lmb-freiburg/flownet2: correlation_layer.cu,
flow_warp_layer.cpp), and MXNet's warp.

Correlation: both bottoms are padded with zeros; channel (p, q) compares the window of kernel_size around each
point of the first with the window moved by (p, q) stride_2 in the second, |p|, |q| <= max_displacement /
stride_2: the mean over window and channels of the products (MULTIPLY) or of the sizes of the differences
(SUBTRACT), at every stride_1-th point. The result is wide
ceil((n + 2 pad - 2 (max_displacement + kernel_size // 2)) / stride_1).

FlowWarp: y(x) = image(x + flow), bilinear, the last row and column continued to the edge; points that leave
[0, W) x [0, H) are 0, or not a number. Channel 0 of the flow is along the width.

BilinearSampler, the warp of Deep Feature Flow and Accel (apache/mxnet: grid_generator-inl.h with
transform_type "warp", bilinear_sampler.cc): y(x) = image(x + flow), bilinear, each of the four points around
0 where it lies beyond the edge; flow channel 0 along the width. Computed as MXNet does, on the grid
2 (x + flow) / (W - 1) - 1 with the flow's W, and so not for a map that is 1 wide or high. The result is as
large as the flow; an image of another size is laid over it corner on corner, as MXNet does.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers.sampling import as_float, bilinear, clamp, limited, plane_of
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from weights.errors import PrototxtError, ShapeError

END = 2**31 - 1
MOVES = 2**12
"""Channels of a Correlation, each of which takes nodes of its own; FlowNet has 441."""
SUBTRACT = 1
NOT_A_NUMBER = 2


def correlation_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    spec = layer.spec.correlation_param
    if bottoms[0] != bottoms[1] or len(bottoms[0]) != 4:
        raise ShapeError("bottoms do not fit", found=bottoms, expected="two maps (N, C, H, W) of one shape")
    if not spec.HasField("kernel_size") or not spec.HasField("max_displacement") or spec.kernel_size % 2 == 0:
        raise PrototxtError("bad window", expected="max_displacement and an odd kernel_size")
    if spec.stride_1 < 1 or spec.stride_2 < 1:
        raise PrototxtError("bad stride", found=f"{spec.stride_1} and {spec.stride_2}", expected="1 or more")
    border = spec.max_displacement + spec.kernel_size // 2
    moves = 2 * (spec.max_displacement // spec.stride_2) + 1
    limited("moves", moves**2, MOVES)
    plane = (-(-(n + 2 * spec.pad - 2 * border) // spec.stride_1) for n in bottoms[0][2:])
    return ((bottoms[0][0], moves**2, *plane),)


def emit_correlation(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = layer.spec.correlation_param
    reach, pad, kernel = spec.max_displacement, spec.pad, spec.kernel_size
    pads = g.ints(0, 0, pad, pad, 0, 0, pad, pad)
    first, second = (
        g.node("Pad", b, pads, g.const(np.float32(0)), mode="constant") if pad else b for b in bottoms
    )

    def moved(x: str, down: int, across: int) -> str:
        """The map without its border of max_displacement, moved by (down, across)."""
        ends = [move - reach if move < reach else END for move in (down, across)]
        return g.node("Slice", x, g.ints(reach + down, reach + across), g.ints(*ends), g.ints(2, 3))

    here = moved(first, 0, 0)
    steps = range(-(reach // spec.stride_2), reach // spec.stride_2 + 1)
    maps = []
    for down in steps:
        for across in steps:
            there = moved(second, down * spec.stride_2, across * spec.stride_2)
            if spec.correlation_type == SUBTRACT:
                compared = g.node("Abs", g.node("Sub", here, there))
            else:
                compared = g.node("Mul", here, there)
            maps.append(g.node("ReduceMean", compared, axes=[1], keepdims=1))
    y = g.node("Concat", *maps, axis=1) if len(maps) > 1 else maps[0]
    if kernel > 1 or spec.stride_1 > 1:
        y = g.node("AveragePool", y, kernel_shape=[kernel] * 2, strides=[spec.stride_1] * 2)
    return (y,)


def flow_warp_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    image, flow = bottoms
    if len(image) != 4 or flow != (image[0], 2, *image[2:]):
        raise ShapeError("image and flow do not fit", found=bottoms, expected="(N, C, H, W) and (N, 2, H, W)")
    return (image,)


def emit_flow_warp(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    image, flow = bottoms
    batch, channels = g.shape(layer.bottoms[0])[:2]
    plane = plane_of(g, layer.bottoms[0], image)
    one, zero = g.const(np.float32(1)), g.const(np.float32(0))
    moves = [g.node("Squeeze", m, g.ints(1)) for m in g.nodes("Split", flow, g.ints(1, 1), axis=1, outputs=2)]
    places: list[tuple[str, str, str, str]] = []
    for move, size, axes in ((moves[1], plane.height, (1,)), (moves[0], plane.width, ())):
        number = g.node("Range", g.const(0, np.int64), g.node("Squeeze", size), g.const(1, np.int64))
        points = as_float(g, number)
        place = g.node("Add", g.node("Unsqueeze", points, g.ints(*axes)) if axes else points, move)
        limit = as_float(g, size)
        inside = g.node("And", g.node("GreaterOrEqual", place, zero), g.node("Less", place, limit))
        greatest = g.node("Sub", limit, one)
        low = clamp(g, g.node("Floor", place), zero, greatest)
        high = g.node("Min", g.node("Add", low, one), greatest)
        places.append((low, high, g.node("Sub", place, low), inside))
    (top, bottom, down, row_counts), (left, right, across, column_counts) = places
    item = g.const(np.arange(batch).reshape(-1, 1, 1), np.int64)
    values = bilinear(g, image, plane, channels, item, (top, bottom, left, right), (down, across))
    counts = g.node("Unsqueeze", g.node("And", row_counts, column_counts), g.ints(3))
    fill = np.float32(np.nan if layer.spec.flow_warp_param.fill_value == NOT_A_NUMBER else 0)
    return (g.node("Transpose", g.node("Where", counts, values, g.const(fill)), perm=[0, 3, 1, 2]),)


def bilinear_sampler_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    image, flow = bottoms
    if len(image) != 4 or len(flow) != 4 or flow[:2] != (image[0], 2):
        raise ShapeError("image and flow do not fit", found=bottoms, expected="(N, C, H, W) and (N, 2, h, w)")
    if min(flow[2:]) < 2:
        raise ShapeError("a size of 1 divides by 0 in this layer", found=flow, expected="2 or more")
    return ((*image[:2], *flow[2:]),)


def emit_bilinear_sampler(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    image, flow = bottoms
    plane = plane_of(g, layer.bottoms[1], flow)
    moves = [g.node("Squeeze", m, g.ints(1)) for m in g.nodes("Split", flow, g.ints(1, 1), axis=1, outputs=2)]
    one, two = g.const(np.float32(1)), g.const(np.float32(2))
    ends = []
    for move, size, axes in ((moves[0], plane.width, ()), (moves[1], plane.height, (1,))):
        numbers = g.node("Range", g.const(0, np.int64), g.node("Squeeze", size), g.const(1, np.int64))
        points = as_float(g, numbers)
        place = g.node("Add", move, g.node("Unsqueeze", points, g.ints(*axes)) if axes else points)
        half = g.node("Div", g.node("Sub", as_float(g, size), one), two)
        ends.append(g.node("Unsqueeze", g.node("Sub", g.node("Div", place, half), one), g.ints(-1)))
    grid = g.node("Concat", *ends, axis=-1)
    return (g.node("GridSample", image, grid, mode="bilinear", padding_mode="zeros", align_corners=1),)


register(
    LayerRule(
        "BilinearSampler",
        bilinear_sampler_shape,
        emit_bilinear_sampler,
        bottoms=(2, 2),
        fork="MXNet: Deep Feature Flow, Accel",
        module=__name__,
    ),
    LayerRule(
        "Correlation", correlation_shape, emit_correlation, bottoms=(2, 2), fork="FlowNet", module=__name__
    ),
    LayerRule("FlowWarp", flow_warp_shape, emit_flow_warp, bottoms=(2, 2), fork="FlowNet 2", module=__name__),
)
