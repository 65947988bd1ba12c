"""Activations and Dropout (BVLC relu_, prelu_, elu_, bnll_, sigmoid_, tanh_, swish_, dropout_layer.cpp).

ReLU: max(x, 0) + negative_slope * min(x, 0). PReLU: the same with a learnt slope a channel (or one for all,
`channel_shared`). ELU: x above 0, alpha (exp(x) - 1) below. BNLL: log(1 + exp(x)), computed as max(x, 0) +
log(1 + exp(-|x|)). Sigmoid: 1 / (1 + exp(-x)). TanH. Swish: x * sigmoid(beta x). Dropout at TEST time:
identity; the forks' `scale_train: false` (py-faster-rcnn, SegNet) scales by 1 - dropout_ratio instead, and
Bayesian SegNet's `sample_weights_test` drops numbers at random at TEST time too (alexgkendall/caffe-segnet,
dropout_layer.cpp): x m / (1 - dropout_ratio) with a mask m that is new in every run.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Shape
from caffe_port.registry import Blob, LayerRule, register
from weights.errors import PrototxtError, ShapeError


def same_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    return (bottoms[0],)


def emit_relu(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    slope = layer.spec.relu_param.negative_slope
    if slope:
        return (g.node("LeakyRelu", bottoms[0], alpha=float(slope)),)
    return (g.node("Relu", bottoms[0]),)


def prelu_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    if len(bottoms[0]) < 2:
        raise ShapeError("PReLU needs a channel axis", found=bottoms[0], expected="two axes or more")
    return (bottoms[0],)


def prelu_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    spec = layer.spec.prelu_param
    shape = () if spec.channel_shared else (bottoms[0][1],)
    return (Blob(shape, spec.filler if spec.HasField("filler") else None, "slope"),)


def emit_prelu(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    rank = len(g.shape(layer.bottoms[0]))
    slope = blobs[0].reshape(-1, *(1,) * (rank - 2)) if blobs[0].ndim else blobs[0].reshape((1,) * (rank - 1))
    return (g.node("PRelu", bottoms[0], g.const(slope)),)


def emit_sigmoid(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    return (g.node("Sigmoid", bottoms[0]),)


def emit_elu(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    return (g.node("Elu", bottoms[0], alpha=float(layer.spec.elu_param.alpha)),)


def emit_bnll(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    return (g.node("Softplus", bottoms[0]),)


def emit_tanh(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    return (g.node("Tanh", bottoms[0]),)


def emit_swish(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    beta = layer.spec.swish_param.beta
    inner = bottoms[0] if beta == 1 else g.node("Mul", bottoms[0], g.const(np.float32(beta)))
    return (g.node("Mul", bottoms[0], g.node("Sigmoid", inner)),)


def emit_dropout(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = layer.spec.dropout_param
    if spec.sample_weights_test:
        ratio = float(spec.dropout_ratio)
        if not 0 <= ratio < 1:
            raise PrototxtError("bad dropout_ratio", found=ratio, expected="0 or more, below 1")
        g.notes.append(
            f'layer "{layer.name}" (Dropout): drawn at random in every run, as Bayesian SegNet means it; '
            "sample_weights_test: false gives the net's mean answer"
        )
        draw = g.const(True, np.bool_)
        return (g.node("Dropout", bottoms[0], g.const(np.float32(ratio)), draw),)
    if not spec.scale_train:
        return (g.node("Mul", bottoms[0], g.const(np.float32(1 - spec.dropout_ratio))),)
    return bottoms


register(
    LayerRule("ReLU", same_shape, emit_relu, module=__name__),
    LayerRule("PReLU", prelu_shape, emit_prelu, prelu_blobs, module=__name__),
    LayerRule("ELU", same_shape, emit_elu, module=__name__),
    LayerRule("BNLL", same_shape, emit_bnll, module=__name__),
    LayerRule("Sigmoid", same_shape, emit_sigmoid, module=__name__),
    LayerRule("TanH", same_shape, emit_tanh, module=__name__),
    LayerRule("Swish", same_shape, emit_swish, module=__name__),
    LayerRule("Dropout", same_shape, emit_dropout, module=__name__),
)
