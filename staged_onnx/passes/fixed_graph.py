"""A graph at one fixed set of sizes: what passes take and give.

Made of a stage's model when its session is opened: the free dimensions are bound, what only computes sizes
is folded into constants, and every value's shape is known where ONNX can tell it. Weights stay where they
are, in the bundle's files, until a pass asks for one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from caffe_port.onnx_graph import OPSET
from staged_onnx.passes.windows import Window

__all__ = ["Border", "FixedGraph", "fix_sizes", "node_macs"]

Shape = tuple[int, ...]

SMALL = 1024
"""Arrays of at most so many bytes stand in the model itself; larger ones are handed over beside it."""

COUNTED = 64
"""Constants of at most so many numbers may be sizes and indices."""

_SIZES = frozenset(
    {
        "Add", "Cast", "Ceil", "Concat", "Div", "Floor", "Gather", "Identity", "Max", "Min", "Mod", "Mul",
        "Range", "ReduceProd", "Reshape", "Slice", "Squeeze", "Sub", "Unsqueeze",
    }
)  # fmt: skip
"""Operators that compute sizes and indices, where all that they read is constant and small."""


@dataclass(frozen=True, eq=False)
class Border:
    """What is known of a map beforehand: where a frame can change it, and what it holds elsewhere.

    live: the window outside which the map is the same for every frame. values: the map of an empty frame,
    1 x C x H x W, right outside `live`.
    """

    live: Window
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class FixedGraph:
    """Nodes in the order in which they run, and what they read.

    Attributes:
        nodes: The nodes; passes make new ones and never edit these.
        inputs, outputs: The graph's ends, as ONNX declares them, with fixed dimensions.
        tensors: Constants as the model has them, by name; content may lie in a file of `folder`.
        arrays: Constants that passes have made, by name.
        shapes: The shape of every value that has a known one.
        borders: What is known beforehand of inputs that are maps.
        folder: Where constants that are kept outside lie.
    """

    nodes: tuple[NodeProto, ...]
    inputs: tuple[ValueInfoProto, ...]
    outputs: tuple[ValueInfoProto, ...]
    tensors: Mapping[str, TensorProto]
    arrays: Mapping[str, np.ndarray]
    shapes: Mapping[str, Shape]
    borders: Mapping[str, Border] = field(default_factory=dict)
    folder: str = ""
    ir_version: int = 8
    opsets: tuple[onnx.OperatorSetIdProto, ...] = ()

    def is_constant(self, name: str) -> bool:
        """Whether a value is an initializer.

        Args:
            name: The value.

        Returns:
            False too for a name that the graph does not know.
        """
        return name in self.arrays or name in self.tensors

    def array(self, name: str) -> np.ndarray:
        """A constant's content.

        Args:
            name: The constant.

        Returns:
            The array, read-only; a view of its file where it is kept outside the model.
        """
        if name in self.arrays:
            return self.arrays[name]
        tensor = self.tensors[name]
        if tensor.data_location != TensorProto.EXTERNAL:
            return numpy_helper.to_array(tensor)
        entries = {entry.key: entry.value for entry in tensor.external_data}
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        file = os.path.join(self.folder, entries["location"])
        return np.memmap(file, dtype, "r", int(entries.get("offset", "0")), tuple(tensor.dims))

    def ints(self, name: str) -> tuple[int, ...] | None:
        """A constant's whole numbers.

        Args:
            name: The value.

        Returns:
            The numbers in the order of the elements; None where the value is not a constant.
        """
        if not self.is_constant(name):
            return None
        return tuple(int(i) for i in np.ravel(self.array(name)))

    def macs(self) -> int:
        """Multiply-accumulates of one pass."""
        return sum(node_macs(self, node) for node in self.nodes)

    def with_nodes(
        self,
        nodes: Sequence[NodeProto],
        arrays: Mapping[str, np.ndarray],
        shapes: Mapping[str, Shape],
        outputs: Sequence[ValueInfoProto] | None = None,
    ) -> FixedGraph:
        """This graph with other nodes; what no output needs is left out, constants included.

        Args:
            nodes: The nodes, in the order in which they run.
            arrays: Further constants by name.
            shapes: The shapes of all values.
            outputs: The outputs, by default those that it has.

        Returns:
            The new graph.
        """
        ends = tuple(self.outputs if outputs is None else outputs)
        wanted = {value.name for value in ends}
        kept: list[NodeProto] = []
        for node in reversed(nodes):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                kept.append(node)
        return replace(
            self,
            nodes=tuple(kept[::-1]),
            outputs=ends,
            tensors={name: tensor for name, tensor in self.tensors.items() if name in wanted},
            arrays={n: a for n, a in {**self.arrays, **arrays}.items() if n in wanted},
            shapes=dict(shapes),
        )

    def giving(self, names: Iterable[str]) -> FixedGraph:
        """This graph with other values as its outputs.

        Args:
            names: The values, float32 and of known shape.

        Returns:
            The new graph.
        """
        values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, self.shapes[n]) for n in names]
        return self.with_nodes(self.nodes, {}, self.shapes, values)

    def model(self) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
        """The graph as a model, and by name the arrays of those initializers that it only declares."""
        beside = {name: array for name, array in self.arrays.items() if array.nbytes > SMALL}
        tensors = list(self.tensors.values())
        for name, array in self.arrays.items():
            if name in beside:
                kind = helper.np_dtype_to_tensor_dtype(array.dtype)
                tensor = TensorProto(name=name, dims=array.shape, data_type=kind)
                tensor.data_location = TensorProto.EXTERNAL
                tensor.external_data.add(key="location", value="memory")
            else:
                tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
            tensors.append(tensor)
        graph = helper.make_graph(list(self.nodes), "fixed", self.inputs, self.outputs, tensors)
        return helper.make_model(graph, ir_version=self.ir_version, opset_imports=self.opsets), beside


def fix_sizes(
    model: onnx.ModelProto,
    shapes: Mapping[str, Shape],
    *,
    folder: str = "",
    borders: Mapping[str, Border] | None = None,
) -> FixedGraph:
    """Bind a model's sizes and fold what follows from them.

    Args:
        model: A stage's model.
        shapes: The shape of every input, by name.
        folder: Where weights lie that the model keeps outside.
        borders: What is known of inputs beforehand.

    Returns:
        The graph. It gives the same numbers as the model on inputs of these shapes.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    arrays: dict[str, np.ndarray] = {}
    nodes = list(model.graph.node)
    inputs = [_fixed(value, shapes) for value in model.graph.input if value.name not in tensors]
    while True:  # what is folded may tell further shapes, and these may fold more
        known = _infer(model, nodes, inputs, tensors, arrays)
        left = _fold(nodes, tensors, arrays, known, {value.name for value in model.graph.output})
        if len(left) == len(nodes):
            break
        nodes = left
    outputs = [_fixed(value, known) for value in model.graph.output]
    graph = FixedGraph(
        nodes=tuple(nodes),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        tensors=tensors,
        arrays=arrays,
        shapes=known,
        borders=dict(borders or {}),
        folder=folder,
        ir_version=model.ir_version,
        opsets=tuple(model.opset_import),
    )
    return graph.with_nodes(nodes, arrays, known)


def _fixed(value: ValueInfoProto, shapes: Mapping[str, Shape]) -> ValueInfoProto:
    found = ValueInfoProto()
    found.CopyFrom(value)
    if value.name in shapes:
        kind = helper.make_tensor_type_proto(value.type.tensor_type.elem_type, shapes[value.name])
        found.type.CopyFrom(kind)
    return found


def _infer(
    model: onnx.ModelProto,
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    tensors: Mapping[str, TensorProto],
    arrays: Mapping[str, np.ndarray],
) -> dict[str, Shape]:
    """The shapes that ONNX infers, and those of inputs and constants."""
    free = []
    for value in model.graph.output:  # its symbols would stand in the way of numbers
        kind = helper.make_tensor_type_proto(value.type.tensor_type.elem_type, None)
        free.append(ValueInfoProto(name=value.name, type=kind))
    stored = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    declared = []  # of weights only the shapes matter here
    for name, tensor in tensors.items():
        if prod(tensor.dims) <= COUNTED:
            stored.append(tensor)
        else:
            declared.append(helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
    graph = helper.make_graph(list(nodes), "sizes", [*inputs, *declared], free, stored)
    draft = helper.make_model(graph, ir_version=model.ir_version, opset_imports=model.opset_import)
    found = onnx.shape_inference.infer_shapes(draft, data_prop=True).graph
    shapes = {name: tuple(tensor.dims) for name, tensor in tensors.items()}
    shapes |= {name: array.shape for name, array in arrays.items()}
    for value in (*found.value_info, *found.output, *inputs):
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
            shapes[value.name] = tuple(dim.dim_value for dim in kind.shape.dim)
    return shapes


def _fold(
    nodes: Sequence[NodeProto],
    tensors: Mapping[str, TensorProto],
    arrays: dict[str, np.ndarray],
    shapes: Mapping[str, Shape],
    ends: set[str],
) -> list[NodeProto]:
    """The nodes that are left when those on sizes have become constants, which are added to `arrays`."""

    def small(name: str) -> bool:
        if name in arrays:
            return True
        tensor = tensors.get(name)
        return tensor is not None and prod(tensor.dims) <= COUNTED and tensor.data_type == TensorProto.INT64

    def content(name: str) -> np.ndarray:
        return arrays[name] if name in arrays else numpy_helper.to_array(tensors[name])

    left = []
    for node in nodes:
        if ends.intersection(node.output):
            left.append(node)
        elif node.op_type == "Shape" and node.input[0] in shapes and not node.attribute:
            arrays[node.output[0]] = np.array(shapes[node.input[0]], np.int64)
        elif node.op_type in _SIZES and all(small(name) for name in node.input if name):
            arrays[node.output[0]] = _computed(node, [content(name) if name else None for name in node.input])
        else:
            left.append(node)
    return left


def _computed(node: NodeProto, inputs: Sequence[np.ndarray | None]) -> np.ndarray:
    """A node's result on small arrays, by ONNX's own reference implementation."""
    from onnx.reference import ReferenceEvaluator

    feeds = {name: array for name, array in zip(node.input, inputs, strict=True) if array is not None}
    values = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in feeds.items()
    ]
    result = helper.make_empty_tensor_value_info(node.output[0])
    graph = helper.make_graph([node], "size", values, [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    return np.asarray(ReferenceEvaluator(model).run(None, feeds)[0])


def node_macs(graph: FixedGraph, node: NodeProto) -> int:
    """Multiply-accumulates of a node.

    Args:
        graph: Has the shapes.
        node: A node of it.

    Returns:
        0 for a node that does not multiply by weights, or of unknown shape.
    """
    if len(node.input) < 2:
        return 0
    first, second = (graph.shapes.get(name) for name in node.input[:2])
    result = graph.shapes.get(node.output[0])
    if first is None or second is None or result is None:
        return 0
    if node.op_type == "Conv":
        return prod(result) * prod(second[1:])
    if node.op_type == "ConvTranspose":
        return prod(first) * prod(second[1:])
    if node.op_type == "MatMul":
        return prod(result) * first[-1]
    if node.op_type == "Gemm":
        return prod(result) * prod(first) // max(1, result[0])
    return 0
