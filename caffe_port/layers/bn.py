"""BN, batch normalisation as SegNet and PSPNet have it, and its relatives.

SegNet, ENet and DeconvNet (alexgkendall/caffe-segnet, bn_layer.cpp), `scale_filler` and `shift_filler`, blobs
scale and shift (1, C, 1, 1): y = scale * x + shift with `bn_mode: INFERENCE` (statistics already absorbed);
otherwise, at TEST time too, y = scale * (x - E x) / sqrt(E x^2 - (E x)^2 + 1e-9) + shift with the mean over
the batch itself.

PSPNet, ICNet and temporal segment networks (hszhao/PSPNet and yjxiong/caffe, bn_layer.cpp; SyncBN the same),
`slope_filler` and `bias_filler`, blobs slope, bias, mean, variance:
y = slope * (x - mean) / sqrt(variance + eps) + bias. These are MXNet's gamma, beta, moving_mean and
moving_var, in this order; its `fix_gamma` takes 1 for the slope, whatever the file has.

CuDNNBatchNorm (hujie-frank/GENet, cudnn_batch_norm_layer.cu) is the latter with eps at least 1e-5.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers.activation import same_shape
from caffe_port.net import Layer, Shape
from caffe_port.registry import Blob, LayerRule, register
from weights.errors import ShapeError, UnsupportedError

SCALE_SHIFT = ("scale_filler", "shift_filler", "bn_mode")
SLOPE_BIAS = ("slope_filler", "bias_filler", "momentum", "eps", "frozen", "fix_gamma")
INFERENCE = 1
EPS_OF_SEGNET = 1e-9
LEAST_EPS_OF_CUDNN = 1e-5


def _has_statistics(layer: Layer) -> bool:
    """Whether this is PSPNet's layer (four blobs) and not SegNet's (two)."""
    if layer.type != "BN":
        return True
    spec = layer.spec.bn_param
    segnet = [name for name in SCALE_SHIFT if spec.HasField(name)]
    pspnet = [name for name in SLOPE_BIAS if spec.HasField(name)]
    if bool(segnet) == bool(pspnet):
        raise UnsupportedError(
            "two forks have a layer called BN and this one does not tell which is meant",
            found=", ".join(segnet + pspnet) or "no bn_param",
            expected="scale_filler and shift_filler (SegNet), or slope_filler and bias_filler (PSPNet)",
        )
    return bool(pspnet)


def bn_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    if len(bottoms[0]) < 2:
        raise ShapeError("no channel axis", found=bottoms[0], expected="(N, C, ...)")
    _has_statistics(layer)
    return same_shape(layer, bottoms)


def bn_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    shape = (1, bottoms[0][1], 1, 1)
    spec = layer.spec.cudnn_batch_norm_param if layer.type == "CuDNNBatchNorm" else layer.spec.bn_param
    names = ("slope_filler", "bias_filler")
    if layer.type == "CuDNNBatchNorm":
        names = ("scale_filler", "bias_filler")
    elif not _has_statistics(layer):
        names = ("scale_filler", "shift_filler")
    fillers = [getattr(spec, name) if spec.HasField(name) else None for name in names]
    pair = (Blob(shape, fillers[0], "scale"), Blob(shape, fillers[1], "shift"))
    if not _has_statistics(layer):
        return pair
    return (*pair, Blob(shape, None, "mean"), Blob(shape, None, "variance"))


def _by_batch(g: GraphBuilder, x: str, rank: int) -> str:
    """SegNet's LEARN mode: the batch's own mean and variance."""
    axes = [i for i in range(rank) if i != 1]
    mean = g.node("ReduceMean", x, axes=axes, keepdims=1)
    of_squares = g.node("ReduceMean", g.node("Mul", x, x), axes=axes, keepdims=1)
    variance = g.node("Sub", of_squares, g.node("Mul", mean, mean))
    deviation = g.node("Sqrt", g.node("Add", variance, g.const(np.float32(EPS_OF_SEGNET))))
    return g.node("Div", g.node("Sub", x, mean), deviation)


def emit_bn(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    rank = len(g.shape(layer.bottoms[0]))
    x = bottoms[0]
    if _has_statistics(layer):
        if layer.type == "CuDNNBatchNorm":
            eps = max(layer.spec.cudnn_batch_norm_param.eps, LEAST_EPS_OF_CUDNN)
        else:
            eps = layer.spec.bn_param.eps
        if layer.type != "CuDNNBatchNorm" and layer.spec.bn_param.fix_gamma:
            blobs = (np.ones_like(blobs[0]), *blobs[1:])
        arrays = [g.const(np.ascontiguousarray(b.reshape(-1))) for b in blobs]
        return (g.node("BatchNormalization", x, *arrays, epsilon=float(eps)),)
    if layer.spec.bn_param.bn_mode != INFERENCE:
        if g.dims(layer.bottoms[0])[0] == 1 and rank > 2:
            # The batch is one item: one operator instead of ten.
            arrays = [g.const(np.ascontiguousarray(b.reshape(-1))) for b in blobs]
            return (g.node("InstanceNormalization", x, *arrays, epsilon=EPS_OF_SEGNET),)
        x = _by_batch(g, x, rank)
    scale, shift = (b.reshape(-1, *(1,) * (rank - 2)) for b in blobs)
    return (g.node("Add", g.node("Mul", x, g.const(scale)), g.const(shift)),)


register(
    LayerRule("BN", bn_shape, emit_bn, bn_blobs, fork="SegNet, ENet, PSPNet, ICNet, TSN", module=__name__),
    LayerRule("SyncBN", bn_shape, emit_bn, bn_blobs, fork="PSPNet, TSN", module=__name__),
    LayerRule("CuDNNBatchNorm", bn_shape, emit_bn, bn_blobs, fork="GENet", module=__name__),
)
