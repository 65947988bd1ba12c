"""MVN, mean and variance normalisation (BVLC mvn_layer.cpp).

y = (x - mean) / (sqrt(mean of (x - mean)^2) + eps), eps added to the deviation and not to the variance; only
x - mean with `normalize_variance: false`. The means go over each channel of each item, or over each item as a
whole with `across_channels`. The top always has four axes.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from weights.errors import ShapeError


def mvn_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    if len(bottoms[0]) > 4:
        raise ShapeError("MVN takes at most four axes", found=bottoms[0], expected="(N, C, H, W)")
    return ((*bottoms[0], *(1,) * (4 - len(bottoms[0]))),)


def emit_mvn(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = layer.spec.mvn_param
    rank = len(g.shape(layer.bottoms[0]))
    x = bottoms[0] if rank == 4 else g.node("Unsqueeze", bottoms[0], g.ints(*range(rank, 4)))
    axes = list(range(1 if spec.across_channels else 2, 4))
    y = g.node("Sub", x, g.node("ReduceMean", x, axes=axes, keepdims=1))
    if not spec.normalize_variance:
        return (y,)
    variance = g.node("ReduceMean", g.node("Mul", y, y), axes=axes, keepdims=1)
    return (g.node("Div", y, g.node("Add", g.node("Sqrt", variance), g.const(np.float32(spec.eps)))),)


register(LayerRule("MVN", mvn_shape, emit_mvn, module=__name__))
