"""Layers of forks that bring two bottoms together.

MergeCrop (naibaf7/caffe, mergecrop_layer.cpp and .cu): the second bottom cut to the first's size, (B - A) /
2 points off its beginning, then joined after it along the channels (STACK) or added to it (ADD); a bottom
whose `forward` is false counts as 0. MaskPooling (daijifeng001/caffe-mnc, mask_pooling_layer.cu): every
channel times the one channel of the second bottom. ChannelScale (happynear/caffe-windows,
channel_scale_layer.cpp): the same. MatMul (synopsys-caffe, matmul_layer.cpp): the product of the last two
axes, of a or its transpose and b or its transpose, where b is the second bottom or the learnt blob; sophgo's
(dim_1 x dim_2 times dim_3 x dim_2, transposed) and shihengcan/caffe-2017's are other layers of that name. Add
(synopsys-caffe, add_layer.cpp): the sum of two bottoms, repeated along axes of size 1 and along the leading
axes that one of them lacks.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Shape
from caffe_port.registry import Blob, LayerRule, register
from caffe_port.shapes import count
from weights.errors import ShapeError

Blobs = tuple[np.ndarray, ...]
LAST = 2**31 - 1
STACK = 0


def merge_crop_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    a, b = bottoms
    stack = layer.spec.mergecrop_param.operation == STACK
    if len(a) != len(b) or len(a) < 3 or a[0] != b[0] or (a[1] != b[1] and not stack):
        raise ShapeError("bottoms do not fit", found=bottoms, expected="one number of items and of axes")
    if any(m > n for m, n in zip(a[2:], b[2:], strict=True)):
        raise ShapeError("the second bottom is smaller", found=bottoms, expected="a larger second bottom")
    return ((a[0], a[1] + b[1] if stack else a[1], *a[2:]),)


def emit_merge_crop(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    spec = layer.spec.mergecrop_param
    a, b = bottoms
    shapes = [g.shape(blob) for blob in layer.bottoms]
    axes = tuple(range(2, len(shapes[0])))
    size = g.sizes_of(a, *axes)
    start = g.node("Div", g.node("Sub", g.sizes_of(b, *axes), size), g.const(np.int64(2), np.int64))
    b = g.node("Slice", b, start, g.node("Add", start, size), g.ints(*axes))
    keep = [*spec.forward, True, True][:2] if len(spec.forward) < 2 else spec.forward[:2]
    a, b = (
        x if kept else g.node("Mul", x, g.const(np.float32(0))) for x, kept in zip((a, b), keep, strict=True)
    )
    if spec.operation != STACK:
        return (g.node("Add", a, b),)
    if shapes[0][1] != shapes[1][1]:
        g.notes.append(
            f'layer "{layer.name}" (MergeCrop): its bottoms have {shapes[0][1]} and {shapes[1][1]} channels, '
            "which the fork's kernel mixes up; the graph joins them in order"
        )
    return (g.node("Concat", a, b, axis=1),)


def masked_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    x, mask = bottoms
    if len(x) < 2 or count(mask) * x[1] != count(x) or mask[0] != x[0]:
        raise ShapeError("the mask does not fit", found=bottoms, expected="one channel of the same size")
    return (x,)


def emit_masked(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    x, mask = bottoms
    shape, own = (g.shape(blob) for blob in layer.bottoms)
    if own != (shape[0], 1, *shape[2:]):
        one = g.ints(1)
        mask = g.node(
            "Reshape",
            mask,
            g.node("Concat", g.sizes_of(x, 0), one, g.sizes_of(x, *range(2, len(shape))), axis=0),
        )
    return (g.node("Mul", x, mask),)


def _matrices(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, Shape]:
    """Shapes of a and b as they are multiplied."""
    spec = layer.spec.matmul_param
    if spec.HasField("dim_1"):
        rows, columns = (spec.dim_1, spec.dim_2), (spec.dim_3, spec.dim_2)
        if len(bottoms) != 2 or tuple(map(count, bottoms)) != (count(rows), count(columns)):
            expected = f"{rows} and {columns}"
            raise ShapeError("bottoms do not fit dim_1 to dim_3", found=bottoms, expected=expected)
        return rows, (columns[1], columns[0])
    a: Shape = bottoms[0]
    b: Shape = bottoms[1] if len(bottoms) == 2 else tuple(spec.blob_shape)
    if len(a) < 2 or len(b) < 2 or len(b) > len(a):
        raise ShapeError(
            "no matrices", found=(a, b), expected="two axes or more, the second no more than the first"
        )
    same = len(a) == len(b)
    if spec.transpose_a and same:
        a = (*a[:-2], a[-1], a[-2])
    if spec.transpose_b and same:
        b = (*b[:-2], b[-1], b[-2])
    if a[-1] != b[-2] or (same and a[:-2] != b[:-2]) or (not same and len(b) != 2):
        raise ShapeError("matrices do not fit", found=(a, b), expected="(..., M, K) and (..., K, N)")
    return a, b


def matmul_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    a, b = _matrices(layer, bottoms)
    return ((*a[:-1], b[-1]),)


def matmul_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    return (Blob(tuple(layer.spec.matmul_param.blob_shape)),) if len(bottoms) == 1 else ()


def matmul_macs(layer: Layer, bottoms: tuple[Shape, ...], tops: tuple[Shape, ...]) -> int:
    return count(tops[0]) * _matrices(layer, bottoms)[0][-1]


def emit_matmul(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    spec = layer.spec.matmul_param
    shapes = tuple(g.shape(blob) for blob in layer.bottoms)
    a, b = bottoms[0], bottoms[1] if len(bottoms) == 2 else g.const(blobs[0])
    if spec.HasField("dim_1"):
        a = g.node("Reshape", a, g.ints(spec.dim_1, spec.dim_2))
        b = g.node("Reshape", b, g.ints(spec.dim_3, spec.dim_2))
        return (g.node("MatMul", a, g.node("Transpose", b, perm=[1, 0])),)
    ranks = [len(shapes[0]), len(shapes[1]) if len(bottoms) == 2 else blobs[0].ndim]
    swapped = [*range(ranks[0] - 2), ranks[0] - 1, ranks[0] - 2]
    if spec.transpose_a and ranks[0] == ranks[1]:
        a = g.node("Transpose", a, perm=swapped)
    if spec.transpose_b and ranks[0] == ranks[1]:
        b = g.node("Transpose", b, perm=swapped)
    return (g.node("MatMul", a, b),)


def add_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    rank = max(map(len, bottoms))
    a, b = ((1,) * (rank - len(bottom)) + bottom for bottom in bottoms)
    if any(m != n and 1 not in (m, n) for m, n in zip(a, b, strict=True)):
        raise ShapeError("bottoms do not fit", found=bottoms, expected="equal sizes, or 1")
    return (tuple(map(max, a, b)),)


def emit_add(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    return (g.node("Add", *bottoms),)


register(
    LayerRule("Add", add_shape, emit_add, bottoms=(2, 2), fork="Synopsys, Cambricon", module=__name__),
    LayerRule(
        "MergeCrop", merge_crop_shape, emit_merge_crop, bottoms=(2, 2), fork="naibaf7", module=__name__
    ),
    LayerRule("MaskPooling", masked_shape, emit_masked, bottoms=(2, 2), fork="MNC", module=__name__),
    LayerRule("ChannelScale", masked_shape, emit_masked, bottoms=(2, 2), fork="happynear", module=__name__),
    LayerRule(
        "MatMul",
        matmul_shape,
        emit_matmul,
        matmul_blobs,
        matmul_macs,
        bottoms=(1, 2),
        fork="Synopsys, sophgo, troyliu0105",
        module=__name__,
    ),
)
