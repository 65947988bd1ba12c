"""Eltwise (BVLC eltwise_layer.cpp): PROD, SUM with coefficients, MAX of two or more bottoms of one shape.

Written over its first bottom, Caffe's SUM and MAX lose that bottom: the top is set to 0 or -FLT_MAX before
the bottoms are read. The graph does the same and says so.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from weights.errors import PrototxtError, ShapeError

PROD, SUM = 0, 1


def eltwise_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    if any(b != bottoms[0] for b in bottoms):
        raise ShapeError(
            "bottoms of different shapes", found=", ".join(map(str, bottoms)), expected="one shape for all"
        )
    spec = layer.spec.eltwise_param
    if spec.coeff and len(spec.coeff) != len(bottoms):
        raise PrototxtError(
            "coeff does not fit the bottoms",
            found=f"{len(spec.coeff)} values",
            expected=f"none or {len(bottoms)}",
        )
    if spec.coeff and spec.operation == PROD:
        raise PrototxtError("coeff with PROD", expected="coefficients with SUM only, as Caffe demands")
    return (bottoms[0],)


def emit_eltwise(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = layer.spec.eltwise_param
    coeffs = list(spec.coeff) or [1.0] * len(bottoms)
    if spec.operation != PROD and layer.spec.top[0] == layer.spec.bottom[0]:
        bottoms, coeffs = bottoms[1:], coeffs[1:]
        g.notes.append(f'layer "{layer.name}" (Eltwise): in place, so its first bottom is lost, as in Caffe')
    if spec.operation == PROD:
        return (reduce(lambda a, b: g.node("Mul", a, b), bottoms),)
    if spec.operation != SUM:
        return (reduce(lambda a, b: g.node("Max", a, b), bottoms),)
    terms = [
        b if c == 1 else g.node("Mul", b, g.const(np.float32(c)))
        for b, c in zip(bottoms, coeffs, strict=True)
    ]
    return (reduce(lambda a, b: g.node("Add", a, b), terms),)


register(LayerRule("Eltwise", eltwise_shape, emit_eltwise, bottoms=(2, None), module=__name__))
