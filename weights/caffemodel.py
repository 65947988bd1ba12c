"""Binary caffemodels: a NetParameter message, of which only names, types and blobs are read.

    NetParameter    1 name   2 layers (V1, repeated)   100 layer (V2, repeated)
    LayerParameter  1 name   2 type (text)             3 bottom   4 top   7 blobs
    V1LayerParameter  4 name   5 type (number)         6 blobs    1 layer (V0, nested)
    V0LayerParameter  1 name   2 type (text)           50 blobs
    BlobProto       1-4 num, channels, height, width   5 data     7 shape   8 double_data
                    10 raw_data_type   12 raw_data (NVCaffe, and OpenCV's shrinkCaffeModel)
    BlobShape       1 dim

Field numbers are Caffe's `caffe.proto`. The net itself is never taken from here: forks reuse the
numbers of other fields, and only blobs mean the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from mmap import mmap
from typing import IO, Protocol

import numpy as np

from weights import limits
from weights.errors import WeightsError
from weights.wire import BYTES, FOUR, VARINT, Budget, Field, Malformed, fields, signed64, varints

__all__ = ["LayerLike", "StoredBlob", "StoredLayer", "load", "scan", "write_to"]

# V1LayerParameter.LayerType of BVLC Caffe. Forks give 39 and up to layers of their own.
_V1_TYPES = {
    0: "NONE", 1: "ACCURACY", 2: "BNLL", 3: "CONCAT", 4: "CONVOLUTION", 5: "DATA", 6: "DROPOUT",
    7: "EUCLIDEAN_LOSS", 8: "FLATTEN", 9: "HDF5_DATA", 10: "HDF5_OUTPUT", 11: "IM2COL", 12: "IMAGE_DATA",
    13: "INFOGAIN_LOSS", 14: "INNER_PRODUCT", 15: "LRN", 16: "MULTINOMIAL_LOGISTIC_LOSS", 17: "POOLING",
    18: "RELU", 19: "SIGMOID", 20: "SOFTMAX", 21: "SOFTMAX_LOSS", 22: "SPLIT", 23: "TANH",
    24: "WINDOW_DATA", 25: "ELTWISE", 26: "POWER", 27: "SIGMOID_CROSS_ENTROPY_LOSS", 28: "HINGE_LOSS",
    29: "MEMORY_DATA", 30: "ARGMAX", 31: "THRESHOLD", 32: "DUMMY_DATA", 33: "SLICE", 34: "MVN",
    35: "ABSVAL", 36: "SILENCE", 37: "CONTRASTIVE_LOSS", 38: "EXP", 39: "DECONVOLUTION",
}  # fmt: skip
# NVCaffe's enum Type, as far as it holds weights.
_RAW_TYPES = {0: "<f8", 1: "<f4", 2: "<f2"}


@dataclass(frozen=True, slots=True)
class Chunk:
    """`count` numbers in the file from byte `start`, each `stride` bytes after the one before."""

    start: int
    count: int
    stride: int


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """Where the numbers of one blob lie; their count is known to fit `shape`."""

    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """One layer of a file. `version` is 0, 1 or 2, `type` as stored (a V1 number by its BVLC name)."""

    version: int
    name: str
    type: str
    blobs: tuple[StoredBlob, ...]


class LayerLike(Protocol):
    """What is written of a layer: names and type (Caffe's V2 text)."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def bottoms(self) -> Iterable[str]: ...
    @property
    def tops(self) -> Iterable[str]: ...


def _text(data: mmap | bytes, field: Field) -> str:
    """A string field. Bytes that are not UTF-8 (old Windows tools) stay visible as \\xNN."""
    return data[field.start : field.end].decode("utf-8", "backslashreplace")


def _shape(data: mmap | bytes, outer: Field, budget: Budget) -> list[int]:
    dims: list[int] = []
    for field in fields(data, outer.start, outer.end, budget):
        if field.number == 1 and field.wire == VARINT:
            dims.append(signed64(field.value))
        elif field.number == 1 and field.wire == BYTES:
            for value in varints(data, field.start, field.end, budget):
                dims.append(signed64(value))
                if len(dims) > limits.AXES:
                    break
        if len(dims) > limits.AXES:
            raise Malformed(
                "a blob has too many axes",
                found=f"more than {limits.AXES}",
                expected=f"at most {limits.AXES}",
            )
    return dims


def _checked(shape: tuple[int, ...], chunks: list[Chunk], dtype: str) -> StoredBlob:
    """The blob, if Caffe's Blob::FromProto would take it: shape and count of numbers agree."""
    text = "x".join(map(str, shape)) or "()"
    if (
        any(not 0 <= dim <= limits.ELEMENTS for dim in shape)
        or prod(max(dim, 1) for dim in shape) > limits.ELEMENTS
    ):
        raise Malformed(
            "a blob has an impossible shape", found=text, expected=f"0 to {limits.ELEMENTS} numbers in all"
        )
    count = sum(chunk.count for chunk in chunks)
    if count != prod(shape):
        raise Malformed(
            "a blob has data of another size than its shape",
            found=f"{count} numbers for shape {text}",
            expected=f"{prod(shape)} numbers",
            hint=None if count else "the file may hold a net without its weights",
        )
    return StoredBlob(shape, dtype, tuple(chunks))


def _blob(data: mmap | bytes, outer: Field, budget: Budget) -> StoredBlob:
    legacy: dict[int, int] = {}
    dims: list[int] = []
    single: list[Chunk] = []
    double: list[Chunk] = []
    raw: tuple[int, int] | None = None
    raw_type = 1
    for field in fields(data, outer.start, outer.end, budget):
        number, wire = field.number, field.wire
        if number <= 4 and wire == VARINT:
            legacy[number] = signed64(field.value)
        elif number in (5, 8) and wire == BYTES:
            size = 4 if number == 5 else 8
            if (field.end - field.start) % size:
                raise Malformed(
                    "a blob's data is no whole count of numbers", found=f"{field.end - field.start} bytes"
                )
            (single if number == 5 else double).append(
                Chunk(field.start, (field.end - field.start) // size, size)
            )
        elif (number, wire) == (5, FOUR) or (number, wire) == (8, 1):
            (single if number == 5 else double).append(Chunk(field.start, field.count, field.stride))
        elif number == 7 and wire == BYTES:
            dims += _shape(data, field, budget)
        elif number == 10 and wire == VARINT:
            raw_type = field.value
        elif number == 12 and wire == BYTES:
            raw = (field.start, field.end)
    # Blob::FromProto: any of the four old fields makes a 4-D shape, absent ones being 0.
    shape = tuple(legacy.get(axis, 0) for axis in (1, 2, 3, 4)) if legacy else tuple(dims)
    if raw is not None and not single and not double:
        if raw_type not in _RAW_TYPES:
            raise Malformed(
                "a blob's raw data is of a type that holds no weights",
                found=f"type {raw_type}",
                expected="0 (double), 1 (float) or 2 (half)",
            )
        dtype = _RAW_TYPES[raw_type]
        size = np.dtype(dtype).itemsize
        count, rest = divmod(raw[1] - raw[0], size)
        if rest:
            raise Malformed("a blob's data is no whole count of numbers", found=f"{raw[1] - raw[0]} bytes")
        return _checked(shape, [Chunk(raw[0], count, size)], dtype)
    # Blob::FromProto takes double_data where there is any.
    if any(chunk.count for chunk in double):
        return _checked(shape, double, "<f8")
    return _checked(shape, single, "<f4")


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Where a version of the layer message keeps its name, type and blobs."""

    version: int
    name: int
    type: int
    blobs: int


_V2 = _Numbers(2, name=1, type=2, blobs=7)
_V1 = _Numbers(1, name=4, type=5, blobs=6)
_V0 = _Numbers(0, name=1, type=2, blobs=50)


def _layer(data: mmap | bytes, outer: Field, numbers: _Numbers, budget: Budget) -> StoredLayer:
    name = kind = ""
    blobs: list[StoredBlob] = []
    nested: StoredLayer | None = None
    try:
        for field in fields(data, outer.start, outer.end, budget):
            if field.number == numbers.name and field.wire == BYTES:
                name = _text(data, field)
            elif field.number == numbers.type and field.wire == BYTES:
                kind = _text(data, field)
            elif field.number == numbers.type and field.wire == VARINT and numbers is _V1:
                kind = _V1_TYPES.get(field.value, str(field.value))
            elif field.number == numbers.blobs and field.wire == BYTES:
                blobs.append(_blob(data, field, budget))
            elif field.number == 1 and field.wire == BYTES and numbers is _V1:
                nested = _layer(data, field, _V0, budget)
    except WeightsError as error:
        error.layer = error.layer or name or None
        raise
    if nested is not None:
        return StoredLayer(0, nested.name or name, nested.type or kind, nested.blobs or tuple(blobs))
    return StoredLayer(numbers.version, name, kind, tuple(blobs))


def scan(data: mmap | bytes) -> tuple[str, tuple[StoredLayer, ...]]:
    """The layers of a caffemodel, all sizes checked, no number read.

    Where a file has both `layer` and `layers`, the V2 layers come first: Caffe's upgrade drops them for the
    old ones, so that the old ones must win where a name is in both.

    Args:
        data: The mapped file.

    Returns:
        The net's name and its layers.

    Raises:
        WeightsError: The bytes are not a NetParameter, or hold no layer.
    """
    budget = Budget()
    name = ""
    modern: list[StoredLayer] = []
    old: list[StoredLayer] = []
    for field in fields(data, 0, len(data), budget):
        if field.number == 1 and field.wire == VARINT:
            raise Malformed(
                "not a caffemodel",
                found="another protobuf message (a mean image, a solver's state or an ONNX model?)",
                hint="weights are in the .caffemodel",
            )
        if field.wire != BYTES:
            continue
        if field.number == 1:
            name = _text(data, field)
        elif field.number == 100:
            modern.append(_layer(data, field, _V2, budget))
        elif field.number == 2:
            old.append(_layer(data, field, _V1, budget))
    if not modern and not old:
        raise Malformed("not a caffemodel", found="a protobuf message without layers")
    return name, (*modern, *old)


def load(data: mmap | bytes, blob: StoredBlob) -> np.ndarray:
    """The numbers of one stored blob.

    Doubles become floats as Caffe casts them: what is beyond float's range becomes infinite.

    Args:
        data: The mapped file.
        blob: Where the file keeps the blob, and its shape.

    Returns:
        A read-only float32 array of the blob's shape: a view of `data` where the file holds one run of
        floats.
    """
    if len(blob.chunks) == 1:
        (chunk,) = blob.chunks
        if blob.dtype == "<f4" and chunk.stride == 4:
            return np.frombuffer(data, "<f4", chunk.count, chunk.start).reshape(blob.shape)
    array = np.empty(prod(blob.shape), np.float32)
    done = 0
    # Caffe casts double to float the same way: what is beyond float's range becomes infinite.
    with np.errstate(over="ignore"):
        for chunk in blob.chunks:
            if not chunk.count:
                continue
            array[done : done + chunk.count] = np.ndarray(
                (chunk.count,), blob.dtype, buffer=data, offset=chunk.start, strides=(chunk.stride,)
            )
            done += chunk.count
    array.flags.writeable = False
    return array.reshape(blob.shape)


def read_blob(data: bytes) -> np.ndarray:
    """The array of a file that is one BlobProto, such as mean.binaryproto.

    Args:
        data: The file's bytes.

    Returns:
        Read-only float32, of the shape stored.

    Raises:
        WeightsError: The bytes are not a BlobProto.
    """
    return load(data, _blob(data, Field(0, BYTES, 0, 0, len(data)), Budget()))


def _encoded(value: int) -> bytes:
    """A non-negative number as a varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _prefix(number: int, length: int) -> bytes:
    """Key and length of a length-delimited field."""
    return _encoded(number << 3 | BYTES) + _encoded(length)


def _string(number: int, text: str) -> bytes:
    content = text.encode("utf-8", "surrogatepass")
    return _prefix(number, len(content)) + content


def _blob_parts(array: np.ndarray) -> tuple[bytes, np.ndarray]:
    """A BlobProto as its head (shape, and the key of the data) and its numbers."""
    dims = b"".join(map(_encoded, array.shape))
    shape = _prefix(1, len(dims)) + dims
    return _prefix(7, len(shape)) + shape + _prefix(5, array.nbytes), array


def _layer_parts(layer: LayerLike, arrays: tuple[np.ndarray, ...]) -> Iterator[bytes | np.ndarray]:
    head = _string(1, layer.name) + _string(2, layer.type)
    head += b"".join(_string(3, bottom) for bottom in layer.bottoms)
    head += b"".join(_string(4, top) for top in layer.tops)
    blobs = [_blob_parts(array) for array in arrays]
    sizes = [len(start) + numbers.nbytes for start, numbers in blobs]
    keys = [_prefix(7, size) for size in sizes]
    yield _prefix(100, len(head) + sum(map(len, keys)) + sum(sizes)) + head
    for key, (start, numbers) in zip(keys, blobs, strict=True):
        yield key + start
        yield numbers


def write_to(
    file: IO[bytes], name: str, layers: Iterable[LayerLike], blobs: Mapping[str, tuple[np.ndarray, ...]]
) -> None:
    """Write a V2 NetParameter, layer after layer, straight into `file`.

    Args:
        file: Open for writing.
        name: The net's name.
        layers: The layers in file order; one without blobs is written too.
        blobs: Arrays by layer name, float32 and C-contiguous.

    Raises:
        WeightsError: The message would pass the 2 GB beyond which protobuf reads none.
    """
    written = 0

    def put(part: bytes | memoryview) -> None:
        nonlocal written
        written += len(part)
        if written > limits.MESSAGE_BYTES:
            raise WeightsError(
                "too large for a binary caffemodel",
                expected=f"at most {limits.MESSAGE_BYTES} bytes, the most that protobuf reads",
                hint="write HDF5 instead: a name that ends in .caffemodel.h5",
            )
        file.write(part)

    put(_string(1, name))
    for layer in layers:
        for part in _layer_parts(layer, blobs.get(layer.name, ())):
            put(part if isinstance(part, bytes) else part.reshape(-1).view(np.uint8).data)
