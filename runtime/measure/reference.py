"""Reading a reference: what a net was given and what it answered, as HDF5 or npz.

Both hold arrays called `inputs/NAME` and `outputs/NAME`; a name may have slashes in it. Links and data kept
outside the file are refused, and sizes are checked before anything is allocated.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from os import PathLike
from pathlib import Path

import h5py
import numpy as np
from numpy.lib import format as npy

from weights.errors import DataSetError
from weights.identify import identify

__all__ = ["Reference", "read_reference"]

EXPECTED = "HDF5 or .npz with arrays inputs/NAME and outputs/NAME"
HDF5_MAGIC, ZIP_MAGIC = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
MAX_DEPTH = 32
# A compressed array may be this much larger than its file (a hostile one could be a thousand times larger
# and more), or this many bytes.
MAX_INFLATION = 64
ALWAYS_ALLOWED = 64 << 20


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


def _datasets(group: h5py.Group, prefix: str, depth: int, size: int) -> Iterator[tuple[str, np.ndarray]]:
    if depth > MAX_DEPTH:
        raise DataSetError("groups are nested too deeply", expected=f"at most {MAX_DEPTH} levels")
    for key in group:
        name = f"{prefix}/{key}" if prefix else key
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise DataSetError("links are not followed", found=f'"{name}"', expected=EXPECTED)
        member = group[key]
        if isinstance(member, h5py.Group):
            yield from _datasets(member, name, depth + 1, size)
        elif not isinstance(member, h5py.Dataset) or member.shape is None:
            raise DataSetError(f'"{name}" is no array', expected=EXPECTED)
        elif member.is_virtual or member.external:
            raise DataSetError(f'"{name}" is kept in another file', expected=EXPECTED)
        else:
            plain = member.id.get_create_plist().get_nfilters() == 0
            inflated = max(ALWAYS_ALLOWED, MAX_INFLATION * size)
            _check(name, member.shape, member.dtype, member.id.get_storage_size() if plain else inflated)
            yield name, np.asarray(member[()])


def _read_hdf5(path: Path) -> dict[str, np.ndarray]:
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            return dict(_datasets(file, "", 0, path.stat().st_size))
    # h5py has no error class of its own: which of these it raises depends on where a damaged file is hit.
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataSetError(
            "the HDF5 file is cut short or damaged",
            found=str(error)[:200],
            hint="copy or download it again",
        ) from error


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    arrays = {}
    limit = max(ALWAYS_ALLOWED, MAX_INFLATION * path.stat().st_size)
    try:
        with zipfile.ZipFile(path) as archive:
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

    Raises DataSetError, one line that names the file, for what is no reference or has no outputs.
    """
    file = Path(path)
    try:
        with file.open("rb") as stream:
            head = stream.read(4096)
        if head.startswith(HDF5_MAGIC):
            arrays = _read_hdf5(file)
        elif head.startswith(ZIP_MAGIC):
            arrays = _read_npz(file)
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
    except DataSetError as error:
        raise error.located(file=file) from None
    except OSError as error:
        raise DataSetError(f"cannot be read: {error.strerror or error}", file=file) from error
    return Reference(str(file), parts["inputs"], parts["outputs"])
