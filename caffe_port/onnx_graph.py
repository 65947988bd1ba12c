"""An ONNX graph under construction: nodes, constants, inputs and outputs.

The one builder of this project: the port of a net (`caffe_port.graph`), frame, label and warp graphs
(`staged_onnx`), what clocks measure (`runtime.engine`) and the tests' toy bundles are all written with it.

Opset 17: the newest for which ONNX Runtime's CUDA provider has kernels of everything used here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike
from onnx import TensorProto, helper

from weights.mapped import release

__all__ = ["IR_VERSION", "OPSET", "Dimensions", "Draft", "OnnxGraph"]

OPSET = 17
IR_VERSION = 8

SMALL = 64
"""Constants of at most so many elements are compared by content and stored once."""

Dimensions = Sequence[int | str | None]
"""The dimensions of a graph's input or output; a str names a symbolic one, None leaves it open."""


@dataclass(frozen=True)
class Draft:
    """A model whose initializers are still empty, and the arrays that belong in them, by name.

    The arrays are the caller's own, often views of a mapped file, so a draft of a large net costs almost no
    memory. `save_model` writes one without ever copying the arrays. An initializer without an array carries
    its own content.
    """

    model: onnx.ModelProto
    arrays: Mapping[str, np.ndarray]

    def whole(self) -> onnx.ModelProto:
        """The model with its arrays inside."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        for tensor in model.graph.initializer:
            array = self.arrays.get(tensor.name)
            if array is None:
                continue
            content = array.tobytes()
            release(array)  # before the content is copied a second time, into the message
            tensor.raw_data = content
        return model


class OnnxGraph:
    """Collects the nodes and constants of a graph, and finishes them to a model.

    Results are called after their operator, `scope/Op` inside a scope, with a number where the name is taken.
    """

    def __init__(self, base: onnx.ModelProto | None = None) -> None:
        """An empty graph, or one that goes on where the model `base` ends.

        Of `base` the nodes, inputs and initializers are kept, but not the outputs: those are to be declared.
        """
        self.scope = ""
        self._base = base
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._tensors: list[onnx.TensorProto] = []
        self._arrays: dict[str, np.ndarray] = {}
        self._large: dict[tuple[int, str], tuple[np.ndarray, str]] = {}
        self._small: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._names: set[str] = set()
        self._numbers: dict[str, int] = {}
        if base is not None:
            self._nodes.extend(base.graph.node)
            self._inputs.extend(base.graph.input)
            self._tensors.extend(base.graph.initializer)
            self._names.update(_names(base.graph))

    # -- what is written ---------------------------------------------------------------------------------

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output.

        Args:
            op: The ONNX operator.
            inputs: Names of values; "" stands for an optional input that is left out.
            attributes: The operator's attributes; those that are None are left out.

        Returns:
            The name of the output.
        """
        return self.nodes(op, *inputs, outputs=1, **attributes)[0]

    def nodes(self, op: str, *inputs: str, outputs: int, **attributes: Any) -> tuple[str, ...]:
        """Add a node with several outputs.

        Args:
            op: The operator's type.
            *inputs: Names of its inputs, as in `node`.
            outputs: How many outputs it has.
            **attributes: Its attributes; those that are None are left out.

        Returns:
            The names of its outputs.
        """
        names = tuple(self._fresh(op) for _ in range(outputs))
        attributes = {k: v for k, v in attributes.items() if v is not None}
        self._nodes.append(helper.make_node(op, list(inputs), list(names), name=names[0], **attributes))
        return names

    def const(self, array: Any, dtype: DTypeLike = np.float32) -> str:
        """Add a constant; one array is stored once, however often it is used.

        Args:
            array: Numbers of any shape.
            dtype: The type that they get.

        Returns:
            The constant's name.
        """
        given = array
        array = np.ascontiguousarray(array, dtype=dtype).reshape(np.shape(array))
        small = (array.dtype.str, array.shape, array.tobytes()) if array.size <= SMALL else None
        if small is not None and small in self._small:
            return self._small[small]
        large = (id(given), array.dtype.str)
        if large in self._large and self._large[large][0] is given:
            return self._large[large][1]
        name = self._fresh("const")
        self._arrays[name] = array
        if small is not None:
            self._small[small] = name
        elif isinstance(given, np.ndarray):
            self._large[large] = (given, name)
        return name

    def ints(self, *values: int) -> str:
        """An int64 vector constant."""
        return self.const(np.array(values, np.int64), np.int64)

    def sizes_of(self, name: str, *axes: int) -> str:
        """An int64 vector with the sizes of a value along `axes`, taken when the graph runs."""
        return self.node("Gather", self.node("Shape", name), self.ints(*axes), axis=0)

    # -- its ends ----------------------------------------------------------------------------------------

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs declared so far."""
        return tuple(value.name for value in self._inputs)

    def has(self, name: str) -> bool:
        """Whether there is a value of this name, an input or a node's result."""
        return name in self.inputs or any(name in node.output for node in self._nodes)

    def input(self, name: str, dims: Dimensions, dtype: int = TensorProto.FLOAT) -> str:
        """Declare an input of the graph.

        Args:
            name: Its name.
            dims: Its dimensions, numbers or names.
            dtype: Its type, of `onnx.TensorProto`.

        Returns:
            Its name.
        """
        self._names.add(name)
        self._inputs.append(helper.make_tensor_value_info(name, dtype, list(dims)))
        return name

    def output(self, value: str, name: str, dims: Dimensions, dtype: int = TensorProto.FLOAT) -> None:
        """Declare a value an output of the graph.

        Args:
            value: The value.
            name: The output's name.
            dims: Its dimensions, numbers or names.
            dtype: Its type, of `onnx.TensorProto`.
        """
        self._nodes.append(helper.make_node("Identity", [value], [name], name=f"{name}/output"))
        self._names.add(name)
        self._outputs.append(helper.make_tensor_value_info(name, dtype, list(dims)))

    # -- the finished graph ------------------------------------------------------------------------------

    def draft(self, name: str, called: Mapping[str, str] | None = None) -> Draft:
        """The finished and tidied model, its constants beside it.

        Nodes and constants that no output needs are left out.

        Args:
            name: The graph's name.
            called: Names that results should have, as far as they are free: wanted name -> result.

        Returns:
            The model with empty initializers, and their arrays.
        """
        nodes = _needed(self._renamed(called or {}), {value.name for value in self._outputs})
        used = {i for node in nodes for i in _reads(node)}
        arrays = {name: array for name, array in self._arrays.items() if name in used}
        tensors = [tensor for tensor in self._tensors if tensor.name in used] + [
            TensorProto(name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype))
            for name, array in arrays.items()
        ]
        graph = helper.make_graph(nodes, name or "net", self._inputs, self._outputs, tensors)
        if self._base is None:
            model = helper.make_model(
                graph,
                producer_name="clockwork-onnx",
                ir_version=IR_VERSION,
                opset_imports=[helper.make_opsetid("", OPSET)],
            )
        else:
            model = onnx.ModelProto()
            model.CopyFrom(self._base)
            model.graph.CopyFrom(graph)
        return Draft(model, arrays)

    def model(self, name: str) -> onnx.ModelProto:
        """The finished and tidied model, its constants inside, checked by ONNX's own checker.

        Args:
            name: The graph's name.

        Returns:
            The model.

        Raises:
            onnx.checker.ValidationError: the graph is not valid, which is a mistake of whoever built it.
        """
        model = self.draft(name).whole()
        if self._base is None:  # what a file kept outside cannot be checked without the file
            onnx.checker.check_model(model)
        return model

    # -- inside ------------------------------------------------------------------------------------------

    def _fresh(self, op: str) -> str:
        base = f"{self.scope}/{op}" if self.scope else op
        name = base
        while name in self._names:
            self._numbers[base] = self._numbers.get(base, 1) + 1
            name = f"{base}_{self._numbers[base]}"
        self._names.add(name)
        return name

    def _renamed(self, called: Mapping[str, str]) -> list[onnx.NodeProto]:
        """The nodes, their results called as wanted, and without the Identity of an output."""
        made = {o for node in self._nodes for o in node.output if node.op_type != "Identity"}
        taken = {v.name for v in self._inputs} | {v.name for v in self._outputs}
        wanted: dict[str, str] = {}
        kept = []
        for node in self._nodes:
            is_output = node.op_type == "Identity" and node.name.endswith("/output")
            if is_output and node.input[0] in made and node.input[0] not in wanted:
                wanted[node.input[0]] = node.output[0]
            else:
                kept.append(node)
        for name, result in called.items():
            free = name and name not in taken and name not in self._names
            if result in made and result not in wanted and free:
                wanted[result] = name
                taken.add(name)
        for node in kept:
            node.input[:] = [wanted.get(i, i) for i in node.input]
            node.output[:] = [wanted.get(o, o) for o in node.output]
        return kept


def _inner(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs inside a node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    """Every name of a value or a node, in the graph and in those inside its nodes."""
    yield from (value.name for value in graph.input)
    yield from (tensor.name for tensor in graph.initializer)
    for node in graph.node:
        yield node.name
        yield from node.output
        for inner in _inner(node):
            yield from _names(inner)


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """Every name that a node or a graph inside it reads."""
    yield from node.input
    for inner in _inner(node):
        yield from (value.name for value in inner.output)
        for each in inner.node:
            yield from _reads(each)


def _needed(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> list[onnx.NodeProto]:
    """The nodes on the way to `outputs`, in order."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(_reads(node))
            kept.append(node)
    return kept[::-1]
