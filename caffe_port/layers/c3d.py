"""Layers of C3D (facebookarchive/C3D: convolution3d_, deconvolution3d_, pool3d_layer.cpp) on (N, C, L, H, W).

Convolution3D out = floor((n + 2 p - k) / s) + 1, Deconvolution3D out = s (n - 1) + k - 2 p, with
kernel_depth, temporal_stride and temporal_pad along L and kernel_size, stride and pad along H and W;
`filter_group` splits the work, not the result. Pooling3D out = ceil((n + 2 p - k) / s) + 1 without Caffe's
clip rule; only AVE takes a pad, along H and W, and counts it. Version 1.1 calls the parameters
convolution3d_param and pooling3d_param. caffe-3Dstn (xyyu-callen/caffe-3Dstn, pooling3d_layer.cpp) says
kernel_l, stride_l and pad_l along L, takes pads in MAX too, and has Caffe's clip rule where there is a pad.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.message import Message

from caffe_port.graph import GraphBuilder
from caffe_port.layers.pooling import averaged
from caffe_port.net import Layer, Shape
from caffe_port.proto.caffe_pb2 import ConvolutionParameter, PoolingParameter
from caffe_port.registry import Blob, LayerRule, register
from caffe_port.shapes import count
from weights.errors import PrototxtError, ShapeError, UnsupportedError

Triple = tuple[int, int, int]
MAX, AVE = 0, 1
CONVOLUTION_FIELDS = (
    *("num_output", "bias_term", "weight_filler", "bias_filler", "engine"),
    *("kernel_size", "stride", "pad", "kernel_depth", "temporal_stride", "temporal_pad", "filter_group"),
)
POOLING_FIELDS = (
    *("pool", "kernel_size", "stride", "pad", "engine", "kernel_depth", "temporal_stride"),
    *("kernel_l", "stride_l", "pad_l"),
)


def _convolution_spec(layer: Layer) -> ConvolutionParameter:
    own = layer.spec.HasField("convolution3d_param")
    return layer.spec.convolution3d_param if own else layer.spec.convolution_param


def _pooling_spec(layer: Layer) -> PoolingParameter:
    own = layer.spec.HasField("pooling3d_param")
    return layer.spec.pooling3d_param if own else layer.spec.pooling_param


def _only(spec: Message, *names: str) -> None:
    """Refuse the fields of 2-D layers that these layers do not have."""
    others = [f.name for f, _ in spec.ListFields() if f.name not in names]
    if others:
        raise UnsupportedError("a field that C3D's layer does not have", found=", ".join(others))


def _single(kernel: Sequence[int], stride: Sequence[int], pad: Sequence[int]) -> Triple:
    """Kernel, stride and pad for H and W, of which C3D takes one value each."""
    values = (kernel, stride or (1,), pad or (0,))
    if any(len(v) != 1 for v in values):
        raise PrototxtError("kernel_size, stride or pad is not one value")
    return (values[0][0], values[1][0], values[2][0])


def _conv(layer: Layer, bottom: Shape) -> tuple[Triple, Triple, Triple]:
    """Kernel, stride and pad along L, H and W."""
    spec = _convolution_spec(layer)
    _only(spec, *CONVOLUTION_FIELDS)
    if len(bottom) != 5:
        raise ShapeError("a volume is needed", found=bottom, expected="(N, C, L, H, W)")
    kernel, stride, pad = _single(spec.kernel_size, spec.stride, spec.pad)
    if not spec.kernel_depth or not kernel or not stride or not spec.temporal_stride or not spec.num_output:
        raise PrototxtError("kernel, stride or num_output is 0", expected="1 or more, kernel_depth too")
    return (
        (spec.kernel_depth, kernel, kernel),
        (spec.temporal_stride, stride, stride),
        (spec.temporal_pad, pad, pad),
    )


def conv_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    bottom = bottoms[0]
    axes = zip(bottom[2:], *_conv(layer, bottom), strict=True)
    return (
        (bottom[0], _convolution_spec(layer).num_output, *((n + 2 * p - k) // s + 1 for n, k, s, p in axes)),
    )


def deconv_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    bottom = bottoms[0]
    axes = zip(bottom[2:], *_conv(layer, bottom), strict=True)
    return (
        (bottom[0], _convolution_spec(layer).num_output, *(s * (n - 1) + k - 2 * p for n, k, s, p in axes)),
    )


def conv_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    spec = _convolution_spec(layer)
    kernel = _conv(layer, bottoms[0])[0]
    pair = (spec.num_output, bottoms[0][1])
    weight = (*(pair if layer.type == "Convolution3D" else pair[::-1]), *kernel)
    blobs = [Blob(weight, spec.weight_filler if spec.HasField("weight_filler") else None)]
    if spec.bias_term:
        bias = spec.bias_filler if spec.HasField("bias_filler") else None
        blobs.append(Blob((spec.num_output,), bias, "bias"))
    return tuple(blobs)


def conv_macs(layer: Layer, bottoms: tuple[Shape, ...], tops: tuple[Shape, ...]) -> int:
    points, channels = (tops[0], bottoms[0][1]) if layer.type == "Convolution3D" else (bottoms[0], tops[0][1])
    return count(points) * channels * count(_conv(layer, bottoms[0])[0])


def emit_conv(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    kernel, stride, pad = _conv(layer, g.shape(layer.bottoms[0]))
    return (
        g.node(
            "Conv" if layer.type == "Convolution3D" else "ConvTranspose",
            bottoms[0],
            *(g.const(b) for b in blobs),
            kernel_shape=list(kernel),
            strides=list(stride),
            pads=list(pad) * 2,
        ),
    )


def _pool(layer: Layer, bottom: Shape) -> tuple[Triple, Triple, Triple]:
    spec = _pooling_spec(layer)
    _only(spec, *POOLING_FIELDS)
    if len(bottom) != 5:
        raise ShapeError("a volume is needed", found=bottom, expected="(N, C, L, H, W)")
    kernel, stride, pad = _single(spec.kernel_size, spec.stride, spec.pad)
    if spec.HasField("kernel_l"):
        return _pool_of_3dstn(spec, kernel, stride, pad)
    if not spec.kernel_depth or not kernel or not stride or not spec.temporal_stride:
        raise PrototxtError("kernel or stride is 0", expected="kernel_size and kernel_depth of 1 or more")
    if spec.pool not in (MAX, AVE) or (pad and spec.pool != AVE):
        raise PrototxtError("what C3D does not do", expected="pool: MAX without pad, or pool: AVE")
    return (
        (spec.kernel_depth, kernel, kernel),
        (spec.temporal_stride, stride, stride),
        (0, pad, pad),
    )


def _pool_of_3dstn(spec: Any, kernel: int, stride: int, pad: int) -> tuple[Triple, Triple, Triple]:
    """Kernel, stride and pad of caffe-3Dstn's layer, which takes pads in MAX too."""
    if 0 in (spec.kernel_l, kernel, spec.stride_l, stride) or spec.pool not in (MAX, AVE):
        raise PrototxtError("bad kernel, stride or pool", expected="1 or more, MAX or AVE")
    if spec.pad_l >= spec.kernel_l or pad >= kernel:
        raise PrototxtError("pad is not smaller than the kernel", found=(spec.pad_l, pad))
    if spec.pool == AVE and (pad or spec.pad_l):
        raise UnsupportedError(
            "AVE pooling with pads in caffe-3Dstn", found=(spec.pad_l, pad), expected="pad 0"
        )
    return ((spec.kernel_l, kernel, kernel), (spec.stride_l, stride, stride), (spec.pad_l, pad, pad))


def pool_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    bottom = bottoms[0]
    sizes = []
    kernel, stride, pad = _pool(layer, bottom)
    drops = _pooling_spec(layer).HasField("kernel_l") and any(pad)
    for n, k, s, p in zip(bottom[2:], kernel, stride, pad, strict=True):
        size = -(-(n + 2 * p - k) // s) + 1
        if drops and (size - 1) * s >= n + p:
            size -= 1
        if (size - 1) * s >= n + p:
            raise UnsupportedError(
                "a window that starts beyond the volume", found=f"kernel {k}, stride {s} on {n} points"
            )
        sizes.append(size)
    return ((*bottom[:2], *sizes),)


def emit_pool(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    bottom = g.shape(layer.bottoms[0])
    kernel, stride, pad = _pool(layer, bottom)
    g.require_fixed(layer, "whether a window starts beyond the volume is known for one size")
    # As many points behind the end as the last window needs: no more, so that none is added or dropped.
    ends = [
        max(0, (size - 1) * s + k - n - p)
        for size, k, s, p, n in zip(
            pool_shape(layer, (bottom,))[0][2:], kernel, stride, pad, bottom[2:], strict=True
        )
    ]
    if _pooling_spec(layer).pool == MAX:
        pads = [*pad, *ends]
        return (g.node("MaxPool", bottoms[0], kernel_shape=list(kernel), strides=list(stride), pads=pads),)
    room = [max(0, end - p) for end, p in zip(ends, pad, strict=True)]
    return (averaged(g, bottoms[0], kernel=kernel, stride=stride, pad=pad, room=room),)


register(
    LayerRule("Convolution3D", conv_shape, emit_conv, conv_blobs, conv_macs, fork="C3D", module=__name__),
    LayerRule("Deconvolution3D", deconv_shape, emit_conv, conv_blobs, conv_macs, fork="C3D", module=__name__),
    LayerRule("Pooling3D", pool_shape, emit_pool, fork="C3D", module=__name__),
)
