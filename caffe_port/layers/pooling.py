"""Pooling (BVLC pooling_layer.cpp).

out = ceil((n + 2p - k) / s) + 1, or floor with `round_mode: FLOOR` (DenseNet and other forks: `ceil_mode:
false`); if any pad is set and the last window starts at or beyond n + p, it is dropped: out -= 1 where
(out - 1) s >= n + p. MAX leaves padding out; AVE divides by the part of the window inside n + p, padding
counted; STOCHASTIC at TEST time is sum(x^2) / sum(x) (pooling_layer.cu, StoPoolForwardTest). Where a window
may be dropped, its graph has pads that leave it out instead of ONNX's ceil_mode (see `Window.ends`).

With kernel < stride and no pad Caffe keeps a window that starts beyond the picture: MAX gives -FLT_MAX
there (and -1 in its mask), AVE 0 / 0 or 0 / negative; all are reproduced.

With naibaf7's `dilation` d (pooling_layer.cpp for sizes, .cu for numbers) a window's points are d apart, and
k stands for (k - 1) d + 1 above; there for MAX without a mask.

Forks pool volumes (N, C, ...) too, with one value per axis (yjxiong/caffe and others, pooling_layer.cpp for
N axes); their AVE differ at the border, so only averages over whole windows are taken there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Shape
from caffe_port.proto.caffe_pb2 import ConvolutionParameter, PoolingParameter
from caffe_port.registry import LayerRule, register
from weights.errors import PrototxtError, ShapeError, UnsupportedError

MAX, AVE, STOCHASTIC = 0, 1, 2
LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True)
class Window:
    """Kernel, stride and pad as (height, width) or one value per axis, and how sizes are rounded."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    ceil: bool
    whole: bool
    dilation: tuple[int, ...] = ()

    @property
    def reach(self) -> tuple[int, ...]:
        """From the first to the last point of a window, both counted."""
        steps = self.dilation or (1,) * len(self.kernel)
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, steps, strict=True))

    def sizes(self, bottom: Shape) -> tuple[int, ...]:
        """Height and width of the result (all axes but the first two)."""
        out = []
        for n, k, s, p in zip(bottom[2:], self.reach, self.stride, self.pad, strict=True):
            span = n + 2 * p - k
            size = (-(-span // s) if self.ceil else span // s) + 1
            if any(self.pad) and (size - 1) * s >= n + p:
                size -= 1
            out.append(size)
        return tuple(out)

    def drops(self) -> bool:
        """Whether the last window is dropped at some sizes because it starts beyond the pad."""
        axes = zip(self.reach, self.stride, self.pad, strict=True)
        return self.ceil and any(self.pad) and any(k < s + p for k, s, p in axes)

    def ends(self) -> tuple[int, ...]:
        """Pads below and right at which windows counted by rounding down are Caffe's, at every size.

        Caffe's count is the lesser of ceil((n + 2p - k) / s) + 1, which an end of p + s - 1 gives, and
        ceil((n + p) / s), which an end of k - 1 gives.
        """
        return tuple(min(p + s - 1, k - 1) for k, s, p in zip(self.reach, self.stride, self.pad, strict=True))

    def parted(self, bottom: Shape) -> bool:
        """Whether some windows do not lie in the bottom as a whole."""
        axes = zip(bottom[2:], self.sizes(bottom), self.reach, self.stride, self.pad, strict=True)
        return any(p > 0 or (size - 1) * s + k > n for n, size, k, s, p in axes)

    def beyond(self) -> bool:
        """Whether a window may start beyond the picture."""
        return (
            self.ceil
            and not any(self.pad)
            and any(k < s for k, s in zip(self.reach, self.stride, strict=True))
        )


def _axes(
    spec: ConvolutionParameter | PoolingParameter, square: str, h: str, w: str, axes: int, default: int | None
) -> tuple[int, ...]:
    has = spec.HasField
    values: Sequence[int] = getattr(spec, square)
    if has(h) or has(w):
        if any(values):
            raise PrototxtError(f"{square} is given both ways", expected=f"{square} or {h} and {w}")
        if axes != 2:
            raise PrototxtError(f"{h} and {w} in a volume", expected=f"{square}, once or once per axis")
        if not (has(h) and has(w)) and default is None:
            raise PrototxtError(f"half a kernel: {h} and {w} go together")
        return (getattr(spec, h) if has(h) else default or 0, getattr(spec, w) if has(w) else default or 0)
    if not values and default is None:
        raise PrototxtError(
            "no kernel size", expected=f"{square}, or both {h} and {w}, or global_pooling: true"
        )
    if len(values) not in (0, 1, axes):
        raise PrototxtError(
            f"{square} does not fit the axes", found=f"{len(values)} values", expected=f"1 or {axes}"
        )
    return tuple(values) if len(values) == axes else ((values[0] if values else default or 0),) * axes


def window(layer: Layer, bottom: Shape) -> Window:
    """The geometry that `pooling_param` gives for a bottom of this shape."""
    spec = layer.spec.pooling_param
    if len(bottom) < 4:
        raise ShapeError("pooling needs four axes", found=bottom, expected="(N, C, H, W)")
    axes = len(bottom) - 2
    pad = _axes(spec, "pad", "pad_h", "pad_w", axes, 0)
    stride = _axes(spec, "stride", "stride_h", "stride_w", axes, 1)
    ceil = spec.ceil_mode and spec.round_mode == 0
    if spec.global_pooling:
        if spec.kernel_size or spec.HasField("kernel_h") or spec.HasField("kernel_w"):
            raise PrototxtError("global_pooling with a kernel size", expected="one of them")
        if any(pad) or max(stride) > 1:
            raise PrototxtError(
                "global_pooling with pad or stride",
                found=f"pad {pad}, stride {stride}",
                expected="pad 0 and stride 1",
            )
        return Window(bottom[2:], (1,) * axes, pad, ceil, True)
    kernel = _axes(spec, "kernel_size", "kernel_h", "kernel_w", axes, None)
    if 0 in kernel or 0 in stride:
        raise PrototxtError("kernel or stride is 0", expected="1 or more")
    if any(p >= k for p, k in zip(pad, kernel, strict=True)) and any(pad):
        raise PrototxtError(
            "pad is not smaller than the kernel",
            found=f"pad {pad}, kernel {kernel}",
            expected="pad < kernel, as Caffe demands",
        )
    dilation = _dilation(layer, axes)
    if dilation and any(p >= k for p, k in zip(pad, kernel, strict=True)):
        raise PrototxtError("dilation with so large a pad", found=pad, expected=f"pads below {kernel}")
    return Window(kernel, stride, pad, ceil, False, dilation)


def _dilation(layer: Layer, axes: int) -> tuple[int, ...]:
    """One value per axis, () where it is 1 on all."""
    spec = layer.spec.pooling_param
    values = list(spec.dilation)
    if len(values) not in (0, 1, axes) or 0 in values:
        raise PrototxtError("bad dilation", found=values, expected=f"1 or {axes} values of 1 or more")
    if all(value == 1 for value in values):
        return ()
    if spec.pool != MAX or len(layer.tops) == 2:
        raise UnsupportedError(
            "dilation in pooling other than MAX", found=f"dilation {values}", expected="pool: MAX, one top"
        )
    return tuple(values) * (axes if len(values) == 1 else 1)


def pool_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    bottom = bottoms[0]
    w, method = window(layer, bottom), layer.spec.pooling_param.pool
    if len(layer.tops) == 2 and method != MAX:
        raise PrototxtError("a mask top", found="a pooling method other than MAX", expected="pool: MAX")
    if len(bottom) > 4 and (
        len(layer.tops) == 2
        or method == STOCHASTIC
        or any(k < s for k, s in zip(w.kernel, w.stride, strict=True))
        or (method == AVE and w.parted(bottom))
    ):
        raise UnsupportedError(
            "pooling of a volume in a way that forks do differently",
            found=f"method {method}, {len(layer.tops)} tops, {w.kernel} by {w.stride} on {bottom[2:]}",
            expected="MAX without a mask or AVE of whole windows, which leave nothing out",
        )
    return ((*bottom[:2], *w.sizes(bottom)),) * len(layer.tops)


def _widened(g: GraphBuilder, x: str, w: Window, value: float) -> str:
    """`x` with as much of `value` below and right of it as a window beyond the picture can reach."""
    pads = g.ints(0, 0, 0, 0, 0, 0, *(s - 1 for s in w.stride))
    return g.node("Pad", x, pads, g.const(np.float32(value)), mode="constant")


def _beyond(g: GraphBuilder, layer: Layer, x: str, w: Window, method: int) -> str:
    """Pooling whose last window may lie beyond the picture: pad explicitly, then round down."""
    if method == MAX:
        padded = _widened(g, x, w, LOWEST)
        steps = list(w.dilation) or None
        return g.node("MaxPool", padded, kernel_shape=list(w.kernel), strides=list(w.stride), dilations=steps)
    g.require_fixed(layer, "average windows that start beyond the picture")
    # Multiplied (by more than 1) before it is pooled: ONNX Runtime merges a Pad straight before AveragePool
    # into its pads, and then refuses a pad as large as the kernel.
    twice = g.const(np.float32(2 * w.kernel[0] * w.kernel[1]))
    padded = g.node("Mul", _widened(g, x, w, 0.0), twice)
    total = g.node("AveragePool", padded, kernel_shape=list(w.kernel), strides=list(w.stride))
    height, width = g.shape(layer.bottoms[0])[2:]
    counts = [
        np.array([min(i * s + k, n) - i * s for i in range(size)], np.float32)
        for n, k, s, size in zip(
            (height, width), w.kernel, w.stride, w.sizes(g.shape(layer.bottoms[0])), strict=True
        )
    ]
    return g.node("Div", total, g.const(2 * np.outer(*counts)[None, None]))


def _common(w: Window) -> dict[str, Any]:
    """Kernel, stride and pads as ONNX has them.

    Where windows may be dropped the pads say so instead of `ceil_mode`: ONNX Runtime's kernels drop them too,
    but its shape inference does not, and where it knows the size it then plans for a larger result.
    """
    ends = w.ends() if w.drops() else w.pad
    return {
        "kernel_shape": list(w.kernel),
        "strides": list(w.stride),
        "pads": [*w.pad, *ends],
        "ceil_mode": int(w.ceil and not w.drops()),
    }


def averaged(
    g: GraphBuilder,
    x: str,
    *,
    kernel: Sequence[int],
    stride: Sequence[int],
    pad: Sequence[int],
    room: Sequence[int],
) -> str:
    """The mean over each window cut to the padded picture: Caffe's own pads count, what lies beyond does not.

    Args:
        g: The graph.
        x: The picture, (N, C, ...).
        kernel: The window, one size per axis behind the channels; the same holds for the rest.
        stride: Its steps.
        pad: Zeros on both sides, which count.
        room: How far windows may reach beyond these at the end, which does not count.

    Returns:
        The means.

    `count_include_pad` leaves to each reader what it divides by: with `ceil_mode` ONNX Runtime's CPU kernel
    takes Caffe's count, cuDNN and OpenCV 5 the whole window's, and OpenCV 4 never counts pads. So nothing
    that AveragePool pads counts, and what counts is padded before.
    """
    size = {"kernel_shape": list(kernel), "strides": list(stride)}
    pads = [*(0 for _ in room), *room]
    if not any(pad):
        return g.node("AveragePool", x, pads=pads, **size)
    padded = g.node("Pad", x, g.ints(0, 0, *pad, 0, 0, *pad), g.const(np.float32(0)), mode="constant")
    if not any(room):
        return g.node("AveragePool", padded, **size)
    # Doubled in between, because ONNX Runtime would merge the Pad into pads that count all or not at all.
    y = g.node("AveragePool", g.node("Mul", padded, g.const(np.float32(2))), pads=pads, **size)
    return g.node("Mul", y, g.const(np.float32(0.5)))


def _average(g: GraphBuilder, x: str, w: Window) -> str:
    room = [end - p if w.ceil else 0 for end, p in zip(w.ends(), w.pad, strict=True)]
    return averaged(g, x, kernel=w.kernel, stride=w.stride, pad=w.pad, room=room)


def _pool(g: GraphBuilder, layer: Layer, x: str, w: Window, method: int) -> str:
    if w.whole:
        return g.node("GlobalMaxPool" if method == MAX else "GlobalAveragePool", x)
    if w.beyond():
        return _beyond(g, layer, x, w, method)
    if method == MAX:
        return g.node("MaxPool", x, dilations=list(w.dilation) or None, **_common(w))
    return _average(g, x, w)


def pooled(g: GraphBuilder, layer: Layer, x: str, w: Window, method: int) -> str:
    """One pooling of the graph value `x`, by any of the three methods."""
    if method != STOCHASTIC:
        return _pool(g, layer, x, w, method)
    if any(w.pad):
        raise PrototxtError("padding in stochastic pooling", expected="pad 0, as Caffe demands")
    squares = _pool(g, layer, g.node("Mul", x, x), w, AVE)
    total = _pool(g, layer, x, w, AVE)
    positive = g.node("Greater", total, g.const(np.float32(0)))
    return g.node("Where", positive, g.node("Div", squares, total), g.const(np.float32(0)))


def _plane(g: GraphBuilder, x: str) -> str:
    """Height x width of `x`."""
    return g.node("ReduceProd", g.sizes_of(x, 2, 3), axes=[0], keepdims=1)


def _mask_beyond(g: GraphBuilder, x: str, w: Window) -> tuple[str, str]:
    """As `_with_mask` where windows may lie beyond the picture: Caffe's mask is -1 there."""
    padded = _widened(g, x, w, LOWEST)
    y, index = g.nodes("MaxPool", padded, outputs=2, kernel_shape=list(w.kernel), strides=list(w.stride))
    index = g.node("Mod", index, _plane(g, padded))
    wide = g.sizes_of(padded, 3)
    row = g.node("Mul", g.node("Div", index, wide), g.sizes_of(x, 3))
    place = g.node("Cast", g.node("Add", row, g.node("Mod", index, wide)), to=1)
    found = g.node("Greater", y, g.const(np.float32(LOWEST)))
    return y, g.node("Where", found, place, g.const(np.float32(-1)))


def _with_mask(g: GraphBuilder, layer: Layer, x: str, w: Window) -> tuple[str, str]:
    """MAX with its mask: the place of each maximum, counted within its plane of height x width."""
    if w.beyond():
        return _mask_beyond(g, x, w)
    if w.whole:
        g.require_fixed(layer, "a mask of global pooling")
    y, index = g.nodes("MaxPool", x, outputs=2, **_common(w))
    return y, g.node("Cast", g.node("Mod", index, _plane(g, x)), to=1)


def emit_pool(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    bottom = g.shape(layer.bottoms[0])
    w = window(layer, bottom)
    if len(bottom) > 4:
        g.require_fixed(layer, "pooling of a volume")
    if len(layer.tops) == 2:
        return _with_mask(g, layer, bottoms[0], w)
    return (pooled(g, layer, bottoms[0], w, layer.spec.pooling_param.pool),)


register(LayerRule("Pooling", pool_shape, emit_pool, tops=(1, 2), module=__name__))
