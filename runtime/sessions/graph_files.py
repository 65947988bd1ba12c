"""What is read of an ONNX graph before ONNX Runtime opens it, and what is said where that fails."""

from __future__ import annotations

import re
from os import PathLike, fspath

import onnx

from weights.errors import BundleError
from weights.shown import shown

__all__ = ["Dims", "Model", "dims_of", "one_line", "read_dims", "read_graph", "read_values"]

Dims = tuple[int | str | None, ...]
Model = str | PathLike[str] | bytes
"""A graph's file, or the serialised graph."""

_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_PLACE = re.compile(r"\S*/onnxruntime_src/.*?\)(?: const)? (?=[A-Z\"'\[(])")


def read_values(graph: onnx.GraphProto) -> set[str]:
    """The values of a graph whose elements, and not only their shapes, its outputs depend on."""
    read = {output.name for output in graph.output}
    for node in reversed(graph.node):
        if node.op_type not in ("Shape", "Size") and read.intersection(node.output):
            read.update(node.input)
    return read


def read_dims(model: Model) -> dict[str, Dims]:
    """Dimensions of a graph's inputs by name: a number, a symbol, or None. Reads no external weights."""
    return dims_of(read_graph(model))


def read_graph(model: Model) -> onnx.ModelProto:
    """A graph without its external weights."""
    file = None if isinstance(model, bytes) else model
    try:
        if isinstance(model, bytes):
            return onnx.load_from_string(model)
        return onnx.load(fspath(model), load_external_data=False)
    except OSError as error:
        raise BundleError(
            "cannot be read", file=file, found=error.strerror or error, expected="an ONNX model"
        ) from None
    except Exception as error:  # protobuf's error type depends on its back end
        raise BundleError("not an ONNX model", file=file, found=one_line(error)) from None


def dims_of(model: onnx.ModelProto) -> dict[str, Dims]:
    constants = {tensor.name for tensor in model.graph.initializer}
    return {
        value.name: tuple(
            d.dim_value if d.HasField("dim_value") else d.dim_param or None
            for d in value.type.tensor_type.shape.dim
        )
        for value in model.graph.input
        if value.name not in constants
    }


def one_line(error: BaseException) -> str:
    """An error's message, without ONNX Runtime's error code and the place in its source, kept short."""
    return shown(_PLACE.sub("", _CODE.sub("", " ".join(str(error).split()))), 300)
