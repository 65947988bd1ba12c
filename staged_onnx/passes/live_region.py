"""Live region: what no frame can change is computed once, and what nothing reads is not computed.

Forwards, from paddings, kernels, strides and crops: for each map the window that a frame can change; outside
it the map is the same for every frame. Backwards, from the ends of the graph: for each map the window that
something reads. A map is then computed on one of two windows: all that is read, or, where that is cheaper,
the live part of it, and the rest is pasted around it from constants, which one pass of an empty frame gives.
Which maps are pasted is chosen by cost: each paste costs copies, and saves the margin in all before it.

The numbers are those of the whole map, bit for bit: every result is made of the same inputs in the same
order, by operators whose padding has been set to what is left of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import NodeProto, helper

from staged_onnx.passes.fixed_graph import Border, FixedGraph
from staged_onnx.passes.map_operators import MapOperator, part_of, whole_map
from staged_onnx.passes.target import Evaluate, Target
from staged_onnx.passes.window_plan import Maps, Plan, live_windows
from staged_onnx.passes.windows import Window

__all__ = ["borders_of", "live_region", "partly_live_outputs"]


def live_region(graph: FixedGraph, target: Target) -> FixedGraph:
    """Compute of each map what a frame can change and something reads.

    Pre-condition: the inputs of which `graph.borders` says something are as it says, outside their windows.
    Post-condition: the same inputs and outputs, and on every frame the same numbers, bit for bit.

    Args:
        graph: Any graph; operators that are not known keep their maps whole.
        target: Asked once for values of the graph, those of the maps that are pasted.

    Returns:
        The new graph; the same one where there is nothing to gain.
    """
    maps = Maps(graph)
    plan = maps.cheapest()
    if plan.is_whole(maps):
        return graph
    constants = target.evaluate(graph, sorted(plan.pasted)) if plan.pasted else {}
    return _Rebuilt(maps, plan, constants).graph()


def borders_of(graph: FixedGraph, evaluate: Evaluate) -> dict[str, Border]:
    """What is known beforehand of a graph's outputs, for graphs that read them.

    Args:
        graph: The graph.
        evaluate: Computes values of the graph on an empty frame.

    Returns:
        By name, for those outputs of which a frame changes a part only.
    """
    live, names = live_windows(graph), partly_live_outputs(graph)
    values = evaluate(graph, names) if names else {}
    return {name: Border(live[name], values[name]) for name in names}


def partly_live_outputs(graph: FixedGraph) -> list[str]:
    """The outputs of which a frame changes a part only.

    Args:
        graph: The graph.

    Returns:
        Their names.
    """
    live = live_windows(graph)
    return [o.name for o in graph.outputs if o.name in live and live[o.name] != whole_map(graph, o.name)]


class _Rebuilt:
    """The graph with each map on its own window."""

    def __init__(self, maps: Maps, plan: Plan, constants: Mapping[str, np.ndarray]) -> None:
        self._maps = maps
        self._plan = plan
        self._constants = constants
        self._nodes: list[NodeProto] = []
        self._arrays: dict[str, np.ndarray] = {}
        self._shapes = dict(maps.graph.shapes)
        self._at: dict[str, tuple[str, Window]] = {}  # where a map is found, and the window it has there
        self._count = 0

    def graph(self) -> FixedGraph:
        """The finished graph."""
        graph = self._maps.graph
        for node in graph.nodes:
            if self._maps.operators.get(node.output[0]) is None:
                self._opaque(node)
            else:
                self._part(node, self._maps.operators[node.output[0]])
        for value in graph.outputs:
            if value.name in self._at:
                name = self._cut(value.name, self._maps.whole[value.name])
                self._add("Identity", [name], value.name, graph.shapes[value.name])
        return graph.with_nodes(self._nodes, self._arrays, self._shapes)

    def _opaque(self, node: NodeProto) -> None:
        made = NodeProto()
        made.CopyFrom(node)
        for position, name in enumerate(node.input):
            if name in self._at:
                made.input[position] = self._cut(name, self._maps.whole[name])
        self._nodes.append(made)

    def _part(self, node: NodeProto, operator: MapOperator) -> None:
        name = node.output[0]
        window = self._plan.computed[name]
        first = operator.maps[0]
        at_hand = self._at[first][1] if first in self._at else whole_map(self._maps.graph, first)
        assert at_hand is not None
        made, wanted = part_of(self._maps.graph, node, operator, at_hand, window)
        for position, read in enumerate(node.input):
            if read in operator.maps:
                made.input[position] = self._cut(read, wanted)
        if operator.alias:
            self._at[name] = made.input[0], window
        else:
            made.output[0] = self._name(name)
            made.name = made.output[0]
            self._nodes.append(made)
            self._shapes[made.output[0]] = (
                *self._maps.graph.shapes[name][:2],
                window.rows.size,
                window.columns.size,
            )
            self._at[name] = made.output[0], window
        if name in self._plan.pasted:
            self._paste(name)

    def _cut(self, name: str, wanted: Window) -> str:
        """The name of a value that is this window of a map."""
        full = whole_map(self._maps.graph, name)
        assert full is not None
        found, window = self._at.get(name, (name, full))
        if window == wanted:
            return found
        starts = [wanted[axis].lo - window[axis].lo for axis in (0, 1)]
        ends = [wanted[axis].hi - window[axis].lo for axis in (0, 1)]
        cut = self._name(name)
        ints = (np.array(v, np.int64) for v in (starts, ends, [2, 3]))
        shape = (*self._maps.graph.shapes[name][:2], wanted.rows.size, wanted.columns.size)
        return self._add("Slice", [found, *map(self._array, ints)], cut, shape)

    def _paste(self, name: str) -> None:
        """Set the computed window into the constants that lie around it."""
        found, window = self._at[name]
        read, constant = self._plan.read[name], self._constants[name]
        columns = [(read.columns.lo, window.columns.lo), (window.columns.hi, read.columns.hi)]
        rows = [(read.rows.lo, window.rows.lo), (window.rows.hi, read.rows.hi)]
        middle = [constant[:, :, slice(*window.rows), slice(*span)] for span in columns]
        outer = [constant[:, :, slice(*span), slice(*read.columns)] for span in rows]
        found = self._joined(name, found, middle, axis=3)
        found = self._joined(name, found, outer, axis=2)
        self._at[name] = found, read

    def _joined(self, name: str, found: str, beside: Sequence[np.ndarray], axis: int) -> str:
        before, after = ([self._array(np.ascontiguousarray(a))] if a.size else [] for a in beside)
        if not before and not after:
            return found
        shape = list(self._shapes[found])
        shape[axis] += sum(a.shape[axis] for a in beside)
        return self._add("Concat", [*before, found, *after], self._name(name), tuple(shape), axis=axis)

    def _add(self, op: str, inputs: list[str], output: str, shape: tuple[int, ...], **given: int) -> str:
        self._nodes.append(helper.make_node(op, inputs, [output], name=output, **given))
        self._shapes[output] = shape
        return output

    def _array(self, array: np.ndarray) -> str:
        name = self._name("constant")
        self._arrays[name] = array
        self._shapes[name] = array.shape
        return name

    def _name(self, base: str) -> str:
        self._count += 1
        return f"{base}/live_{self._count}"
