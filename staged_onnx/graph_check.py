"""Is the graph of a stage one that this package could have written? Asked before ONNX Runtime sees it.

A bundle comes from a stranger. Its graphs may hold only the operators of `OPERATORS`, none of which has a
graph inside it or comes from outside ONNX; arrays that they make out of constants alone, which ONNX Runtime
computes when it opens the graph, are bounded; and weights kept outside lie in the bundle's folder and are as
long as they say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path, PurePosixPath

import onnx
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, TensorProto

from staged_onnx.graph_sizes import check_array_sizes, check_shape
from weights import limits
from weights.errors import BundleError
from weights.numbers import BadNumber, whole
from weights.regular_file import read_regular

__all__ = ["OPERATORS", "check_graph"]

HINT = "copy the bundle or convert the net again"

OPERATORS = frozenset({
    "Abs", "Add", "And", "ArgMax", "Atan", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip",
    "Compress", "Concat", "ConstantOfShape", "Conv", "ConvTranspose", "Cos", "DepthToSpace", "Div", "Dropout",
    "Elu", "Equal", "Exp", "Expand", "Flatten", "Floor", "GRU", "Gather", "GatherElements", "GatherND",
    "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Greater", "GreaterOrEqual", "GridSample", "HardSigmoid",
    "HardSwish", "Identity", "InstanceNormalization", "LRN", "LSTM", "LeakyRelu", "Less", "LessOrEqual",
    "Log", "LogSoftmax", "MatMul", "Max", "MaxPool", "MaxRoiPool", "Min", "Mod", "Mul", "Neg",
    "NonMaxSuppression", "Not", "Or", "PRelu", "Pad", "Pow", "Range", "Reciprocal", "ReduceL1",
    "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
    "Relu", "Reshape", "Resize", "Round", "ScatterElements", "Selu", "Shape", "Sigmoid", "Sign", "Sin",
    "Slice", "Softmax", "Softplus", "Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum",
    "Tanh", "Tile", "TopK", "Transpose", "Unsqueeze", "Where",
})  # fmt: skip
"""What the layers, frame graphs, heads and probes of this package are made of."""


def check_graph(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Refuse a graph that no export of this package can have written.

    Args:
        file: The ONNX file of a stage. Of files of weights beside it only the sizes are looked at.
        shapes: The shapes of its inputs at the bundle's reference size, by name.

    Returns:
        How many numbers it makes out of constants alone.

    Raises:
        BundleError: For a damaged file, an operator that is not in `OPERATORS`, a constant beyond the limits,
            and for weights that the files in its folder do not hold.
    """
    content = read_regular(file, limits.GRAPH_BYTES, expected="the graph of a stage", error=BundleError)
    try:
        model = ModelProto.FromString(content)
    except (DecodeError, ValueError) as error:
        raise BundleError(
            "not an ONNX model", file=file, found="a damaged or cut file", expected="a graph", hint=HINT
        ) from error
    try:
        _check_names(model.graph)
        _check_operators(model)
        _check_stored(model.graph)
        _check_outside_weights(model, file)
        return _check_sizes(model, shapes)
    except BundleError as error:
        raise error.located(file=file) from None
    except OSError as error:  # a name that is too long for the system
        raise BundleError("cannot be read", file=file, found=error.strerror, hint=HINT) from error
    except (TypeError, UnicodeError) as error:
        # protobuf hands out names that are not UTF-8 as bytes.
        raise BundleError(
            "a damaged graph", file=file, found="a name that is not UTF-8", hint=HINT
        ) from error


def _check_names(graph: GraphProto) -> None:
    """Only text in UTF-8; whatever reads the names later may rely on it."""
    names = [name for node in graph.node for name in (node.op_type, node.domain, *node.input, *node.output)]
    names += [value.name for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer)]
    if not all(isinstance(name, str) for name in names):
        raise BundleError("a damaged graph", found="a name that is not UTF-8", hint=HINT)


def _check_operators(model: ModelProto) -> None:
    """Only known operators of ONNX itself, and no graph inside another."""
    graph = model.graph
    if len(graph.node) > limits.GRAPH_NODES:
        raise BundleError(
            "too many operators", found=len(graph.node), expected=f"at most {limits.GRAPH_NODES}"
        )
    if model.functions or graph.sparse_initializer or model.training_info:
        found = "functions" if model.functions else "sparse or training data"
        raise BundleError("a graph that this package does not write", found=found, hint=HINT)
    for node in graph.node:
        if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
            raise BundleError(
                "an operator that this package does not write",
                found=f'"{".".join(filter(None, (node.domain, node.op_type)))[:80]}"',
                expected="the operators of converted nets",
                hint="a bundle's graphs are not to be edited; convert the net again",
            )
        for attribute in node.attribute:
            if (
                attribute.HasField("g")
                or attribute.graphs
                or attribute.tp.ByteSize()
                or attribute.ref_attr_name
            ):
                raise BundleError(
                    "an operator with a graph inside it",
                    found=f'"{node.op_type}"',
                    expected="none",
                    hint=HINT,
                )


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every stored tensor: initializers and those in attributes (there are no graphs inside graphs)."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _check_stored(graph: GraphProto) -> None:
    """Only shapes that arrays can have."""
    for tensor in _tensors(graph):
        check_shape(tensor.name, tuple(tensor.dims), limits.ELEMENTS)
    for value in (*graph.input, *graph.output, *graph.value_info):
        if len(value.type.tensor_type.shape.dim) > limits.AXES:
            raise BundleError(f'"{value.name[:80]}" has too many axes', expected=f"at most {limits.AXES}")


def _check_sizes(model: ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Bound every array, and those the more that follow from constants: opening the graph computes them."""
    graph = model.graph
    known = {tensor.name for tensor in graph.initializer}
    made: list[str] = []
    for node in graph.node:
        if all(name in known for name in node.input if name):
            known.update(node.output)
            made += [name for name in node.output if name]
    found = check_array_sizes(model, shapes)
    return sum(check_shape(name, found.get(name, (-1,)), limits.MADE_ELEMENTS) for name in made)


def _check_outside_weights(model: ModelProto, file: Path) -> None:
    """For each tensor kept outside: its file is inside the folder and at least offset + length bytes long."""
    needed: dict[str, int] = {}
    for tensor in _tensors(model.graph):
        if tensor.data_location == TensorProto.EXTERNAL:
            location, end = _place(tensor)
            needed[location] = max(needed.get(location, 0), end)
    for location, size in needed.items():
        beside = file.parent / location
        if not beside.is_file():
            raise BundleError(
                "a file of weights is missing", file=beside, expected=f"the weights of {file.name}", hint=HINT
            )
        if not beside.resolve().is_relative_to(file.parent.resolve()):
            raise BundleError("a link that leads out of the bundle", file=beside, hint=HINT)
        if beside.stat().st_size < size:
            raise BundleError(
                "the file of weights is cut short",
                file=beside,
                found=f"{beside.stat().st_size} bytes",
                expected=f"{size} or more, for {file.name}",
                hint=HINT,
            )


def _place(tensor: TensorProto) -> tuple[str, int]:
    """The file that holds a tensor, and where in it the tensor ends."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    path = PurePosixPath(location)
    if (
        not path.parts
        or path.is_absolute()
        or ".." in path.parts
        or not re.fullmatch(r"[\w./ \-]+", location)
    ):
        raise BundleError(
            f'the weights "{tensor.name[:80]}" lie outside the bundle',
            found=repr(location[:80]),
            expected="a file in the bundle's folder",
        )
    numbers = {}
    for key in ("offset", "length"):
        try:
            numbers[key] = whole(entries.get(key, "0"), most=10**18)
        except BadNumber:
            raise BundleError(
                f'bad {key} of the weights "{tensor.name[:80]}"',
                found=repr(entries[key][:80]),
                expected="a number of bytes",
            ) from None
    length = numbers["length"]
    if "length" not in entries:
        try:
            width = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        except KeyError:
            width = 0
        length = prod(max(0, dim) for dim in tensor.dims) * width
    return location, numbers["offset"] + length
