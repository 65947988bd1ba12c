"""Reading, describing and writing files of weights, whichever of the formats they are in."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from typing import IO, Protocol

import h5py
import numpy as np

from weights import caffemodel, hdf5
from weights.caffemodel import MAX_AXES, MAX_COUNT, LayerLike
from weights.errors import WeightsError
from weights.identify import identify
from weights.whole_file import whole_file

__all__ = [
    "Description",
    "LayerDescription",
    "NetLike",
    "Written",
    "describe",
    "read",
    "split_paths",
    "write",
]

_EXPECTED = "a caffemodel (binary, or HDF5 in Caffe's layout)"
_HEAD = 4096


class NetLike(Protocol):
    """What `write` asks of a net."""

    @property
    def name(self) -> str: ...
    @property
    def layers(self) -> Iterable[LayerLike]: ...


@dataclass(frozen=True)
class LayerDescription:
    """One layer of a file: its type as stored ("" in HDF5, which keeps none) and the shapes of its blobs."""

    name: str
    type: str
    shapes: tuple[tuple[int, ...], ...]

    @property
    def parameters(self) -> int:
        """How many numbers its blobs hold."""
        return sum(int(np.prod(shape, dtype=np.int64)) for shape in self.shapes)


@dataclass(frozen=True)
class Description:
    """What a file of weights holds. `format` is "caffemodel V2", "V1", "V0", several of them, or "HDF5"."""

    file: str
    format: str
    name: str
    size: int
    layers: tuple[LayerDescription, ...]

    @property
    def parameters(self) -> int:
        """How many numbers all blobs hold."""
        return sum(layer.parameters for layer in self.layers)


@dataclass(frozen=True)
class Written:
    """What `write` wrote: the layers with blobs, and those of `blobs` that the net does not have.

    `unreadable` names the layers that only this package finds again: Caffe does not look for layers in nested
    groups of HDF5, which a `/` in the name makes.
    """

    file: str
    size: int
    layers: tuple[str, ...]
    left_over: tuple[str, ...]
    unreadable: tuple[str, ...] = ()


def split_paths(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The files that `path` names: itself if there is such a file, else its parts between commas."""
    text = os.fspath(path)
    if not isinstance(text, str):
        raise WeightsError("not a path", found=type(path).__name__, expected="text or a Path")
    parts = (text,) if os.path.exists(text) else tuple(text.split(","))
    if not all(parts) or "\0" in text:
        raise WeightsError("no file named", file=text, expected="a file, or several with commas between them")
    return parts


@contextmanager
def _opened(path: str) -> Iterator[tuple[IO[bytes], int]]:
    """The file at `path` and its size. A pipe or a device is not opened: it might never end."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
            raise WeightsError("not a weights file", file=path, found=kind, expected=_EXPECTED)
        with open(path, "rb") as file:
            yield file, status.st_size
    except OSError as error:
        found = error.strerror or str(error)
        raise WeightsError("cannot be read", file=path, found=found, expected=_EXPECTED) from error


def _scan(
    path: str, file: IO[bytes], size: int
) -> tuple[mmap | bytes, str, tuple[caffemodel.StoredLayer, ...]]:
    data = mmap(file.fileno(), 0, access=ACCESS_READ) if size else b""
    try:
        name, layers = caffemodel.scan(data)
    except WeightsError as error:
        kind = identify(data[:_HEAD])
        if kind is None:
            error.expected = error.expected or _EXPECTED
            raise error.located(file=path) from None
        found, hint = kind
        raise WeightsError(
            "not a weights file", file=path, found=found, expected=_EXPECTED, hint=hint
        ) from None
    return data, name, layers


@contextmanager
def _hdf5_groups(path: str, size: int) -> Iterator[list[hdf5.StoredGroup]]:
    """The layers of an HDF5 file while it is open; whatever h5py raises meanwhile becomes a WeightsError."""
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            yield hdf5.read_groups(file, size)
    except WeightsError as error:
        raise error.located(file=path) from None
    # h5py has no error class of its own: which of these it raises depends on where a damaged file is hit.
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            "the HDF5 file is cut short or damaged",
            file=path,
            found=str(error)[:200],
            expected=_EXPECTED,
            hint="copy or download it again",
        ) from error


def _read_one(path: str) -> dict[str, tuple[np.ndarray, ...]]:
    with _opened(path) as (file, size):
        if file.read(len(hdf5.MAGIC)) == hdf5.MAGIC:
            with _hdf5_groups(path, size) as groups:
                return {group.name: group.load() for group in groups if group.blobs}
        data, _, layers = _scan(path, file, size)
        # A later layer of the same name replaces an earlier one, as in Net::CopyTrainedLayersFrom.
        last = {layer.name: layer for layer in layers if layer.blobs}
        return {
            name: tuple(caffemodel.load(data, blob) for blob in layer.blobs) for name, layer in last.items()
        }


def read(path: str | os.PathLike[str]) -> dict[str, tuple[np.ndarray, ...]]:
    """The blobs of each layer that has any, float32, in the shapes stored.

    `path` names a file or several with commas between them, of which a later one replaces the layers of
    the same name of an earlier one, as on Caffe's command line. The content decides the format: a binary
    caffemodel (V2, V1, V0 or a mixture) or HDF5 in Caffe's layout. An old blob has the four dimensions
    num, channels, height, width; `double_data` and half floats become float32. Of several layers of one
    name in a file the last with blobs counts, as in Net::CopyTrainedLayersFrom.

    The arrays are read-only. Those of a binary caffemodel are views of the mapped file: nothing is read
    before it is used, and the file must not be changed in place while they live (a file renamed onto it, as
    `write` does, is no harm).

    Raises WeightsError, one line that names the file, for whatever is no such file.
    """
    blobs: dict[str, tuple[np.ndarray, ...]] = {}
    for part in split_paths(path):
        blobs.update(_read_one(part))
    return blobs


def describe(path: str | os.PathLike[str]) -> Description:
    """What one file holds, by layer, without reading the numbers. Raises WeightsError as `read` does."""
    text = os.fspath(path)
    with _opened(text) as (file, size):
        if file.read(len(hdf5.MAGIC)) == hdf5.MAGIC:
            with _hdf5_groups(text, size) as groups:
                found = tuple(
                    LayerDescription(group.name, "", tuple(blob.shape for blob in group.blobs))
                    for group in groups
                )
            return Description(text, "HDF5", "", size, found)
        _, name, layers = _scan(text, file, size)
        versions = sorted({layer.version for layer in layers}, reverse=True)
        return Description(
            text,
            "caffemodel " + ", ".join(f"V{version}" for version in versions),
            name,
            size,
            tuple(
                LayerDescription(layer.name, layer.type, tuple(blob.shape for blob in layer.blobs))
                for layer in layers
            ),
        )


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
    if given.ndim > MAX_AXES or given.size > MAX_COUNT:
        raise WeightsError(
            "a blob is larger than Caffe allows",
            layer=layer,
            found=f"shape {given.shape}",
            expected=f"at most {MAX_AXES} axes and {MAX_COUNT} numbers",
        )
    with np.errstate(over="ignore"):
        return np.asarray(given, dtype="<f4", order="C")


def write(path: str | os.PathLike[str], net: NetLike, blobs: Mapping[str, Iterable[np.ndarray]]) -> Written:
    """Writes `blobs` (layer name -> arrays) of `net`: HDF5 if `path` ends in `.h5`, else a binary V2 file.

    `net` has a `name` and `layers`, each with `name`, `type` (Caffe's V2 text), `bottoms` and `tops`. Every
    layer is written, with its blobs where `blobs` has some, in shapes as given; a further layer of a name
    already written is left out, because Caffe would match it to the first one. Layers of `blobs` that the
    net does not have are not written but returned as `left_over`.

    The file appears whole or not at all, and arrays go from memory to disk without a copy. Caffe reads both
    forms, OpenCV the binary one. Caffe can neither write nor read HDF5 where a layer has a `/` in its name;
    such layers are written and read here, and returned as `unreadable`.

    Raises WeightsError for blobs or names that the format cannot hold, and for a file that cannot be written.
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
