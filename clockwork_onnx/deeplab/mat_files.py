"""The .mat files of DeepLab's MatWrite and MatRead layers.

Level 5, uncompressed, one variable `data` of single precision with dimensions (width, height, channels, num):
the bytes of the blob N x C x H x W, last axis fastest, are then MATLAB's column-major order. A MATLAB script
reads it and permutes [2 1 3] to height x width x channels. Files are called prefix + id + `_blob_<i>.mat`.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from weights.errors import DataSetError, UsageError
from weights.whole_file import whole_file

__all__ = ["VARIABLE", "blob_name", "picture_id", "read_mat", "write_mat"]

VARIABLE = "data"
MAX_BYTES = 1 << 31
"""Of a file, and of the array in it: level 5 cannot hold more."""


def blob_name(identity: str, blob: int = 0, *, strip: int = 0) -> str:
    """The file name of one blob of one picture.

    Args:
        identity: The picture's line in the list of ids.
        blob: Which bottom of the layer.
        strip: Characters that are cut off the end of the id, as the layer's `strip`.

    Returns:
        A file name that ends in .mat.
    """
    if not 0 <= strip < max(1, len(identity)):
        raise UsageError("strip leaves nothing of the id", found=f'{strip} of "{identity}"')
    return f"{identity[: len(identity) - strip]}_blob_{blob}.mat"


def picture_id(file: Path) -> str:
    """The id in a file's name: all before `_blob_`, else the name without its suffix."""
    return file.stem.partition("_blob_")[0]


def write_mat(path: str | PathLike[str], blob: NDArray[Any]) -> None:
    """Write a blob as float32; the file appears whole or not at all.

    Args:
        path: The file.
        blob: C x H x W or N x C x H x W.

    Raises:
        UsageError: The array has another number of axes, or is too large.
    """
    from scipy.io import savemat

    blob = np.asarray(blob, np.float32)
    blob = blob[None] if blob.ndim == 3 else blob
    if blob.ndim != 4 or blob.nbytes > MAX_BYTES:
        raise UsageError(
            "not a blob for a .mat file",
            file=path,
            found=" x ".join(map(str, blob.shape)),
            expected=f"C x H x W or N x C x H x W, at most {MAX_BYTES} bytes",
        )
    with whole_file(path) as partial:
        savemat(partial, {VARIABLE: blob.T}, appendmat=False, format="5", do_compression=False)


def read_mat(path: str | PathLike[str], variable: str = VARIABLE) -> NDArray[np.float32]:
    """Read a blob that MatWrite, `write_mat` or MATLAB (also compressed, also double) wrote.

    Args:
        path: The file.
        variable: The name of the array in it.

    Returns:
        N x C x H x W, float32.

    Raises:
        DataSetError: The file is missing, is not a level 5 file, is damaged or too large, or has no such
            array of numbers.
    """
    file = Path(path)
    try:
        with open(file, "rb") as stream:
            found = _find(stream, file, variable)
    except FileNotFoundError:
        raise DataSetError("no such .mat file", file=file) from None
    except (struct.error, zlib.error, ValueError) as error:
        raise DataSetError("this .mat file is damaged", file=file, found=str(error)) from None
    return np.ascontiguousarray(found.reshape(found.shape + (1,) * (4 - found.ndim)).T, np.float32)


# scipy's own reader is not used: damaged files crash the process (seen with scipy 1.17), and features may
# come from anywhere. What is read here is checked against it in the tests.

_MATRIX, _COMPRESSED = 14, 15
_CLASSES = {6: "double", 7: "single"}
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_COMPLEX = 0x0800
_HEAD_BYTES = 1 << 12
"""More than the part of an array before its numbers takes: flags, dimensions and name."""


def _find(stream: BinaryIO, file: Path, variable: str) -> NDArray[Any]:
    """The array of that name, in MATLAB's order of axes."""
    size = os.fstat(stream.fileno()).st_size
    head = stream.read(128)
    order = {b"IM": "<", b"MI": ">"}.get(head[126:128])
    version = struct.unpack(order + "H", head[124:126])[0] if order else 0
    if version != 0x0100:
        hint = "save it in MATLAB with -v6 or -v7" if version == 0x0200 else None
        what = "this is a MATLAB 7.3 file" if version == 0x0200 else "this is no .mat file"
        raise DataSetError(what, file=file, expected="level 5", hint=hint)
    assert order is not None
    names: list[str] = []
    while stream.tell() + 8 <= size:
        kind, length = struct.unpack(order + "II", stream.read(8))
        end = stream.tell() + length
        if end > size:
            raise ValueError(f"an element of {length} bytes where {size - end + length} are left")
        if kind in (_MATRIX, _COMPRESSED):
            head = stream.read(min(length, _HEAD_BYTES))
            if kind == _COMPRESSED:
                head = zlib.decompressobj().decompress(head, _HEAD_BYTES)[8:]
            array = _head(head, order)
            names.append(array.name)
            if array.name == variable:
                _check(array, variable, file)
                stream.seek(end - length)
                data = stream.read(length)
                if kind == _COMPRESSED:
                    data = zlib.decompressobj().decompress(data, _HEAD_BYTES + array.most)[8:]
                return _numbers(array, data, order)
        stream.seek(end)
    raise DataSetError(f'no variable "{variable}"', file=file, found=", ".join(names) or "none")


@dataclass(frozen=True)
class _Array:
    """The part of an array before its numbers, and where that ends."""

    kind: int
    flags: int
    shape: tuple[int, ...]
    name: str
    end: int

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def most(self) -> int:
        """The most bytes that they take."""
        return 8 * self.count


def _element(data: bytes, place: int, order: str) -> tuple[int, int, int, int]:
    """The type, first byte and length of the element at `place`, and where the next begins."""
    kind, length = struct.unpack_from(order + "II", data, place)
    if kind >> 16:  # up to four bytes, within the tag
        return kind & 0xFFFF, place + 4, min(4, kind >> 16), place + 8
    return kind, place + 8, length, place + 8 + -(-length // 8) * 8


def _head(data: bytes, order: str) -> _Array:
    _, at, _, place = _element(data, 0, order)
    (flags,) = struct.unpack_from(order + "I", data, at)
    _, at, length, place = _element(data, place, order)
    if length > 4 * 32:
        raise ValueError(f"{length // 4} dimensions")
    shape = struct.unpack_from(f"{order}{length // 4}i", data, at)
    _, at, length, place = _element(data, place, order)
    return _Array(flags & 0xFF, flags, shape, data[at : at + length].decode("latin-1"), place)


def _check(array: _Array, variable: str, file: Path) -> None:
    """Refuse what is not an array of numbers, or a large one, before it is read."""
    shape = array.shape
    if array.kind not in _CLASSES or array.flags & _COMPLEX or not 2 <= len(shape) <= 4 or min(shape) < 1:
        raise DataSetError(
            f'"{variable}" is no score map',
            file=file,
            found=f"class {array.kind}, {' x '.join(map(str, shape))}",
            expected="single or double, width x height x channels x num",
        )
    if array.most > 2 * MAX_BYTES:
        raise DataSetError(f'"{variable}" is too large', file=file, found=f"{array.most} bytes")


def _numbers(array: _Array, data: bytes, order: str) -> NDArray[Any]:
    kind, at, length, _ = _element(data, array.end, order)
    if kind not in _STORED:
        raise ValueError(f"numbers of type {kind}")
    dtype = np.dtype(order + _STORED[kind])
    if length != array.count * dtype.itemsize or at + length > len(data):
        raise ValueError(f"{min(length, len(data) - at)} bytes for {array.count} numbers of {dtype.itemsize}")
    return np.frombuffer(data, dtype, array.count, at).reshape(array.shape, order="F")
