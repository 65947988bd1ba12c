"""The ONNX graph under construction: what a layer's `emit` writes into.

Opset 17: the newest for which ONNX Runtime's CUDA provider has kernels of everything used here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from caffe_port.net import Layer, Net, Shape
from caffe_port.registry import rule_for
from caffe_port.shapes import Dims, Sizes
from weights.errors import ClockworkError
from weights.mapped import release

__all__ = ["OPSET", "Draft", "GraphBuilder", "NeedsFixedSize"]

OPSET = 17
IR_VERSION = 8


class NeedsFixedSize(Exception):
    """Raised by an `emit` that cannot follow the frame size; the graph is then built for one size."""

    def __init__(self, layer: Layer, reason: str) -> None:
        super().__init__(f'layer "{layer.name}" ({layer.type}): {reason}')


@dataclass(frozen=True)
class Draft:
    """A model whose initializers are still empty, and the arrays that belong into them, by name.

    The arrays are the caller's own, often views of a mapped file: a draft of a large net costs next to no
    memory. `save_model` writes one without ever copying the arrays.
    """

    model: onnx.ModelProto
    arrays: Mapping[str, np.ndarray]

    def whole(self) -> onnx.ModelProto:
        """The model with its arrays inside."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        for tensor in model.graph.initializer:
            array = self.arrays[tensor.name]
            content = array.tobytes()
            release(array)  # before the content is copied a second time, into the message
            tensor.raw_data = content
        return model


class GraphBuilder:
    """Collects nodes and constants; `env` maps each value of the net to its name in the graph.

    Names are the net's own wherever a node's result is a value of the net, so that the graph reads like the
    prototxt; inner results of a layer are called `layer/Op`.
    """

    def __init__(self, net: Net, sizes: Sizes) -> None:
        self.net = net
        self.sizes = sizes
        self.env: dict[str, str] = {}
        self.notes: list[str] = []
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._arrays: dict[str, np.ndarray] = {}
        self._large: dict[tuple[int, str], tuple[np.ndarray, str]] = {}
        self._small: dict[tuple[str, Shape, bytes], str] = {}
        self._names: set[str] = set()
        self._numbers: dict[str, int] = {}
        self._scope = ""

    # -- what an emit uses -------------------------------------------------------------------------------

    @property
    def fixed(self) -> bool:
        """Whether every size is known."""
        return self.sizes.fixed

    def shape(self, value: str) -> Shape:
        """Shape of a value of the net at the net's own input size."""
        return self.sizes.shapes[value]

    def dims(self, value: str) -> Dims:
        """Shape of a value of the net, None where it follows the frame size."""
        return self.sizes.dims[value]

    def require_fixed(self, layer: Layer, reason: str, values: Iterable[str] | None = None) -> None:
        """Say that `layer` needs the sizes of `values` (its bottoms) to be known."""
        if any(None in self.dims(v) for v in (layer.bottoms if values is None else values)):
            raise NeedsFixedSize(layer, reason)

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node and return the name of its output (a tuple of names for several).

        Attributes that are None are left out; an input may be "" where ONNX has an optional one.
        """
        names = [self._fresh(op) for _ in range(outputs)]
        attributes = {k: v for k, v in attributes.items() if v is not None}
        self._nodes.append(helper.make_node(op, list(inputs), names, name=names[0], **attributes))
        return names[0] if outputs == 1 else tuple(names)

    def const(self, array: Any, dtype: Any = np.float32) -> str:
        """Add a constant and return its name; one array is stored once, however often it is used."""
        given = array
        array = np.ascontiguousarray(array, dtype=dtype).reshape(np.shape(array))
        small = (array.dtype.str, array.shape, array.tobytes()) if array.size <= 64 else None
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
        """An int64 vector with the sizes of a graph value along `axes`, taken when the graph runs."""
        return self.node("Gather", self.node("Shape", name), self.ints(*axes), axis=0)

    # -- what builds a whole graph -----------------------------------------------------------------------

    def input(self, name: str, dims: Sequence[int | str | None], dtype: int = TensorProto.FLOAT) -> str:
        """Declare a graph input; a str or None dimension is symbolic."""
        self._names.add(name)
        self._inputs.append(helper.make_tensor_value_info(name, dtype, list(dims)))
        return name

    def value_input(self, value: str, dims: Sequence[int | str | None]) -> None:
        """Declare a value of the net as a graph input of the same name."""
        self.env[value] = self.input(value, dims)

    def run(self, layers: Iterable[Layer], weights: Mapping[str, tuple[np.ndarray, ...]]) -> None:
        """Emit layers in order; `weights` has the arrays of each layer by its key, already checked."""
        for layer in layers:
            self._scope = layer.key or layer.type
            rule = rule_for(layer, self.net)
            bottoms = tuple(self.env[b] for b in layer.bottoms)
            try:
                tops = rule.emit(self, layer, bottoms, weights.get(layer.key, ()))
            except ClockworkError as error:
                raise error.located(**self.net.where(layer)) from None
            for value, name in zip(layer.tops, tops, strict=True):
                self.env[value] = name
        self._scope = ""

    def output(
        self, value: str, name: str, dims: Sequence[int | str | None], dtype: int = TensorProto.FLOAT
    ) -> None:
        """Declare the graph value `value` an output called `name`."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name=f"{name}/output"))
        self._names.add(name)
        self._outputs.append(helper.make_tensor_value_info(name, dtype, list(dims)))

    def draft(self, name: str) -> Draft:
        """The finished and tidied model, its constants beside it."""
        self._rename()
        used = {i for node in self._nodes for i in node.input}
        arrays = {name: array for name, array in self._arrays.items() if name in used}
        tensors = [
            TensorProto(name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype))
            for name, array in arrays.items()
        ]
        graph = helper.make_graph(self._nodes, name or "net", self._inputs, self._outputs, tensors)
        model = helper.make_model(
            graph,
            producer_name="clockwork-onnx",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        return Draft(model, arrays)

    def model(self, name: str) -> onnx.ModelProto:
        """The finished and tidied model."""
        return self.draft(name).whole()

    # -- inside --------------------------------------------------------------------------------------------

    def _fresh(self, op: str) -> str:
        base = f"{self._scope}/{op}" if self._scope else op
        name = base
        while name in self._names:
            self._numbers[base] = self._numbers.get(base, 1) + 1
            name = f"{base}_{self._numbers[base]}"
        self._names.add(name)
        return name

    def _rename(self) -> None:
        """Call node results after the values of the net they are, and drop the Identity of an output."""
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
        for value, name in self.env.items():
            if (
                name in made
                and name not in wanted
                and value
                and value not in taken
                and value not in self._names
            ):
                wanted[name] = value
                taken.add(value)
        for node in kept:
            node.input[:] = [wanted.get(i, i) for i in node.input]
            node.output[:] = [wanted.get(o, o) for o in node.output]
        self._nodes = kept
