"""Reading a reference: what a net was given and what it answered, as HDF5 or npz.

Both hold arrays called `inputs/NAME` and `outputs/NAME`; a name may have slashes in it. Links and data kept
outside the file are refused, and sizes are checked before anything is allocated.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from math import prod
from os import PathLike, fspath
from typing import IO

import numpy as np
from numpy.lib import format as npy

from weights import limits
from weights.errors import DataSetError, WeightsError
from weights.hdf5_file import MAGIC, StoredGroup, read_hdf5
from weights.identify import identify
from weights.regular_file import open_regular

__all__ = ["Reference", "read_reference"]

EXPECTED = "HDF5 or .npz with arrays inputs/NAME and outputs/NAME"
ZIP_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True)
class Reference:
    """Arrays by blob name, as stored."""

    file: str
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


def _check(name: str, shape: tuple[int, ...], dtype: np.dtype, limit: int) -> None:
    if dtype.kind not in "fiub":
        raise DataSetError(f'"{name}" holds no numbers', found=f"type {dtype}")
    if prod(shape) * dtype.itemsize > limit:
        raise DataSetError(
            f'"{name}" is larger than its file can hold',
            found=f"shape {shape}",
            expected=f"at most {limit} bytes",
        )


def _read_hdf5(file: IO[bytes], size: int) -> dict[str, np.ndarray]:
    arrays = {}
    for found in read_hdf5(file, size):
        if isinstance(found, StoredGroup):
            continue
        name = found.path[1:]
        if found.shape is None or not found.is_numeric:
            raise DataSetError(f'"{name}" holds no numbers', found=f"type {found.type}", expected=EXPECTED)
        assert found.numbers is not None
        arrays[name] = found.numbers
    return arrays


def _read_npz(file: IO[bytes], size: int) -> dict[str, np.ndarray]:
    arrays = {}
    limit = max(limits.ALWAYS_UNPACKED, limits.UNPACKED * size)
    try:
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                with archive.open(entry) as stream:
                    version = npy.read_magic(stream)
                    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                    shape, _, dtype = header(stream)
                _check(name, shape, dtype, min(limit, entry.file_size))
                with archive.open(entry) as stream:
                    arrays[name] = npy.read_array(stream, allow_pickle=False)
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, NotImplementedError) as error:
        raise DataSetError(
            "the .npz file is damaged", found=str(error)[:200], hint="copy or download it again"
        ) from error
    return arrays


def read_reference(path: str | PathLike[str]) -> Reference:
    """Read an HDF5 or npz reference, whichever the file's content says it is.

    Args:
        path: The file.

    Returns:
        Its inputs and outputs by name.

    Raises:
        DataSetError: Not a reference, or one without outputs; one line that names the file.
    """
    try:
        with open_regular(path, limits.WEIGHTS_BYTES, expected=EXPECTED, error=DataSetError) as (file, size):
            head = file.read(4096)
            file.seek(0)
            if head.startswith(MAGIC):
                arrays = _read_hdf5(file, size)
            elif head.startswith(ZIP_MAGIC):
                arrays = _read_npz(file, size)
            else:
                found, hint = identify(head) or ("an unknown format", None)
                raise DataSetError("not a reference", found=found, expected=EXPECTED, hint=hint)
        parts: dict[str, dict[str, np.ndarray]] = {"inputs": {}, "outputs": {}}
        for name, array in arrays.items():
            part, _, blob = name.partition("/")
            if part not in parts or not blob:
                raise DataSetError("not a reference", found=f'an array "{name}"', expected=EXPECTED)
            parts[part][blob] = array
        if not parts["outputs"]:
            raise DataSetError(
                "a reference without outputs", found=", ".join(arrays) or "no array", expected=EXPECTED
            )
    except WeightsError as error:
        raise DataSetError(
            error.problem, file=path, found=error.found, expected=error.expected, hint=error.hint
        ) from error
    except DataSetError as error:
        raise error.located(file=path) from None
    return Reference(fspath(path), parts["inputs"], parts["outputs"])
