"""MXNet's `.params`: a list of arrays with names, as `mx.nd.save` writes it. Read, not written.

    file    u64 0x112, u64 0, u64 n, n arrays, u64 n, n names (u64 length, bytes)
    array   V2, V3  u32 magic, i32 storage type, shape, device, i32 type, numbers
            V1      u32 magic, shape, device, i32 type, numbers
            oldest  u32 axes, u32 dimensions, device, i32 type, numbers
    shape   u32 axes, i64 dimensions      device  i32 kind, i32 number

All is little-endian. The formats are those of NDArray::Save and NDArray::LegacyLoad of MXNet 1.9.1 (V1 was
written by MXNet 0.10 to 0.12, the oldest before). Names begin with `arg:` for what is trained and `aux:` for
what is gathered (a BatchNorm's mean and variance).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from mmap import mmap

import numpy as np

from weights import limits
from weights.errors import WeightsError

__all__ = ["MAGIC", "ROLES", "MXNetArray", "layers_of", "load", "scan", "type_name"]

MAGIC = struct.pack("<Q", 0x112)
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_GENERATIONS = {_V1: "V1", _V2: "V2", _V3: "V3"}
_TYPES = {
    0: "<f4", 1: "<f8", 2: "<f2", 3: "|u1", 4: "<i4", 5: "|i1", 6: "<i8", 7: "|b1",
    8: "<i2", 9: "<u2", 10: "<u4", 11: "<u8", 12: "bfloat16",
}  # fmt: skip
_SPARSE = {1: "row_sparse", 2: "csr"}

ROLES = ("weight", "bias", "gamma", "beta", "moving_mean", "moving_var", "running_mean", "running_var")
"""The last words of names that make several arrays the blobs of one layer, in the order of these blobs."""


@dataclass(frozen=True, slots=True)
class MXNetArray:
    """Where one array lies in its file. `name` is the whole name, with `arg:` or `aux:`."""

    name: str
    generation: str
    type: str
    shape: tuple[int, ...]
    start: int


class _Reader:
    """A place in the file that moves on; nothing beyond the end is ever read."""

    def __init__(self, data: mmap | bytes) -> None:
        self.data = data
        self.place = 0

    def take(self, size: int, what: str) -> int:
        """Step over `size` bytes; returns where they begin."""
        if size > len(self.data) - self.place:
            raise WeightsError(
                "the file is cut short or damaged",
                found=f"{len(self.data) - self.place} bytes left at byte {self.place}",
                expected=f"{size} bytes there, for {what}",
                hint="copy or download it again",
            )
        start = self.place
        self.place += size
        return start

    def numbers(self, form: str, what: str) -> tuple[int, ...]:
        """Whole numbers in `struct`'s notation."""
        return struct.unpack_from(form, self.data, self.take(struct.calcsize(form), what))

    def number(self, form: str, what: str) -> int:
        """One whole number."""
        return self.numbers(form, what)[0]

    def count(self, least_size: int, what: str) -> int:
        """A count of things of at least `least_size` bytes each, checked against what is left of the file."""
        count = self.number("<Q", f"the count of {what}")
        most = min(limits.PARAMS_ARRAYS, (len(self.data) - self.place) // least_size)
        if count > most:
            raise WeightsError(f"too many {what} for its size", found=count, expected=f"at most {most}")
        return count

    def shape(self, axes: int, form: str) -> tuple[int, ...]:
        """`axes` dimensions; refuses what no array has."""
        if not 0 <= axes <= limits.AXES:
            raise WeightsError(
                "an array has too many axes, or this is no file of MXNet",
                found=axes,
                expected=f"at most {limits.AXES}",
            )
        shape = self.numbers(f"<{axes}{form}", "a shape")
        if any(dim < 0 for dim in shape) or prod(max(dim, 1) for dim in shape) > limits.ELEMENTS:
            raise WeightsError(
                "an array has an impossible shape",
                found="x".join(map(str, shape)),
                expected=f"0 to {limits.ELEMENTS} in all",
            )
        return shape


def _array(reader: _Reader) -> MXNetArray:
    """One array, without its name."""
    magic = reader.number("<I", "an array")
    generation = _GENERATIONS.get(magic, "legacy")
    if magic in (_V2, _V3):
        storage = reader.number("<i", "a storage type")
        if storage:
            raise WeightsError(
                "an array is stored sparse",
                found=_SPARSE.get(storage, f"storage type {storage}"),
                expected="dense arrays",
                hint='save array.tostype("default") instead',
            )
    axes = magic if generation == "legacy" else reader.number("<i", "a shape")
    # An array that was never filled: no axes (before V3) or an unknown number of them (V3), and no more.
    if (axes == 0 and magic != _V3) or (axes == -1 and magic == _V3):
        return MXNetArray("", generation, "<f4", (0,), reader.place)
    shape = reader.shape(axes, "I" if generation == "legacy" else "q")
    reader.numbers("<ii", "a device")
    code = reader.number("<i", "a type")
    kind = _TYPES.get(code)
    if kind is None:
        raise WeightsError(
            "an array is of an unknown type", found=f"type {code}", expected=f"0 to {max(_TYPES)}"
        )
    width = 2 if kind == "bfloat16" else np.dtype(kind).itemsize
    return MXNetArray("", generation, kind, shape, reader.take(prod(shape) * width, "an array's numbers"))


def _name(reader: _Reader) -> str:
    length = reader.number("<Q", "the length of a name")
    if length > limits.NAME_BYTES:
        raise WeightsError("a name is too long", found=length, expected=f"at most {limits.NAME_BYTES}")
    start = reader.take(length, "a name")
    return reader.data[start : start + length].decode("utf-8", "backslashreplace")


def scan(data: mmap | bytes) -> tuple[MXNetArray, ...]:
    """The arrays of a file, all sizes checked, no number read.

    Of several arrays of one name the last counts; `arg:NAME_test` replaces `arg:NAME`.

    Args:
        data: The mapped file.

    Returns:
        The arrays, each with its name, its type and its place.

    Raises:
        WeightsError: The bytes are not such a file, or an array is sparse or has no name.
    """
    reader = _Reader(data)
    reader.numbers("<QQ", "the head")
    arrays = [_array(reader) for _ in range(reader.count(4, "arrays"))]
    names = [_name(reader) for _ in range(reader.count(8, "names"))]
    if len(names) != len(arrays) or not arrays:
        raise WeightsError(
            "not a file of named arrays",
            found=f"{len(arrays)} arrays, {len(names)} names",
            expected="a name for each array",
            hint="save a dictionary: mx.nd.save(file, {name: array})",
        )
    if reader.place != len(data):
        raise WeightsError(
            "the file is damaged", found=f"{len(data) - reader.place} bytes after its end", expected="none"
        )
    found = {name: replace(array, name=name) for name, array in zip(names, arrays, strict=True)}
    # What training called NAME_test is the copy to test with: MXNet's load_param(process=True).
    for name in [name for name in found if name.startswith("arg:") and "_test" in name]:
        bare = name.replace("_test", "")
        found[bare] = replace(found.pop(name), name=bare)
    return tuple(found.values())


def load(data: mmap | bytes, array: MXNetArray) -> np.ndarray:
    """The numbers of one stored array.

    Args:
        data: The mapped file.
        array: Where the file keeps the array, its type and its shape.

    Returns:
        A read-only float32 array: a view of `data` where the file holds floats. Doubles beyond float's range
        become infinite, as Caffe casts them.

    Raises:
        WeightsError: The array has whole numbers that float32 cannot represent.
    """
    count = prod(array.shape)
    if array.type == "bfloat16":
        wide = np.frombuffer(data, "<u2", count, array.start).astype("<u4") << 16
        numbers = wide.view("<f4")
    else:
        stored = np.frombuffer(data, array.type, count, array.start)
        # Doubles become floats as Caffe casts them: what is beyond float's range becomes infinite.
        with np.errstate(over="ignore"):
            numbers = stored.astype("<f4", copy=False)
        if stored.dtype.kind in "iu" and stored.itemsize > 2 and (numbers.astype("f8") != stored).any():
            raise WeightsError(
                f'"{array.name}" holds whole numbers that float32 does not have', found=f"type {stored.dtype}"
            )
    numbers = numbers.reshape(array.shape)
    numbers.flags.writeable = False
    return numbers


def _placed(name: str) -> tuple[str, str]:
    """The layer an array belongs to, and its role in it ("" for an array that is a layer by itself)."""
    bare = name.partition(":")[2] if name.startswith(("arg:", "aux:")) else name
    for role in ROLES:
        if bare.endswith(f"_{role}") and len(bare) > len(role) + 1:
            return bare.removesuffix(f"_{role}"), role
    return bare, ""


def layers_of(names: Mapping[str, object] | list[str]) -> dict[str, tuple[str, ...]]:
    """The arrays of each layer, by name and in the order of its blobs.

    `conv1_weight` and `conv1_bias` are the blobs of layer `conv1`; `bn1_gamma`, `bn1_beta`,
    `bn1_moving_mean` and `bn1_moving_var` those of `bn1`. A name that ends in none of `ROLES` is a layer
    by itself.

    Args:
        names: The names of the arrays, such as `arg:conv1_weight`.

    Returns:
        Layer -> names of its arrays.

    Raises:
        WeightsError: A layer has a later blob but not the first one of its kind, or two arrays for one.
    """
    found: dict[str, dict[str, str]] = {}
    for name in names:
        layer, role = _placed(name)
        if role in found.get(layer, {}):
            raise WeightsError(
                f"two arrays for one place: {role}", layer=layer, found=f"{found[layer][role]}, {name}"
            )
        found.setdefault(layer, {})[role] = name
    for layer, roles in found.items():
        for first, later in (
            ("weight", "bias"),
            ("gamma", "beta"),
            ("gamma", "moving_mean"),
            ("gamma", "moving_var"),
        ):
            if later in roles and first not in roles:
                raise WeightsError(
                    f"{later} without {first}",
                    layer=layer,
                    found=roles[later],
                    expected=f"{layer}_{first} too",
                )
    order = {role: place for place, role in enumerate(("", *ROLES))}
    return {
        layer: tuple(roles[r] for r in sorted(roles, key=order.__getitem__)) for layer, roles in found.items()
    }


def type_name(array: MXNetArray) -> str:
    """NumPy's name of the type an array is stored in."""
    return array.type if array.type == "bfloat16" else np.dtype(array.type).name
