"""Softmax (BVLC softmax_layer.cpp): exp(x - max) / sum over `axis` (default 1)."""

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
    axis = canonical_axis(layer.spec.softmax_param.axis, len(g.shape(layer.bottoms[0])))
    return (g.node("Softmax", bottoms[0], axis=axis),)


register(LayerRule("Softmax", softmax_shape, emit_softmax, module=__name__))
