"""Files of means: Caffe's mean.binaryproto (a BlobProto) and NumPy's .npy, as one value for each channel.

Both usually hold a whole picture, C x H x W, which Caffe subtracts pixel by pixel from pictures of that size.
Here frames have other sizes, so the mean over the picture is taken, as pycaffe's own examples do.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from math import prod
from os import PathLike, fspath

import numpy as np

from weights import caffemodel, limits
from weights.errors import WeightsError
from weights.regular_file import read_regular
from weights.shown import one_line

__all__ = ["read_mean"]

EXPECTED = "a mean.binaryproto, or an .npy of C x H x W or C numbers, C being 1 or 3"


def read_mean(path: str | PathLike[str]) -> tuple[float, ...]:
    """The mean of each channel, in the file's own order (Caffe's tools write B, G, R).

    Args:
        path: A file that ends in .binaryproto or .npy.

    Returns:
        One number per channel.

    Raises:
        WeightsError: Not such a file, or not means of one or three channels.
    """
    name = fspath(path)
    content = read_regular(name, limits.MEAN_BYTES, expected=EXPECTED)
    array = _npy(content, name) if name.lower().endswith(".npy") else _binaryproto(content, name)
    shape = array.shape
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[0] not in (1, 3) and array.shape[2] in (1, 3):
        array = array.transpose(2, 0, 1)
    planes: Sequence[int] = array.shape
    if array.size == 0 or array.ndim not in (1, 3) or planes[0] not in (1, 3):
        raise WeightsError("not means of channels", file=name, found=_dims(shape), expected=EXPECTED)
    means = array.reshape(planes[0], -1).mean(axis=1, dtype=np.float64)
    if not np.isfinite(means).all():
        raise WeightsError("a mean that is no finite number", file=name, found=", ".join(map(str, means)))
    return tuple(float(np.float32(mean)) for mean in means)


def _dims(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one number"


def _binaryproto(content: bytes, name: str) -> np.ndarray:
    try:
        return caffemodel.read_blob(content)
    except WeightsError as error:
        raise WeightsError("not a mean file", file=name, found=str(error), expected=EXPECTED) from None


def _npy(content: bytes, name: str) -> np.ndarray:
    """The array of an .npy file, its header compared with its length before anything is allocated."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else None
        header = header or np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file, max_header_size=4096)
        if dtype.kind not in "fiu" or prod(shape) * dtype.itemsize != len(content) - file.tell():
            raise ValueError(f"{dtype} {shape} in {len(content)} bytes")
        file.seek(0)
        return np.load(file, allow_pickle=False)
    except (ValueError, EOFError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise WeightsError(
            "not an .npy file", file=name, found=one_line(error, 120), expected=EXPECTED
        ) from None
