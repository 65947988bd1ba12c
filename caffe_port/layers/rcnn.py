"""Layers of the two-stage detectors that read a map at regions (image, x1, y1, x2, y2), and their boxes.

ROIPooling (rbgirshick/caffe-fast-rcnn, roi_pooling_layer.cpp): the region, scaled and rounded half away from
0, is cut into pooled_h x pooled_w bins [floor(i b), ceil((i + 1) b)) with b its size over the bins; each is
the greatest value in it, 0 if it is empty. MS-CNN's pad_ratio (zhaoweicai/mscnn) first widens the region by
that share of its size on every side. ONNX's MaxRoiPool is the same code.

PSROIPooling (R-FCN, psroi_pooling_layer.cu): from round(x1) scale to (round(x2) + 1) scale, at least 0.1
wide, in group_size x group_size bins; bin (i, j) of output d is the mean over channel
(d group_size + i) group_size + j, 0 if it is empty.

ROIAlign (MS-CNN and Cascade R-CNN, roi_align_layer.cpp): the map at the (pooled_h + 1) x (pooled_w + 1)
corners of the bins of x scale - 0.5, bilinear, clamped to the map, 0 half a point beyond it and for regions
without area.

ROIAlignment (leon-liangwu/MaskYolo_Caffe, roi_alignment_layer.cu): the map at the centre of each bin of
[x1 scale, x2 scale + 1], clamped to the map, bilinear.

DecodeBBox (Cascade R-CNN, decode_bbox_layer.cpp, bbox_util.cpp): the second class's box of bottom 0 (R, 8),
times bbox_std plus bbox_mean, applied to the region: centre + t w, w exp(t), with widths x2 - x1 + 1.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers.sampling import Plane, as_float, bilinear, clamp, columns_of, half_up, plane_of
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from caffe_port.shapes import count
from weights.errors import PrototxtError, ShapeError


def check_regions(bottoms: tuple[Shape, ...]) -> None:
    data, rois = bottoms
    if len(data) != 4:
        raise ShapeError("regions of what is no map", found=data, expected="(N, C, H, W)")
    if len(rois) < 2 or count(rois[1:]) != 5:
        raise ShapeError("bad regions", found=rois, expected="(R, 5): image, x1, y1, x2, y2")


def pooled(spec: object) -> tuple[int, int]:
    bins = (spec.pooled_h, spec.pooled_w)  # type: ignore[attr-defined]
    if min(bins) < 1:
        raise PrototxtError("no bins", found=bins, expected="pooled_h and pooled_w of 1 or more")
    return bins


def roi_pooling_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    check_regions(bottoms)
    return ((bottoms[1][0], bottoms[0][1], *pooled(layer.spec.roi_pooling_param)),)


def _widened(g: GraphBuilder, rois: str, ratio: float) -> str:
    """Regions with `ratio` of their width and height added on every side."""
    image, *sides = columns_of(g, rois)
    one, share = g.const(np.float32(1)), g.const(np.float32(ratio))
    low, high = [], []
    for start, end in zip(sides[:2], sides[2:], strict=True):
        pad = g.node("Mul", g.node("Add", g.node("Sub", end, start), one), share)
        low.append(g.node("Sub", start, pad))
        high.append(g.node("Add", end, pad))
    return g.node("Concat", image, *low, *high, axis=1)


def emit_roi_pooling(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = layer.spec.roi_pooling_param
    rois = bottoms[1]
    if spec.pad_ratio:
        rois = _widened(g, rois, spec.pad_ratio)
    elif len(g.shape(layer.bottoms[1])) != 2:
        rois = g.node("Reshape", rois, g.ints(-1, 5))
    return (
        g.node(
            "MaxRoiPool",
            bottoms[0],
            rois,
            pooled_shape=list(pooled(spec)),
            spatial_scale=float(spec.spatial_scale),
        ),
    )


def psroi_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    check_regions(bottoms)
    spec = layer.spec.psroi_pooling_param
    outputs, bins = spec.output_dim, spec.group_size
    if outputs < 1 or bins < 1:
        raise PrototxtError(
            "bad output_dim or group_size", found=f"{outputs} and {bins}", expected="1 or more"
        )
    if bottoms[0][1] != outputs * bins * bins:
        raise ShapeError(
            "channels do not fit output_dim and group_size",
            found=bottoms[0][1],
            expected=outputs * bins * bins,
        )
    return ((bottoms[1][0], outputs, bins, bins),)


def emit_psroi(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = layer.spec.psroi_pooling_param
    bins, outputs = spec.group_size, spec.output_dim
    batch = g.shape(layer.bottoms[0])[0]
    image, x1, y1, x2, y2 = (g.node("Reshape", c, g.ints(1, -1)) for c in columns_of(g, bottoms[1]))
    plane = plane_of(g, layer.bottoms[0], bottoms[0])
    scale, one, zero = (g.const(np.float32(v)) for v in (spec.spatial_scale, 1, 0))
    step = g.const(np.arange(bins, dtype=np.float32)[:, None])

    def edges(first: str, last: str, size: str) -> tuple[str, str, str]:
        """First and last + 1 point of each bin (bins, R), and which points are in it (bins, R, size)."""
        start = g.node("Mul", half_up(g, first), scale)
        end = g.node("Mul", g.node("Add", half_up(g, last), one), scale)
        bin_size = g.node(
            "Div",
            g.node("Max", g.node("Sub", end, start), g.const(np.float32(0.1))),
            g.const(np.float32(bins)),
        )
        limit = as_float(g, size)
        low = g.node("Floor", g.node("Add", g.node("Mul", step, bin_size), start))
        high = g.node("Ceil", g.node("Add", g.node("Mul", g.node("Add", step, one), bin_size), start))
        low, high = clamp(g, low, zero, limit), clamp(g, high, zero, limit)
        number = g.node("Range", g.const(0, np.int64), g.node("Squeeze", size), g.const(1, np.int64))
        points = as_float(g, number)
        inside = g.node(
            "And",
            g.node("GreaterOrEqual", points, g.node("Unsqueeze", low, g.ints(2))),
            g.node("Less", points, g.node("Unsqueeze", high, g.ints(2))),
        )
        return low, high, as_float(g, inside)

    top, bottom, rows = edges(y1, y2, plane.height)
    left, right, columns = edges(x1, x2, plane.width)
    # Each bin is one row of weights over the points of the map: (bins, bins, R, [N,] H, W).
    mask = g.node("Mul", g.node("Unsqueeze", rows, g.ints(1, 4)), g.node("Unsqueeze", columns, g.ints(0, 3)))
    if batch > 1:
        items = g.const(np.arange(batch, dtype=np.float32)[:, None])
        own = as_float(g, g.node("Equal", g.node("Cast", image, to=7), g.node("Cast", items, to=7)))
        own = g.node("Unsqueeze", g.node("Transpose", own, perm=[1, 0]), g.ints(2, 3))
        mask = g.node("Mul", g.node("Unsqueeze", mask, g.ints(3)), own)
    regions = g.sizes_of(image, 1)
    mask = g.node("Reshape", mask, g.node("Concat", g.ints(bins * bins), regions, g.ints(-1), axis=0))
    split = g.node("Concat", g.ints(batch, outputs, bins * bins, -1), axis=0)
    maps = g.node("Transpose", g.node("Reshape", bottoms[0], split), perm=[2, 0, 3, 1])
    maps = g.node("Reshape", maps, g.ints(bins * bins, -1, outputs))
    total = g.node("Transpose", g.node("MatMul", mask, maps), perm=[1, 2, 0])
    total = g.node("Reshape", total, g.ints(-1, outputs, bins, bins))
    area = g.node(
        "Mul",
        g.node("Unsqueeze", g.node("Sub", bottom, top), g.ints(1)),
        g.node("Unsqueeze", g.node("Sub", right, left), g.ints(0)),
    )
    area = g.node("Unsqueeze", g.node("Transpose", area, perm=[2, 0, 1]), g.ints(1))
    return (g.node("Where", g.node("Greater", area, zero), g.node("Div", total, area), zero),)


def roi_align_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    check_regions(bottoms)
    rows, columns = pooled(layer.spec.roi_pooling_param)
    return ((bottoms[1][0], bottoms[0][1], rows + 1, columns + 1),)


def emit_roi_align(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = layer.spec.roi_pooling_param
    rois = _widened(g, bottoms[1], spec.pad_ratio) if spec.pad_ratio else bottoms[1]
    image, x1, y1, x2, y2 = columns_of(g, rois)
    plane = plane_of(g, layer.bottoms[0], bottoms[0])
    scale, one, half, zero = (g.const(np.float32(v)) for v in (spec.spatial_scale, 1, 0.5, 0))
    rows, columns = pooled(spec)

    def corners(first: str, last: str, bins: int, size: str) -> tuple[str, str, str, str]:
        """Lower and upper point, weight of the upper one, and whether the corner counts: (R, bins + 1)."""
        start = g.node("Sub", g.node("Mul", first, scale), half)
        end = g.node("Sub", g.node("Mul", last, scale), half)
        extent = g.node("Sub", end, start)
        number = g.const(np.arange(bins + 1, dtype=np.float32))
        place = g.node("Add", start, g.node("Mul", number, g.node("Div", extent, g.const(np.float32(bins)))))
        greatest = g.node("Sub", as_float(g, size), one)
        below = g.node("Less", place, g.const(np.float32(-0.5)))
        above = g.node("Greater", place, g.node("Add", greatest, half))
        empty = g.node("LessOrEqual", extent, zero)
        floor = g.node("Floor", place)
        low = clamp(g, floor, zero, greatest)
        high = clamp(g, g.node("Add", floor, one), zero, greatest)
        weight = g.node("Sub", clamp(g, place, zero, greatest), low)
        return low, high, weight, g.node("Not", g.node("Or", g.node("Or", below, above), empty))

    top, bottom, down, row_counts = corners(y1, y2, rows, plane.height)
    left, right, across, column_counts = corners(x1, x2, columns, plane.width)
    values = in_bins(g, layer, bottoms[0], plane, image, (top, bottom, down), (left, right, across))
    counts = g.node(
        "And", g.node("Unsqueeze", row_counts, g.ints(2)), g.node("Unsqueeze", column_counts, g.ints(1))
    )
    counts = g.node("Unsqueeze", counts, g.ints(3))
    return (g.node("Transpose", g.node("Where", counts, values, zero), perm=[0, 3, 1, 2]),)


def in_bins(
    g: GraphBuilder,
    layer: Layer,
    x: str,
    plane: Plane,
    image: str,
    tall: tuple[str, str, str],
    wide: tuple[str, str, str],
) -> str:
    """Values (R, rows, columns, C) between the points of each bin: the lower one, the upper one and the upper
    one's weight, down (R, rows) and across (R, columns).
    """
    top, bottom, down = (g.node("Unsqueeze", v, g.ints(2)) for v in tall)
    left, right, across = (g.node("Unsqueeze", v, g.ints(1)) for v in wide)
    item = g.node("Unsqueeze", image, g.ints(2))
    channels = g.shape(layer.bottoms[0])[1]
    return bilinear(g, x, plane, channels, item, (top, bottom, left, right), (down, across))


def roi_alignment_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    check_regions(bottoms)
    return ((bottoms[1][0], bottoms[0][1], *pooled(layer.spec.roi_alignment_param)),)


def emit_roi_alignment(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = layer.spec.roi_alignment_param
    image, x1, y1, x2, y2 = columns_of(g, bottoms[1])
    plane = plane_of(g, layer.bottoms[0], bottoms[0])
    scale, one, zero = (g.const(np.float32(v)) for v in (spec.spatial_scale, 1, 0))
    rows, columns = pooled(spec)

    def centres(first: str, last: str, bins: int, size: str) -> tuple[str, str, str]:
        """Lower and upper point and weight of the upper one at the middle of each bin: (R, bins)."""
        start = g.node("Mul", first, scale)
        extent = g.node("Max", g.node("Add", g.node("Sub", g.node("Mul", last, scale), start), one), one)
        step = g.node("Div", extent, g.const(np.float32(bins)))
        greatest = g.node("Sub", as_float(g, size), one)
        ends = []
        for shift in (0, 1):
            number = g.const(np.arange(shift, bins + shift, dtype=np.float32))
            ends.append(clamp(g, g.node("Add", g.node("Mul", number, step), start), zero, greatest))
        centre = g.node("Div", g.node("Add", *ends), g.const(np.float32(2)))
        low = g.node("Floor", centre)
        return low, g.node("Ceil", centre), g.node("Sub", centre, low)

    tall, wide = centres(y1, y2, rows, plane.height), centres(x1, x2, columns, plane.width)
    values = in_bins(g, layer, bottoms[0], plane, image, tall, wide)
    return (g.node("Transpose", values, perm=[0, 3, 1, 2]),)


def _moments(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    spec = layer.spec.bbox_reg_param
    if not spec.bbox_mean or not spec.bbox_std:
        return np.zeros(4, np.float32), np.ones(4, np.float32)
    if len(spec.bbox_mean) != 4 or len(spec.bbox_std) != 4 or min(spec.bbox_std) <= 0:
        raise PrototxtError(
            "bad bbox_mean or bbox_std",
            found=f"{list(spec.bbox_mean)} and {list(spec.bbox_std)}",
            expected="four of each, bbox_std above 0",
        )
    return np.array(spec.bbox_mean, np.float32), np.array(spec.bbox_std, np.float32)


def decode_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    boxes, rois = bottoms
    _moments(layer)
    if count(boxes[1:]) != 8 or len(rois) < 2 or count(rois[1:]) != 5 or boxes[0] != rois[0]:
        raise ShapeError("boxes and regions do not fit", found=bottoms, expected="(R, 8) and (R, 5)")
    return (rois,)


def emit_decode(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    mean, std = _moments(layer)
    second = g.node("Slice", g.node("Reshape", bottoms[0], g.ints(-1, 8)), g.ints(4), g.ints(8), g.ints(1))
    moved = g.node("Add", g.node("Mul", second, g.const(std[None])), g.const(mean[None]))
    moves = g.nodes("Split", moved, g.ints(1, 1, 1, 1), axis=1, outputs=4)
    image, *sides = columns_of(g, bottoms[1])
    one, two, half = (g.const(np.float32(v)) for v in (1, 2, 0.5))
    low, high = [], []
    for axis in (0, 1):
        first, last = sides[axis], sides[axis + 2]
        size = g.node("Add", g.node("Sub", last, first), one)
        centre = g.node("Mul", half, g.node("Add", last, first))
        place = g.node("Add", g.node("Mul", moves[axis], size), centre)
        extent = g.node("Sub", g.node("Mul", size, g.node("Exp", moves[axis + 2])), one)
        low.append(g.node("Sub", place, g.node("Div", extent, two)))
        high.append(g.node("Add", low[-1], extent))
    boxes = g.node("Concat", image, *low, *high, axis=1)
    rois = g.shape(layer.bottoms[1])
    return (boxes if len(rois) == 2 else g.node("Reshape", boxes, g.ints(-1, *rois[1:])),)


register(
    LayerRule(
        "ROIPooling",
        roi_pooling_shape,
        emit_roi_pooling,
        bottoms=(2, 2),
        fork="Fast R-CNN, MS-CNN",
        note="MaxRoiPool has no CUDA kernel",
        module=__name__,
    ),
    LayerRule("PSROIPooling", psroi_shape, emit_psroi, bottoms=(2, 2), fork="R-FCN", module=__name__),
    LayerRule(
        "ROIAlign",
        roi_align_shape,
        emit_roi_align,
        bottoms=(2, 2),
        fork="MS-CNN, Cascade R-CNN",
        module=__name__,
    ),
    LayerRule(
        "ROIAlignment",
        roi_alignment_shape,
        emit_roi_alignment,
        bottoms=(2, 2),
        fork="MaskYolo",
        module=__name__,
    ),
    LayerRule("DecodeBBox", decode_shape, emit_decode, bottoms=(2, 2), fork="Cascade R-CNN", module=__name__),
)
