"""Writing an ONNX model to disk: without a copy of its weights, whole or not at all.

The bytes are protobuf's own (a key, a length and the content for each field), laid out here so that the
weights go from where they are to the file. Field numbers are those of onnx.proto:

    ModelProto   7 graph      GraphProto  5 initializer
    TensorProto  9 raw_data  13 external_data  14 data_location
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO

import numpy as np
import onnx
from onnx import TensorProto

from caffe_port.onnx_graph import Draft
from caffe_port.shapes import count
from weights.errors import UsageError
from weights.mapped import release
from weights.whole_file import beside, check_folder, sync_folder, whole_file

__all__ = ["LARGEST_FILE", "Stored", "save_model"]

LARGEST_FILE = 2**31 - 1
"""protobuf reads no longer message; larger models keep their weights in a file beside them."""

SMALL = 1 << 10
PIECE = 1 << 20
ALIGNMENT = 1 << 12
ITEM_SIZES = {TensorProto.FLOAT: 4, TensorProto.INT64: 8}


Stored = dict[tuple[int, bytes], dict[str, str]]
"""Where contents lie already: by their length and SHA-256 the file ("location"), "offset" and "length"."""


@dataclass(frozen=True)
class _Tensor:
    """One initializer: all but its content, and where `size` bytes of content are (0: all is in the head)."""

    head: TensorProto
    source: Draft | TensorProto
    size: int

    def write_content(self, file: IO[bytes] | _Hashed) -> None:
        """The numbers, little-endian, from where they are."""
        for piece in self._pieces():
            file.write(piece)

    def key(self) -> tuple[int, bytes]:
        """What tells the content from others: its length and its SHA-256."""
        found = hashlib.sha256()
        for piece in self._pieces():
            found.update(piece)
        return self.size, found.digest()

    def _pieces(self) -> Iterator[memoryview]:
        """The content in pieces that the processor's caches hold.

        Twice as fast as in one, and little is in memory at once.
        """
        if isinstance(self.source, TensorProto):
            content = np.frombuffer(self.source.raw_data, np.uint8)
        else:
            content = self.source.arrays[self.head.name].reshape(-1).view(np.uint8)
        for start in range(0, content.size, PIECE):
            piece = content[start : start + PIECE]
            yield piece.data
            release(piece)


def _key(number: int, length: int) -> bytes:
    """Key and length of a length-delimited field."""
    out = bytearray()
    for value in (number << 3 | 2, length):
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
    return bytes(out)


def _tensors(model: onnx.ModelProto | Draft) -> Iterator[_Tensor]:
    if isinstance(model, Draft):
        for tensor in model.model.graph.initializer:
            array = model.arrays.get(tensor.name)
            yield _Tensor(tensor, model, array.nbytes) if array is not None else _Tensor(tensor, tensor, 0)
        return
    for tensor in model.graph.initializer:
        size = count(tuple(tensor.dims)) * ITEM_SIZES.get(tensor.data_type, 0)
        if size < SMALL or not tensor.HasField("raw_data"):
            yield _Tensor(tensor, tensor, 0)
        else:
            head = TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
            yield _Tensor(head, tensor, size)


def _without_tensors(model: onnx.ModelProto) -> tuple[onnx.ModelProto, onnx.GraphProto]:
    """The model without its graph, and the graph without its initializers."""
    shell, graph = onnx.ModelProto(), onnx.GraphProto()
    for into, source, left_out in ((shell, model, "graph"), (graph, model.graph, "initializer")):
        for field, value in source.ListFields():
            if field.name == left_out:
                continue
            if field.is_repeated:
                getattr(into, field.name).extend(value)
            elif field.message_type is not None:
                getattr(into, field.name).CopyFrom(value)
            else:
                setattr(into, field.name, value)
    return shell, graph


class _Hashed:
    """A file that is written once from front to back, and the SHA-256 of what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, content: bytes | memoryview) -> int:
        self._hash.update(content)
        return self._file.write(content)

    def tell(self) -> int:
        return self._file.tell()

    def digest(self) -> str:
        return self._hash.hexdigest()


def _outside(tensors: list[_Tensor], file: _Hashed, name: str | None, stored: Stored) -> list[_Tensor]:
    """Write the content of large tensors to `file`, but for what is stored already.

    Returns all tensors, these with a reference instead. New content of a file with a name goes on record.
    """
    left = []
    for tensor in tensors:
        if tensor.size <= SMALL:
            left.append(tensor)
            continue
        key = tensor.key() if name is not None else None
        place = stored.get(key) if key is not None else None
        if place is None:
            file.write(b"\0" * (-file.tell() % ALIGNMENT))
            place = {"offset": str(file.tell()), "length": str(tensor.size)}
            tensor.write_content(file)
            if key is not None and name is not None:
                place["location"] = name
                stored[key] = place
        head = TensorProto()
        head.CopyFrom(tensor.head)
        head.data_location = TensorProto.EXTERNAL
        for field, value in place.items():
            head.external_data.add(key=field, value=value)
        left.append(_Tensor(head, head, 0))
    return left


def _located(tensors: list[_Tensor], location: str) -> list[_Tensor]:
    """The tensors, those kept outside with the name of their file."""
    for tensor in tensors:
        known = any(entry.key == "location" for entry in tensor.head.external_data)
        if tensor.head.data_location == TensorProto.EXTERNAL and not known:
            tensor.head.external_data.add(key="location", value=location)
    return tensors


def _write_weights(
    tensors: list[_Tensor], target: Path, name: str | None, stored: Stored
) -> tuple[list[_Tensor], Path | None]:
    """Write the large tensors of the model `target` to a file beside it.

    Without a `name` the file is called by its content, so that the file of an older model of the same name
    stays what it is until the new graph is in its place. There is no file where all is stored already.
    """
    partial = beside(target if name is None else target.parent / name)
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        with partial.open("xb") as file:
            hashed = _Hashed(file)
            left = _outside(tensors, hashed, name, stored)
            file.flush()
            os.fsync(file.fileno())
            empty = file.tell() == 0
        if empty:
            partial.unlink()
            return left, None
        location = name or f"{target.name}.{hashed.digest()[:16]}.data"
        os.replace(partial, target.parent / location)
        sync_folder(partial.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return _located(left, location), target.parent / location


def _older_weights(target: Path) -> set[Path]:
    """The files of weights, called by their content, that models of this name have had."""
    named = re.compile(re.escape(target.name) + r"\.[0-9a-f]{16}\.data")
    return {file for file in target.parent.iterdir() if named.fullmatch(file.name)}


def _write(model: onnx.ModelProto, tensors: list[_Tensor], file: IO[bytes]) -> None:
    shell, graph = (part.SerializeToString() for part in _without_tensors(model))
    heads = []
    for tensor in tensors:
        head = tensor.head.SerializeToString() + (_key(9, tensor.size) if tensor.size else b"")
        heads.append(_key(5, len(head) + tensor.size) + head)
    file.write(shell + _key(7, len(graph) + sum(map(len, heads)) + sum(t.size for t in tensors)) + graph)
    for tensor, head in zip(tensors, heads, strict=True):
        file.write(head)
        if tensor.size:
            tensor.write_content(file)


def save_model(
    model: onnx.ModelProto | Draft,
    path: str | PathLike[str],
    *,
    weights_file: str | None = None,
    stored: Stored | None = None,
) -> None:
    """Write a model or a draft to `path`, replacing what is there only when the new file is complete.

    At every moment whoever reads `path` finds the old model with the old weights, or the new model with the
    new ones: a file of weights is called by its content and written first, the graph last.

    Args:
        model: What to write.
        path: The model's file.
        weights_file: A path relative to the model's folder for the weights, for a model that is new. Without
            one they go into the model's file itself, or for models of more than 2 GB, which protobuf cannot
            read, into a file `NAME.onnx.HASH.data`; older ones of the same name are removed.
        stored: What other models of this folder have written under a `weights_file`; what is there already is
            not written again, what is new is added.

    Raises:
        UsageError: For a `weights_file` that is not inside the folder, or a folder that cannot be made.
    """
    target = Path(path)
    if weights_file is not None and (
        os.path.isabs(weights_file)
        or ".." in Path(weights_file).parts
        or target.parent / weights_file == target
    ):
        raise UsageError(
            "bad place for weights", found=weights_file, expected="a path inside the model's folder"
        )
    skeleton = model.model if isinstance(model, Draft) else model
    tensors = list(_tensors(model))
    check_folder(target.parent)
    target.parent.mkdir(parents=True, exist_ok=True)
    older = _older_weights(target)
    large = sum(tensor.size for tensor in tensors) > LARGEST_FILE - (64 << 20)
    written: Path | None = None
    if (large or weights_file is not None) and any(tensor.size > SMALL for tensor in tensors):
        tensors, written = _write_weights(tensors, target, weights_file, stored if stored is not None else {})
    try:
        with whole_file(target) as partial, partial.open("xb") as file:
            _write(skeleton, tensors, file)
    except BaseException:
        if written is not None and written not in older:
            written.unlink(missing_ok=True)
        raise
    for file_of_weights in older - {written}:
        file_of_weights.unlink(missing_ok=True)
