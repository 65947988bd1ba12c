"""Weights that a bundle's graphs keep in files beside them: are those there, and long enough?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod
from pathlib import Path, PurePosixPath

import onnx
from google.protobuf.message import DecodeError
from onnx import GraphProto, NodeProto, TensorProto

from weights.errors import BundleError

__all__ = ["check_outside_weights"]

HINT = "copy the bundle or convert the net again"
_NUMBER = re.compile(r"[0-9]{1,18}")


def check_outside_weights(file: Path) -> None:
    """Raise BundleError where the graph `file` needs weights that the files in its folder do not hold.

    For each tensor kept outside: its file is inside the folder and at least offset + length bytes long. Only
    the sizes of these files are looked at.
    """
    try:
        model = onnx.load(file, load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise BundleError(
            "not an ONNX model", file=file, found="a damaged or cut file", expected="a graph", hint=HINT
        ) from error
    except OSError as error:
        raise BundleError("cannot be read", file=file, found=error.strerror or error, hint=HINT) from None
    needed: dict[str, int] = {}
    nodes = [node for function in model.functions for node in function.node]
    for tensor in _tensors(model.graph, nodes):
        if tensor.data_location == TensorProto.EXTERNAL:
            location, end = _place(tensor, file)
            needed[location] = max(needed.get(location, 0), end)
    for location, size in needed.items():
        beside = file.parent / location
        if not beside.is_file():
            raise BundleError(
                "a file of weights is missing", file=beside, expected=f"the weights of {file.name}", hint=HINT
            )
        if beside.stat().st_size < size:
            raise BundleError(
                "the file of weights is cut short",
                file=beside,
                found=f"{beside.stat().st_size} bytes",
                expected=f"{size} or more, for {file.name}",
                hint=HINT,
            )


def _tensors(graph: GraphProto, nodes: list[NodeProto]) -> Iterator[TensorProto]:
    """Every tensor of the graph, of the nodes and of the graphs inside them."""
    graphs = [graph]
    while graphs or nodes:
        if graphs:
            inner = graphs.pop()
            yield from inner.initializer
            for sparse in inner.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes.extend(inner.node)
        else:
            for attribute in nodes.pop().attribute:
                yield from (attribute.t, *attribute.tensors)
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    yield from (sparse.values, sparse.indices)
                graphs.extend((*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs))


def _place(tensor: TensorProto, file: Path) -> tuple[str, int]:
    """The file that holds a tensor, and where in it the tensor ends."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    path = PurePosixPath(location)
    if not path.parts or path.is_absolute() or ".." in path.parts or not location.isprintable():
        raise BundleError(
            f'the weights "{tensor.name[:80]}" lie outside the bundle',
            file=file,
            found=repr(location[:80]),
            expected="a file in the bundle's folder",
        )
    for key in ("offset", "length"):
        if key in entries and not _NUMBER.fullmatch(entries[key]):
            raise BundleError(
                f'bad {key} of the weights "{tensor.name[:80]}"',
                file=file,
                found=repr(entries[key][:80]),
                expected="a number of bytes",
            )
    if "length" in entries:
        length = int(entries["length"])
    else:
        try:
            width = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        except KeyError:
            width = 0
        length = prod(max(0, dim) for dim in tensor.dims) * width
    return location, int(entries.get("offset", "0")) + length
