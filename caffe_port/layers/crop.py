"""Crop (BVLC crop_layer.cpp).

top = bottom[0], cut on every axis >= `axis` (default 2) to the size of bottom[1], starting at `offset`: none
given is 0, one serves all cropped axes, else one each. A window that leaves bottom[0] is an error, in a graph
for every frame size one of its run. The size is read when the graph runs. AutoCrop is a Crop whose offset
reading/automatic_crop.py has found.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from caffe_port.shapes import canonical_axis
from weights.errors import PrototxtError, ShapeError


def _offsets(layer: Layer, rank: int) -> tuple[int, list[int]]:
    spec = layer.spec.crop_param
    axis = canonical_axis(spec.axis, rank)
    given = list(spec.offset)
    if len(given) > 1 and len(given) != rank - axis:
        raise PrototxtError(
            "offset does not fit the cropped axes",
            found=f"{len(given)} values",
            expected=f"1 or {rank - axis}",
        )
    return axis, given if len(given) > 1 else (given or [0]) * (rank - axis)


def crop_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    bottom, like = bottoms
    if len(bottom) != len(like):
        raise ShapeError("bottoms of different rank", found=bottoms, expected="the same number of axes")
    axis, offsets = _offsets(layer, len(bottom))
    top = list(bottom)
    for i, offset in zip(range(axis, len(bottom)), offsets, strict=True):
        if offset + like[i] > bottom[i]:
            raise ShapeError(
                f"the crop leaves its bottom on axis {i}",
                found=f"offset {offset} + size {like[i]} > {bottom[i]}",
                expected=f"at most {bottom[i]}",
            )
        top[i] = like[i]
    return (tuple(top),)


def emit_crop(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    bottom, like = (g.dims(b) for b in layer.bottoms)
    axis, offsets = _offsets(layer, len(like))
    axes = list(range(axis, len(like)))
    known = [like[i] for i in axes]
    starts = g.ints(*offsets)
    if None not in known:
        sizes = g.ints(*(d for d in known if d is not None))
        ends = g.ints(*(o + d for o, d in zip(offsets, known, strict=True) if d is not None))
    else:
        sizes = g.sizes_of(bottoms[1], *axes)
        ends = g.node("Add", sizes, starts)
    top = g.node("Slice", bottoms[0], starts, ends, g.ints(*axes))
    if None not in (*known, *bottom[axis:]):
        return (top,)
    # Slice takes what there is of a window that leaves the bottom; the Reshape fails on less than all of it.
    kept = [g.ints(*(0 for _ in range(axis)))] if axis else []
    return (g.node("Reshape", top, g.node("Concat", *kept, sizes, axis=0)),)


register(
    LayerRule("Crop", crop_shape, emit_crop, bottoms=(2, 2), module=__name__),
    LayerRule(
        "AutoCrop", crop_shape, emit_crop, bottoms=(2, 2), fork="FCN's early branch, RCF", module=__name__
    ),
)
