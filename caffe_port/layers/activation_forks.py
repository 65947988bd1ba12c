"""Activations that only forks have, and functions of one element.

Mish (AlexeyAB's YOLO v4; synopsys-caffe, mish_layer.cpp): x tanh(log(1 + exp(x))). HardSigmoid
(synopsys-caffe, hard_sigmoid_layer.cpp): min(max(alpha x + beta, 0), 1). HardSwish (synopsys-caffe,
hard_swish_layer.cpp): x min(max(x + 3, 0), 6) / 6. SeLU, SeLu (synopsys-caffe and fireae/caffe_latte,
selu_layer.cpp): lambda x above 0, lambda alpha (exp(x) - 1) below. RReLU (ducha-aiki/caffe, rrelu_layer.cpp)
at TEST time: max(x, 0) + min(x, 0) / m with m = (ub - lb) / (log|ub| - log|lb|). CReLU (Cambricon and
winggan/caffe, crelu_layer.cpp): relu(x) and relu(-x), joined along `concat_axis`, with Cambricon's
negative_slope. SReLU, the S-shaped one (srelu_layer.cu of its authors): t_r + a_r (x - t_r) from t_r on, t_l
+ a_l (x - t_l) up to t_l, x between; blobs t_r, a_r, t_l, a_l per channel, or one of each
(`channel_shared`); minogame/caffe-qhconv's SReLU draws its threshold at random and has other fields.
SeLuDropout (caffe_latte, selu_dropout_layer.cpp) does nothing at TEST time. NegReLU (FlowNet 2,
neg_relu_layer.cpp): min(x, 0) + negative_slope max(x, 0). SignedSqrt (gy20073/compact_bilinear_pooling,
signed_sqrt_layer.cpp): sign(x) sqrt(|x|).

Sin, Softplus, Softsign (synopsys-caffe), Cos, Sqrt, Floor, Ceil and Atan are the functions of that name.
"""

from __future__ import annotations

import math

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers.activation import prelu_shape, same_shape
from caffe_port.net import Layer, Shape
from caffe_port.registry import Blob, LayerRule, register
from caffe_port.shapes import canonical_axis
from weights.errors import PrototxtError

Blobs = tuple[np.ndarray, ...]

FUNCTIONS = {
    "Atan": "Atan",
    "Ceil": "Ceil",
    "Cos": "Cos",
    "Floor": "Floor",
    "Sin": "Sin",
    "Softplus": "Softplus",
    "Softsign": "Softsign",
    "Sqrt": "Sqrt",
}
"""Layer type -> the ONNX operator that is the same function."""


def emit_function(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    return (g.node(FUNCTIONS[layer.type], bottoms[0]),)


def emit_mish(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    return (g.node("Mul", bottoms[0], g.node("Tanh", g.node("Softplus", bottoms[0]))),)


def emit_hard_sigmoid(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs
) -> tuple[str, ...]:
    spec = layer.spec.hard_sigmoid_param
    return (g.node("HardSigmoid", bottoms[0], alpha=float(spec.alpha), beta=float(spec.beta)),)


def emit_hard_swish(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    return (g.node("HardSwish", bottoms[0]),)


def emit_selu(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    spec = layer.spec.selu_param
    return (g.node("Selu", bottoms[0], alpha=float(spec.alpha), gamma=float(getattr(spec, "lambda"))),)


def rrelu_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    spec = layer.spec.rrelu_param
    if spec.ub <= spec.lb or spec.lb * spec.ub == 0 or abs(spec.lb) == abs(spec.ub):
        raise PrototxtError(
            "bad lb and ub",
            found=f"{spec.lb:g} and {spec.ub:g}",
            expected="lb below ub, neither of them 0, and not the same with two signs",
        )
    return (bottoms[0],)


def emit_rrelu(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    spec = layer.spec.rrelu_param
    divisor = (spec.ub - spec.lb) / (math.log(abs(spec.ub)) - math.log(abs(spec.lb)))
    return (g.node("LeakyRelu", bottoms[0], alpha=1 / divisor),)


def crelu_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    bottom = bottoms[0]
    axis = canonical_axis(layer.spec.crelu_param.concat_axis, len(bottom))
    return ((*bottom[:axis], 2 * bottom[axis], *bottom[axis + 1 :]),)


def emit_crelu(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    spec = layer.spec.crelu_param
    axis = canonical_axis(spec.concat_axis, len(g.shape(layer.bottoms[0])))
    both = g.node("Concat", bottoms[0], g.node("Neg", bottoms[0]), axis=axis)
    if spec.negative_slope:
        return (g.node("LeakyRelu", both, alpha=float(spec.negative_slope)),)
    return (g.node("Relu", both),)


def srelu_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    spec = layer.spec.srelu_param
    shape = () if spec.channel_shared else (bottoms[0][1],)
    names = (("tr", "scale"), ("ar", "slope"), ("tl", "shift"), ("al", "slope"))
    fillers = [getattr(spec, f"{n}_filler") if spec.HasField(f"{n}_filler") else None for n, _ in names]
    return tuple(Blob(shape, filler, role) for filler, (_, role) in zip(fillers, names, strict=True))


def emit_srelu(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    x, rank = bottoms[0], len(g.shape(layer.bottoms[0]))
    right, ar, left, al = (g.const(b.reshape(-1, *(1,) * (rank - 2))) for b in blobs)
    above = g.node("Add", right, g.node("Mul", ar, g.node("Sub", x, right)))
    below = g.node("Add", left, g.node("Mul", al, g.node("Sub", x, left)))
    inner = g.node("Where", g.node("Greater", x, left), x, below)
    return (g.node("Where", g.node("GreaterOrEqual", x, right), above, inner),)


def emit_selu_dropout(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs
) -> tuple[str, ...]:
    return bottoms


def emit_neg_relu(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    zero = g.const(np.float32(0))
    y = g.node("Min", bottoms[0], zero)
    slope = layer.spec.relu_param.negative_slope
    if slope:
        above = g.node("Mul", g.node("Max", bottoms[0], zero), g.const(np.float32(slope)))
        y = g.node("Add", y, above)
    return (y,)


def emit_signed_sqrt(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs
) -> tuple[str, ...]:
    root = g.node("Sqrt", g.node("Abs", bottoms[0]))
    return (g.node("Mul", g.node("Sign", bottoms[0]), root),)


register(
    *(LayerRule(kind, same_shape, emit_function, fork="several", module=__name__) for kind in FUNCTIONS),
    LayerRule("Mish", same_shape, emit_mish, fork="YOLO v4 forks", module=__name__),
    LayerRule("HardSigmoid", same_shape, emit_hard_sigmoid, fork="Synopsys", module=__name__),
    LayerRule("HardSwish", same_shape, emit_hard_swish, fork="Synopsys", module=__name__),
    LayerRule("SeLU", same_shape, emit_selu, fork="Synopsys, caffe_latte", module=__name__),
    LayerRule("RReLU", rrelu_shape, emit_rrelu, fork="ducha-aiki", module=__name__),
    LayerRule("CReLU", crelu_shape, emit_crelu, fork="Cambricon, winggan", module=__name__),
    LayerRule("SReLU", prelu_shape, emit_srelu, srelu_blobs, fork="S-shaped ReLU", module=__name__),
    LayerRule("SeLuDropout", same_shape, emit_selu_dropout, fork="caffe_latte", module=__name__),
    LayerRule("NegReLU", same_shape, emit_neg_relu, fork="FlowNet 2", module=__name__),
    LayerRule("SignedSqrt", same_shape, emit_signed_sqrt, fork="compact bilinear pooling", module=__name__),
)
