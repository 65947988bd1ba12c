"""HDF5 weights in Caffe's layout: per layer a group `data/<layer name>` with the datasets `0`, `1`, ...

The layout is that of Net::ToHDF5. A `/` in a layer's name makes nested groups, as HDF5 reads it; a
layer that shares a blob with an earlier one has no dataset for it. Links to other places and data kept
outside the file are refused: a weights file opens no path.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np

from weights.errors import WeightsError
from weights.hdf5_file import MAGIC, StoredArray, StoredGroup, read_hdf5

__all__ = ["MAGIC", "HDF5Layer", "read_layers", "storable", "write_to"]

_EXPECTED = "a group data/<layer name>/<blob number>"


@dataclass(frozen=True, slots=True)
class HDF5Layer:
    """A layer's group: its name and its arrays in the order of the blobs."""

    name: str
    blobs: tuple[StoredArray, ...]

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of its blobs."""
        return tuple(blob.shape or () for blob in self.blobs)

    def load(self) -> tuple[np.ndarray, ...]:
        """The blobs as read-only float32 arrays: views where the file holds these."""
        arrays = []
        for blob in self.blobs:
            assert blob.numbers is not None
            # Caffe reads doubles as floats in the same way: what is beyond float's range becomes infinite.
            with np.errstate(over="ignore"):
                array = blob.numbers.astype("<f4", copy=False)
            array.flags.writeable = False
            arrays.append(array)
        return tuple(arrays)


def _check_root(objects: Sequence[StoredGroup | StoredArray]) -> None:
    """Raise WeightsError for a file without the group `data`."""
    top = [found.path[1:] for found in objects if found.path.count("/") == 1]
    if StoredGroup("/data") in objects:
        return
    solver = {"iter", "history"} <= set(top)
    raise WeightsError(
        "not in Caffe's layout",
        found="a solver's state" if solver else "at the top: " + (", ".join(top[:5]) or "nothing")[:80],
        expected=_EXPECTED,
        hint="give the .caffemodel.h5 saved beside it" if solver else None,
    )


def _layer(name: str, blobs: dict[int, StoredArray]) -> HDF5Layer:
    if set(blobs) != set(range(len(blobs))):
        # Net::ToHDF5 leaves a blob out that the layer shares with an earlier one.
        raise WeightsError(
            "some blobs of the layer are not in the file (shared with another layer?)",
            layer=name,
            found=f"blobs {', '.join(map(str, sorted(blobs)))}",
            expected=f"blobs 0 to {len(blobs) - 1}",
            hint="save a binary caffemodel instead: it holds shared blobs too",
        )
    for index, blob in blobs.items():
        if blob.shape is None or not blob.is_numeric or blob.type[1] != "f":
            raise WeightsError(
                f"blob {index} holds no floats",
                layer=name,
                found="no data" if blob.shape is None else f"type {blob.type}",
                expected="an array of floats",
            )
    return HDF5Layer(name, tuple(blobs[index] for index in range(len(blobs))))


def read_layers(file: IO[bytes], size: int, *, load: bool = True) -> list[HDF5Layer]:
    """Every layer of a file in Caffe's layout, in HDF5's order, which is by name.

    Args:
        file: The file, open at any place.
        size: Its size in bytes.
        load: Whether to read the numbers too.

    Returns:
        The layers; without numbers where `load` is not set.

    Raises:
        WeightsError: Another layout, or as `read_hdf5` does.
    """
    objects = read_hdf5(file, size, load=load)
    _check_root(objects)
    blobs: dict[str, dict[int, StoredArray]] = {}
    parents = {found.path.rpartition("/")[0] for found in objects}
    for found in objects:
        if not found.path.startswith("/data/"):
            continue
        if isinstance(found, StoredGroup):
            blobs[found.path] = {}
            continue
        group, _, key = found.path.rpartition("/")
        if group == "/data" or not (key.isascii() and key.isdecimal() and len(key) < 10):
            raise WeightsError(
                "not in Caffe's layout", found=f'"{found.path}"', expected="data/<layer name>/<blob number>"
            )
        blobs[group][int(key)] = found
    layers = [
        _layer(path.removeprefix("/data/"), arrays)
        for path, arrays in blobs.items()
        if arrays or path not in parents
    ]
    if not layers:
        raise WeightsError("no layers in it", expected="at least one layer")
    return layers


def storable(name: str) -> bool:
    """Whether HDF5 has `name` as that of a group, however nested."""
    return "\0" not in name and not any(part in ("", ".") for part in name.split("/"))


def _check_names(names: Sequence[str], blobs: Mapping[str, tuple[np.ndarray, ...]]) -> None:
    """Raise WeightsError for a name that HDF5 does not have, or cannot keep apart from a blob."""
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
    """Write a new file in Caffe's layout: a group for each of `names`, with or without blobs.

    Args:
        path: A name that does not exist yet.
        names: The layers, in the order in which they are written.
        blobs: The arrays by layer name, float32.

    Raises:
        WeightsError: For names that HDF5 cannot hold.
        OSError: If the file cannot be written.
    """
    import h5py

    _check_names(names, blobs)
    # The oldest form of each object: Caffe is as a rule linked with HDF5 1.8 or 1.10.
    with h5py.File(path, "x", libver=("earliest", "v110")) as file:
        data = file.create_group("data")
        for name in names:
            group = data.require_group(name)
            for index, array in enumerate(blobs.get(name, ())):
                group.create_dataset(str(index), data=array)
