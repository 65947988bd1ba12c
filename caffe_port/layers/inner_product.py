"""InnerProduct and Embed (BVLC inner_product_, embed_layer.cpp).

InnerProduct: the axes from `axis` (default 1) on are one vector of K numbers; y = x W^T + b with W
(num_output, K), or x W + b with W (K, num_output) where `transpose` is set. In happynear/caffe-windows and
training_toolbox_caffe W may be the second bottom, of which there are as many rows as outputs, and b the
third; with `normalize` each row of W is first divided by sqrt(its sum of squares + 1e-6). Embed: row x of W
(input_dim, num_output), + b, for each number x of the bottom, truncated to a whole one.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers.reshaping import reshape
from caffe_port.net import Layer, Shape
from caffe_port.proto.caffe_pb2 import EmbedParameter, InnerProductParameter
from caffe_port.registry import Blob, LayerRule, register
from caffe_port.shapes import canonical_axis, count
from weights.errors import PrototxtError, ShapeError, UnsupportedError

Blobs = tuple[np.ndarray, ...]


def weight_and_bias(spec: InnerProductParameter | EmbedParameter, weight: Shape) -> tuple[Blob, ...]:
    """The blobs of a layer with num_output, bias_term and the two fillers."""
    blobs = [Blob(weight, spec.weight_filler if spec.HasField("weight_filler") else None, "weight")]
    if spec.bias_term:
        filler = spec.bias_filler if spec.HasField("bias_filler") else None
        blobs.append(Blob((spec.num_output,), filler, "bias"))
    return tuple(blobs)


def product_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    spec = layer.spec.inner_product_param
    axis = canonical_axis(spec.axis, len(bottoms[0]))
    if len(bottoms) > 1:
        return ((*bottoms[0][:axis], _outputs_of_bottom(layer, bottoms, count(bottoms[0][axis:]))),)
    if spec.normalize and spec.transpose:
        raise UnsupportedError("transposed weights that are normalised", found="normalize and transpose")
    if spec.num_output < 1:
        raise PrototxtError("no num_output", expected="1 or more")
    return ((*bottoms[0][:axis], spec.num_output),)


def _outputs_of_bottom(layer: Layer, bottoms: tuple[Shape, ...], length: int) -> int:
    """How many outputs weights from a second bottom give."""
    spec = layer.spec.inner_product_param
    if spec.transpose or spec.bias_term != (len(bottoms) == 3):
        raise UnsupportedError(
            "weights from a second bottom in a way that the fork does not have",
            found=f"{len(bottoms)} bottoms, bias_term: {str(spec.bias_term).lower()}",
            expected="two bottoms and bias_term: false, or three, and no transpose",
        )
    outputs = bottoms[1][0]
    if count(bottoms[1]) != outputs * length or (len(bottoms) == 3 and count(bottoms[2]) != outputs):
        raise ShapeError("bottoms do not fit", found=bottoms, expected=f"(outputs, {length}) and (outputs)")
    return outputs


def product_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    if len(bottoms) > 1:
        return ()
    spec = layer.spec.inner_product_param
    length = count(bottoms[0][canonical_axis(spec.axis, len(bottoms[0])) :])
    return weight_and_bias(spec, (length, spec.num_output) if spec.transpose else (spec.num_output, length))


def product_macs(layer: Layer, bottoms: tuple[Shape, ...], tops: tuple[Shape, ...]) -> int:
    return count(bottoms[0]) * tops[0][-1]


def _matrices(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> list[str]:
    """Weights and bias in the graph."""
    if len(bottoms) > 1:
        outputs = g.shape(layer.tops[0])[-1]
        weight = g.node("Reshape", bottoms[1], g.ints(outputs, -1))
        return [weight, *(g.node("Reshape", b, g.ints(outputs)) for b in bottoms[2:])]
    if layer.spec.inner_product_param.normalize:
        norm = np.sqrt((blobs[0] ** 2).sum(1, keepdims=True) + np.float32(1e-6))
        blobs = (blobs[0] / norm, *blobs[1:])
    return [g.const(b) for b in blobs]


def emit_product(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = layer.spec.inner_product_param
    rank = len(g.shape(layer.bottoms[0]))
    axis = canonical_axis(spec.axis, rank)
    flat = bottoms[0] if (rank, axis) == (2, 1) else g.node("Flatten", bottoms[0], axis=axis)
    y = g.node("Gemm", flat, *_matrices(g, layer, bottoms, blobs), transB=0 if spec.transpose else 1)
    if axis == 1:
        return (y,)
    dims = g.dims(layer.tops[0])
    if dims[:-1].count(None) > 1:
        parts = g.sizes_of(bottoms[0], *range(axis)), g.ints(g.shape(layer.tops[0])[-1])
        return (g.node("Reshape", y, g.node("Concat", *parts, axis=0)),)
    return (reshape(g, y, dims, {}),)


def embed_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    spec = layer.spec.embed_param
    if spec.num_output < 1 or spec.input_dim < 1:
        raise PrototxtError("num_output or input_dim is missing", expected="1 or more for both")
    return ((*bottoms[0], spec.num_output),)


def embed_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    spec = layer.spec.embed_param
    return weight_and_bias(spec, (spec.input_dim, spec.num_output))


def emit_embed(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    rows = g.node("Gather", g.const(blobs[0]), g.node("Cast", bottoms[0], to=7), axis=0)
    return (g.node("Add", rows, g.const(blobs[1])) if len(blobs) > 1 else rows,)


register(
    LayerRule(
        "InnerProduct",
        product_shape,
        emit_product,
        product_blobs,
        product_macs,
        bottoms=(1, 3),
        module=__name__,
    ),
    LayerRule("Embed", embed_shape, emit_embed, embed_blobs, module=__name__),
)
