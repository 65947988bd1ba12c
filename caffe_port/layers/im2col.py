"""Im2col (BVLC im2col_layer.cpp): the windows of a convolution, each as a column.

Channel (c, i, j) of the top, counted in that order, is channel c of the bottom seen through place (i, j) of
the kernel: a grouped convolution whose kernels are 1 at one place and 0 elsewhere.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers.convolution import window
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from caffe_port.shapes import count
from weights.errors import UnsupportedError

MAX_KERNELS = 1 << 26


def im2col_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    bottom = bottoms[0]
    w = window(layer, bottom)
    spatial = (
        (n + 2 * p - e) // s + 1
        for n, p, e, s in zip(bottom[w.axis + 1 :], w.pad, w.extent, w.stride, strict=True)
    )
    return ((*bottom[: w.axis], bottom[w.axis] * count(w.kernel), *spatial),)


def emit_im2col(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    bottom = g.shape(layer.bottoms[0])
    w = window(layer, bottom)
    if w.axis != 1 or not w.kernel:
        raise UnsupportedError("unusual axes", found=f"channel axis {w.axis} of {bottom}", expected="axis: 1")
    channels, places = bottom[1], count(w.kernel)
    if channels * places * places > MAX_KERNELS:
        raise UnsupportedError(
            "too large a kernel",
            found=f"{w.kernel} on {channels} channels",
            expected=f"{MAX_KERNELS} numbers",
        )
    kernels = np.tile(
        np.eye(places, dtype=np.float32).reshape(places, 1, *w.kernel), (channels, 1, *(1,) * len(w.kernel))
    )
    return (
        g.node(
            "Conv",
            bottoms[0],
            g.const(kernels),
            kernel_shape=list(w.kernel),
            strides=list(w.stride),
            dilations=list(w.dilation),
            pads=list(w.pad) * 2,
            group=channels,
        ),
    )


register(LayerRule("Im2col", im2col_shape, emit_im2col, module=__name__))
