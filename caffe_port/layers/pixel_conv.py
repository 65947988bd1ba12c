"""Layers of forks that weigh or compare the points around each point.

PixelConv (csjcai/RealSR, PixelConv_layer.cpp; DDet): each point has k x k weights of its own per channel, in
the first bottom (N, C k^2, H, W); the top is their sum with the second bottom around the point, which is 0
outside. k is the whole root of the first bottom's channels over the second's.

Im2dist (aharley/segaware, im2dist.cpp): channel (i, j) of the top is how far the point at place (i, j) of the
kernel is from the one in the middle, over all channels: the sum of |a - b| (L1) or of (a - b)^2 / 2 (L2). It
is 0 where either point is outside the map; with `remove_bounds` FLT_MAX / 100 where the first one is, with
`remove_center` where both are one.
"""

from __future__ import annotations

from math import isqrt

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers.convolution import Window, window
from caffe_port.layers.sampling import limited
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from caffe_port.shapes import count
from weights.errors import ShapeError, UnsupportedError

Blobs = tuple[np.ndarray, ...]
FAR = float(np.finfo(np.float32).max / np.float32(100))
L1 = 1


def _root(bottoms: tuple[Shape, ...]) -> int:
    return isqrt(bottoms[0][1] // bottoms[1][1])


def pixel_conv_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    kernels, x = bottoms
    if len(kernels) != 4 or len(x) != 4 or kernels[0] != x[0] or kernels[2:] != x[2:]:
        raise ShapeError("weights and data do not fit", found=bottoms, expected="one size")
    if kernels[1] != x[1] * _root(bottoms) ** 2 or not _root(bottoms) % 2:
        raise ShapeError(
            "channels do not fit", found=bottoms, expected="an odd square of weights for each channel"
        )
    if not layer.spec.pixelconvolution_param.is_pad and _root(bottoms) > 1:
        raise UnsupportedError(
            "PixelConv without padding, which reads other memory", found="is_pad: false", expected="true"
        )
    return (x,)


def _each_place(channels: int, places: int, kernel: tuple[int, ...]) -> np.ndarray:
    """Filters of a grouped convolution that takes every channel apart into the places of its kernel."""
    limited("numbers in a kernel", channels * places * places)
    one = np.eye(places, dtype=np.float32).reshape(places, 1, *kernel)
    return np.tile(one, (channels, 1, 1, 1))


def emit_pixel_conv(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    shapes = (g.shape(layer.bottoms[0]), g.shape(layer.bottoms[1]))
    side, channels = _root(shapes), shapes[1][1]
    around = g.node(
        "Conv",
        bottoms[1],
        g.const(_each_place(channels, side**2, (side, side))),
        kernel_shape=[side, side],
        pads=[side // 2] * 4,
        group=channels,
    )
    weighed = g.node("Mul", bottoms[0], around)
    split = g.node("Concat", g.ints(0, channels, side**2), g.sizes_of(weighed, 2, 3), axis=0)
    return (g.node("ReduceSum", g.node("Reshape", weighed, split), g.ints(2), keepdims=0),)


def im2dist_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    bottom = bottoms[0]
    w = window(layer, bottom)
    if w.axis != 1 or len(bottom) != 4:
        raise ShapeError("a map is needed", found=bottom, expected="(N, C, H, W) and axis: 1")
    sizes = zip(bottom[2:], w.pad, w.extent, w.stride, strict=True)
    return ((bottom[0], count(w.kernel), *((n + 2 * p - e) // s + 1 for n, p, e, s in sizes)),)


def _conv(g: GraphBuilder, x: str, kernels: np.ndarray, w: Window, groups: int) -> str:
    return g.node(
        "Conv",
        x,
        g.const(kernels),
        kernel_shape=list(w.kernel),
        strides=list(w.stride),
        dilations=list(w.dilation),
        pads=list(w.pad) * 2,
        group=groups,
    )


def emit_im2dist(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    spec = layer.spec.im2dist_param
    x, bottom = bottoms[0], g.shape(layer.bottoms[0])
    w = window(layer, bottom)
    channels, places = bottom[1], count(w.kernel)
    here = _each_place(1, places, w.kernel)
    centre = np.zeros((1, 1, *w.kernel), np.float32)
    middle = (w.kernel[0] // 2) * w.kernel[1] + w.kernel[1] // 2
    centre.reshape(-1)[middle] = 1
    limited("numbers in a kernel", channels * places * places)
    between = _conv(g, x, np.tile(centre - here, (channels, 1, 1, 1)), w, channels)
    if spec.norm == L1:
        apart = g.node("Abs", between)
    else:
        apart = g.node("Mul", g.node("Mul", between, between), g.const(np.float32(0.5)))
    split = g.node("Concat", g.ints(0, channels, places), g.sizes_of(apart, 2, 3), axis=0)
    total = g.node("ReduceSum", g.node("Reshape", apart, split), g.ints(1), keepdims=0)
    size = g.node("Concat", g.ints(1, 1), g.sizes_of(x, 2, 3), axis=0)
    ones = g.node("Expand", g.const(np.float32(1)), size)
    half, zero, far = (g.const(np.float32(v)) for v in (0.5, 0, FAR))
    counts = g.node("Greater", _conv(g, ones, here, w, 1), half)
    of_centre = g.node("Greater", _conv(g, ones, centre, w, 1), half)
    y = g.node("Where", counts, total, far if spec.remove_bounds else zero)
    if spec.remove_center:
        both = np.arange(places).reshape(1, -1, 1, 1) == middle
        y = g.node("Where", g.const(both, np.bool_), far, y)
    return (g.node("Where", of_centre, y, zero),)


register(
    LayerRule(
        "PixelConv", pixel_conv_shape, emit_pixel_conv, bottoms=(2, 2), fork="RealSR, DDet", module=__name__
    ),
    LayerRule("Im2dist", im2dist_shape, emit_im2dist, fork="segaware", module=__name__),
)
