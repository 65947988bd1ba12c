"""Reduction (BVLC reduction_layer.cpp).

All axes from `axis` (default 0) on become one number: coeff * SUM x, ASUM |x|, SUMSQ x^2, or MEAN x.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from caffe_port.shapes import canonical_axis

SUM, ASUM, SUMSQ, MEAN = 1, 2, 3, 4
OPS = {ASUM: "ReduceL1", SUMSQ: "ReduceSumSquare", MEAN: "ReduceMean"}


def reduction_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    return (bottoms[0][: canonical_axis(layer.spec.reduction_param.axis, len(bottoms[0]))],)


def emit_reduction(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = layer.spec.reduction_param
    rank = len(g.shape(layer.bottoms[0]))
    axes = list(range(canonical_axis(spec.axis, rank), rank))
    if spec.operation == SUM:
        y = g.node("ReduceSum", bottoms[0], g.ints(*axes), keepdims=0)
    else:
        y = g.node(OPS[spec.operation], bottoms[0], axes=axes, keepdims=0)
    return (y if spec.coeff == 1 else g.node("Mul", y, g.const(np.float32(spec.coeff))),)


register(LayerRule("Reduction", reduction_shape, emit_reduction, module=__name__))
