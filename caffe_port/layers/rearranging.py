"""Layers of forks that move numbers without changing them.

Transpose (tianzhi0549/CTPN, transpose_layer.cpp): axis i of the top is axis `dim[i]` of the bottom. Flip
(happynear/caffe-windows, flip_layer.cpp): the order of columns turned round, with flip_height that of rows.

Between channels and blocks of s x s points, channel c and place (i, j) in the block: Tiling
(SeokjuLee/VPGNet, tiling_layer.cpp, s = tile_dim), Rearrange (Ding-Liu/caffe-videoSR, rearrange_layer.cpp,
s^2 = channels / depth) and Dtow (limuhit/CCN, dtow_layer.cpp, s = psize): from channel (c s + i) s + j,
Dtow's methods WTOD and MWTOD back again. GSTiling (gs_tiling_layer.cpp, s = stride): to channel (i s + j) C
+ c, with `reverse` from there back.

Division (ZhiwenShao/JAANet, division_layer.cpp) and Box (huqiaoping/drml, box_layer.cpp; its code is for one
item): top n is the window of width x height at (xcoord[n], ycoord[n]). Combination (JAANet,
combination_layer.cpp) puts bottom n there; the last one's far corner is the top's size, and what no bottom
covers is 0.

Convert (Yuliang-Liu/Curve-Text-Detector, convert_layer.cpp): a row (N, D, W) as a sequence (W, N, D), with
its continuation marks (W, N), 0 at the first step and 1 behind it, as the second top.
"""

from __future__ import annotations

from math import isqrt
from typing import cast

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers.sampling import MOST
from caffe_port.net import Layer, Shape
from caffe_port.proto.caffe_pb2 import BoxParameter
from caffe_port.registry import LayerRule, register
from weights.errors import PrototxtError, ShapeError, UnsupportedError

Blobs = tuple[np.ndarray, ...]
FIRST, LAST = -(2**31), 2**31 - 1
TO_POINTS, ZIGZAG = {0, 2, 4}, {4, 5}
"""Numbers of Dtow's methods that go from channels to points, and that go through a block in a zigzag."""


def _order(layer: Layer, rank: int) -> list[int]:
    order = list(layer.spec.transpose_param.dim)
    if sorted(order) != list(range(rank)):
        raise ShapeError("dim is no order of the axes", found=order, expected=f"0 to {rank - 1}, each once")
    return order


def transpose_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    return (tuple(bottoms[0][axis] for axis in _order(layer, len(bottoms[0]))),)


def emit_transpose(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    return (g.node("Transpose", bottoms[0], perm=_order(layer, len(g.shape(layer.bottoms[0])))),)


def _map(bottoms: tuple[Shape, ...]) -> Shape:
    if len(bottoms[0]) != 4:
        raise ShapeError("a map is needed", found=bottoms[0], expected="(N, C, H, W)")
    return bottoms[0]


def flip_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    return (_map(bottoms),)


def emit_flip(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    spec = layer.spec.flip_param
    axes = [axis for axis, turned in ((2, spec.flip_height), (3, spec.flip_width)) if turned]
    if not axes:
        return bottoms
    one_each = len(axes)
    starts, ends, steps = (g.ints(*(value,) * one_each) for value in (-1, FIRST, -1))
    return (g.node("Slice", bottoms[0], starts, ends, g.ints(*axes), steps),)


def _block(layer: Layer, bottom: Shape) -> tuple[int, bool, bool]:
    """Side of a block, whether channels become points, and whether the block's place counts first."""
    if layer.type == "Tiling":
        return layer.spec.tiling_param.tile_dim, True, False
    if layer.type == "GSTiling":
        spec = layer.spec.gs_tiling_param
        return spec.stride, spec.reverse, True
    if layer.type == "Rearrange":
        depth = layer.spec.rearrange_param.depth
        times = bottom[1] // depth if depth and bottom[1] % depth == 0 else 0
        return isqrt(times) if isqrt(times) ** 2 == times else 0, True, False
    method = layer.spec.dtow_param.method
    if method in ZIGZAG:
        raise UnsupportedError(
            "a block gone through in a zigzag", found="LDTOW or LWTOD", expected="DTOW, MDTOW, WTOD or MWTOD"
        )
    return layer.spec.dtow_param.psize, method in TO_POINTS, False


def block_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    n, c, h, w = _map(bottoms)
    side, to_points, _ = _block(layer, bottoms[0])
    if side < 1 or (c % side**2 if to_points else h % side or w % side):
        raise ShapeError(
            "the bottom is not whole blocks",
            found=f"{bottoms[0]} in blocks of {side}",
            expected="channels a multiple of the block" if to_points else "height and width multiples of it",
        )
    if to_points:
        return ((n, c // side**2, h * side, w * side),)
    return ((n, c * side**2, h // side, w // side),)


def emit_block(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    bottom = g.shape(layer.bottoms[0])
    side, to_points, place_first = _block(layer, bottom)
    if to_points:
        mode = "DCR" if place_first else "CRD"
        return (g.node("DepthToSpace", bottoms[0], blocksize=side, mode=mode),)
    deep = g.node("SpaceToDepth", bottoms[0], blocksize=side)
    if place_first:
        return (deep,)
    split = g.node(
        "Reshape", deep, g.node("Concat", g.ints(0, side**2, bottom[1]), g.sizes_of(deep, 2, 3), axis=0)
    )
    swapped = g.node("Transpose", split, perm=[0, 2, 1, 3, 4])
    return (g.node("Reshape", swapped, g.node("Shape", deep)),)


def _boxes(layer: Layer) -> BoxParameter:
    """The message of a layer that cuts windows out or puts them together."""
    name = {"Division": "division_param", "Box": "box_param"}.get(layer.type, "combination_param")
    return cast(BoxParameter, getattr(layer.spec, name))


def _windows(layer: Layer) -> list[tuple[int, int]]:
    """Top left corner (x, y) of each window: one for each top, in Combination one for each bottom."""
    spec = _boxes(layer)
    which, number = (
        ("bottom", len(layer.bottoms)) if layer.type == "Combination" else ("top", len(layer.tops))
    )
    if not len(spec.xcoord) == len(spec.ycoord) == number:
        raise PrototxtError(
            f"not one window per {which}",
            found=f"{len(spec.xcoord)} xcoord and {len(spec.ycoord)} ycoord for {number} {which}s",
        )
    return list(zip(spec.xcoord, spec.ycoord, strict=True))


def division_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    n, c, h, w = _map(bottoms)
    spec = _boxes(layer)
    if layer.type == "Box" and n != 1:
        raise UnsupportedError("Box of more than one item, which the fork mixes up", found=n, expected="one")
    for x, y in _windows(layer):
        if x + spec.width > w or y + spec.height > h:
            raise ShapeError(
                "a window beyond the bottom",
                found=f"{spec.width} x {spec.height} at ({x}, {y})",
                expected=f"within {w} x {h}",
            )
    return ((n, c, spec.height, spec.width),) * len(layer.tops)


def emit_division(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    spec = _boxes(layer)
    return tuple(
        g.node("Slice", bottoms[0], g.ints(y, x), g.ints(y + spec.height, x + spec.width), g.ints(2, 3))
        for x, y in _windows(layer)
    )


def combination_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    n, c, _, _ = _map(bottoms)
    corners = _windows(layer)
    if any(len(b) != 4 or b[:2] != (n, c) for b in bottoms):
        raise ShapeError("bottoms do not fit together", found=bottoms, expected=f"({n}, {c}, H, W) each")
    width, height = (corners[-1][i] + bottoms[-1][3 - i] for i in (0, 1))
    covered = np.zeros((height, width), np.int8) if height * width <= MOST else None
    if covered is None:
        raise UnsupportedError("too large a picture", found=(height, width), expected=f"{MOST} points")
    for (x, y), bottom in zip(corners, bottoms, strict=True):
        if x + bottom[3] > width or y + bottom[2] > height:
            raise ShapeError(
                "a window beyond the top", found=f"{bottom[2:]} at ({x}, {y})", expected=f"{height} x {width}"
            )
        covered[y : y + bottom[2], x : x + bottom[3]] += 1
    if covered.max() > 1:
        raise UnsupportedError("windows that overlap", found=corners, expected="windows beside each other")
    return ((n, c, height, width),)


def emit_combination(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs
) -> tuple[str, ...]:
    g.require_fixed(layer, "its windows have one size")
    height, width = g.shape(layer.tops[0])[2:]
    placed = []
    for (x, y), name, value in zip(_windows(layer), bottoms, layer.bottoms, strict=True):
        rows, columns = g.shape(value)[2:]
        pads = g.ints(0, 0, y, x, 0, 0, height - y - rows, width - x - columns)
        placed.append(g.node("Pad", name, pads, g.const(np.float32(0)), mode="constant"))
    return (g.node("Sum", *placed) if len(placed) > 1 else placed[0],)


def convert_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    bottom = bottoms[0]
    if len(bottom) < 3 or any(n != 1 for n in bottom[2:-1]):
        raise ShapeError("no row", found=bottom, expected="(N, D, W) or (N, D, 1, W)")
    return ((bottom[-1], *bottom[:2]), (bottom[-1], bottom[0]))[: len(layer.tops)]


def emit_convert(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    rank = len(g.shape(layer.bottoms[0]))
    row = g.node("Squeeze", bottoms[0], g.ints(*range(2, rank - 1))) if rank > 3 else bottoms[0]
    sequence = g.node("Transpose", row, perm=[2, 0, 1])
    first = g.node(
        "Cast",
        g.node(
            "Less",
            g.const(0, np.int64),
            g.node(
                "Range",
                g.const(0, np.int64),
                g.node("Squeeze", g.sizes_of(sequence, 0)),
                g.const(1, np.int64),
            ),
        ),
        to=1,
    )
    marks = g.node("Expand", g.node("Unsqueeze", first, g.ints(1)), g.sizes_of(sequence, 0, 1))
    return (sequence, marks)[: len(layer.tops)]


register(
    LayerRule("Transpose", transpose_shape, emit_transpose, fork="CTPN", module=__name__),
    LayerRule("Flip", flip_shape, emit_flip, fork="happynear, CC4.0", module=__name__),
    LayerRule("Tiling", block_shape, emit_block, fork="VPGNet", module=__name__),
    LayerRule("GSTiling", block_shape, emit_block, fork="HiSilicon and TI users", module=__name__),
    LayerRule("Rearrange", block_shape, emit_block, fork="caffe-videoSR", module=__name__),
    LayerRule("Dtow", block_shape, emit_block, fork="CCN", module=__name__),
    LayerRule("Division", division_shape, emit_division, tops=(1, None), fork="JAANet", module=__name__),
    LayerRule("Box", division_shape, emit_division, tops=(1, None), fork="DRML", module=__name__),
    LayerRule(
        "Combination",
        combination_shape,
        emit_combination,
        bottoms=(1, None),
        fork="JAANet",
        module=__name__,
    ),
    LayerRule("Convert", convert_shape, emit_convert, tops=(1, 2), fork="CTD", module=__name__),
)
