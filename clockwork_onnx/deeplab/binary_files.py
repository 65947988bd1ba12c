"""The binary files of DeepLab's CRF programs.

Scores and labels: three int32, little-endian (rows, columns, channels), then the values in column-major
order: the row changes fastest, then the column, then the channel. Scores are float32 probabilities, labels
int16 with one channel. Pictures are binary PPM (P6).
"""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weights.errors import DataSetError, UsageError
from weights.whole_file import whole_file

__all__ = [
    "read_labels_bin",
    "read_ppm",
    "read_scores_bin",
    "write_labels_bin",
    "write_ppm",
    "write_scores_bin",
]

HEADER = np.dtype("<i4")
MAX_SIDE = 1 << 15
MAX_CHANNELS = 1 << 12

_GAP = rb"(?:\s|#[^\n]*\n)+"
PPM_HEADER = re.compile(rb"P6" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})\s")
PPM_HEADER_BYTES = 4096


def read_scores_bin(path: str | PathLike[str]) -> NDArray[np.float32]:
    """Probabilities, K x H x W; DataSetError where the file's length is not what its header says."""
    return _read(Path(path), np.dtype("<f4")).astype(np.float32)


def write_scores_bin(path: str | PathLike[str], scores: NDArray[Any]) -> None:
    """Write probabilities as a .bin file.

    Args:
        path: The file.
        scores: K x H x W; written as float32.
    """
    _write(path, np.asarray(scores, np.dtype("<f4")))


def read_labels_bin(path: str | PathLike[str]) -> NDArray[np.int16]:
    """Labels, H x W."""
    values = _read(Path(path), np.dtype("<i2"))
    if values.shape[0] != 1:
        raise DataSetError("not a label map", file=path, found=f"{values.shape[0]} channels", expected=1)
    return values[0].astype(np.int16)


def write_labels_bin(path: str | PathLike[str], labels: NDArray[Any]) -> None:
    """Write labels as a .bin file.

    Args:
        path: The file.
        labels: H x W; written as int16.
    """
    _write(path, np.asarray(labels, np.dtype("<i2"))[None])


def _read(file: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        size = file.stat().st_size
        with open(file, "rb") as stream:
            header = stream.read(12)
            if len(header) < 12:
                raise DataSetError("not a .bin file", file=file, found=f"{size} bytes", expected="12 or more")
            rows, columns, channels = (int(n) for n in np.frombuffer(header, HEADER))
            limits = ((rows, MAX_SIDE), (columns, MAX_SIDE), (channels, MAX_CHANNELS))
            count = rows * columns * channels
            if not all(0 < n <= most for n, most in limits) or size != 12 + count * dtype.itemsize:
                raise DataSetError(
                    "the header of a .bin file does not fit its length",
                    file=file,
                    found=f"{rows} rows, {columns} columns, {channels} channels in {size} bytes",
                    expected=f"12 bytes, then {dtype.itemsize} for each value",
                )
            values = np.frombuffer(stream.read(), dtype)
    except FileNotFoundError:
        raise DataSetError("no such .bin file", file=file) from None
    return values.reshape(channels, columns, rows).transpose(0, 2, 1)


def _write(path: str | PathLike[str], values: NDArray[Any]) -> None:
    if values.ndim != 3:
        raise UsageError("not an array for a .bin file", file=path, found=f"{values.ndim} axes")
    channels, rows, columns = values.shape
    with whole_file(path) as partial, open(partial, "wb") as stream:
        stream.write(np.array([rows, columns, channels], HEADER).tobytes())
        stream.write(np.ascontiguousarray(values.transpose(0, 2, 1)).tobytes())


def read_ppm(path: str | PathLike[str]) -> NDArray[np.uint8]:
    """A binary PPM of 8 bits, H x W x 3, RGB.

    Args:
        path: The file.

    Returns:
        uint8, H x W x 3, RGB.

    Raises:
        DataSetError: The file is not a P6 file with a maximum of 255, or too short or too large.
    """
    file = Path(path)
    if not file.is_file():
        raise DataSetError("no such picture", file=file, expected="a binary PPM")
    with open(file, "rb") as stream:
        start = stream.read(PPM_HEADER_BYTES)
        header = PPM_HEADER.match(start)
        width, height, most = (int(n) for n in header.groups()) if header else (0, 0, 0)
        if header is None or most != 255 or not 0 < min(width, height) <= max(width, height) <= MAX_SIDE:
            raise DataSetError(
                "not a picture for the CRF",
                file=file,
                found=repr(start[:16]),
                expected=f"a binary PPM: P6, width and height up to {MAX_SIDE}, 255",
            )
        expected = header.end() + height * width * 3
        if file.stat().st_size < expected:
            found = f"{file.stat().st_size} bytes"
            raise DataSetError("the picture is cut short", file=file, found=found, expected=expected)
        stream.seek(header.end())
        pixels = np.frombuffer(stream.read(height * width * 3), np.uint8)
    return pixels.reshape(height, width, 3)


def write_ppm(path: str | PathLike[str], picture: NDArray[np.uint8]) -> None:
    """Write a picture as binary PPM.

    Args:
        path: The file.
        picture: uint8, H x W x 3, RGB.

    Raises:
        UsageError: The array is not such a picture.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise UsageError("not a picture", file=path, found=f"{picture.dtype} {picture.shape}")
    with whole_file(path) as partial, open(partial, "wb") as stream:
        stream.write(b"P6\n%d %d\n255\n" % (picture.shape[1], picture.shape[0]))
        stream.write(np.ascontiguousarray(picture).tobytes())
