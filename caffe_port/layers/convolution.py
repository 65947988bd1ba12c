"""Convolution and Deconvolution (BVLC base_conv_layer.cpp, conv_layer.cpp, deconv_layer.cpp).

Convolution   out = floor((n + 2p - (d(k-1)+1)) / s) + 1, weights (C_out, C_in/group, k...)
Deconvolution out = s(n-1) + d(k-1) + 1 - 2p,             weights (C_in, C_out/group, k...)
with kernel k, stride s, pad p, dilation d on each spatial axis; bias (C_out,). The Deconvolution weights are
ONNX ConvTranspose's as they stand, grouped and dense.

Forks: DeepLab's `hole` is the dilation; DepthwiseConvolution and ConvolutionDepthwise are Convolution with
one group per channel, and ConvolutionDepthwise (xieguotian/caffe and others, conv_dw_layer.cpp) makes as many
channels as it reads, whatever num_output says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Shape
from caffe_port.registry import Adapted, Blob, LayerRule, register
from caffe_port.shapes import canonical_axis, count
from weights.deconvolution import standardise
from weights.errors import PrototxtError, ShapeError
from weights.upsample import is_bilinear

DEPTHWISE = ("DepthwiseConvolution", "ConvolutionDepthwise", "DepthWiseConvolution")


@dataclass(frozen=True)
class Window:
    """Geometry of one convolution: the channel axis, and kernel, stride, pad and dilation a spatial axis."""

    axis: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, ...]:
        """Size of the dilated kernel, d(k-1)+1."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))


def per_axis(
    name: str, repeated: Sequence[int], pair: tuple[int | None, int | None], axes: int, default: int | None
) -> tuple[int, ...]:
    """One value a spatial axis from Caffe's spellings: repeated field, or the _h and _w pair for 2-D."""
    if pair != (None, None):
        if repeated:
            raise PrototxtError(f"{name} is given both ways", expected=f"{name} or {name}_h and {name}_w")
        if axes != 2:
            raise PrototxtError(f"{name}_h and {name}_w need two spatial axes", found=f"{axes} axes")
        values = tuple(default if v is None else v for v in pair)
    elif not repeated:
        values = (default,) * axes
    elif len(repeated) in (1, axes):
        values = tuple(repeated) if len(repeated) == axes else (repeated[0],) * axes
    else:
        raise PrototxtError(
            f"{name} does not fit the spatial axes", found=f"{len(repeated)} values", expected=f"1 or {axes}"
        )
    if any(v is None for v in values):
        raise PrototxtError(
            f"no {name.split('_')[0]} size", expected=f"{name}, or both {name[:6]}_h and {name[:6]}_w"
        )
    return tuple(int(v) for v in values if v is not None)


def _pair(spec: object, h: str, w: str) -> tuple[int | None, int | None]:
    has = spec.HasField  # type: ignore[attr-defined]
    return (getattr(spec, h) if has(h) else None, getattr(spec, w) if has(w) else None)


def window(layer: Layer, bottom: Shape) -> Window:
    """The geometry that `convolution_param` gives for a bottom of this shape."""
    return window_of(layer.spec.convolution_param, bottom)


def window_of(spec: Any, bottom: Shape) -> Window:
    """The geometry that a ConvolutionParameter gives for a bottom of this shape."""
    axis = canonical_axis(spec.axis, len(bottom))
    axes = len(bottom) - axis - 1
    if axes < 0:
        raise ShapeError("no channel axis", found=bottom, expected=f"more than {spec.axis} axes")
    kernel = per_axis("kernel_size", spec.kernel_size, _pair(spec, "kernel_h", "kernel_w"), axes, None)
    stride = per_axis("stride", spec.stride, _pair(spec, "stride_h", "stride_w"), axes, 1)
    pad = per_axis("pad", spec.pad, _pair(spec, "pad_h", "pad_w"), axes, 0)
    hole = (spec.hole_h or spec.hole, spec.hole_w or spec.hole)
    if hole != (1, 1) and (spec.dilation or axes != 2):
        raise PrototxtError("hole and dilation are both given, or the layer has not two spatial axes")
    dilation = hole if hole != (1, 1) else per_axis("dilation", spec.dilation, (None, None), axes, 1)
    if 0 in kernel or 0 in stride or 0 in dilation:
        raise PrototxtError("kernel, stride or dilation is 0", expected="1 or more")
    return Window(axis, kernel, stride, pad, dilation)


def outputs_of(layer: Layer, channels: int) -> int:
    """The number of channels that a layer makes of so many."""
    return channels if layer.type == "ConvolutionDepthwise" else layer.spec.convolution_param.num_output


def groups(layer: Layer, channels: int) -> int:
    """The number of groups; the depthwise types of the forks have one per channel."""
    group = channels if layer.type in DEPTHWISE else layer.spec.convolution_param.group
    outputs = outputs_of(layer, channels)
    if group < 1 or channels % group or outputs % group or outputs < 1:
        raise ShapeError(
            "group does not divide the channels",
            found=f"group {group}, {channels} channels in, num_output {outputs}",
            expected="a common divisor of both",
        )
    return group


def _same_shapes(bottoms: tuple[Shape, ...]) -> None:
    if any(b != bottoms[0] for b in bottoms):
        raise ShapeError("bottoms of different shapes", found=bottoms, expected="one shape for all")


def conv_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    _same_shapes(bottoms)
    bottom = bottoms[0]
    w = window(layer, bottom)
    groups(layer, bottom[w.axis])
    spatial = tuple(
        _quotient(n + 2 * p - e, s) + 1
        for n, p, e, s in zip(bottom[w.axis + 1 :], w.pad, w.extent, w.stride, strict=True)
    )
    return ((*bottom[: w.axis], outputs_of(layer, bottom[w.axis]), *spatial),) * len(bottoms)


def _quotient(a: int, b: int) -> int:
    """a / b as C++ divides whole numbers, toward zero: a kernel larger than its bottom may fit once."""
    return a // b if a >= 0 else -(-a // b)


def _missing(w: Window, bottom: Shape) -> tuple[int, ...]:
    """How far a kernel reaches beyond the padded bottom, on each axis: Caffe reads 0 there (im2col)."""
    return tuple(max(0, e - n - 2 * p) for n, p, e in zip(bottom[w.axis + 1 :], w.pad, w.extent, strict=True))


def deconv_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    _same_shapes(bottoms)
    bottom = bottoms[0]
    w = window(layer, bottom)
    groups(layer, bottom[w.axis])
    spatial = tuple(
        s * (n - 1) + e - 2 * p
        for n, p, e, s in zip(bottom[w.axis + 1 :], w.pad, w.extent, w.stride, strict=True)
    )
    return ((*bottom[: w.axis], outputs_of(layer, bottom[w.axis]), *spatial),) * len(bottoms)


def _blobs(layer: Layer, weight: Shape, outputs: int) -> tuple[Blob, ...]:
    spec = layer.spec.convolution_param
    filler = spec.weight_filler if spec.HasField("weight_filler") else None
    blobs = [Blob(weight, filler, "weight")]
    if spec.bias_term:
        blobs.append(Blob((outputs,), spec.bias_filler if spec.HasField("bias_filler") else None, "bias"))
    return tuple(blobs)


def conv_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    w = window(layer, bottoms[0])
    channels = bottoms[0][w.axis]
    outputs = outputs_of(layer, channels)
    return _blobs(layer, (outputs, channels // groups(layer, channels), *w.kernel), outputs)


def deconv_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    w = window(layer, bottoms[0])
    channels = bottoms[0][w.axis]
    outputs = outputs_of(layer, channels)
    return _blobs(layer, (channels, outputs // groups(layer, channels), *w.kernel), outputs)


def conv_macs(layer: Layer, bottoms: tuple[Shape, ...], tops: tuple[Shape, ...]) -> int:
    w = window(layer, bottoms[0])
    channels = bottoms[0][w.axis]
    return sum(count(top) for top in tops) * channels // groups(layer, channels) * count(w.kernel)


def deconv_macs(layer: Layer, bottoms: tuple[Shape, ...], tops: tuple[Shape, ...]) -> int:
    w = window(layer, bottoms[0])
    outputs = layer.spec.convolution_param.num_output // groups(layer, bottoms[0][w.axis])
    return sum(count(bottom) for bottom in bottoms) * outputs * count(w.kernel)


def deconv_saved(
    layer: Layer, arrays: tuple[np.ndarray, ...], bottoms: tuple[Shape, ...], tops: tuple[Shape, ...]
) -> int:
    """Multiply-accumulates that a dense Deconvolution saves where its weights are those of several groups."""
    w = window(layer, bottoms[0])
    channels, outputs = bottoms[0][w.axis], layer.spec.convolution_param.num_output
    group = groups(layer, channels)
    done = standardise(arrays[0], group=group, channels_in=channels, num_output=outputs)
    stated = deconv_macs(layer, bottoms, tops)
    return stated - stated * group // done.group


def deconv_adapt(layer: Layer, arrays: tuple[np.ndarray, ...], bottoms: tuple[Shape, ...]) -> Adapted:
    """Clockwork's group-deconvolution standardisation: grouped and dense files serve either spelling."""
    w = window(layer, bottoms[0])
    if not arrays or arrays[0].ndim != len(w.kernel) + 2:
        return Adapted(arrays)
    channels, outputs = bottoms[0][w.axis], layer.spec.convolution_param.num_output
    group = groups(layer, channels)
    done = standardise(arrays[0], group=group, channels_in=channels, num_output=outputs)
    notes = [done.warning or done.rule] if done.warning or done.group != group else []
    fixed = layer.spec.param and layer.spec.param[0].lr_mult == 0
    if fixed and max(w.stride, default=1) > 1 and not is_bilinear(done.weight):
        notes.append("its kernel is fixed (lr_mult: 0) but not bilinear")
    # What the blobs rule states is the prototxt's group; `emit` regroups.
    weight = done.weight if done.group == group else arrays[0]
    return Adapted((weight, *arrays[1:]), done.rule, "; ".join(notes))


def _emit(
    op: str, g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    shape = g.shape(layer.bottoms[0])
    w = window(layer, shape)
    group = groups(layer, shape[w.axis])
    stated = layer.spec.convolution_param.num_output
    if outputs_of(layer, shape[w.axis]) != stated:
        g.notes.append(
            f'layer "{layer.name}" ({layer.type}): makes {shape[w.axis]} channels, not {stated}: this layer '
            "ignores num_output"
        )
    weight = blobs[0]
    if op == "ConvTranspose":
        done = standardise(weight, group=group, channels_in=shape[w.axis], num_output=stated)
        weight, group = done.weight, done.group
    flat = w.axis != 1
    if flat:
        g.require_fixed(layer, f"channel axis {w.axis}")
    beyond = _missing(w, shape) if op == "Conv" else (0,) * len(w.pad)
    if any(beyond):
        g.require_fixed(layer, "its kernel is larger than its bottom")
    ends = [p + more for p, more in zip(w.pad, beyond, strict=True)]
    # Caffe allows a convolution without spatial axes, which is a product over the channels.
    spatial = w.kernel or (1,)
    tops = []
    for bottom, value in zip(bottoms, layer.tops, strict=True):
        x = bottom
        if flat or not w.kernel:
            lead = count(shape[: w.axis])
            x = g.node("Reshape", x, g.ints(lead, shape[w.axis], *(shape[w.axis + 1 :] or (1,))))
        y = g.node(
            op,
            x,
            g.const(weight.reshape(*weight.shape[:2], *spatial) if not w.kernel else weight),
            *([g.const(blobs[1])] if len(blobs) > 1 else []),
            kernel_shape=list(spatial),
            strides=list(w.stride or (1,)),
            dilations=list(w.dilation or (1,)),
            pads=[*(w.pad or (0,)), *(ends or (0,))],
            group=group,
        )
        if flat or not w.kernel:
            y = g.node("Reshape", y, g.ints(*g.shape(value)))
        tops.append(y)
    return tuple(tops)


def emit_conv(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    return _emit("Conv", g, layer, bottoms, blobs)


def emit_deconv(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    return _emit("ConvTranspose", g, layer, bottoms, blobs)


register(
    LayerRule(
        "Convolution",
        conv_shape,
        emit_conv,
        conv_blobs,
        conv_macs,
        bottoms=(1, None),
        tops=(1, None),
        module=__name__,
    ),
    LayerRule(
        "Deconvolution",
        deconv_shape,
        emit_deconv,
        deconv_blobs,
        deconv_macs,
        deconv_adapt,
        deconv_saved,
        bottoms=(1, None),
        tops=(1, None),
        module=__name__,
    ),
    *(
        LayerRule(
            name,
            conv_shape,
            emit_conv,
            conv_blobs,
            conv_macs,
            bottoms=(1, None),
            tops=(1, None),
            fork="MobileNet forks",
            module=__name__,
        )
        for name in DEPTHWISE
    ),
)
