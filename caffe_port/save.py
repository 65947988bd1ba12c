"""Writing an ONNX model to disk: without a copy of its weights, whole or not at all.

The bytes are protobuf's own (a key, a length and the content for each field), laid out here so that the
weights go from where they are to the file. Field numbers are those of onnx.proto:

    ModelProto   7 graph      GraphProto  5 initializer
    TensorProto  9 raw_data  13 external_data  14 data_location
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
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
from weights.whole_file import check_folder, whole_file

__all__ = ["LARGEST_FILE", "save_model"]

LARGEST_FILE = 2**31 - 1
"""protobuf reads no longer message; larger models keep their weights in a file beside them."""

SMALL = 1 << 10
PIECE = 1 << 20
ALIGNMENT = 1 << 12
ITEM_SIZES = {TensorProto.FLOAT: 4, TensorProto.INT64: 8}


@dataclass(frozen=True)
class _Tensor:
    """One initializer: all but its content, and where `size` bytes of content are (0: all is in the head)."""

    head: TensorProto
    source: Draft | TensorProto
    size: int

    def write_content(self, file: IO[bytes]) -> None:
        """The numbers, little-endian, from where they are.

        In pieces that the processor's caches hold: twice as fast as in one, and little is in memory at once.
        """
        if isinstance(self.source, TensorProto):
            content = np.frombuffer(self.source.raw_data, np.uint8)
        else:
            content = self.source.arrays[self.head.name].reshape(-1).view(np.uint8)
        for start in range(0, content.size, PIECE):
            piece = content[start : start + PIECE]
            file.write(piece.data)
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


def _outside(tensors: list[_Tensor], file: IO[bytes], location: str) -> list[_Tensor]:
    """Write the content of large tensors to `file`; returns all tensors, these with a reference instead."""
    left = []
    for tensor in tensors:
        if tensor.size <= SMALL:
            left.append(tensor)
            continue
        file.write(b"\0" * (-file.tell() % ALIGNMENT))
        head = TensorProto()
        head.CopyFrom(tensor.head)
        head.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", file.tell()), ("length", tensor.size)):
            head.external_data.add(key=key, value=str(value))
        tensor.write_content(file)
        left.append(_Tensor(head, head, 0))
    return left


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
    model: onnx.ModelProto | Draft, path: str | PathLike[str], *, weights_file: str | None = None
) -> None:
    """Write a model or a draft to `path`, replacing what is there only when the new file is complete.

    Weights go into the file itself, or with `weights_file`, a path relative to the model's folder, into
    that file; models of more than 2 GB, which protobuf cannot read, always get one (`NAME.onnx.data`).
    Raises UsageError for a `weights_file` that is not inside the folder, or a folder that cannot be made.
    """
    target = Path(path)
    skeleton = model.model if isinstance(model, Draft) else model
    tensors = list(_tensors(model))
    if weights_file is None and sum(t.size for t in tensors) > LARGEST_FILE - (64 << 20):
        weights_file = f"{target.name}.data"
    if all(t.size <= SMALL for t in tensors):
        weights_file = None
    with ExitStack() as files:
        check_folder(target.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = files.enter_context(whole_file(target))
        if weights_file is not None:
            beside = target.parent / weights_file
            if os.path.isabs(weights_file) or ".." in Path(weights_file).parts or beside == target:
                raise UsageError(
                    "bad place for weights", found=weights_file, expected="a path inside the model's folder"
                )
            beside.parent.mkdir(parents=True, exist_ok=True)
            with files.enter_context(whole_file(beside)).open("xb") as file:
                tensors = _outside(tensors, file, weights_file)
        with partial.open("xb") as file:
            _write(skeleton, tensors, file)
