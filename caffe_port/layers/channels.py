"""Small layers of the classification forks.

ShuffleChannel (ShuffleNet; xieguotian/caffe, shuffle_channel_layer.cpp): channels seen as group x rest, and
transposed. Axpy (hujie-frank/SENet, axpy_layer.cpp): a x + y with one a for each item and channel. ReLU6
(MobileNet v2): min(max(x, 0), 6), with negative_slope also slope * min(x, 0); OpenVINO's `n` replaces the 6.
BReLU (DehazeNet, brelu_layer.cpp): min(max(x, minval), maxval). L2Norm (zlmzju/caffe and others,
l2_norm_layer.cpp): x / sqrt(sum x^2) over each item, the sum at least 1e-12; the top always has four axes,
(N, C, 1, 1) for a bottom (N, C). SpatialDropout (pose_action_caffe): identity at TEST. CropCenter
(lltcggie/waifu2x-caffe, crop_center_layer.cpp): crop_size points less at both ends of each axis.

Reorg (reorg_layer.cpp of two families of forks) makes (C s^2, H / s, W / s) of (C, H, W), s the `stride`.
gklz1982/caffe-yolov2, eric612/Caffe-YOLOv3-Windows and others move numbers as darknet does: the memory of the
bottom, read as (C / s^2, H s, W s), goes space to depth, and the result is read as the top; they demand a
stride, and with `reverse: true` they make (C / s^2, H s, W s), depth to space. choasup/caffe-yolo9000 moves
them the other way, depth to space and then read as the top; there is no `reverse` there, and its nets leave
the stride at 2 without saying so. So a file that gives a stride is read as darknet's, whose forks all demand
one.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers.activation import same_shape
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from weights.errors import PrototxtError, ShapeError

END = 2**31 - 1
LEAST_SQUARE = 1e-12


def shuffle_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    group = layer.spec.shuffle_channel_param.group
    if len(bottoms[0]) < 2 or group < 1 or bottoms[0][1] % group:
        raise ShapeError("group does not divide the channels", found=f"group {group}, bottom {bottoms[0]}")
    return (bottoms[0],)


def emit_shuffle(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    group = layer.spec.shuffle_channel_param.group
    channels = g.shape(layer.bottoms[0])[1]
    x = bottoms[0]
    split = g.node("Reshape", x, g.ints(0, group, channels // group, -1))
    mixed = g.node("Transpose", split, perm=[0, 2, 1, 3])
    return (g.node("Reshape", mixed, g.node("Shape", x)),)


def axpy_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    scale, x, y = bottoms
    if x != y or len(x) < 2 or scale not in (x[:2], (*x[:2], 1, 1)):
        raise ShapeError(
            "bottoms do not fit",
            found=bottoms,
            expected="(N, C) or (N, C, 1, 1), then two of one shape (N, C, ...)",
        )
    return (x,)


def emit_axpy(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    scale = bottoms[0]
    rank = len(g.shape(layer.bottoms[1]))
    if len(g.shape(layer.bottoms[0])) != rank:
        scale = g.node("Reshape", scale, g.ints(0, 0, *(1,) * (rank - 2)))
    return (g.node("Add", g.node("Mul", scale, bottoms[1]), bottoms[2]),)


def emit_relu6(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = layer.spec.relu6_param
    zero = g.const(np.float32(0))
    y = g.node("Clip", bottoms[0], zero, g.const(np.float32(spec.n)))
    if spec.negative_slope:
        below = g.node("Mul", g.node("Min", bottoms[0], zero), g.const(np.float32(spec.negative_slope)))
        y = g.node("Add", y, below)
    return (y,)


def emit_brelu(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = layer.spec.brelu_param
    return (g.node("Clip", bottoms[0], g.const(np.float32(spec.minval)), g.const(np.float32(spec.maxval))),)


def l2norm_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    bottom = bottoms[0]
    if not 1 <= len(bottom) <= 4:
        raise ShapeError("L2Norm takes one to four axes", found=bottom, expected="(N, C, H, W)")
    return ((*bottom, *(1,) * (4 - len(bottom))),)


def emit_l2norm(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    x = bottoms[0]
    rank = len(g.shape(layer.bottoms[0]))
    if rank < 4:
        x = g.node("Unsqueeze", x, g.ints(*range(rank, 4)))
    squares = g.node("ReduceSum", g.node("Mul", x, x), g.ints(1, 2, 3), keepdims=1)
    return (g.node("Div", x, g.node("Sqrt", g.node("Max", squares, g.const(np.float32(LEAST_SQUARE))))),)


def emit_identity(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    return bottoms


def crop_center_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    sizes = layer.spec.crop_center_param.crop_size
    if len(sizes) != len(bottoms[0]):
        raise PrototxtError(
            "crop_size does not fit the axes", found=f"{len(sizes)} values", expected=f"{len(bottoms[0])}"
        )
    return (tuple(n - 2 * size for n, size in zip(bottoms[0], sizes, strict=True)),)


def emit_crop_center(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    sizes = layer.spec.crop_center_param.crop_size
    axes = [axis for axis, size in enumerate(sizes) if size]
    if not axes:
        return bottoms
    starts = g.ints(*(sizes[a] for a in axes))
    return (g.node("Slice", bottoms[0], starts, g.ints(*(-sizes[a] for a in axes)), g.ints(*axes)),)


def _reorg(layer: Layer) -> tuple[int, bool | None]:
    """The stride and `reverse`, None for the fork that does not have it."""
    spec = layer.spec.reorg_param
    if spec.HasField("reverse"):
        return spec.stride, spec.reverse
    if spec.HasField("stride"):
        return spec.stride, False
    return spec.stride, None


def reorg_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    stride, reverse = _reorg(layer)
    bottom = bottoms[0]
    whole = len(bottom) == 4 and stride >= 1 and bottom[1] % stride**2 == 0
    if not whole or (not reverse and any(n % stride for n in bottom[2:])):
        raise ShapeError(
            "stride does not divide the bottom",
            found=f"stride {stride}, bottom {bottom}",
            expected="channels a multiple of stride^2" + ("" if reverse else ", height and width of stride"),
        )
    n, c, h, w = bottom
    if reverse:
        return ((n, c // stride**2, h * stride, w * stride),)
    return ((n, c * stride**2, h // stride, w // stride),)


def emit_reorg(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    stride, reverse = _reorg(layer)
    n, c = g.shape(layer.bottoms[0])[:2]

    def read_as(x: str, channels: int, op: str) -> str:
        """The memory of x as (n, channels, H op stride, W op stride) of the bottom."""
        plane = g.node(op, g.sizes_of(bottoms[0], 2, 3), g.ints(stride, stride))
        return g.node("Reshape", x, g.node("Concat", g.ints(n, channels), plane, axis=0))

    if reverse is False:
        wide = read_as(bottoms[0], c // stride**2, "Mul")
        return (read_as(g.node("SpaceToDepth", wide, blocksize=stride), c * stride**2, "Div"),)
    spread = g.node("DepthToSpace", bottoms[0], blocksize=stride, mode="DCR")
    return (spread if reverse else read_as(spread, c * stride**2, "Div"),)


register(
    LayerRule("ShuffleChannel", shuffle_shape, emit_shuffle, fork="ShuffleNet", module=__name__),
    LayerRule("Axpy", axpy_shape, emit_axpy, bottoms=(3, 3), fork="SENet", module=__name__),
    LayerRule("ReLU6", same_shape, emit_relu6, fork="MobileNet v2, OpenVINO", module=__name__),
    LayerRule("BReLU", same_shape, emit_brelu, fork="DehazeNet, FPCNet", module=__name__),
    LayerRule("L2Norm", l2norm_shape, emit_l2norm, fork="zlmzju/caffe", module=__name__),
    LayerRule("SpatialDropout", same_shape, emit_identity, fork="pose_action_caffe", module=__name__),
    LayerRule("CropCenter", crop_center_shape, emit_crop_center, fork="waifu2x-caffe", module=__name__),
    LayerRule("Reorg", reorg_shape, emit_reorg, fork="YOLO v2", module=__name__),
)
