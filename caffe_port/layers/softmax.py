"""Softmax (BVLC softmax_layer.cpp): exp(x - max) / sum over `axis` (default 1).

Along the last axis ONNX's own operator does it. ONNX Runtime's CPU kernel turns the array round for any other
axis, which takes five times as long as the formula written out.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from caffe_port.shapes import canonical_axis


def softmax_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    canonical_axis(layer.spec.softmax_param.axis, len(bottoms[0]))
    return (bottoms[0],)


def emit_softmax(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    rank = len(g.shape(layer.bottoms[0]))
    axis, x = canonical_axis(layer.spec.softmax_param.axis, rank), bottoms[0]
    if all(dim == 1 for dim in g.dims(layer.bottoms[0])[axis + 1 :]):
        return (g.node("Softmax", x, axis=axis),)
    powers = g.node("Exp", g.node("Sub", x, g.node("ReduceMax", x, axes=[axis], keepdims=1)))
    return (g.node("Div", powers, g.node("ReduceSum", powers, g.ints(axis), keepdims=1)),)


register(LayerRule("Softmax", softmax_shape, emit_softmax, module=__name__))
