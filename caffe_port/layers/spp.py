"""SPP, spatial pyramid pooling (BVLC spp_layer.cpp).

Level i of `pyramid_height` pools the bottom into 2^i x 2^i bins with kernel = stride = ceil(n / bins) and
pad = floor((kernel * bins - n + 1) / 2) on each axis; the levels, each flattened, follow each other:
N x (C * (1 + 4 + 16 + ...)). A pyramid of one level is left as it is pooled, N x C x 1 x 1.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers.pooling import Window, pooled
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from caffe_port.shapes import count
from weights.errors import PrototxtError, ShapeError

MAX_HEIGHT = 16


def levels(layer: Layer, bottom: Shape) -> list[Window]:
    """The pooling of each level of the pyramid."""
    height = layer.spec.spp_param.pyramid_height
    if not 1 <= height <= MAX_HEIGHT:
        raise PrototxtError("bad pyramid_height", found=height, expected=f"1 to {MAX_HEIGHT}")
    if len(bottom) != 4:
        raise ShapeError("SPP needs four axes", found=bottom, expected="(N, C, H, W)")
    windows = []
    for bins in (1 << level for level in range(height)):
        kernel_h, kernel_w = (-(-n // bins) for n in bottom[2:])
        pad_h, pad_w = (
            (k * bins - n + 1) // 2 for k, n in zip((kernel_h, kernel_w), bottom[2:], strict=True)
        )
        if pad_h >= kernel_h or pad_w >= kernel_w:
            raise ShapeError(
                "the bottom is too small for this pyramid",
                found=f"{bottom[2]} x {bottom[3]} into {bins} x {bins} bins",
                expected="a pad smaller than the kernel, as Caffe demands",
            )
        windows.append(Window((kernel_h, kernel_w), (kernel_h, kernel_w), (pad_h, pad_w), True, False))
    return windows


def spp_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    bottom = bottoms[0]
    if layer.spec.spp_param.pyramid_height == 1:
        return ((*bottom[:2], *levels(layer, bottom)[0].sizes(bottom)),)
    return ((bottom[0], bottom[1] * sum(count(w.sizes(bottom)) for w in levels(layer, bottom))),)


def emit_spp(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    g.require_fixed(layer, "its kernels follow the size of the bottom")
    parts = [
        pooled(g, layer, bottoms[0], w, layer.spec.spp_param.pool)
        for w in levels(layer, g.shape(layer.bottoms[0]))
    ]
    if len(parts) == 1:
        return (parts[0],)
    return (g.node("Concat", *(g.node("Flatten", part, axis=1) for part in parts), axis=1),)


register(LayerRule("SPP", spp_shape, emit_spp, module=__name__))
