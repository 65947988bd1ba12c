"""InnerDistance (happynear/caffe-windows, inner_distance_layer.cpp): how far items are from some centres.

The item is flattened from `axis`; the centres (num_output, K) are learnt, or the second bottom. The distance
is the sum of (a - b)^2 (L2) or of |a - b| (L1). With `normalize` each learnt centre is first divided by
sqrt(its sum of squares + 1e-6).
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Shape
from caffe_port.registry import Blob, LayerRule, register
from caffe_port.shapes import canonical_axis, count
from weights.errors import PrototxtError, ShapeError, UnsupportedError

Blobs = tuple[np.ndarray, ...]


def distance_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    spec = layer.spec.inner_distance_param
    if spec.distance_type not in ("L1", "L2"):
        raise PrototxtError("unknown distance_type", found=spec.distance_type, expected="L1 or L2")
    if spec.transpose or spec.update_center_only:
        raise UnsupportedError(
            "transposed centres, or a label beside them",
            found="transpose or update_center_only: true",
            expected="false",
        )
    axis = canonical_axis(spec.axis, len(bottoms[0]))
    length = count(bottoms[0][axis:])
    if len(bottoms) == 2 and count(bottoms[1][1:]) != length:
        raise ShapeError("centres do not fit", found=bottoms, expected=f"{length} numbers each")
    number = bottoms[1][0] if len(bottoms) == 2 else spec.num_output
    if number < 1:
        raise PrototxtError("no num_output", expected="1 or more")
    return ((*bottoms[0][:axis], number),)


def distance_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    if len(bottoms) == 2:
        return ()
    spec = layer.spec.inner_distance_param
    length = count(bottoms[0][canonical_axis(spec.axis, len(bottoms[0])) :])
    filler = spec.weight_filler if spec.HasField("weight_filler") else None
    return (Blob((spec.num_output, length), filler),)


def distance_macs(layer: Layer, bottoms: tuple[Shape, ...], tops: tuple[Shape, ...]) -> int:
    return tops[0][-1] * count(bottoms[0])


def emit_distance(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    g.require_fixed(layer, "the length of its centres is known for one frame size")
    spec = layer.spec.inner_distance_param
    shape, top = g.shape(layer.bottoms[0]), g.shape(layer.tops[0])
    length = count(shape[len(top) - 1 :])
    if len(bottoms) == 2:
        centres = g.node("Reshape", bottoms[1], g.ints(1, top[-1], length))
    else:
        array = blobs[0].astype(np.float32)
        if spec.normalize:
            array = array / np.sqrt((array**2).sum(1, keepdims=True) + np.float32(1e-6))
        centres = g.const(array[None])
    apart = g.node("Sub", g.node("Reshape", bottoms[0], g.ints(-1, 1, length)), centres)
    each = g.node("Abs", apart) if spec.distance_type == "L1" else g.node("Mul", apart, apart)
    return (g.node("Reshape", g.node("ReduceSum", each, g.ints(2), keepdims=0), g.ints(*top)),)


register(
    LayerRule(
        "InnerDistance",
        distance_shape,
        emit_distance,
        distance_blobs,
        distance_macs,
        bottoms=(1, 2),
        fork="happynear",
        module=__name__,
    )
)
