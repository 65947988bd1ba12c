"""Any HDF5 file of numbers as a list of its groups and arrays; weights and references are read with it.

The file is walked by another process (`hdf5_walk`), which says where the numbers of each array lie; these are
then views of the mapped file. Only arrays in chunks, compressed or very small ones come over as numbers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from mmap import ACCESS_READ, mmap
from typing import IO, Any

import numpy as np

from weights import limits
from weights.errors import WeightsError
from weights.isolated import Helper, HelperFailed

__all__ = ["MAGIC", "StoredArray", "StoredGroup", "read_hdf5"]

MAGIC = b"\x89HDF\r\n\x1a\n"
_DAMAGED = "the HDF5 file is cut short or damaged"
_AGAIN = "copy or download it again"
_BYTES_PER_SECOND = 8 << 20

_helper = Helper("weights.hdf5_walk")


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """A group, by its whole name (`/data/conv1`)."""

    path: str


@dataclass(frozen=True, slots=True)
class StoredArray:
    """An array, by its whole name (`/data/conv1/0`).

    `shape` is None for one without any data. `type` is NumPy's text for a type of numbers; for any other it
    says what there is, and `numbers` is then None. So it is where only the structure was asked for.
    """

    path: str
    shape: tuple[int, ...] | None
    type: str
    is_numeric: bool
    numbers: np.ndarray | None = None


def _check_whole(head: bytes, size: int) -> None:
    """Raise WeightsError for a file shorter than its first block says, before a process is asked."""
    version = head[8] if len(head) > 8 else 0
    # The end-of-file address, of eight bytes in every file seen: format specification, superblock 0 to 3.
    place = {0: 40, 1: 44, 2: 28, 3: 28}.get(version)
    sizes = head[13:14] if version < 2 else head[9:10]
    if place is None or sizes != b"\x08":
        return
    end = int.from_bytes(head[place : place + 8], "little")
    if size < place + 8 or end > size:
        raise WeightsError(_DAMAGED, found=f"{size} bytes", expected=f"{end} bytes", hint=_AGAIN)


def _numbers(
    record: dict[str, Any],
    shape: tuple[int, ...],
    data: mmap,
    records: Iterator[tuple[dict[str, Any], bytes]],
) -> np.ndarray:
    """The array of one record: a view of the file, or put together from the pieces that follow."""
    dtype = np.dtype(record["type"])
    size = prod(shape) * dtype.itemsize
    if "pieces" not in record:
        if record["offset"] + size > len(data):
            raise WeightsError(_DAMAGED, found=f"an array beyond the end: {record['array']}", hint=_AGAIN)
        return np.frombuffer(data, dtype, prod(shape), record["offset"]).reshape(shape)
    whole = np.empty(size, np.uint8)
    done = 0
    while done < size:
        _, piece = next(records)
        whole[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
        done += len(piece)
    array = whole.view(dtype).reshape(shape)
    array.flags.writeable = False
    return array


def _objects(
    records: Iterator[tuple[dict[str, Any], bytes]], data: mmap, load: bool
) -> Iterator[StoredGroup | StoredArray]:
    refused: WeightsError | None = None
    for record, _ in records:  # to its end, so that the process is free for the next file
        if "error" in record:
            refused = _refused(record)
        elif "group" in record:
            yield StoredGroup(record["group"])
        elif "array" in record:
            shape = None if record["shape"] is None else tuple(record["shape"])
            numeric = "numbers" not in record
            numbers = (
                _numbers(record, shape, data, records) if load and numeric and shape is not None else None
            )
            yield StoredArray(record["array"], shape, record["type"], numeric, numbers)
    if refused is not None:
        raise refused


def _refused(record: dict[str, Any]) -> WeightsError:
    parts = {key: record.get(key) for key in ("found", "expected", "hint")}
    problem, path = record["error"], record["path"]
    if problem == _DAMAGED:
        parts["hint"] = _AGAIN
    return WeightsError(f'"{path}" {problem}' if path else problem, **parts)


def read_hdf5(file: IO[bytes], size: int, *, load: bool = True) -> list[StoredGroup | StoredArray]:
    """Every group and array of an HDF5 file, each group before what is in it, in HDF5's order.

    Args:
        file: The file, open at any place; the process that walks it opens it by its name.
        size: Its size in bytes.
        load: Whether to give the numbers too; read-only, and views of the mapped file where they lie there
            as they are.

    Returns:
        The objects of the file.

    Raises:
        WeightsError: For a damaged file, for links and arrays that lead to other files, for arrays that say
            they are larger than the file can hold, and where the walk takes too much time or memory.
    """
    file.seek(0)
    _check_whole(file.read(64), size)
    status = os.fstat(file.fileno())
    request = {
        "path": os.path.abspath(os.fsdecode(file.name)),
        "seen": [status.st_dev, status.st_ino, size],
        "load": load,
    }
    try:
        records = _helper.ask(request, limits.HDF5_SECONDS + size / _BYTES_PER_SECOND)
        with_data = mmap(file.fileno(), 0, access=ACCESS_READ)
        return list(_objects(records, with_data, load))
    except HelperFailed as failed:
        raise WeightsError(_DAMAGED, found=str(failed), hint=_AGAIN) from failed
    except (KeyError, TypeError, ValueError, StopIteration) as error:
        raise WeightsError(_DAMAGED, found="its reader gave up", hint=_AGAIN) from error
