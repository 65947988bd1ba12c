"""Writing files of weights: HDF5 in Caffe's layout, or a binary V2 caffemodel."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from weights import caffemodel, hdf5, limits
from weights.caffemodel import LayerLike
from weights.errors import WeightsError
from weights.whole_file import whole_file

__all__ = ["NetLike", "Written", "write"]


class NetLike(Protocol):
    """What `write` asks of a net."""

    @property
    def name(self) -> str: ...
    @property
    def layers(self) -> Iterable[LayerLike]: ...


@dataclass(frozen=True)
class Written:
    """What `write` wrote.

    Attributes:
        file: Its path.
        size: Bytes.
        layers: The layers with blobs.
        left_over: The layers of `blobs` that the net does not have.
        unreadable: The layers that only this package finds again: Caffe does not look for layers in nested
            groups of HDF5, which a `/` in the name makes.
    """

    file: str
    size: int
    layers: tuple[str, ...]
    left_over: tuple[str, ...]
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True)
class _PlainLayer:
    """A layer with Caffe's names of blobs: without the `@layer` that tells values of one blob apart."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]


def _plain(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name.split("@", 1)[0] for name in names)


def _float32(layer: str, array: object) -> np.ndarray:
    """`array` as Caffe can hold it; a copy only where type or order differ."""
    given = np.asarray(array)
    if given.dtype.kind not in "fiu":
        raise WeightsError("a blob holds no numbers", layer=layer, found=f"type {given.dtype}")
    if given.ndim > limits.AXES or given.size > limits.ELEMENTS:
        raise WeightsError(
            "a blob is larger than Caffe allows",
            layer=layer,
            found=f"shape {given.shape}",
            expected=f"at most {limits.AXES} axes and {limits.ELEMENTS} numbers",
        )
    with np.errstate(over="ignore"):
        return np.asarray(given, dtype="<f4", order="C")


def write(path: str | os.PathLike[str], net: NetLike, blobs: Mapping[str, Iterable[np.ndarray]]) -> Written:
    """Write `blobs` as the weights of `net`.

    Every layer is written, with its blobs where `blobs` has some, in shapes as given; a further layer of a
    name already written is left out, because Caffe would match it to the first one. The file appears whole or
    not at all, and arrays go from memory to disk without a copy. Caffe reads both forms, OpenCV the binary
    one.

    Args:
        path: Where to write: HDF5 if it ends in `.h5`, else a binary V2 caffemodel.
        net: Has a `name` and `layers`, each with `name`, `type` (Caffe's V2 text), `bottoms` and `tops`.
        blobs: Layer name -> arrays of numbers.

    Returns:
        What was written, the layers of `blobs` that the net does not have, and those that Caffe itself cannot
        read from HDF5.

    Raises:
        WeightsError: For blobs or names that the format cannot hold, and for a file that cannot be written.
    """
    target = os.fspath(path)
    layers: dict[str, _PlainLayer] = {}
    for layer in net.layers:
        layers.setdefault(
            layer.name, _PlainLayer(layer.name, layer.type, _plain(layer.bottoms), _plain(layer.tops))
        )
    try:
        arrays = {
            name: tuple(_float32(name, array) for array in blobs[name]) for name in layers if name in blobs
        }
        with whole_file(target) as partial:
            if target.endswith(".h5"):
                # Only a layer without blobs may go without its group.
                names = [name for name in layers if arrays.get(name) or hdf5.storable(name)]
                hdf5.write_to(partial, names, arrays)
            else:
                with open(partial, "xb") as file:
                    caffemodel.write_to(file, net.name, layers.values(), arrays)
            size = os.path.getsize(partial)
    except WeightsError as error:
        raise error.located(file=target) from None
    except OSError as error:
        raise WeightsError(f"cannot be written: {error.strerror or error}", file=target) from error
    written = tuple(name for name, values in arrays.items() if values)
    return Written(
        target,
        size,
        written,
        left_over=tuple(name for name in blobs if name not in layers),
        unreadable=tuple(name for name in written if "/" in name) if target.endswith(".h5") else (),
    )
