"""NdConvolution and NdPooling of video-caffe, on two or three axes.

Source: wss321/video-caffe, cudnn_ndconv_layer.cpp and cudnn_ndpooling_layer.cpp, which need cuDNN.

kernel_shape, stride_shape and pad_shape have one size per axis behind the channels. Convolution: floor((n +
2 p - k) / s) + 1. Pooling: ceil((n + 2 p - k) / s) + 1, one less where the last window would begin in the
padding behind.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Shape
from caffe_port.registry import Blob, LayerRule, register
from caffe_port.shapes import count
from weights.errors import PrototxtError, ShapeError, UnsupportedError

Blobs = tuple[np.ndarray, ...]
MAX, AVE = 0, 1
OWN = ("num_output", "bias_term", "weight_filler", "bias_filler", "engine", "group", "pool", "global_pooling")
SHAPES = ("kernel_shape", "stride_shape", "pad_shape")


def _window(layer: Layer, bottom: Shape) -> tuple[tuple[int, ...], ...]:
    """Kernel, stride and pad along each axis behind the channels."""
    spec: Any = layer.spec.convolution_param if layer.type == "NdConvolution" else layer.spec.pooling_param
    others = [f.name for f, _ in spec.ListFields() if f.name not in (*OWN, *SHAPES)]
    if others:
        raise UnsupportedError("a field that this layer does not have", found=", ".join(others))
    axes = len(bottom) - 2
    kernel = tuple(spec.kernel_shape.dim)
    if layer.type == "NdPooling" and spec.global_pooling:
        kernel = bottom[2:]
    stride = tuple(spec.stride_shape.dim) or (1,) * axes
    pad = tuple(spec.pad_shape.dim) or (0,) * axes
    if axes not in (2, 3) or {len(kernel), len(stride), len(pad)} != {axes}:
        raise ShapeError(
            "kernel_shape, stride_shape and pad_shape do not fit the bottom",
            found=f"{kernel}, {stride} and {pad} on {bottom}",
            expected="two or three axes behind the channels, one size for each",
        )
    if min(*kernel, *stride) < 1 or min(pad) < 0 or any(p >= k for p, k in zip(pad, kernel, strict=True)):
        raise PrototxtError(
            "bad window", found=f"{kernel}, {stride} and {pad}", expected="kernels above their pads"
        )
    return kernel, stride, pad


def conv_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    bottom, spec = bottoms[0], layer.spec.convolution_param
    axes = zip(bottom[2:], *_window(layer, bottom), strict=True)
    if not spec.num_output or not spec.group or bottom[1] % spec.group or spec.num_output % spec.group:
        raise PrototxtError("num_output or group does not fit", found=(spec.num_output, spec.group))
    return ((bottom[0], spec.num_output, *((n + 2 * p - k) // s + 1 for n, k, s, p in axes)),)


def conv_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    spec = layer.spec.convolution_param
    shape = (spec.num_output, bottoms[0][1] // spec.group, *_window(layer, bottoms[0])[0])
    blobs = [Blob(shape, spec.weight_filler if spec.HasField("weight_filler") else None)]
    if spec.bias_term:
        filler = spec.bias_filler if spec.HasField("bias_filler") else None
        blobs.append(Blob((spec.num_output,), filler, "bias"))
    return tuple(blobs)


def conv_macs(layer: Layer, bottoms: tuple[Shape, ...], tops: tuple[Shape, ...]) -> int:
    kernel = _window(layer, bottoms[0])[0]
    return count(tops[0]) * count(kernel) * bottoms[0][1] // layer.spec.convolution_param.group


def emit_conv(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    kernel, stride, pad = _window(layer, g.shape(layer.bottoms[0]))
    group = layer.spec.convolution_param.group
    sizes = {"kernel_shape": list(kernel), "strides": list(stride), "pads": list(pad) * 2}
    return (g.node("Conv", bottoms[0], *map(g.const, blobs), group=group, **sizes),)


def pool_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    bottom, spec = bottoms[0], layer.spec.pooling_param
    sizes = []
    for n, k, s, p in zip(bottom[2:], *_window(layer, bottom), strict=True):
        size = -(-(n + 2 * p - k) // s) + 1
        sizes.append(size - 1 if p and (size - 1) * s >= n + p else size)
    ragged = any(
        (size - 1) * s + k > n + 2 * p
        for size, n, k, s, p in zip(sizes, bottom[2:], *_window(layer, bottom), strict=True)
    )
    if spec.pool not in (MAX, AVE) or (spec.pool == AVE and (ragged or any(_window(layer, bottom)[2]))):
        raise UnsupportedError(
            "pooling that cuDNN's versions do differently",
            found=f"method {spec.pool} with pads, or with windows beyond the end",
            expected="MAX, or AVE of whole windows",
        )
    return ((*bottom[:2], *sizes),)


def emit_pool(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    g.require_fixed(layer, "how many windows fit is known for one size")
    bottom = g.shape(layer.bottoms[0])
    kernel, stride, pad = _window(layer, bottom)
    sizes = {"kernel_shape": list(kernel), "strides": list(stride)}
    if layer.spec.pooling_param.pool == AVE:
        return (g.node("AveragePool", bottoms[0], **sizes),)
    top = g.shape(layer.tops[0])[2:]
    reach = zip(bottom[2:], top, kernel, stride, pad, strict=True)
    ends = [max(0, (size - 1) * s + k - n - p) for n, size, k, s, p in reach]
    return (g.node("MaxPool", bottoms[0], pads=[*pad, *ends], **sizes),)


register(
    LayerRule(
        "NdConvolution", conv_shape, emit_conv, conv_blobs, conv_macs, fork="video-caffe", module=__name__
    ),
    LayerRule("NdPooling", pool_shape, emit_pool, fork="video-caffe", module=__name__),
)
