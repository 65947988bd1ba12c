"""Python layers of published nets whose code is known. No Python code of a net is ever imported or run.

spatial_dropout.SpatialDropoutLayer (ENet, TimoSaemann): at TEST y = x / (1 - p), with p and the phase in
param_str, a Python dictionary. triplet.l2norm_layer.L2NormLayer (hizhangp/triplet): each row of (N, C) by its
length, rows of zeros as they are (sklearn's normalize). Which Python layers count is said in
postprocessing.INSIDE_PYTHON.
"""

from __future__ import annotations

import re

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers.activation import same_shape
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from weights.errors import PrototxtError, ShapeError, UnsupportedError

_ITEM = re.compile(r"""["'](\w+)["']\s*:\s*["']?([\w.+-]+)["']?""")


def _ratio(layer: Layer) -> float:
    """The share of channels that training drops."""
    text = layer.spec.python_param.param_str
    given = dict(_ITEM.findall(text[:4096]))
    if given.get("phase") == "TRAIN":
        raise UnsupportedError(
            "a dropout that is random at test time too", found=text, expected="'phase': 'TEST'"
        )
    try:
        ratio = float(given["p"])
    except (KeyError, ValueError):
        ratio = 0.0
    if not 0 < ratio < 1:
        raise PrototxtError("bad param_str", found=repr(text), expected="{'phase': 'TEST', 'p': '0.1'}")
    return ratio


def python_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    if layer.spec.python_param.layer == "SpatialDropoutLayer":
        _ratio(layer)
    elif len(bottoms[0]) != 2:
        raise ShapeError("rows are needed", found=bottoms[0], expected="(N, C)")
    return same_shape(layer, bottoms)


def emit_python(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    x = bottoms[0]
    if layer.spec.python_param.layer == "SpatialDropoutLayer":
        return (g.node("Mul", x, g.const(np.float32(1 / (1 - _ratio(layer))))),)
    length = g.node("ReduceL2", x, axes=[1], keepdims=1)
    nothing = g.node("Equal", length, g.const(np.float32(0)))
    return (g.node("Div", x, g.node("Where", nothing, g.const(np.float32(1)), length)),)


register(
    LayerRule(
        "Python",
        python_shape,
        emit_python,
        fork="ENet, triplet",
        note="SpatialDropoutLayer and triplet's L2NormLayer; other Python layers stay outside the graph",
        module=__name__,
    )
)
