"""Resampling by fixed weights: Resize (pose_action_caffe) and Resample (FlowNet).

Both are sums over a few neighbours whose weights depend on the row and on the column apart, so they are two
matrix products, y = A x B^T, with constant A and B for one frame size.

Resize (zimenglan-sysu-512/pose_action_caffe, resize_layer.cpp, util_img.cpp, CPU): point i reads place
i n / m, bilinear; a neighbour beyond the last row counts as 0. To height x width, to the bottom's sizes times
height_fac and width_fac (cut to whole numbers), or to the sizes of the second bottom.

FloorResize is MaskYolo's Resize (leon-liangwu/MaskYolo_Caffe, resize_layer.cu): point i reads place
floor(i n / m). To height x width, or with is_pyramid_test to the bottom's sizes times out_height_scale and
out_width_scale. Happynear's Resize has the same fields and is bilinear (`reading.dialect`).

Resample (lmb-freiburg/flownet2, resample_layer.cu): point i reads place i f - 0.5 + f' / 2, where f is n / m
of its own axis and f' of the other one; LINEAR and CUBIC weigh the neighbours and divide by the sum of the
weights, wider by f when shrinking with `antialias`; NEAREST takes the nearest, halves away from 0.
"""

from __future__ import annotations

import math

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers.sampling import limited
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from caffe_port.shapes import count
from weights.errors import PrototxtError, ShapeError, UnsupportedError
from weights.limits import ELEMENTS

NEAREST, LINEAR, CUBIC = 1, 2, 3


def _limit(old: Shape, new: Shape) -> None:
    for before, after in zip(old, new, strict=True):
        limited("weights between two sizes", before * after)


def _need_maps(bottoms: tuple[Shape, ...]) -> None:
    if any(len(b) != 4 for b in bottoms):
        raise ShapeError("maps are needed", found=bottoms, expected="(N, C, H, W)")


def resize_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    _need_maps(bottoms)
    bottom, spec = bottoms[0], layer.spec.resize_param
    if len(bottoms) == 2:
        if layer.spec.HasField("resize_param"):
            raise PrototxtError("resize_param with a second bottom", expected="one of them")
        if count(bottoms[1]) == 4:
            raise UnsupportedError("a second bottom whose values, not whose sizes, say the new size")
        return ((*bottom[:2], *bottoms[1][2:]),)
    if spec.is_pyramid_test and layer.type == "Resize":
        raise UnsupportedError(
            "Resize with is_pyramid_test is nearest in MaskYolo and bilinear in happynear/caffe-windows",
            found="is_pyramid_test: true",
            hint="--dialect maskyolo or --dialect happynear",
        )
    names = ("out_height_scale", "out_width_scale") if spec.is_pyramid_test else ("height_fac", "width_fac")
    sizes = spec.HasField("height") and spec.HasField("width") and not spec.is_pyramid_test
    factors = all(spec.HasField(name) for name in names)
    if sizes == factors:
        raise PrototxtError("no new size", expected="height and width, or height_fac and width_fac")
    if sizes:
        return ((*bottom[:2], spec.height, spec.width),)
    times = [getattr(spec, name) for name in names]
    for factor in times:
        if not 0 < factor < ELEMENTS:
            raise PrototxtError(f"bad {names[0]} or {names[1]}", found=factor, expected="above 0, and finite")
    pairs = zip(bottom[2:], times, strict=True)
    return ((*bottom[:2], *(int(np.float32(n) * np.float32(f)) for n, f in pairs)),)


def resize_weights(old: int, new: int) -> np.ndarray:
    """(new, old): what each old point adds to each new one."""
    weights = np.zeros((new, old), np.float32)
    step = np.float32(old) / np.float32(new)
    for i in range(new):
        place = np.float32(i) * step
        low = int(np.floor(place))
        share = place - np.float32(low)
        weights[i, low] = np.float32(1) - share
        if low + 1 < old:
            weights[i, low + 1] = share
    return weights


def _product(g: GraphBuilder, x: str, rows: np.ndarray, columns: np.ndarray) -> str:
    return g.node("MatMul", g.node("MatMul", g.const(rows), x), g.const(np.ascontiguousarray(columns.T)))


def emit_resize(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    g.require_fixed(layer, "its weights are constants for one frame size")
    old, new = g.shape(layer.bottoms[0])[2:], g.shape(layer.tops[0])[2:]
    _limit(old, new)
    return (_product(g, bottoms[0], resize_weights(old[0], new[0]), resize_weights(old[1], new[1])),)


def emit_floor_resize(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    g.require_fixed(layer, "the points that it takes are constants for one frame size")
    y = bottoms[0]
    for axis in (2, 3):
        old, new = g.shape(layer.bottoms[0])[axis], g.shape(layer.tops[0])[axis]
        limited("rows or columns", new)
        step = np.float32(old) / np.float32(new)
        places = np.minimum(np.floor(np.arange(new, dtype=np.float32) * step), old - 1)
        y = g.node("Gather", y, g.const(places.astype(np.int64), np.int64), axis=axis)
    return (y,)


def resample_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    _need_maps(bottoms)
    spec = layer.spec.resample_param
    if spec.type not in (NEAREST, LINEAR, CUBIC):
        raise PrototxtError(
            "bad type", found="AREA", expected="NEAREST, LINEAR or CUBIC, as the fork demands"
        )
    size = bottoms[1][2:] if len(bottoms) == 2 else (spec.height, spec.width)
    if min(size) < 1:
        raise PrototxtError("no new size", found=size, expected="height and width, or a second bottom")
    return ((*bottoms[0][:2], *size),)


def _kernel(kind: int, distance: np.float32) -> np.float32:
    x = np.abs(distance)
    f = np.float32
    if kind == LINEAR:
        return f(1) - x if x <= 1 else f(0)
    if x <= 1:
        return x * x * (f(1.5) * x - f(2.5)) + f(1)
    return x * (x * (f(-0.5) * x + f(2.5)) - f(4)) + f(2) if x < 2 else f(0)


def _half_up(x: float) -> int:
    return int(math.copysign(math.floor(abs(x) + 0.5), x))


def resample_weights(old: int, new: int, other: np.float32, *, kind: int, antialias: bool) -> np.ndarray:
    """(new, old), rows of sum 1 or 0; `other` is old size over new size on the other axis."""
    f = np.float32(old) / np.float32(new)
    narrow = np.float32(1) / (f if antialias else np.float32(1))
    taps = {LINEAR: 2, CUBIC: 4}.get(kind, 0)
    reach = 2 if f < 1 else math.ceil(np.float32(taps) / narrow)
    weights = np.zeros((new, old), np.float32)
    for i in range(new):
        place = np.float32(i) * f + other / np.float32(2) - np.float32(0.5)
        nearest = _half_up(float(place))
        if kind == NEAREST:
            if not 0 <= nearest < old:
                raise UnsupportedError(
                    "the nearest point lies outside the map, where the fork reads other memory",
                    found=f"point {nearest} of {old}",
                )
            weights[i, nearest] = 1
            continue
        for j in range(max(0, nearest - reach), min(old, nearest + reach + 1)):
            weights[i, j] = narrow * _kernel(kind, narrow * (place - np.float32(j)))
        total = weights[i].sum()
        if total:
            weights[i] /= total
    return weights


def emit_resample(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    g.require_fixed(layer, "its weights are constants for one frame size")
    spec = layer.spec.resample_param
    old, new = g.shape(layer.bottoms[0])[2:], g.shape(layer.tops[0])[2:]
    _limit(old, new)
    fy, fx = (np.float32(o) / np.float32(n) for o, n in zip(old, new, strict=True))
    antialias = spec.antialias and bool(fx > 1 or fy > 1)
    rows = resample_weights(old[0], new[0], fx, kind=spec.type, antialias=antialias)
    columns = resample_weights(old[1], new[1], fy, kind=spec.type, antialias=antialias)
    return (_product(g, bottoms[0], rows, columns),)


register(
    LayerRule(
        "Resize",
        resize_shape,
        emit_resize,
        bottoms=(1, 2),
        fork="pose_action_caffe",
        module=__name__,
    ),
    LayerRule("FloorResize", resize_shape, emit_floor_resize, fork="MaskYolo", module=__name__),
    LayerRule("Resample", resample_shape, emit_resample, bottoms=(1, 2), fork="FlowNet", module=__name__),
)
