"""How large every array of a graph is at given sizes of its inputs: told without running the graph.

One pass over the nodes: ONNX's own rules give the shape of each result, and what computes sizes (`Shape` and
the arithmetic on it) is evaluated, since the shapes that follow depend on its numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, helper, numpy_helper
from onnx.checker import ValidationError
from onnx.shape_inference import InferenceError, infer_node_outputs

from weights import limits
from weights.errors import BundleError

__all__ = ["array_shapes", "check_array_sizes", "check_shape", "most_numbers"]

Shape = tuple[int, ...]

SMALL = 4096
"""Numbers of an array that is evaluated; sizes are a handful, grids of coordinates a few thousand."""
_MAKERS = frozenset({"ConstantOfShape", "Expand", "Pad", "Range", "Resize", "Tile"})
"""Operators whose result is as large as a number in their input says."""


def most_numbers(shapes: Mapping[str, Shape]) -> int:
    """How many numbers one array may have in a graph with inputs of these shapes."""
    given = sum(prod(shape) for shape in shapes.values())
    return min(limits.ELEMENTS, max(limits.ARRAY_ELEMENTS, limits.ARRAY_GROWTH * given))


def check_shape(name: str, shape: Shape, most: int) -> int:
    """How many numbers the shape has; raises BundleError for more than `most`, and for impossible shapes."""
    count = prod(shape) if all(dim >= 0 for dim in shape) and len(shape) <= limits.AXES else -1
    if not 0 <= count <= most:
        raise BundleError(
            f'"{name[:80]}" is too large, or of an impossible shape',
            found="x".join(map(str, shape[:8])) + ("..." if len(shape) > 8 else ""),
            expected=f"at most {most:,} numbers and {limits.AXES}",
        )
    return count


def check_array_sizes(model: ModelProto, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Bound every array that a graph makes of inputs of these shapes.

    Args:
        model: The graph; no weights are looked at.
        shapes: The shapes of its inputs by name.

    Returns:
        The shapes found.

    Raises:
        BundleError: For an array of more numbers than `most_numbers`, and for one whose size is a number that
            the graph computes out of its pixels.
    """
    found = array_shapes(model, shapes)
    most = most_numbers({value.name: shapes.get(value.name, ()) for value in model.graph.input})
    stated = ((value.name, _shape(value.type)) for value in model.graph.output)
    for name, shape in (*found.items(), *stated):
        if shape is not None:
            check_shape(name, shape, most)
    for node in model.graph.node:
        if node.op_type in _MAKERS and node.output and node.output[0] not in found:
            raise BundleError(
                f'nothing bounds the size of "{node.output[0][:80]}"',
                found=f"a {node.op_type} whose size follows from no shape",
                expected="sizes that follow from the frame's",
            )
    return found


def array_shapes(model: ModelProto, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """The shape of every array that the nodes of a graph make, where it follows from the inputs' shapes."""
    graph = model.graph
    types: dict[str, TypeProto] = {}
    data: dict[str, np.ndarray] = {}
    for value in graph.input:
        shape = shapes.get(value.name)
        kind = value.type.tensor_type.elem_type
        types[value.name] = value.type if shape is None else helper.make_tensor_type_proto(kind, shape)
    for tensor in graph.initializer:
        types[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
        if tensor.data_location != TensorProto.EXTERNAL and prod(tensor.dims) <= SMALL:
            with suppress(ValueError, TypeError, KeyError):  # numbers that do not fill the shape
                data[tensor.name] = numpy_helper.to_array(tensor)
    versions = {entry.domain: entry.version for entry in model.opset_import}
    found: dict[str, Shape] = {}
    for node in graph.node:
        for name, kind in _inferred(node, types, data, versions.get("", 1)).items():
            types[name] = _completed(node, kind, types, data)
            shape = _shape(kind)
            if shape is not None:
                found[name] = shape
        _evaluate(node, types, data)
    return found


def _shape(kind: TypeProto) -> Shape | None:
    tensor = kind.tensor_type
    if not tensor.HasField("shape") or not all(dim.HasField("dim_value") for dim in tensor.shape.dim):
        return None
    return tuple(dim.dim_value for dim in tensor.shape.dim)


def _inferred(
    node: NodeProto, types: Mapping[str, TypeProto], data: Mapping[str, np.ndarray], version: int
) -> Mapping[str, TypeProto]:
    """The types of a node's results by ONNX's rules; none where the node does not fit what it reads."""
    known = {name: types[name] for name in node.input if name in types}
    if any(name and name not in known for name in node.input):
        return {}
    numbers = {name: numpy_helper.from_array(data[name], name) for name in node.input if name in data}
    try:
        schema = onnx.defs.get_schema(node.op_type, version, "")
        return infer_node_outputs(schema, node, known, numbers)
    except (InferenceError, ValidationError, onnx.defs.SchemaError, ValueError, RuntimeError):
        return {}  # ONNX Runtime will say what is wrong


def _completed(
    node: NodeProto, kind: TypeProto, types: Mapping[str, TypeProto], data: Mapping[str, np.ndarray]
) -> TypeProto:
    """The type of a result with the shape that onnx does not tell everywhere where sizes are computed."""
    if _shape(kind) is None and node.op_type == "Pad":
        return _padded(node, kind, types, data)
    if _shape(kind) is None and node.op_type == "Range" and all(name in data for name in node.input):
        start, limit, step = (float(data[name]) for name in node.input)
        if step:
            count = max(0, math.ceil((limit - start) / step))
            return helper.make_tensor_type_proto(kind.tensor_type.elem_type, [count])
    return kind


def _padded(
    node: NodeProto, kind: TypeProto, types: Mapping[str, TypeProto], data: Mapping[str, np.ndarray]
) -> TypeProto:
    shape, pads = _shape(types[node.input[0]]), data.get(node.input[1]) if len(node.input) > 1 else None
    if shape is None or pads is None or len(pads) % 2:
        return kind
    axes = data.get(node.input[3]) if len(node.input) > 3 and node.input[3] else range(len(shape))
    if axes is None or len(axes) * 2 != len(pads) or any(not -len(shape) <= a < len(shape) for a in axes):
        return kind
    dims = list(shape)
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        dims[axis] += int(before) + int(after)
    return helper.make_tensor_type_proto(kind.tensor_type.elem_type, dims)


def _evaluate(node: NodeProto, types: Mapping[str, TypeProto], data: dict[str, np.ndarray]) -> None:
    """Note the numbers that a node gives, where they are few and all that it reads is known."""
    if not node.output or not node.output[0]:
        return
    kind = types.get(node.output[0])
    shape = _shape(kind) if kind is not None else None
    if shape is None or prod(shape) > SMALL:
        return
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "Shape":
        source = types.get(node.input[0])
        dims = _shape(source) if source is not None else None
        if dims is not None:
            start, end = attributes.get("start", 0), attributes.get("end")
            data[node.output[0]] = np.array(dims[start:end], np.int64)
        return
    rule = _RULES.get(node.op_type)
    if rule is None or any(name and name not in data for name in node.input):
        return
    given = [data[name] if name else None for name in node.input]
    try:
        with np.errstate(all="ignore"):
            made = np.asarray(rule(attributes, *given))
    except (ValueError, TypeError, IndexError, OverflowError, MemoryError):
        return
    if made.shape == shape:
        data[node.output[0]] = made


def _numpy(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays without attributes; integers stay integers."""
    return lambda _, *arrays: function(*arrays)


def _divided(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """ONNX's Div: of integers, towards zero."""
    if a.dtype.kind == "f":
        return a / b
    return np.trunc(a / b).astype(a.dtype)


def _sliced(_: Any, x: np.ndarray, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> np.ndarray:
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    where: list[slice] = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        last = None if step < 0 and end < -x.shape[axis] else int(end)
        where[axis] = slice(int(start), last, int(step))
    return x[tuple(where)]


def _reshaped(attributes: Any, x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    dims = [x.shape[i] if d == 0 and not attributes.get("allowzero") else int(d) for i, d in enumerate(shape)]
    return x.reshape(dims)


def _filled(attributes: Any, shape: np.ndarray) -> np.ndarray:
    value = attributes.get("value")
    fill = numpy_helper.to_array(value)[0] if value is not None else np.float32(0)
    return np.full(shape, fill)


_RULES: dict[str, Callable[..., Any]] = {
    "Abs": _numpy(np.abs), "Add": _numpy(np.add), "And": _numpy(np.logical_and), "Ceil": _numpy(np.ceil),
    "Div": _numpy(_divided), "Equal": _numpy(np.equal), "Floor": _numpy(np.floor),
    "Greater": _numpy(np.greater), "GreaterOrEqual": _numpy(np.greater_equal), "Identity": _numpy(np.copy),
    "Less": _numpy(np.less), "LessOrEqual": _numpy(np.less_equal), "Max": _numpy(lambda *x: np.stack(
        np.broadcast_arrays(*x)).max(0)), "Min": _numpy(lambda *x: np.stack(np.broadcast_arrays(*x)).min(0)),
    "Mul": _numpy(np.multiply), "Neg": _numpy(np.negative), "Not": _numpy(np.logical_not),
    "Or": _numpy(np.logical_or), "Range": _numpy(np.arange), "Round": _numpy(np.round),
    "Sub": _numpy(np.subtract), "Where": _numpy(np.where),
    "Cast": lambda attributes, x: x.astype(helper.tensor_dtype_to_np_dtype(attributes["to"])),
    "Concat": lambda attributes, *x: np.concatenate(x, attributes["axis"]),
    "ConstantOfShape": _filled,
    "Expand": lambda _, x, shape: np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape))),
    "Gather": lambda attributes, x, at: np.take(x, at, attributes.get("axis", 0)),
    "Mod": lambda attributes, a, b: np.fmod(a, b) if attributes.get("fmod") else np.mod(a, b),
    "ReduceProd": lambda attributes, x, *_: np.prod(x, keepdims=bool(attributes.get("keepdims", 1))),
    "Reshape": _reshaped,
    "Slice": _sliced,
    "Squeeze": lambda _, x, *axes: np.squeeze(x, tuple(int(a) for a in axes[0]) if axes else None),
    "Tile": lambda _, x, repeats: np.tile(x, repeats),
    "Unsqueeze": lambda _, x, axes: np.expand_dims(x, tuple(int(a) for a in axes)),
}  # fmt: skip
"""What the arithmetic on sizes is made of; each takes the node's attributes and its inputs."""
