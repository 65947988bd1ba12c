"""Weights made from a net's fillers: `random_weights`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from caffe_port.match import wanted_blobs
from caffe_port.net import Net, Shape
from caffe_port.proto.caffe_pb2 import FillerParameter
from caffe_port.registry import Blob
from caffe_port.shapes import count, infer_shapes
from weights import limits
from weights.errors import ClockworkError, PrototxtError, ShapeError, UnsupportedError
from weights.upsample import bilinear_filler

__all__ = ["fill", "random_weights"]

_BY_ROLE = {
    "bias": 0.0,
    "mean": 0.0,
    "variance": 1.0,
    "factor": 1.0,
    "scale": 1.0,
    "slope": 0.25,
    "shift": 0.0,
}


_SAME = {"bilinear_upsampling": "bilinear"}
"""Names that forks have for a filler of BVLC."""


def _fans(shape: Shape) -> tuple[float, float]:
    """Caffe's fan in and fan out (filler.hpp): elements / first and / second dimension."""
    total = count(shape)
    fan_in = total / shape[0] if shape else 1.0
    fan_out = total / shape[1] if len(shape) > 1 else float(total)
    return max(1.0, fan_in), max(1.0, fan_out)


def _spread(filler: FillerParameter, shape: Shape) -> float:
    fan_in, fan_out = _fans(shape)
    return (fan_in, fan_out, (fan_in + fan_out) / 2)[filler.variance_norm]


def _check(filler: Any) -> None:
    """Raise PrototxtError for numbers that no distribution has."""
    numbers = {name: getattr(filler, name) for name in ("value", "min", "max", "mean", "std")}
    for name, number in numbers.items():
        if not math.isfinite(number):
            raise PrototxtError(f"a filler's {name} is not finite", found=number, expected="a number")
    if filler.std < 0 or (filler.type == "uniform" and filler.min > filler.max):
        raise PrototxtError(
            "a filler without such a distribution",
            found=f"std {filler.std}" if filler.std < 0 else f"min {filler.min}, max {filler.max}",
            expected="std from 0, min up to max",
        )


def fill(blob: Blob, rng: np.random.Generator) -> np.ndarray:
    """One array by the filler of the prototxt, or, where it states none, by its role.

    Fillers as BVLC's filler.hpp: constant, uniform, gaussian, positive_unitball, xavier (uniform within
    sqrt(3/n)), msra (normal, sqrt(2/n)), bilinear. A weight whose filler is missing or constant 0 (Caffe's
    default) would give a dead net, so it gets msra.

    Args:
        blob: Shape, filler and role of the array.
        rng: The source of random numbers.

    Returns:
        float32, of the blob's shape.

    Raises:
        UnsupportedError: The filler's type is unknown.
        PrototxtError: The filler's numbers make no distribution.
    """
    shape, filler = blob.shape, blob.filler
    kind = _SAME.get(filler.type, filler.type) if filler is not None else ""
    if blob.role in ("mean", "variance", "factor") or not kind or filler is None:
        if blob.role in _BY_ROLE:
            return np.full(shape, _BY_ROLE[blob.role], np.float32)
        kind, filler = "msra", FillerParameter()
    if kind == "constant" and filler.value == 0 and blob.role == "weight":
        kind = "msra"
    if filler is not None:
        _check(filler)
    if kind == "constant":
        array: np.ndarray = np.full(shape, filler.value)
    elif kind == "uniform":
        array = rng.uniform(filler.min, filler.max, shape)
    elif kind == "gaussian":
        array = rng.normal(filler.mean, filler.std, shape)
    elif kind == "positive_unitball":
        array = rng.uniform(0, 1, shape)
        array /= array.reshape(shape[0], -1).sum(1).reshape(-1, *(1,) * (len(shape) - 1))
    elif kind == "xavier":
        bound = np.sqrt(3.0 / _spread(filler, shape))
        array = rng.uniform(-bound, bound, shape)
    elif kind == "msra":
        array = rng.normal(0.0, np.sqrt(2.0 / _spread(filler, shape)), shape)
    elif kind == "bilinear":
        array = np.broadcast_to(bilinear_filler(shape[-1]), shape)
    else:
        raise UnsupportedError(
            "unknown filler",
            found=f'"{kind}"',
            expected="constant, uniform, gaussian, positive_unitball, xavier, msra, bilinear",
        )
    return np.ascontiguousarray(array, np.float32)


def random_weights(net: Net, seed: int = 0) -> dict[str, tuple[np.ndarray, ...]]:
    """Weights of the right shapes for every layer, from a fixed seed, fillers honoured.

    Bilinear upsampling kernels are bilinear, BatchNorm statistics are mean 0 and variance 1, and weights
    without a filler are scaled (msra) so that activations stay finite. Layers that share weights by `param {
    name }` have the same ones.

    Args:
        net: The net, from `read_net`.
        seed: The same seed gives the same numbers.

    Returns:
        Layer key -> float32 arrays, in Caffe's order of the blobs.

    Raises:
        ShapeError: The net has more numbers than are made up.
        UnsupportedError: A layer or a filler is unknown.
        PrototxtError: A filler's numbers make no distribution.
    """
    rng = np.random.default_rng(seed)
    made: dict[str, tuple[np.ndarray, ...]] = {}
    shared: dict[str, np.ndarray] = {}
    names = {layer.key: layer.param_names for layer in net.layers}
    where = {layer.key: net.where(layer) for layer in net.layers}
    wanted = wanted_blobs(net, infer_shapes(net))
    total = sum(count(blob.shape) for blobs in wanted.values() for blob in blobs)
    if total > limits.RANDOM_NUMBERS:
        raise ShapeError(
            "too many weights to make up",
            file=net.file,
            found=total,
            expected=f"at most {limits.RANDOM_NUMBERS}",
        )
    for key, blobs in wanted.items():
        try:
            arrays = [fill(blob, rng) for blob in blobs]
        except ClockworkError as error:
            raise error.located(**where[key]) from None
        for position, name in enumerate(names[key][: len(arrays)]):
            owner = shared.setdefault(name, arrays[position]) if name else arrays[position]
            if owner.size == arrays[position].size:
                arrays[position] = owner.reshape(arrays[position].shape)
        made[key] = tuple(arrays)
    return made
