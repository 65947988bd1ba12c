"""HDF5 weights in Caffe's layout: a group `data/<layer name>` a layer, in it the datasets `0`, `1`, ...

The layout is that of Net::ToHDF5. A `/` in a layer's name makes nested groups, as HDF5 reads it; a
layer that shares a blob with an earlier one has no dataset for it. Links to other places and data kept
outside the file are refused: a weights file opens no path.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import h5py
import numpy as np

from weights.caffemodel import MAX_AXES, MAX_COUNT
from weights.errors import WeightsError

__all__ = ["MAGIC", "StoredGroup", "read_groups", "storable", "write_to"]

MAGIC = b"\x89HDF\r\n\x1a\n"
_MAX_DEPTH = 32
_MAX_OBJECTS = 100_000
# A compressed dataset may be this much larger than its file (a hostile one could be a thousand times
# larger and more), or this many bytes; Caffe itself writes no compressed data.
_MAX_INFLATION = 64
_ALWAYS_ALLOWED = 64 << 20


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """A layer's group: its name and datasets in the order of the blobs."""

    name: str
    blobs: tuple[h5py.Dataset, ...]

    def load(self) -> tuple[np.ndarray, ...]:
        """The blobs as read-only float32 arrays."""
        arrays = []
        for blob in self.blobs:
            array = np.empty(blob.shape, np.float32)
            if array.size:
                blob.read_direct(array)
            array.flags.writeable = False
            arrays.append(array)
        return tuple(arrays)


def _printable(name: str) -> str:
    """h5py hands out bytes that are not UTF-8 as lone surrogates; show them as \\xNN instead."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _member(group: h5py.Group, key: str) -> h5py.Group | h5py.Dataset:
    if not isinstance(group.get(key, getlink=True), h5py.HardLink):
        raise WeightsError(
            "links are not followed in weights files",
            found=f'a link at "{_printable(group.name)}/{_printable(key)}"',
            expected="groups and datasets",
        )
    return group[key]


def _check(layer: str, blob: h5py.Dataset, file_size: int) -> None:
    """Raises WeightsError for a dataset that is no array of floats within the file."""
    index = blob.name.rsplit("/", 1)[-1]
    expected = "an array of floats"
    if blob.shape is None or blob.dtype.kind != "f":
        found = "no data" if blob.shape is None else f"type {blob.dtype}"
        raise WeightsError(f"blob {index} holds no floats", layer=layer, found=found, expected=expected)
    text = "x".join(map(str, blob.shape)) or "()"
    if len(blob.shape) > MAX_AXES or prod(max(dim, 1) for dim in blob.shape) > MAX_COUNT:
        raise WeightsError(
            f"blob {index} has an impossible shape",
            layer=layer,
            found=text,
            expected=f"at most {MAX_COUNT} numbers",
        )
    if blob.is_virtual or blob.external:
        raise WeightsError(f"blob {index} is kept in another file", layer=layer, expected=expected)
    plain = blob.id.get_create_plist().get_nfilters() == 0
    size = blob.size * blob.dtype.itemsize
    limit = blob.id.get_storage_size() if plain else max(_ALWAYS_ALLOWED, _MAX_INFLATION * file_size)
    if size > limit:
        raise WeightsError(
            f"blob {index} has less data than its shape",
            layer=layer,
            found=f"{blob.id.get_storage_size()} bytes for shape {text}",
            expected=f"{size} bytes",
        )


def _groups(
    group: h5py.Group, name: str, depth: int, file_size: int, seen: list[int]
) -> Iterator[StoredGroup]:
    blobs: dict[int, h5py.Dataset] = {}
    children: list[tuple[str, h5py.Group]] = []
    for key in group:
        seen[0] += 1
        if seen[0] > _MAX_OBJECTS or depth > _MAX_DEPTH:
            raise WeightsError(
                "too many groups for a net",
                found=f"the limit reached in {_printable(group.name)}",
                expected=f"at most {_MAX_OBJECTS}, {_MAX_DEPTH} deep",
            )
        member = _member(group, key)
        path = f"{name}/{_printable(key)}" if name else _printable(key)
        if isinstance(member, h5py.Group):
            children.append((path, member))
        elif isinstance(member, h5py.Dataset) and name and key.isascii() and key.isdecimal():
            blobs[int(key)] = member
        else:
            raise WeightsError(
                "not in Caffe's layout",
                found=f'"{_printable(group.name)}/{_printable(key)}"',
                expected="data/<layer name>/<blob number>",
            )
    if blobs:
        if set(blobs) != set(range(len(blobs))):
            # Net::ToHDF5 leaves a blob out that the layer shares with an earlier one.
            raise WeightsError(
                "some blobs of the layer are not in the file (shared with another layer?)",
                layer=name,
                found=f"blobs {', '.join(map(str, sorted(blobs)))}",
                expected=f"blobs 0 to {len(blobs) - 1}",
                hint="save a binary caffemodel instead: it holds shared blobs too",
            )
        ordered = tuple(blobs[index] for index in range(len(blobs)))
        for blob in ordered:
            _check(name, blob, file_size)
        yield StoredGroup(name, ordered)
    elif not children and name:
        yield StoredGroup(name, ())
    for path, child in children:
        yield from _groups(child, path, depth + 1, file_size, seen)


def read_groups(file: h5py.File, file_size: int) -> list[StoredGroup]:
    """Every layer of the file, all sizes checked, no array read. Layers come in HDF5's order, by name.

    Raises WeightsError for another layout and for links; h5py's own errors come through.
    """
    keys = [_printable(key) for key in file]
    data = _member(file, "data") if "data" in keys else None
    if not isinstance(data, h5py.Group):
        solver = {"iter", "history"} <= set(keys)
        raise WeightsError(
            "not in Caffe's layout",
            found="a solver's state" if solver else "at the top: " + (", ".join(keys[:5]) or "nothing")[:80],
            expected="a group data/<layer name>/<blob number>",
            hint="give the .caffemodel.h5 saved beside it" if solver else None,
        )
    groups = list(_groups(data, "", 0, file_size, [0]))
    if not groups:
        raise WeightsError("no layers in it", expected="at least one layer")
    return groups


def storable(name: str) -> bool:
    """Whether HDF5 has `name` as that of a group, however nested."""
    return "\0" not in name and not any(part in ("", ".") for part in name.split("/"))


def _check_names(names: Sequence[str], blobs: Mapping[str, tuple[np.ndarray, ...]]) -> None:
    """Raises WeightsError for a name that HDF5 does not have, or cannot keep apart from a blob."""
    datasets = {f"{name}/{index}": name for name in names for index in range(len(blobs.get(name, ())))}
    for name in names:
        hint = "write a binary .caffemodel instead"
        if not storable(name):
            raise WeightsError("HDF5 has no such name for a group", layer=name, hint=hint)
        parts = name.split("/")
        for length in range(2, len(parts) + 1):
            owner = datasets.get("/".join(parts[:length]))
            if owner is not None:
                raise WeightsError(f'HDF5 has a blob of layer "{owner}" at that name', layer=name, hint=hint)


def write_to(
    path: str | os.PathLike[str], names: Sequence[str], blobs: Mapping[str, tuple[np.ndarray, ...]]
) -> None:
    """Caffe's layout: a group for each of `names`, an empty one for a layer without blobs.

    Raises WeightsError for names that HDF5 cannot hold.
    """
    _check_names(names, blobs)
    # The oldest form of each object: Caffe is as a rule linked with HDF5 1.8 or 1.10.
    with h5py.File(path, "w", libver=("earliest", "v110")) as file:
        data = file.create_group("data")
        for name in names:
            group = data.require_group(name)
            for index, array in enumerate(blobs.get(name, ())):
                group.create_dataset(str(index), data=array)
