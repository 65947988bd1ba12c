"""BatchNorm, Scale and Bias (BVLC batch_norm_, scale_, bias_layer.cpp).

BatchNorm, blobs mean, variance, factor: y = (x - mean/factor) / sqrt(variance/factor + eps), with mean and
variance 0 where factor is 0. `use_global_stats: false` takes mean and (biased) variance of the batch itself,
at TEST time too where the prototxt says so (ENet).

Dialects with scale and shift inside (`scale_filler`, `bias_filler` or `scale_bias`): Xilinx writes five blobs
[1, C, 1, 1] scale, shift, mean, variance and a flag; NVIDIA writes mean, variance, factor, scale, shift.

Scale: y = x * scale (+ bias), the scale learnt (`num_axes` axes from `axis`) or the second bottom. Bias: the
same with a sum.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers.activation import same_shape
from caffe_port.net import Layer, Shape
from caffe_port.registry import Adapted, Blob, LayerRule, register
from caffe_port.shapes import canonical_axis
from weights.errors import ShapeError


def _channels(bottom: Shape) -> int:
    return bottom[1] if len(bottom) > 1 else 1


def _with_scale(layer: Layer) -> bool:
    spec = layer.spec.batch_norm_param
    return bool(spec.scale_bias or spec.HasField("scale_filler") or spec.HasField("bias_filler"))


def batch_norm_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    shape = (_channels(bottoms[0]),)
    statistics = (Blob(shape, None, "mean"), Blob(shape, None, "variance"), Blob((1,), None, "factor"))
    if not _with_scale(layer):
        return statistics
    spec = layer.spec.batch_norm_param
    return (
        Blob(shape, spec.scale_filler if spec.HasField("scale_filler") else None, "scale"),
        Blob(shape, spec.bias_filler if spec.HasField("bias_filler") else None, "shift"),
        *statistics,
    )


def batch_norm_adapt(layer: Layer, arrays: tuple[np.ndarray, ...], bottoms: tuple[Shape, ...]) -> Adapted:
    """Five blobs of either dialect -> scale, shift, mean, variance, factor.

    The factor of a Xilinx file is a flag, not a divisor: the statistics are stored as they are used.
    """
    channels = _channels(bottoms[0])
    if len(arrays) != 5 or not _with_scale(layer):
        return Adapted(arrays)
    sizes = [a.size for a in arrays]
    if sizes[:2] + sizes[3:] == [channels] * 4 and sizes[2] == 1 and (channels > 1 or arrays[2].ndim == 1):
        mean, variance, factor, scale, shift = (a.reshape(-1) for a in arrays)
        return Adapted((scale, shift, mean, variance, factor), "five blobs in NVIDIA's order")
    if sizes[:4] == [channels] * 4:
        scale, shift, mean, variance = (a.reshape(-1) for a in arrays[:4])
        one = np.ones(1, np.float32)
        return Adapted((scale, shift, mean, variance, one), "five blobs in Xilinx's order")
    return Adapted(arrays)


def emit_batch_norm(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = layer.spec.batch_norm_param
    x = bottoms[0]
    shape = g.shape(layer.bottoms[0])
    channels = _channels(shape)
    scale, shift = (
        blobs[:2] if len(blobs) == 5 else (np.ones(channels, np.float32), np.zeros(channels, np.float32))
    )
    if spec.HasField("use_global_stats") and not spec.use_global_stats:
        if g.dims(layer.bottoms[0])[0] == 1 and len(shape) > 2:
            # The batch is one item: one operator instead of seven.
            one_item = g.node(
                "InstanceNormalization", x, g.const(scale), g.const(shift), epsilon=float(spec.eps)
            )
            return (one_item,)
        axes = [i for i in range(len(shape)) if i != 1]
        centred = g.node("Sub", x, g.node("ReduceMean", x, axes=axes, keepdims=1))
        spread = g.node("ReduceMean", g.node("Mul", centred, centred), axes=axes, keepdims=1)
        y = g.node("Div", centred, g.node("Sqrt", g.node("Add", spread, g.const(np.float32(spec.eps)))))
        if len(blobs) == 5:
            broadcast = (-1, *(1,) * (len(shape) - 2))
            y = g.node(
                "Add", g.node("Mul", y, g.const(scale.reshape(broadcast))), g.const(shift.reshape(broadcast))
            )
        return (y,)
    mean, variance, factor = blobs[-3:]
    ratio = np.float32(0 if factor.item() == 0 else 1 / np.float32(factor.item()))
    if len(shape) == 1:
        y = g.node(
            "Div",
            g.node("Sub", x, g.const(mean * ratio)),
            g.const(np.sqrt(variance * ratio + np.float32(spec.eps))),
        )
        return (y,)
    return (
        g.node(
            "BatchNormalization",
            x,
            g.const(scale),
            g.const(shift),
            g.const(mean * ratio),
            g.const(variance * ratio),
            epsilon=float(spec.eps),
        ),
    )


def _span(axis: int, num_axes: int, bottom: Shape) -> tuple[int, int]:
    """First and last + 1 axis that a learnt scale covers."""
    first = canonical_axis(axis, len(bottom)) if bottom else 0
    last = len(bottom) if num_axes == -1 else first + num_axes
    if last > len(bottom):
        raise ShapeError(
            "scale reaches beyond the last axis",
            found=f"axis {axis} with num_axes {num_axes}",
            expected=f"at most {len(bottom)} axes",
        )
    return first, last


def _check_second(axis: int, bottoms: tuple[Shape, ...]) -> int:
    first = canonical_axis(axis, len(bottoms[0])) if bottoms[1] else 0
    if bottoms[0][first : first + len(bottoms[1])] != bottoms[1]:
        raise ShapeError(
            "the second bottom does not fit the first",
            found=bottoms[1],
            expected=f"the sizes of {bottoms[0]} from axis {first} on",
        )
    return first


def scale_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    spec = layer.spec.scale_param if layer.type == "Scale" else layer.spec.bias_param
    if len(bottoms) == 2:
        _check_second(spec.axis, bottoms)
    else:
        _span(spec.axis, spec.num_axes, bottoms[0])
    return (bottoms[0],)


def scale_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    spec = layer.spec.scale_param
    blobs = []
    if len(bottoms) == 1:
        first, last = _span(spec.axis, spec.num_axes, bottoms[0])
        shape = bottoms[0][first:last]
        blobs.append(Blob(shape, spec.filler if spec.HasField("filler") else None, "scale"))
    else:
        shape = bottoms[1]
    if spec.bias_term:
        blobs.append(Blob(shape, spec.bias_filler if spec.HasField("bias_filler") else None, "bias"))
    return tuple(blobs)


def bias_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    if len(bottoms) == 2:
        return ()
    spec = layer.spec.bias_param
    first, last = _span(spec.axis, spec.num_axes, bottoms[0])
    return (Blob(bottoms[0][first:last], spec.filler if spec.HasField("filler") else None, "bias"),)


def _operand(g: GraphBuilder, array: np.ndarray, first: int, rank: int) -> str:
    return g.const(array.reshape(*array.shape, *(1,) * (rank - first - array.ndim)))


def _second(g: GraphBuilder, name: str, first: int, rank: int, second_rank: int) -> str:
    trailing = rank - first - second_rank
    if not trailing:
        return name
    return g.node("Unsqueeze", name, g.ints(*range(second_rank, second_rank + trailing)))


def _emit_affine(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...], axis: int, op: str
) -> tuple[str, ...]:
    rank = len(g.shape(layer.bottoms[0]))
    if len(bottoms) == 2:
        second = len(g.shape(layer.bottoms[1]))
        first = canonical_axis(axis, rank) if second else 0
        y = g.node(op, bottoms[0], _second(g, bottoms[1], first, rank, second))
        extra = blobs
    else:
        first = canonical_axis(axis, rank)
        y = g.node(op, bottoms[0], _operand(g, blobs[0], first, rank))
        extra = blobs[1:]
    return (g.node("Add", y, _operand(g, extra[0], first, rank)) if extra else y,)


def emit_scale(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    return _emit_affine(g, layer, bottoms, blobs, layer.spec.scale_param.axis, "Mul")


def emit_bias(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    return _emit_affine(g, layer, bottoms, blobs, layer.spec.bias_param.axis, "Add")


register(
    LayerRule(
        "BatchNorm",
        same_shape,
        emit_batch_norm,
        batch_norm_blobs,
        adapt=batch_norm_adapt,
        note="also the five-blob dialects of NVIDIA and Xilinx",
        module=__name__,
    ),
    LayerRule("Scale", scale_shape, emit_scale, scale_blobs, bottoms=(1, 2), module=__name__),
    LayerRule("Bias", scale_shape, emit_bias, bias_blobs, bottoms=(1, 2), module=__name__),
)
