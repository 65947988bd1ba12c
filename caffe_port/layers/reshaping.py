"""Layers that move elements without changing them (BVLC flatten_, reshape_, tile_layer.cpp and forks).

Flatten: the axes from `axis` to `end_axis` become one. Reshape: the axes from `axis` on, `num_axes` of them,
are replaced by `shape`, in which 0 copies the bottom's dimension at the same place and one -1 takes what is
left. Tile: the bottom `tiles` times along `axis`.

Permute (SSD, permute_layer.cpp): axes in the `order` given, those not named following in theirs. Reverse
(LSTM forks, reverse_layer.cpp): the elements along `axis` in opposite order.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Dims, Layer, Shape
from caffe_port.registry import LayerRule, register
from caffe_port.shapes import canonical_axis, count
from weights.errors import PrototxtError, ShapeError

INT64_MIN = -(2**63)


def reshape(g: GraphBuilder, x: str, dims: Dims, copied: Mapping[int, int]) -> str:
    """Reshape the graph value `x` to `dims`.

    `copied` says which axis of `x` an axis of the result is taken from; of the dimensions that
    follow the frame size at most one may have none.
    """
    open_axes = [i for i, d in enumerate(dims) if d is None]
    rest = [i for i in open_axes if i not in copied] or open_axes[-1:]
    if all(copied.get(i) == i for i in open_axes if i not in rest):
        wanted = (d if d is not None else -1 if i in rest else 0 for i, d in enumerate(dims))
        return g.node("Reshape", x, g.ints(*wanted))
    parts = [
        g.ints(d) if d is not None else g.ints(-1) if i in rest else g.sizes_of(x, copied[i])
        for i, d in enumerate(dims)
    ]
    return g.node("Reshape", x, g.node("Concat", *parts, axis=0))


def _flatten_span(layer: Layer, rank: int) -> tuple[int, int]:
    spec = layer.spec.flatten_param
    first, last = canonical_axis(spec.axis, rank), canonical_axis(spec.end_axis, rank)
    if last < first:
        raise PrototxtError("end_axis lies before axis", found=f"axis {spec.axis}, end_axis {spec.end_axis}")
    return first, last


def flatten_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    bottom = bottoms[0]
    first, last = _flatten_span(layer, len(bottom))
    return ((*bottom[:first], count(bottom[first : last + 1]), *bottom[last + 1 :]),)


def emit_flatten(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    rank = len(g.shape(layer.bottoms[0]))
    first, last = _flatten_span(layer, rank)
    copied = {i: i for i in range(first)} | {i - (last - first): i for i in range(last + 1, rank)}
    return (reshape(g, bottoms[0], g.dims(layer.tops[0]), copied),)


def _reshape_span(layer: Layer, rank: int) -> tuple[int, int]:
    """First and last + 1 axis that `shape` replaces (reshape_layer.cpp: a negative axis may be one past)."""
    spec = layer.spec.reshape_param
    first = spec.axis if spec.axis >= 0 else rank + spec.axis + 1
    last = rank if spec.num_axes == -1 else first + spec.num_axes
    if not 0 <= first <= last <= rank or spec.num_axes < -1:
        raise PrototxtError(
            "axis and num_axes do not fit the bottom",
            found=f"axis {spec.axis}, num_axes {spec.num_axes}",
            expected=f"a range within {rank} axes",
        )
    return first, last


def reshape_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    bottom = bottoms[0]
    first, last = _reshape_span(layer, len(bottom))
    wanted = list(layer.spec.reshape_param.shape.dim)
    if wanted.count(-1) > 1 or any(d < -1 for d in wanted):
        raise PrototxtError(
            "bad reshape", found=wanted, expected="dimensions of 0 or more and at most one -1"
        )
    top = [*bottom[:first], *wanted, *bottom[last:]]
    for i, d in enumerate(wanted, first):
        if d == 0:
            if i >= len(bottom):
                raise PrototxtError(f"dim: 0 copies axis {i}, which the bottom does not have", found=bottom)
            top[i] = bottom[i]
    if -1 in wanted:
        place = first + wanted.index(-1)
        others = count(tuple(d for i, d in enumerate(top) if i != place))
        if others == 0 or count(bottom) % others:
            raise ShapeError(
                "the bottom cannot be cut into this shape", found=bottom, expected=f"a multiple of {others}"
            )
        top[place] = count(bottom) // others
    if count(tuple(top)) != count(bottom):
        raise ShapeError(
            "reshape changes the number of elements", found=f"{bottom} to {tuple(top)}", expected="the same"
        )
    return (tuple(top),)


def emit_reshape(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    rank = len(g.shape(layer.bottoms[0]))
    first, last = _reshape_span(layer, rank)
    wanted = list(layer.spec.reshape_param.shape.dim)
    moved = first + len(wanted) - last
    copied = {i: i for i in range(first)} | {i + moved: i for i in range(last, rank)}
    copied |= {i: i for i, d in enumerate(wanted, first) if d == 0}
    return (reshape(g, bottoms[0], g.dims(layer.tops[0]), copied),)


def tile_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    spec = layer.spec.tile_param
    bottom = bottoms[0]
    axis = canonical_axis(spec.axis, len(bottom))
    if spec.tiles < 1:
        raise PrototxtError("bad number of tiles", found=spec.tiles, expected="1 or more")
    return ((*bottom[:axis], bottom[axis] * spec.tiles, *bottom[axis + 1 :]),)


def emit_tile(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    rank = len(g.shape(layer.bottoms[0]))
    repeats = [1] * rank
    repeats[canonical_axis(layer.spec.tile_param.axis, rank)] = layer.spec.tile_param.tiles
    return (g.node("Tile", bottoms[0], g.ints(*repeats)),)


def _order(layer: Layer, rank: int) -> list[int]:
    named = list(layer.spec.permute_param.order)
    if len(set(named)) != len(named) or any(axis >= rank for axis in named):
        raise PrototxtError("bad order", found=named, expected=f"different axes below {rank}")
    return named + [axis for axis in range(rank) if axis not in named]


def permute_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    return (tuple(bottoms[0][axis] for axis in _order(layer, len(bottoms[0]))),)


def emit_permute(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    return (g.node("Transpose", bottoms[0], perm=_order(layer, len(g.shape(layer.bottoms[0])))),)


def reverse_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    canonical_axis(layer.spec.reverse_param.axis, len(bottoms[0]))
    return (bottoms[0],)


def emit_reverse(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    axis = canonical_axis(layer.spec.reverse_param.axis, len(g.shape(layer.bottoms[0])))
    return (g.node("Slice", bottoms[0], g.ints(-1), g.ints(INT64_MIN), g.ints(axis), g.ints(-1)),)


register(
    LayerRule("Flatten", flatten_shape, emit_flatten, module=__name__),
    LayerRule("Reshape", reshape_shape, emit_reshape, module=__name__),
    LayerRule("Tile", tile_shape, emit_tile, module=__name__),
    LayerRule("Permute", permute_shape, emit_permute, fork="SSD", module=__name__),
    LayerRule("Reverse", reverse_shape, emit_reverse, fork="LSTM forks", module=__name__),
)
