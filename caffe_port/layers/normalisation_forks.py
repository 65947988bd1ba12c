"""Normalisations of forks.

GRN (OpenVINO's training_toolbox_caffe, grn_layer.cpp): x / sqrt(sum over channels of x^2 + bias), at each
point. L2Normalize (gy20073/compact_bilinear_pooling, l2_normalize_layer.cpp): x / sqrt(sum of x^2 over the
item + 1e-7). GroupNorm (hujie-frank, group_norm_layer.cpp): (x - mean) / sqrt(variance + eps), mean and
biased variance over each item's channels of one group, then a scale and a shift per channel; the forks of
blankWorld, niezhongliang (`group_num`) and lusenkong (`group_ratio`) have no scale and shift.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers.activation import same_shape
from caffe_port.net import Layer, Shape
from caffe_port.registry import Blob, LayerRule, register
from weights.errors import ShapeError

Blobs = tuple[np.ndarray, ...]
LEAST_SQUARE = 1e-7
DEFAULT_GROUPS = 32


def emit_grn(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    squares = g.node("ReduceSum", g.node("Mul", bottoms[0], bottoms[0]), g.ints(1), keepdims=1)
    bias = layer.spec.grn_param.bias
    if bias:
        squares = g.node("Add", squares, g.const(np.float32(bias)))
    return (g.node("Div", bottoms[0], g.node("Sqrt", squares)),)


def emit_l2_normalize(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs
) -> tuple[str, ...]:
    axes = range(1, len(g.shape(layer.bottoms[0])))
    squares = g.node("ReduceSum", g.node("Mul", bottoms[0], bottoms[0]), g.ints(*axes), keepdims=1)
    return (
        g.node("Div", bottoms[0], g.node("Sqrt", g.node("Add", squares, g.const(np.float32(LEAST_SQUARE))))),
    )


def _groups(layer: Layer) -> tuple[int, bool]:
    """Number of groups, and whether a scale and a shift are learnt."""
    spec = layer.spec.group_norm_param
    if spec.HasField("group"):
        return spec.group, True
    if spec.HasField("group_ratio"):
        return spec.group_ratio, False
    return spec.group_num if spec.HasField("group_num") else DEFAULT_GROUPS, False


def group_norm_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    groups, _ = _groups(layer)
    if len(bottoms[0]) < 3 or groups < 1 or bottoms[0][1] % groups:
        raise ShapeError("groups do not divide the channels", found=f"{groups} groups, bottom {bottoms[0]}")
    return (bottoms[0],)


def group_norm_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    if not _groups(layer)[1]:
        return ()
    spec = layer.spec.group_norm_param
    shape = (bottoms[0][1],)
    return (
        Blob(shape, spec.scale_filler if spec.HasField("scale_filler") else None, "scale"),
        Blob(shape, spec.bias_filler if spec.HasField("bias_filler") else None, "shift"),
    )


def emit_group_norm(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    groups, _ = _groups(layer)
    shape = g.shape(layer.bottoms[0])
    x = g.node("Reshape", bottoms[0], g.ints(0, groups, -1))
    centred = g.node("Sub", x, g.node("ReduceMean", x, axes=[2], keepdims=1))
    variance = g.node("ReduceMean", g.node("Mul", centred, centred), axes=[2], keepdims=1)
    eps = g.const(np.float32(layer.spec.group_norm_param.eps))
    y = g.node("Div", centred, g.node("Sqrt", g.node("Add", variance, eps)))
    y = g.node("Reshape", y, g.node("Shape", bottoms[0]))
    if blobs:
        scale, shift = (b.reshape(-1, *(1,) * (len(shape) - 2)) for b in blobs)
        y = g.node("Add", g.node("Mul", y, g.const(scale)), g.const(shift))
    return (y,)


register(
    LayerRule("GRN", same_shape, emit_grn, fork="OpenVINO", module=__name__),
    LayerRule("L2Normalize", same_shape, emit_l2_normalize, fork="compact bilinear pooling", module=__name__),
    LayerRule(
        "GroupNorm",
        group_norm_shape,
        emit_group_norm,
        group_norm_blobs,
        fork="hujie-frank and others",
        module=__name__,
    ),
)
