"""DenseBlock: a whole block of DenseNet (senlinuc/caffe_ocr and leonzfa/iResNet, DenseBlock_layer.cpp).

numTransition times: normalise all channels so far, ReLU, convolve 3 x 3 to growthRate channels, and append
them. With `use_BC` a 1 x 1 convolution to 4 growthRate channels, normalisation and ReLU stand before the
3 x 3. Normalisation is scale (x - mean / f) / sqrt(variance / f + 1e-5) + shift, where f is the last blob.

The weights are, each numTransition times and in this order: 3 x 3 filters, scales, shifts, means, variances;
with `use_BC` then 1 x 1 filters and the scales, shifts, means and variances behind them; last the factor f.
initChannel is the bottom's number of channels, whatever the file says, as in caffe_ocr. winggan/caffe has
another layer of this name, with `dense_block_param`.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Shape
from caffe_port.proto.caffe_pb2 import DenseBlockParameter
from caffe_port.registry import Blob, LayerRule, register
from caffe_port.shapes import count
from weights.errors import PrototxtError, ShapeError, UnsupportedError

Blobs = tuple[np.ndarray, ...]
EPS = 1e-5
MOST = 4096
"""Transitions that a block may have; DenseNet's have up to 64."""
ONLY = {
    "pad_h": 1,
    "pad_w": 1,
    "conv_verticalStride": 1,
    "conv_horizentalStride": 1,
    "filter_H": 3,
    "filter_W": 3,
}
"""What the convolutions of the fork's code are, whatever the fields say."""


def _sizes(layer: Layer, bottom: Shape) -> tuple[int, list[int], int]:
    """Channels that each transition adds, those that it reads, and those in its middle (0 without use_BC)."""
    spec = layer.spec.denseblock_param
    if min(spec.numTransition, spec.growthRate) < 1 or spec.numTransition > MOST:
        raise PrototxtError(
            "bad numTransition or growthRate",
            found=(spec.numTransition, spec.growthRate),
            expected=f"1 or more, at most {MOST} transitions",
        )
    for name, value in ONLY.items():
        if getattr(spec, name) != value:
            raise UnsupportedError(
                f"{name} other than its default", found=getattr(spec, name), expected=f"{name}: {value}"
            )
    if len(bottom) != 4:
        raise ShapeError("a map is needed", found=bottom, expected="(N, C, H, W)")
    grown = [bottom[1] + i * spec.growthRate for i in range(spec.numTransition)]
    return spec.growthRate, grown, 4 * spec.growthRate if spec.use_BC else 0


def block_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    bottom = bottoms[0]
    growth, grown, _ = _sizes(layer, bottom)
    return ((bottom[0], grown[-1] + growth, *bottom[2:]),)


def _normalisation(channels: list[int], spec: DenseBlockParameter) -> list[Blob]:
    """Scales, shifts, means and variances of one normalisation per transition."""
    fillers = [
        spec.BN_Scaler_Filler if spec.HasField("BN_Scaler_Filler") else None,
        spec.BN_Bias_Filler if spec.HasField("BN_Bias_Filler") else None,
    ]
    kinds = zip(("scale", "shift", "mean", "variance"), (*fillers, None, None), strict=True)
    return [Blob((1, c, 1, 1), filler, role) for role, filler in kinds for c in channels]


def block_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    spec = layer.spec.denseblock_param
    growth, grown, middle = _sizes(layer, bottoms[0])
    filler = spec.Filter_Filler if spec.HasField("Filter_Filler") else None
    blobs = [Blob((growth, middle or c, 3, 3), filler) for c in grown] + _normalisation(grown, spec)
    if middle:
        blobs += [Blob((middle, c, 1, 1), filler) for c in grown]
        blobs += _normalisation([middle] * len(grown), spec)
    return (*blobs, Blob((1, 1, 1, 1), None, "factor"))


def block_macs(layer: Layer, bottoms: tuple[Shape, ...], tops: tuple[Shape, ...]) -> int:
    growth, grown, middle = _sizes(layer, bottoms[0])
    points = bottoms[0][0] * count(bottoms[0][2:])
    return points * sum(middle * c + 9 * growth * middle if middle else 9 * growth * c for c in grown)


def emit_block(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    _, grown, middle = _sizes(layer, g.shape(layer.bottoms[0]))
    number = len(grown)
    factor = float(blobs[-1].reshape(()))
    share = np.float32(1 / factor if factor else 0)

    def normalised(x: str, first: int) -> str:
        """ReLU of the normalisation whose scale is blob `first`."""
        scale, shift, mean, variance = (blobs[first + i * number].reshape(-1) for i in range(4))
        arrays = [scale, shift, mean * share, variance * share]
        return g.node("Relu", g.node("BatchNormalization", x, *map(g.const, arrays), epsilon=EPS))

    x = bottoms[0]
    for i in range(number):
        y = normalised(x, number + i)
        if middle:
            y = g.node("Conv", y, g.const(blobs[5 * number + i]), kernel_shape=[1, 1])
            y = normalised(y, 6 * number + i)
        y = g.node("Conv", y, g.const(blobs[i]), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        x = g.node("Concat", x, y, axis=1)
    return (x,)


register(
    LayerRule(
        "DenseBlock",
        block_shape,
        emit_block,
        block_blobs,
        block_macs,
        fork="caffe_ocr, iResNet",
        module=__name__,
    )
)
