"""LRN, local response normalisation (BVLC lrn_layer.cpp).

ACROSS_CHANNELS: y = x / (k + alpha/n * sum of x^2 over n neighbouring channels)^beta, which is ONNX's LRN.
WITHIN_CHANNEL: y = x * (1 + alpha * mean of x^2 over n x n)^-beta, where the mean is Caffe's AVE pooling with
pad (n - 1) / 2 (padding counted) and k is not used. n = `local_size` must be odd. In place across channels
Caffe's CPU code reads what it has written; the formula is the GPU's.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from weights.errors import PrototxtError, ShapeError


def lrn_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    size = layer.spec.lrn_param.local_size
    if size % 2 == 0:
        raise PrototxtError("bad local_size", found=size, expected="an odd number, as Caffe demands")
    if len(bottoms[0]) != 4:
        raise ShapeError("LRN needs four axes", found=bottoms[0], expected="(N, C, H, W)")
    return (bottoms[0],)


def emit_lrn(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = layer.spec.lrn_param
    x, size = bottoms[0], spec.local_size
    if spec.norm_region == spec.ACROSS_CHANNELS:
        if layer.spec.top[0] == layer.spec.bottom[0]:
            g.notes.append(f'layer "{layer.name}" (LRN): in place, as Caffe computes it on the GPU')
        return (
            g.node("LRN", x, size=size, alpha=float(spec.alpha), beta=float(spec.beta), bias=float(spec.k)),
        )
    mean = g.node(
        "AveragePool",
        g.node("Mul", x, x),
        kernel_shape=[size, size],
        pads=[(size - 1) // 2] * 4,
        count_include_pad=1,
    )
    base = g.node("Add", g.node("Mul", mean, g.const(np.float32(spec.alpha))), g.const(np.float32(1)))
    return (g.node("Mul", x, g.node("Pow", base, g.const(np.float32(-spec.beta)))),)


register(LayerRule("LRN", lrn_shape, emit_lrn, module=__name__))
