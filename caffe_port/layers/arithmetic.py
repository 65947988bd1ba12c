"""Arithmetic on each element (BVLC absval_, clip_, exp_, log_, power_, threshold_layer.cpp).

AbsVal: |x|. Power: (shift + scale x)^power. Exp: base^(shift + scale x), computed as
base^shift * exp(ln(base) scale x). Log: log_base(shift + scale x). In both a base of -1 means e.
Threshold: 1 where x > threshold, else 0. Clip (BVLC after 1.0): x held within [min, max].
"""

from __future__ import annotations

import math

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers.activation import same_shape
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from weights.errors import PrototxtError


def _affine(g: GraphBuilder, x: str, scale: float, shift: float) -> str:
    """scale x + shift without what changes nothing; what float32 cannot hold is infinite, as in Caffe."""
    with np.errstate(over="ignore"):
        factor, summand = np.float32(scale), np.float32(shift)
    if scale != 1:
        x = g.node("Mul", x, g.const(factor))
    return g.node("Add", x, g.const(summand)) if shift else x


def emit_absval(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    return (g.node("Abs", bottoms[0]),)


def emit_power(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = layer.spec.power_param
    if spec.scale * spec.power == 0:  # Caffe then does not read the bottom at all
        with np.errstate(all="ignore"):
            value = np.float32(1) if spec.power == 0 else np.float32(spec.shift) ** np.float32(spec.power)
        return (g.node("Expand", g.const(value), g.node("Shape", bottoms[0])),)
    x = _affine(g, bottoms[0], spec.scale, spec.shift)
    if spec.power != 1:
        x = g.node("Pow", x, g.const(np.float32(spec.power)))
    return (x,)


def _log_of_base(base: float) -> float:
    if base != -1 and base <= 0:
        raise PrototxtError("bad base", found=base, expected="above 0, or -1 for e")
    return 1.0 if base == -1 else math.log(base)


def emit_exp(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = layer.spec.exp_param
    log_base = _log_of_base(spec.base)
    y = g.node("Exp", _affine(g, bottoms[0], log_base * spec.scale, 0.0))
    with np.errstate(over="ignore"):
        return (_affine(g, y, float(np.exp(log_base * spec.shift)), 0.0),)


def emit_log(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = layer.spec.log_param
    log_base = _log_of_base(spec.base)
    if log_base == 0:
        raise PrototxtError("bad base", found=spec.base, expected="a base whose logarithm is not 0")
    return (_affine(g, g.node("Log", _affine(g, bottoms[0], spec.scale, spec.shift)), 1 / log_base, 0.0),)


def emit_threshold(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    above = g.node("Greater", bottoms[0], g.const(np.float32(layer.spec.threshold_param.threshold)))
    return (g.node("Cast", above, to=1),)


def clip_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    spec = layer.spec.clip_param
    if not (spec.HasField("min") and spec.HasField("max")):
        raise PrototxtError("clip_param is not complete", expected="min and max")
    return (bottoms[0],)


def emit_clip(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = layer.spec.clip_param
    return (g.node("Clip", bottoms[0], g.const(np.float32(spec.min)), g.const(np.float32(spec.max))),)


register(
    LayerRule("AbsVal", same_shape, emit_absval, module=__name__),
    LayerRule("Power", same_shape, emit_power, module=__name__),
    LayerRule("Exp", same_shape, emit_exp, module=__name__),
    LayerRule("Log", same_shape, emit_log, module=__name__),
    LayerRule("Threshold", same_shape, emit_threshold, module=__name__),
    LayerRule("Clip", clip_shape, emit_clip, fork="BVLC Caffe after 1.0", module=__name__),
)
