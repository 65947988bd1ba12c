"""Operators on maps (1 x C x H x W): what part of its input a part of the result needs, and that part alone.

An operator that is not known here is opaque: it reads its inputs whole, gives its result whole, and a frame
can change all of it. So a new operator is never wrong, only not yet narrowed. Average pooling is left whole:
ONNX Runtime has two kernels for it, which add up in different orders, and takes the one that fits the layout
of what comes before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from onnx import NodeProto, helper

from staged_onnx.passes.fixed_graph import FixedGraph
from staged_onnx.passes.windows import Reach, Slide, Span, Spread, Window, whole

__all__ = ["MapOperator", "attributes", "map_operator", "part_of", "whole_map"]

_POINTWISE = frozenset(
    {
        "Abs", "Add", "BatchNormalization", "Ceil", "Clip", "Cos", "Div", "Elu", "Exp", "Floor",
        "HardSigmoid", "HardSwish", "Identity", "LRN", "LeakyRelu", "Log", "Max", "Min", "Mul", "Neg",
        "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus",
        "Softsign", "Sqrt", "Sub", "Sum", "Tanh",
    }
)  # fmt: skip
"""Operators that act on each position of a map alone, all channels of it together."""


@dataclass(frozen=True)
class MapOperator:
    """What a node does to maps.

    rows, columns: its reach on each axis. maps: those of its inputs that it reads by position; it reads all
    others whole. alias: the result is a part of the input as it stands, so that no node is needed for it.
    fuses: ONNX Runtime may make one kernel of it and of what it reads, which adds up in another order than
    two do.
    """

    rows: Reach
    columns: Reach
    maps: tuple[str, ...]
    alias: bool = False
    fuses: bool = False

    def changed(self, window: Window, result: Window) -> Window:
        """Where the result can change.

        Args:
            window: Where the input changes.
            result: The window of all of the result.

        Returns:
            A part of `result`.
        """
        return Window(
            self.rows.changed(window.rows, result.rows.hi),
            self.columns.changed(window.columns, result.columns.hi),
        )

    def needed(self, window: Window) -> Window:
        """What `window` of the result reads, padding included."""
        return Window(self.rows.needed(window.rows), self.columns.needed(window.columns))


def attributes(node: NodeProto) -> dict[str, Any]:
    """The attributes of a node as Python values."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def whole_map(graph: FixedGraph, name: str) -> Window | None:
    """The window of all of a value.

    Args:
        graph: Has the shapes.
        name: The value.

    Returns:
        None where it is not a map of known size with a batch of one.
    """
    shape = graph.shapes.get(name)
    if shape is None or len(shape) != 4 or shape[0] != 1 or min(shape) < 1:
        return None
    return whole(shape[2], shape[3])


def map_operator(graph: FixedGraph, node: NodeProto) -> MapOperator | None:
    """What a node does to maps.

    Args:
        graph: Has the shapes and the constants.
        node: A node of it.

    Returns:
        None where the node is opaque.
    """
    if len(node.output) != 1 or not node.input or whole_map(graph, node.output[0]) is None:
        return None
    make = {"Slice": _slice, "Reshape": _reshape, "Concat": _concat}.get(node.op_type)
    if make is not None:
        return make(graph, node)
    if node.op_type in ("Conv", "MaxPool", "ConvTranspose"):
        return _kernel(graph, node)
    return _pointwise(graph, node) if node.op_type in _POINTWISE else None


def _pointwise(graph: FixedGraph, node: NodeProto) -> MapOperator | None:
    result = whole_map(graph, node.output[0])
    maps = []
    for name in filter(None, node.input):
        shape = graph.shapes.get(name)
        if shape is None:
            return None
        if whole_map(graph, name) == result and shape[2:] != (1, 1):
            if graph.is_constant(name):
                return None
            maps.append(name)
        elif len(shape) > 1 and shape[-2:] != (1, 1):
            return None  # it differs from row to row, or from column to column
        elif len(shape) == 1 and shape[0] != 1 and node.op_type != "BatchNormalization":
            return None
    return MapOperator(Slide(), Slide(), tuple(dict.fromkeys(maps)), fuses=True) if maps else None


def _concat(graph: FixedGraph, node: NodeProto) -> MapOperator | None:
    result = whole_map(graph, node.output[0])
    same = all(whole_map(graph, name) == result and not graph.is_constant(name) for name in node.input)
    if attributes(node)["axis"] not in (1, -3) or not same:
        return None
    return MapOperator(Slide(), Slide(), tuple(dict.fromkeys(node.input)))


def _reshape(graph: FixedGraph, node: NodeProto) -> MapOperator | None:
    if graph.shapes.get(node.input[0]) != graph.shapes[node.output[0]] or graph.is_constant(node.input[0]):
        return None
    return MapOperator(Slide(), Slide(), (node.input[0],), alias=True)


def _slice(graph: FixedGraph, node: NodeProto) -> MapOperator | None:
    """A crop of rows and columns."""
    source = graph.shapes.get(node.input[0])
    ints = [graph.ints(name) if name else None for name in node.input[1:]]
    if source is None or len(source) != 4 or len(ints) < 3 or graph.is_constant(node.input[0]):
        return None
    starts, axes, steps = ints[0], ints[2], ints[3] if len(ints) > 3 else None
    if starts is None or axes is None or any(step != 1 for step in steps or ()):
        return None
    if len(ints) > 3 and node.input[4] and steps is None:
        return None
    found = {2: 0, 3: 0}
    for start, axis in zip(starts, (a % 4 for a in axes), strict=True):
        if axis not in found:
            return None
        size = source[axis]
        found[axis] = min(max(start + size if start < 0 else start, 0), size)
    return MapOperator(Slide(pad=-found[2]), Slide(pad=-found[3]), (node.input[0],), alias=True)


def _kernel(graph: FixedGraph, node: NodeProto) -> MapOperator | None:
    """Convolution, pooling and deconvolution."""
    given = attributes(node)
    if whole_map(graph, node.input[0]) is None or given.get("auto_pad", b"NOTSET") != b"NOTSET":
        return None
    if not all(graph.is_constant(name) for name in node.input[1:]):
        return None
    kernel = given.get("kernel_shape") or graph.shapes[node.input[1]][2:]
    strides, dilations = given.get("strides", [1, 1]), given.get("dilations", [1, 1])
    pads = given.get("pads", [0, 0, 0, 0])
    if any(given.get("output_padding", ())) or given.get("output_shape") or min(pads) < 0:
        return None
    reaches: list[Reach] = []
    for axis in (0, 1):
        extent = (kernel[axis] - 1) * dilations[axis] + 1
        if node.op_type == "ConvTranspose":
            if extent < strides[axis]:
                return None  # there are results to which no input adds
            reaches.append(Spread(strides[axis], extent, pads[axis]))
        else:
            last = (graph.shapes[node.output[0]][axis + 2] - 1) * strides[axis] - pads[axis]
            if node.op_type != "Conv" and last >= graph.shapes[node.input[0]][axis + 2]:
                return None  # pooling of nothing but padding
            reaches.append(Slide(strides[axis], extent, pads[axis]))
    return MapOperator(reaches[0], reaches[1], (node.input[0],))


def part_of(
    graph: FixedGraph, node: NodeProto, operator: MapOperator, source: Window, window: Window
) -> tuple[NodeProto, Window]:
    """The node that computes one window of a map operator's result, and what it wants of its input.

    Args:
        graph: The graph that holds the node as it is on whole maps.
        node: That node.
        operator: What it does to maps.
        source: The window of the input that is at hand.
        window: The window of the result.

    Returns:
        The node, and the part of `source` that must be cut out for it where that is less than all of it.
    """
    made = NodeProto()
    made.CopyFrom(node)
    if isinstance(operator.rows, Slide) and node.op_type not in ("Conv", "MaxPool"):
        return made, operator.needed(window)
    size = whole_map(graph, node.input[0])
    assert size is not None
    given = attributes(node)
    given["pads"] = list(given.get("pads", [0, 0, 0, 0]))
    cut = []
    for axis, reach in enumerate((operator.rows, operator.columns)):
        span, needed = window[axis], reach.needed(window[axis])
        inside = needed.clipped(size[axis].hi)
        if isinstance(reach, Spread):
            begin, end = (reach.stride * i - reach.pad for i in (inside.lo, inside.hi - 1))
            pads = span.lo - begin, end + reach.extent - span.hi
        else:
            pads = inside.lo - needed.lo, needed.hi - inside.hi
            beyond = (source[axis].hi - needed.lo - reach.extent) // reach.stride + 1
            if pads[1] == 0 and beyond == span.size:
                inside = Span(inside.lo, source[axis].hi)  # what is left over is less than a step
        given["pads"][axis], given["pads"][axis + 2] = pads
        cut.append(inside)
    if node.op_type == "MaxPool":
        given["ceil_mode"] = 0
    del made.attribute[:]
    made.attribute.extend(helper.make_attribute(name, value) for name, value in given.items())
    return made, Window(*cut)
