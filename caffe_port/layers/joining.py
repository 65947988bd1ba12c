"""Concat, Slice and Split: values joined, cut and handed on (BVLC concat_, slice_, split_layer.cpp).

The axis is `axis` (default 1, negative from the end) or the older `concat_dim` / `slice_dim`. Slice cuts at
`slice_point`, or into equal parts.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from caffe_port.shapes import canonical_axis
from weights.errors import PrototxtError, ShapeError


def _axis(spec: object, old: str, rank: int) -> int:
    has = spec.HasField  # type: ignore[attr-defined]
    if has(old):
        if has("axis"):
            raise PrototxtError(f"axis and {old} are both given", expected="one of them")
        return canonical_axis(getattr(spec, old), rank)
    return canonical_axis(spec.axis, rank)  # type: ignore[attr-defined]


def concat_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    first = bottoms[0]
    axis = _axis(layer.spec.concat_param, "concat_dim", len(first))
    for other in bottoms[1:]:
        if len(other) != len(first) or any(
            a != b for i, (a, b) in enumerate(zip(first, other, strict=True)) if i != axis
        ):
            raise ShapeError(
                "bottoms do not fit together",
                found=", ".join(map(str, bottoms)),
                expected=f"equal sizes but on axis {axis}",
            )
    return ((*first[:axis], sum(b[axis] for b in bottoms), *first[axis + 1 :]),)


def emit_concat(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    if len(bottoms) == 1:
        return bottoms
    return (
        g.node(
            "Concat", *bottoms, axis=_axis(layer.spec.concat_param, "concat_dim", len(g.shape(layer.tops[0])))
        ),
    )


def slice_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    bottom = bottoms[0]
    spec = layer.spec.slice_param
    axis = _axis(spec, "slice_dim", len(bottom))
    tops, size = len(layer.tops), bottom[axis]
    if spec.slice_point:
        points = [0, *spec.slice_point, size]
        if len(points) != tops + 1 or any(a >= b for a, b in pairwise(points)):
            raise PrototxtError(
                "slice_point does not fit",
                found=f"{list(spec.slice_point)} for {tops} tops and size {size}",
                expected=f"{tops - 1} rising points below {size}",
            )
    else:
        if size % tops:
            raise ShapeError(
                f"axis {axis} cannot be cut into equal parts",
                found=f"{size} into {tops}",
                expected=f"a multiple of {tops}, or slice_point",
            )
        points = [i * (size // tops) for i in range(tops + 1)]
    return tuple((*bottom[:axis], b - a, *bottom[axis + 1 :]) for a, b in pairwise(points))


def emit_slice(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    if len(layer.tops) == 1:
        return bottoms
    rank = len(g.shape(layer.bottoms[0]))
    axis = _axis(layer.spec.slice_param, "slice_dim", rank)
    if g.dims(layer.bottoms[0])[axis] is None:
        g.require_fixed(layer, f"cuts axis {axis}, which follows the frame size")
    parts = [g.shape(top)[axis] for top in layer.tops]
    return g.nodes("Split", bottoms[0], g.ints(*parts), axis=axis, outputs=len(parts))


def split_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    return (bottoms[0],) * len(layer.tops)


def emit_split(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    return bottoms * len(layer.tops)


register(
    LayerRule("Concat", concat_shape, emit_concat, bottoms=(1, None), module=__name__),
    LayerRule("Slice", slice_shape, emit_slice, tops=(1, None), module=__name__),
    LayerRule("Split", split_shape, emit_split, tops=(1, None), module=__name__),
)
