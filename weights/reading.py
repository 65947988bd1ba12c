"""Reading and describing files of weights, whichever of the formats they are in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from typing import IO

import numpy as np

from weights import caffemodel, hdf5, limits, mxnet
from weights.errors import WeightsError
from weights.identify import identify
from weights.notebook import html_table
from weights.regular_file import open_regular

__all__ = ["Blobs", "Description", "LayerDescription", "describe", "read", "split_paths"]


class Blobs(dict[str, tuple[np.ndarray, ...]]):
    """The arrays of each layer; shown by their count, not by their numbers."""

    def __repr__(self) -> str:
        arrays = [array for blobs in self.values() for array in blobs]
        count = sum(array.size for array in arrays)
        return f"Blobs({len(self)} layers, {len(arrays)} arrays, {count:,} numbers)"

    def _repr_html_(self) -> str:
        rows = [(name, "; ".join(" x ".join(map(str, a.shape)) for a in self[name])) for name in self]
        return html_table(repr(self), ("layer", "arrays"), rows)


_EXPECTED = "a caffemodel (binary, or HDF5 in Caffe's layout) or MXNet's .params"
_HEAD = 4096


@dataclass(frozen=True)
class LayerDescription:
    """One layer of a file.

    Attributes:
        name: Its name.
        type: Its type as stored; "" in HDF5 and MXNet files, which keep none.
        shapes: The shapes of its blobs.
        arrays: The names and types under which MXNet keeps the blobs, such as `arg:conv1_weight float32`.
    """

    name: str
    type: str
    shapes: tuple[tuple[int, ...], ...]
    arrays: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """How many numbers its blobs hold."""
        return sum(int(np.prod(shape, dtype=np.int64)) for shape in self.shapes)


@dataclass(frozen=True)
class Description:
    """What a file of weights holds.

    Attributes:
        file: Its path.
        format: "caffemodel V2", "V1", "V0", several of them, "HDF5", or "MXNet" with legacy, V1, V2 or V3.
        name: The net's name, where the format keeps one.
        size: Bytes.
        layers: Its layers, in the file's order.
    """

    file: str
    format: str
    name: str
    size: int
    layers: tuple[LayerDescription, ...]

    @property
    def parameters(self) -> int:
        """How many numbers all blobs hold."""
        return sum(layer.parameters for layer in self.layers)


def split_paths(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The files that a path names.

    Args:
        path: A file, or several with commas between them.

    Returns:
        `path` itself if there is such a file, else its parts between commas.

    Raises:
        WeightsError: A part is empty, or `path` is not a path.
    """
    text = os.fspath(path)
    if not isinstance(text, str):
        raise WeightsError("not a path", found=type(path).__name__, expected="text or a Path")
    # A name that the system cannot have (a zero byte in it) does not exist either.
    parts = (text,) if "\0" not in text and os.path.exists(text) else tuple(text.split(","))
    if not all(parts) or "\0" in text:
        raise WeightsError("no file named", file=text, expected="a file, or several with commas between them")
    return parts


@contextmanager
def _opened(path: str) -> Iterator[tuple[IO[bytes], int, bytes]]:
    """The file at `path`, its size and its first bytes; errors that come out of the block name the file."""
    with open_regular(path, limits.WEIGHTS_BYTES, expected=_EXPECTED, what="not a weights file") as (
        file,
        size,
    ):
        try:
            yield file, size, file.read(len(hdf5.MAGIC))
        except WeightsError as error:
            raise error.located(file=path) from None


def _mapped(file: IO[bytes], size: int) -> mmap | bytes:
    return mmap(file.fileno(), 0, access=ACCESS_READ) if size else b""


def _scan(data: mmap | bytes) -> tuple[str, tuple[caffemodel.StoredLayer, ...]]:
    """The net's name and the layers of a binary caffemodel; else says what the file is."""
    try:
        return caffemodel.scan(data)
    except WeightsError as error:
        kind = identify(data[:_HEAD])
        if kind is None:
            error.expected = error.expected or _EXPECTED
            raise
        found, hint = kind
        raise WeightsError("not a weights file", found=found, expected=_EXPECTED, hint=hint) from None


def _read_caffe(file: IO[bytes], size: int, magic: bytes) -> dict[str, tuple[np.ndarray, ...]]:
    if magic == hdf5.MAGIC:
        return {layer.name: layer.load() for layer in hdf5.read_layers(file, size) if layer.blobs}
    data = _mapped(file, size)
    # A later layer of the same name replaces an earlier one, as in Net::CopyTrainedLayersFrom.
    last = {layer.name: layer for layer in _scan(data)[1] if layer.blobs}
    return {name: tuple(caffemodel.load(data, blob) for blob in layer.blobs) for name, layer in last.items()}


def read(path: str | os.PathLike[str]) -> Blobs:
    """The blobs of each layer that has any, float32, in the shapes stored.

    The content decides the format:

    - A binary caffemodel (V2, V1, V0 or a mixture). An old blob has the four dimensions num, channels,
      height, width; `double_data` and half floats become float32. Of several layers of one name in a file the
      last with blobs counts, as in Net::CopyTrainedLayersFrom.
    - HDF5 in Caffe's layout. It is read by a process of its own, within limits on time and memory.
    - MXNet's `.params` of any generation. `arg:NAME_weight` and `arg:NAME_bias` become the blobs of layer
      NAME, `_gamma`, `_beta`, `_moving_mean` and `_moving_var` likewise, in this order; any other array is a
      layer by itself. `_test` in a name is dropped, as MXNet's `load_param(process=True)` does.

    Args:
        path: A file, or several with commas between them. A later file replaces the layers of the same name
            of an earlier one, as on Caffe's command line; of MXNet files it replaces the single arrays.

    Returns:
        Layer name -> read-only arrays. Those of a binary caffemodel, of most HDF5 files and of MXNet's floats
        are views of the mapped file: nothing is read before it is used, and the file must not be changed in
        place while they live (a file renamed onto it, as `write` does, does no harm).

    Raises:
        WeightsError: Not such a file; one line that names it.
    """
    blobs = Blobs()
    arrays: dict[str, np.ndarray] = {}
    for part in split_paths(path):
        with _opened(part) as (file, size, magic):
            if magic != mxnet.MAGIC:
                blobs.update(_read_caffe(file, size, magic))
                continue
            data = _mapped(file, size)
            arrays.update({array.name: mxnet.load(data, array) for array in mxnet.scan(data)})
            layers = mxnet.layers_of(list(arrays))
            blobs.update({layer: tuple(arrays[n] for n in names) for layer, names in layers.items()})
    return blobs


def _describe_mxnet(path: str, data: mmap | bytes) -> Description:
    arrays = {array.name: array for array in mxnet.scan(data)}
    layers = tuple(
        LayerDescription(
            layer,
            "",
            tuple(arrays[name].shape for name in names),
            tuple(f"{name} {mxnet.type_name(arrays[name])}" for name in names),
        )
        for layer, names in mxnet.layers_of(list(arrays)).items()
    )
    generations = sorted({array.generation for array in arrays.values()})
    return Description(path, f"MXNet {', '.join(generations)}", "", len(data), layers)


def describe(path: str | os.PathLike[str]) -> Description:
    """What one file holds, by layer, without reading the numbers.

    Args:
        path: The file, in any format that `read` accepts.

    Returns:
        The file's format, its size, and the names, types and shapes of its layers.

    Raises:
        WeightsError: As `read` does.
    """
    text = os.fspath(path)
    with _opened(text) as (file, size, magic):
        if magic == hdf5.MAGIC:
            found = hdf5.read_layers(file, size, load=False)
            layers = tuple(LayerDescription(layer.name, "", layer.shapes) for layer in found)
            return Description(text, "HDF5", "", size, layers)
        data = _mapped(file, size)
        if magic == mxnet.MAGIC:
            return _describe_mxnet(text, data)
        name, stored = _scan(data)
        versions = sorted({layer.version for layer in stored}, reverse=True)
        return Description(
            text,
            "caffemodel " + ", ".join(f"V{version}" for version in versions),
            name,
            size,
            tuple(
                LayerDescription(layer.name, layer.type, tuple(blob.shape for blob in layer.blobs))
                for layer in stored
            ),
        )
