"""ArgMax (BVLC argmax_layer.cpp).

With `axis`: the indices of the `top_k` largest along that axis, or with `out_max_val` the values. Without:
each item of the batch is taken as one vector of C*H*W, giving N x 1 x top_k, or N x 2 x top_k (indices, then
values). Caffe sorts pairs (value, index) downwards, so among equal values the LARGER index comes first: the
axis is turned round, where ONNX's first is Caffe's last. (ArgMax has `select_last_index` for that, but the
CUDA provider has no kernel for it.)

PixelArgMax is DeepLab v1's ArgMax without `axis` (its argmax_layer.cpp): at each pixel the `top_k` largest
over the channels, N x top_k x H x W, and with `out_max_val` their values behind them, N x 2 top_k x H x W.
The tie rule is the same.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from caffe_port.shapes import canonical_axis, count
from weights.errors import PrototxtError, ShapeError

INT64_MIN = -(2**63)


def argmax_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    spec = layer.spec.argmax_param
    bottom = bottoms[0]
    axis = canonical_axis(spec.axis, len(bottom)) if spec.HasField("axis") else None
    size = count(bottom[1:]) if axis is None else bottom[axis]
    if not 1 <= spec.top_k <= size:
        raise PrototxtError("top_k does not fit", found=spec.top_k, expected=f"1 to {size}")
    if axis is not None:
        return ((*bottom[:axis], spec.top_k, *bottom[axis + 1 :]),)
    pair = 2 if spec.out_max_val else 1
    return ((bottom[0], pair, spec.top_k, *(1,) * (len(bottom) - 3)),)


def _largest(g: GraphBuilder, x: str, axis: int, top_k: int, *, indices: bool) -> str:
    """Indices (float32) or values of the `top_k` largest along `axis`, the later of equals first."""
    if not indices and top_k == 1:
        return g.node("ReduceMax", x, axes=[axis], keepdims=1)
    if not indices:
        return g.nodes("TopK", x, g.ints(top_k), axis=axis, outputs=2)[0]
    turned = g.node("Slice", x, g.ints(-1), g.ints(INT64_MIN), g.ints(axis), g.ints(-1))
    if top_k == 1:
        place = g.node("ArgMax", turned, axis=axis, keepdims=1)
    else:
        place = g.nodes("TopK", turned, g.ints(top_k), axis=axis, outputs=2)[1]
    last = g.node("Sub", g.sizes_of(x, axis), g.ints(1))
    return g.node("Cast", g.node("Sub", last, place), to=1)


def emit_argmax(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = layer.spec.argmax_param
    rank = len(g.shape(layer.bottoms[0]))
    if spec.HasField("axis"):
        axis = canonical_axis(spec.axis, rank)
        return (_largest(g, bottoms[0], axis, spec.top_k, indices=not spec.out_max_val),)
    flat = g.node("Flatten", bottoms[0], axis=1)
    y = _largest(g, flat, 1, spec.top_k, indices=True)
    pair = 1
    if spec.out_max_val:
        y = g.node("Concat", y, _largest(g, flat, 1, spec.top_k, indices=False), axis=1)
        pair = 2
    return (g.node("Reshape", y, g.ints(0, pair, spec.top_k, *(1,) * (rank - 3))),)


def pixel_argmax_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    spec = layer.spec.argmax_param
    bottom = bottoms[0]
    if len(bottom) != 4:
        raise ShapeError("a map is needed", found=bottom, expected="(N, C, H, W)")
    if not 1 <= spec.top_k <= bottom[1]:
        raise PrototxtError("top_k does not fit", found=spec.top_k, expected=f"1 to {bottom[1]}")
    return ((bottom[0], spec.top_k * (2 if spec.out_max_val else 1), *bottom[2:]),)


def emit_pixel_argmax(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = layer.spec.argmax_param
    indices = _largest(g, bottoms[0], 1, spec.top_k, indices=True)
    if not spec.out_max_val:
        return (indices,)
    return (g.node("Concat", indices, _largest(g, bottoms[0], 1, spec.top_k, indices=False), axis=1),)


register(LayerRule("PixelArgMax", pixel_argmax_shape, emit_pixel_argmax, fork="DeepLab v1", module=__name__))
register(LayerRule("ArgMax", argmax_shape, emit_argmax, module=__name__))
