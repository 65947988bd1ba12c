"""Layers of forks that read maps between their points.

ROIWarping (daijifeng001/caffe-mnc, roi_warping_layer.cu): the map at the first corner of each of pooled_h x
pooled_w bins, from round(x1) scale to round(x2) scale, bilinear, clamped to the map, 0 more than half a
point beyond it.

PSROIAlign (afantideng/R-FCN-PSROIAlign, psroi_align_layer.cu): bins from x1 scale to (x2 + 1) scale, at
least 0.1 wide, both ends clamped to [0, size - 1]; output d at bin (i, j) is the sum of sample_num x
sample_num points, spaced bin / (sample_num + 1), of channel (d group_size + i) group_size + j, divided by
their number; points at or beyond the bin's end do not count.

MaskResize (caffe-mnc, mask_resize_layer.cu): top (y, x) is the map at (y H / h, x W / w), bilinear, clamped,
and 0 more than half a point beyond it, which happens where a map grows more than twofold. SSTD
(BestSonny/SSTD, mask_resize_layer.cpp) takes factor_height and factor_width above 0 instead of sizes.

SpatialTransformer (daerduoCarey/SpatialTransformerLayer, st_layer.cpp and .cu): top (s, t) is the map at row
(p + 1) H / 2 and column (q + 1) W / 2, where (p, q) = theta (2 s / H' - 1, 2 t / W' - 1, 1) and theta is 2 x
3, its numbers those that st_param fixes and else the second bottom's in order; points outside are 0.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers.rcnn import check_regions, in_bins, pooled
from caffe_port.layers.sampling import (
    Plane,
    as_float,
    bilinear,
    clamp,
    columns_of,
    half_up,
    limited,
    plane_of,
)
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from caffe_port.shapes import count
from weights.errors import PrototxtError, ShapeError, UnsupportedError
from weights.limits import ELEMENTS

Blobs = tuple[np.ndarray, ...]
Between = tuple[str, str, str]
"""Lower point, upper point, how far from the lower one."""


def _between(g: GraphBuilder, place: str, greatest: str) -> Between:
    """The points of a map around places, which are clamped to it."""
    place = clamp(g, place, g.const(np.float32(0)), greatest)
    low = g.node("Floor", place)
    return low, g.node("Min", g.node("Add", low, g.const(np.float32(1))), greatest), g.node("Sub", place, low)


def warping_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    check_regions(bottoms)
    return ((bottoms[1][0], bottoms[0][1], *pooled(layer.spec.roi_warping_param)),)


def emit_warping(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    spec = layer.spec.roi_warping_param
    image, x1, y1, x2, y2 = columns_of(g, bottoms[1])
    plane = plane_of(g, layer.bottoms[0], bottoms[0])
    scale, half, zero, one = (g.const(np.float32(v)) for v in (spec.spatial_scale, 0.5, 0, 1))

    def corners(first: str, last: str, bins: int, size: str) -> tuple[Between, str]:
        """Points around each bin's corner and whether it is in the map: (R, bins)."""
        start = half_up(g, g.node("Mul", first, scale))
        end = half_up(g, g.node("Mul", last, scale))
        step = g.node("Div", g.node("Max", g.node("Sub", end, start), zero), g.const(np.float32(bins)))
        place = g.node("Add", start, g.node("Mul", g.const(np.arange(bins, dtype=np.float32)), step))
        greatest = g.node("Sub", as_float(g, size), one)
        below = g.node("Less", place, g.const(np.float32(-0.5)))
        above = g.node("Greater", place, g.node("Add", greatest, half))
        return _between(g, place, greatest), g.node("Not", g.node("Or", below, above))

    rows, columns = pooled(spec)
    tall, row_counts = corners(y1, y2, rows, plane.height)
    wide, column_counts = corners(x1, x2, columns, plane.width)
    values = in_bins(g, layer, bottoms[0], plane, image, tall, wide)
    counts = g.node(
        "And", g.node("Unsqueeze", row_counts, g.ints(2)), g.node("Unsqueeze", column_counts, g.ints(1))
    )
    values = g.node("Where", g.node("Unsqueeze", counts, g.ints(3)), values, zero)
    return (g.node("Transpose", values, perm=[0, 3, 1, 2]),)


def psroi_align_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    check_regions(bottoms)
    spec = layer.spec.psroi_align_param
    if min(spec.output_dim, spec.group_size, spec.sample_num) < 1:
        raise PrototxtError("output_dim, group_size or sample_num is 0", expected="1 or more")
    if bottoms[0][1] != spec.output_dim * spec.group_size**2:
        raise ShapeError(
            "channels do not fit output_dim and group_size",
            found=bottoms[0][1],
            expected=spec.output_dim * spec.group_size**2,
        )
    return ((bottoms[1][0], spec.output_dim, spec.group_size, spec.group_size),)


def emit_psroi_align(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs
) -> tuple[str, ...]:
    spec = layer.spec.psroi_align_param
    bins, samples, outputs = spec.group_size, spec.sample_num, spec.output_dim
    image, x1, y1, x2, y2 = columns_of(g, bottoms[1])
    plane = plane_of(g, layer.bottoms[0], bottoms[0])
    scale, one, zero, least = (g.const(np.float32(v)) for v in (spec.spatial_scale, 1, 0, 0.1))

    def points(first: str, last: str, size: str) -> tuple[Between, str]:
        """Points around each sample and which samples count: (R, bins, samples)."""
        start = g.node("Mul", first, scale)
        end = g.node("Mul", g.node("Add", last, one), scale)
        extent = g.node("Div", g.node("Max", g.node("Sub", end, start), least), g.const(np.float32(bins)))
        greatest = g.node("Sub", as_float(g, size), one)
        ends = []
        for shift in (0, 1):
            number = g.const(np.arange(shift, bins + shift, dtype=np.float32))
            ends.append(clamp(g, g.node("Add", g.node("Mul", number, extent), start), zero, greatest))
        step = g.node("Unsqueeze", g.node("Div", extent, g.const(np.float32(samples + 1))), g.ints(2))
        number = g.const(np.arange(1, samples + 1, dtype=np.float32))
        low, high = (g.node("Unsqueeze", e, g.ints(2)) for e in ends)
        place = g.node("Add", low, g.node("Mul", number, step))
        return _between(g, place, greatest), g.node("Less", place, high)

    # (R, bins, bins, samples, samples): rows of bins and samples on axes 1 and 3, columns on 2 and 4.
    (top, bottom, down), row_counts = points(y1, y2, plane.height)
    (left, right, across), column_counts = points(x1, x2, plane.width)
    tall = [g.node("Unsqueeze", v, g.ints(2, 4)) for v in (top, bottom, down, row_counts)]
    wide = [g.node("Unsqueeze", v, g.ints(1, 3)) for v in (left, right, across, column_counts)]
    number = g.const(np.arange(bins * bins, dtype=np.float32).reshape(1, bins, bins, 1, 1))
    first = g.node("Mul", g.node("Unsqueeze", image, g.ints(2, 3, 4)), g.const(np.float32(bins * bins)))
    split = g.node("Concat", g.ints(0, outputs, bins * bins), plane.height, plane.width, axis=0)
    maps = g.node("Transpose", g.node("Reshape", bottoms[0], split), perm=[0, 2, 1, 3, 4])
    maps = g.node("Reshape", maps, g.node("Concat", g.ints(-1, outputs), plane.height, plane.width, axis=0))
    corners = (tall[0], tall[1], wide[0], wide[1])
    values = bilinear(g, maps, plane, outputs, g.node("Add", first, number), corners, (tall[2], wide[2]))
    counts = g.node("Unsqueeze", g.node("And", tall[3], wide[3]), g.ints(5))
    total = g.node("ReduceSum", g.node("Where", counts, values, zero), g.ints(3, 4), keepdims=0)
    mean = g.node("Div", total, g.const(np.float32(samples * samples)))
    return (g.node("Transpose", mean, perm=[0, 3, 1, 2]),)


def mask_resize_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    spec = layer.spec.mask_resize_param
    if len(bottoms[0]) != 4 or min(spec.output_height, spec.output_width) < 1:
        raise ShapeError("no size", found=bottoms[0], expected="(N, C, H, W), output_height and output_width")
    if not max(spec.factor_height, spec.factor_width) < ELEMENTS:
        raise PrototxtError("bad factor_height or factor_width", expected="0 or more, and finite")
    height, width = (
        int(np.float32(n) * np.float32(factor)) if factor > 0 else size
        for n, factor, size in zip(
            bottoms[0][2:],
            (spec.factor_height, spec.factor_width),
            (spec.output_height, spec.output_width),
            strict=True,
        )
    )
    return ((*bottoms[0][:2], height, width),)


def _resized(g: GraphBuilder, x: str, size: str, length: int, axis: int) -> str:
    """One axis of a map, read at i * size / length."""
    one = g.const(np.float32(1))
    ratio = g.node("Div", as_float(g, size), g.const(np.float32(length)))
    place = g.node("Mul", g.const(np.arange(length, dtype=np.float32)), ratio)
    low, high, far = _between(g, place, g.node("Sub", as_float(g, size), one))
    ends = [g.node("Gather", x, g.node("Cast", i, to=7), axis=axis) for i in (low, high)]
    limit = g.node("Sub", as_float(g, size), g.const(np.float32(0.5)))
    inside = as_float(g, g.node("LessOrEqual", place, limit))
    shares = [g.node("Mul", inside, share) for share in (g.node("Sub", one, far), far)]
    if axis == 2:
        shares = [g.node("Unsqueeze", share, g.ints(1)) for share in shares]
    return g.node("Add", *(g.node("Mul", end, share) for end, share in zip(ends, shares, strict=True)))


def emit_mask_resize(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs
) -> tuple[str, ...]:
    if None in g.dims(layer.tops[0]):
        g.require_fixed(layer, "its factors give a size for one frame size")
    height, width = g.shape(layer.tops[0])[2:]
    limited("rows and columns", height * width)
    plane = plane_of(g, layer.bottoms[0], bottoms[0])
    tall = _resized(g, bottoms[0], plane.height, height, 2)
    return (_resized(g, tall, plane.width, width, 3),)


THETA = ("theta_1_1", "theta_1_2", "theta_1_3", "theta_2_1", "theta_2_2", "theta_2_3")


def transformer_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    spec = layer.spec.st_param
    u, theta = bottoms
    for field, only in (("transform_type", "affine"), ("sampler_type", "bilinear")):
        if getattr(spec, field) != only:
            raise UnsupportedError(f"unknown {field}", found=getattr(spec, field), expected=only)
    if spec.de_transform:
        raise UnsupportedError("the inverse transform of RMPE", found="de_transform: true", expected="false")
    free = sum(not spec.HasField(name) for name in THETA)
    if len(u) != 4 or not theta or theta[0] != u[0] or count(theta[1:]) != free:
        raise ShapeError("bottoms do not fit", found=bottoms, expected=f"(N, C, H, W) and (N, {free})")
    top = tuple(
        getattr(spec, f"output_{axis}") if spec.HasField(f"output_{axis}") else n
        for axis, n in zip("HW", u[2:], strict=True)
    )
    return ((*u[:2], *top),)


def _theta(g: GraphBuilder, layer: Layer, given: str, items: str) -> str:
    """The whole matrix: (N, 2, 3)."""
    spec = layer.spec.st_param
    flat = g.node("Reshape", given, g.node("Concat", items, g.ints(-1), axis=0))
    if not any(spec.HasField(name) for name in THETA):
        return g.node("Reshape", flat, g.ints(-1, 2, 3))
    ones = g.node("Expand", g.const(np.ones((1, 1), np.float32)), g.node("Concat", items, g.ints(1), axis=0))
    numbers, used = [], 0
    for name in THETA:
        if spec.HasField(name):
            numbers.append(g.node("Mul", ones, g.const(np.float32(getattr(spec, name)))))
        else:
            numbers.append(g.node("Slice", flat, g.ints(used), g.ints(used + 1), g.ints(1)))
            used += 1
    return g.node("Reshape", g.node("Concat", *numbers, axis=1), g.ints(-1, 2, 3))


def emit_transformer(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs
) -> tuple[str, ...]:
    spec = layer.spec.st_param
    if not (spec.HasField("output_H") and spec.HasField("output_W")):
        g.require_fixed(layer, "its grid is a constant of the frame's size", layer.bottoms[:1])
    shape = g.shape(layer.bottoms[0])
    height, width = transformer_shape(layer, tuple(g.shape(b) for b in layer.bottoms))[0][2:]
    limited("points in a grid", height * width)
    rows, columns = np.meshgrid(np.arange(height) / height, np.arange(width) / width, indexing="ij")
    grid = np.stack([rows * 2 - 1, columns * 2 - 1, np.ones_like(rows)]).reshape(3, -1)
    items = g.sizes_of(bottoms[0], 0)
    places = g.node("MatMul", _theta(g, layer, bottoms[1], items), g.const(grid.astype(np.float32)))
    # A border of zeros stands for all that is outside.
    plane = plane_of(g, layer.bottoms[0], bottoms[0])
    one = g.const(np.float32(1))
    framed = g.node("Pad", bottoms[0], g.ints(0, 0, 1, 1, 0, 0, 1, 1))
    outer = Plane(*(g.node("Add", size, g.ints(2)) for size in (plane.height, plane.width)))
    corners, weights = [], []
    for axis, size in enumerate((plane.height, plane.width)):
        place = g.node("Gather", places, g.const(axis, np.int64), axis=1)
        half = g.node(
            "Mul", g.node("Div", g.node("Add", place, one), g.const(np.float32(2))), as_float(g, size)
        )
        low = g.node("Floor", half)
        greatest = g.node("Add", as_float(g, size), one)
        zero = g.const(np.float32(0))
        corners += [
            clamp(g, g.node("Add", low, g.const(np.float32(shift))), zero, greatest) for shift in (1, 2)
        ]
        weights.append(g.node("Sub", half, low))
    number = g.node("Range", g.const(0, np.int64), g.node("Squeeze", items), g.const(1, np.int64))
    item = g.node("Unsqueeze", number, g.ints(1))
    values = bilinear(g, framed, outer, shape[1], item, tuple(corners), tuple(weights))  # type: ignore[arg-type]
    values = g.node("Reshape", values, g.ints(0, height, width, shape[1]))
    return (g.node("Transpose", values, perm=[0, 3, 1, 2]),)


register(
    LayerRule("ROIWarping", warping_shape, emit_warping, bottoms=(2, 2), fork="MNC", module=__name__),
    LayerRule(
        "PSROIAlign",
        psroi_align_shape,
        emit_psroi_align,
        bottoms=(2, 2),
        fork="R-FCN-PSROIAlign",
        module=__name__,
    ),
    LayerRule("MaskResize", mask_resize_shape, emit_mask_resize, fork="MNC", module=__name__),
    LayerRule(
        "SpatialTransformer",
        transformer_shape,
        emit_transformer,
        bottoms=(2, 2),
        fork="daerduoCarey, iResNet, Curve-Text-Detector",
        module=__name__,
    ),
)
