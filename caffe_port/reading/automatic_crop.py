"""AutoCrop: a Crop whose offset follows from the layers between its bottoms.

The layer of FCN's early branches (longjon/caffe, Crop of 2014 and V1's CROP; yun-liu/rcf,
auto_crop_layer.cpp and util/coords.hpp) walks back from both bottoms, along first bottoms, to a blob that is
on both paths. A layer moves coordinates by x -> a x + b: a filter of kernel k, stride s and pad p has a = s,
b = (k - 1) / 2 - p as a Deconvolution and the inverse of that as a Convolution or Pooling; a Crop has a = 1,
b = -offset, and what works on each point alone has a = 1, b = 0. The map from the first bottom to the second
must be a shift by a whole number of points, which is the offset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from caffe_port.layers import convolution, pooling
from caffe_port.net import Layer, Net
from weights.errors import ClockworkError, PrototxtError, UnsupportedError

__all__ = ["with_offsets"]

Move = tuple[tuple[Fraction, Fraction], ...]
"""(a, b) for height and width."""

_STILL: Move = ((Fraction(1), Fraction(0)),) * 2
_ANY_MAP = (1, 1, 1, 1)
_POINTWISE = frozenset({
    "AbsVal", "BatchNorm", "BN", "BNLL", "Bias", "Concat", "Dropout", "ELU", "Eltwise", "Exp", "Log", "LRN",
    "MVN", "Power", "PReLU", "ReLU", "Scale", "Sigmoid", "Slice", "Softmax", "Split", "TanH", "Threshold",
})  # fmt: skip


def _filter(kernel: tuple[int, ...], stride: tuple[int, ...], pad: tuple[int, ...]) -> Move:
    return tuple((Fraction(s), Fraction(k - 1, 2) - p) for k, s, p in zip(kernel, stride, pad, strict=True))


def _inverse(move: Move) -> Move:
    return tuple((1 / a, -b / a) for a, b in move)


def _after(left: Move, right: Move) -> Move:
    """left(right(x))."""
    return tuple((a * c, a * d + b) for (a, b), (c, d) in zip(left, right, strict=True))


def _move(layer: Layer) -> Move:
    """How a layer moves coordinates, from its first bottom to its top."""
    if layer.type in _POINTWISE:
        return _STILL
    if layer.type in ("Convolution", "Deconvolution", *convolution.DEPTHWISE):
        w = convolution.window(layer, _ANY_MAP)
        move = _filter(w.extent, w.stride, w.pad)
        return move if layer.type == "Deconvolution" else _inverse(move)
    if layer.type == "Pooling" and not layer.spec.pooling_param.global_pooling:
        v = pooling.window(layer, _ANY_MAP)
        return _inverse(_filter(v.reach, v.stride, v.pad))
    if layer.type in ("Crop", "AutoCrop"):
        offsets = list(layer.spec.crop_param.offset) or [0]
        rows, columns = offsets if len(offsets) == 2 else offsets[:1] * 2
        return ((Fraction(1), Fraction(-rows)), (Fraction(1), Fraction(-columns)))
    raise UnsupportedError(
        "a layer whose effect on coordinates is not known",
        found=f'layer "{layer.name}" ({layer.type})',
        expected="convolutions, pooling, crops and what works on each point alone",
        hint="write a Crop layer with its offset instead",
    )


def _walk(value: str, makers: Mapping[str, Layer]) -> list[str]:
    """The values back from `value` along first bottoms, itself first."""
    path = [value]
    while path[-1] in makers and makers[path[-1]].bottoms:
        path.append(makers[path[-1]].bottoms[0])
    return path


def _offsets(layer: Layer, makers: Mapping[str, Layer]) -> list[int]:
    paths = [_walk(bottom, makers) for bottom in layer.bottoms[:2]]
    common = next((value for value in paths[1] if value in paths[0]), None)
    if common is None:
        raise PrototxtError("a crop of blobs that have no layer in common", found=layer.bottoms)
    moves = []
    for path in paths:
        move = _STILL
        for value in path[: path.index(common)]:
            move = _after(move, _move(makers[value]))
        moves.append(move)
    shift = _after(moves[1], _inverse(moves[0]))
    if any(a != 1 or b > 0 or b.denominator != 1 for a, b in shift):
        raise PrototxtError(
            "a crop that does not fit",
            found=" and ".join(f"{a} x + {b}" for a, b in shift),
            expected="maps of one scale, the first larger by whole points",
        )
    return [int(-b) for _, b in shift]


def with_offsets(net: Net) -> Net:
    """The net with the offset of every AutoCrop layer written into its `crop_param`.

    Raises:
        PrototxtError: the bottoms of such a layer do not fit each other.
        UnsupportedError: the effect of a layer on the way is not known.
    """
    if not any(layer.type == "AutoCrop" for layer in net.layers):
        return net
    makers: dict[str, Layer] = {}
    layers: list[Layer] = []
    for layer in net.layers:
        if layer.type == "AutoCrop" and len(layer.bottoms) == 2:
            layer = _solved(net, layer, makers)
        layers.append(layer)
        makers.update(dict.fromkeys(layer.tops, layer))
    return replace(net, layers=tuple(layers))


def _solved(net: Net, layer: Layer, makers: Mapping[str, Layer]) -> Layer:
    try:
        offsets = _offsets(layer, makers)
    except ClockworkError as error:
        raise error.located(**net.where(layer)) from None
    spec: Any = type(layer.spec)()
    spec.CopyFrom(layer.spec)
    spec.crop_param.axis = 2
    spec.crop_param.ClearField("offset")
    spec.crop_param.offset.extend(offsets)
    return replace(layer, spec=spec)
