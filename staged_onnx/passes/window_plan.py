"""Which window of each map is computed, and which maps are pasted: the plan of `live_region`.

ONNX Runtime makes one kernel of a convolution and what follows it, and takes kernels by the layout of their
input; both change the order of a sum. A plan keeps to windows that leave all of these choices as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from staged_onnx.passes.fixed_graph import FixedGraph, node_macs
from staged_onnx.passes.map_operators import MapOperator, map_operator, whole_map
from staged_onnx.passes.windows import Window, hull, meet

__all__ = ["Maps", "Plan", "live_windows"]

COPY = 60
"""What copying one number costs, in multiply-accumulates; of pooling and the like, per number written.

Fitted on two cores with AVX-512: 90 GMAC/s of convolution against 1.5 G numbers/s.
"""
PASTE = 4 * COPY
"""What each number of a pasted map costs: two concatenations, out of the blocked layout and back."""

SMALLEST = 1024
"""Positions that the window of a convolution has at least, or its map is computed whole.

On fewer columns than 64 per thread ONNX Runtime's matrix product adds up in another order, so that a smaller
window could differ in the last bit.
"""

TURNS = 8
"""How often windows are made to agree before they are made whole."""
_EXACT = frozenset({"Abs", "Clip", "Identity", "LeakyRelu", "Max", "Min", "Neg", "PRelu", "Relu"})
"""Operators on a position that round nothing, or the same in every kernel."""


def live_windows(graph: FixedGraph) -> dict[str, Window]:
    """For each map that a frame can change, where it can."""
    live: dict[str, Window] = {}
    for value in graph.inputs:
        window = whole_map(graph, value.name)
        if window is not None:
            live[value.name] = graph.borders[value.name].live if value.name in graph.borders else window
    fixed = set(graph.tensors) | set(graph.arrays)
    for node in graph.nodes:
        reads = [name for name in node.input if name and name not in fixed]
        if not reads:
            fixed.update(node.output)
            continue
        operator = map_operator(graph, node)
        for name in node.output:
            result = whole_map(graph, name)
            if result is None:
                continue
            live[name] = result
            if operator is not None and set(reads) <= set(operator.maps) and set(reads) <= live.keys():
                parts = [operator.changed(live[read], result) for read in reads]
                found = parts[0]
                for part in parts[1:]:
                    found = hull(found, part)
                live[name] = found if found.area else result
    return live


@dataclass(frozen=True)
class Plan:
    """For each map the window that is read, and the one that is computed; less for those that are pasted."""

    read: Mapping[str, Window]
    computed: Mapping[str, Window]
    pasted: frozenset[str]
    cost: float

    def is_whole(self, maps: Maps) -> bool:
        return all(window == maps.whole[name] for name, window in self.computed.items())


def _narrowable(
    graph: FixedGraph, live: Mapping[str, Window]
) -> tuple[dict[str, MapOperator], frozenset[str], frozenset[str]]:
    """The map operators by their result, the maps that are not to be pasted, and those that stay whole.

    ONNX Runtime makes one kernel of a convolution and the sums and products behind it, where all that is
    added comes in its blocked layout; such a kernel rounds differently. So on the way from convolutions to a
    sum nothing may be added or taken away that changes a layout. A crop there stays, unless it meets the
    result of a deconvolution, which has no such layout; where there is pooling, joining or something opaque
    on the way, maps stay whole; and nothing is pasted.
    """
    operators = {
        node.output[0]: operator
        for node in graph.nodes
        if node.output[0] in live and (operator := map_operator(graph, node)) is not None
    }
    made = {node.output[0]: node for node in graph.nodes if len(node.output) == 1}
    inputs = {value.name for value in graph.inputs}
    unpasted, entire = set[str](), set[str]()
    for node in graph.nodes:
        operator = operators.get(node.output[0])
        if operator is None or not operator.fuses or node.op_type in _EXACT:
            continue
        free = any(name in made and made[name].op_type == "ConvTranspose" for name in operator.maps)
        way, seen = list(operator.maps), set[str]()
        while way:
            name = way.pop()
            if name in seen:
                continue
            seen.add(name)
            before, kind = operators.get(name), made[name].op_type if name in made else ""
            unpasted.add(name)
            if free or name in inputs or kind in ("Conv", "ConvTranspose"):
                continue
            if before is None or not before.fuses:
                entire.add(node.output[0])
            if before is not None:
                way += before.maps
                if not before.fuses:
                    entire.update(before.maps)
                if before.alias:
                    del operators[name]
    return operators, frozenset(unpasted), frozenset(entire)


def _fused(graph: FixedGraph, operators: Mapping[str, MapOperator]) -> dict[str, str]:
    """For each map the name of its group: those that may be parts of one kernel, and so have one window."""
    group = {name: name for name in operators}

    def find(name: str) -> str:
        while group[name] != name:
            name = group[name]
        return name

    for name, operator in operators.items():
        for other in operator.maps if operator.fuses else ():
            if other in group:
                group[find(other)] = find(name)
    return {name: find(name) for name in operators}


class Maps:
    """The maps of a graph: their windows, and what it costs to compute one of them."""

    def __init__(self, graph: FixedGraph) -> None:
        self.graph = graph
        self.live = live_windows(graph)
        self.operators, self._unpasted, self._entire = _narrowable(graph, self.live)
        self.whole = {name: window for name in self.operators if (window := whole_map(graph, name))}
        self._fused = _fused(graph, self.operators)
        makers = (node for node in graph.nodes if node.op_type in ("Conv", "ConvTranspose"))
        self._multiplied = frozenset(node.output[0] for node in makers)

    @cached_property
    def candidates(self) -> list[str]:
        """Maps that may be pasted: those with a dead margin, unless a kernel could be fused around them."""
        fusing = {name for operator in self.operators.values() if operator.fuses for name in operator.maps}
        fusing |= self._unpasted
        return [
            name for name, window in self.whole.items()
            if name not in fusing and self.live[name] != window and not self.operators[name].alias
        ]  # fmt: skip

    def cheapest(self) -> Plan:
        """The plan that costs least, found by adding the paste that saves most, one after another."""
        best = self.plan(frozenset())
        while True:
            tried = (self.plan(best.pasted | {name}) for name in self.candidates if name not in best.pasted)
            found = min(tried, key=lambda plan: plan.cost, default=best)
            if found.cost >= best.cost:
                return best
            best = found

    def plan(self, pasted: frozenset[str]) -> Plan:
        """What is read and computed where these maps are pasted, and what it costs.

        Maps of one fused kernel have one window, so this goes on until all readers of all of them agree.
        """
        together = {self._fused[name]: self.whole[name] for name in self._entire if name in self.whole}
        for turn in range(TURNS + 1):
            plan = self._plan(pasted, together)
            grown = dict(together)
            for name, window in plan.computed.items():
                group = self._fused[name]
                grown[group] = hull(grown[group], window) if group in grown else window
            if grown == together:
                break
            if turn == TURNS - 1:  # windows that grow by a step each turn grow until they are whole
                moving = {group for group, window in grown.items() if window != together.get(group)}
                grown |= {self._fused[n]: w for n, w in self.whole.items() if self._fused[n] in moving}
            together = grown
        return plan

    def _plan(self, pasted: frozenset[str], together: Mapping[str, Window]) -> Plan:
        read: dict[str, Window] = {
            v.name: self.whole[v.name] for v in self.graph.outputs if v.name in self.whole
        }
        computed: dict[str, Window] = {}
        cost, used = 0.0, set[str]()
        for node in reversed(self.graph.nodes):
            name = node.output[0]
            operator = self.operators.get(name)
            if operator is None:
                read |= {i: self.whole[i] for i in node.input if i in self.whole}
                continue
            window = read.setdefault(name, self.whole[name])
            if name in pasted and meet(window, self.live[name]).area:
                window = meet(window, self.live[name])
            if self._fused[name] in together:
                window = hull(window, together[self._fused[name]])
            window, needed = self._window(name, window)
            if name in pasted and not read[name].within(window):
                used.add(name)
                cost += PASTE * self.graph.shapes[name][1] * read[name].area
            read[name] = hull(read[name], window)
            computed[name] = window
            cost += self.costs[name] * window.area
            for i in operator.maps:
                if i in self.whole:
                    read[i] = hull(read[i], needed) if i in read else needed
        return Plan(read, computed, frozenset(used), cost)

    def _window(self, name: str, wanted: Window) -> tuple[Window, Window]:
        """The window of a map that is computed where one is wanted, and what that reads of the input."""
        operator = self.operators[name]
        source = whole_map(self.graph, operator.maps[0])
        assert source is not None
        least = SMALLEST if name in self._multiplied else 1
        for window in (wanted, self.whole[name]):
            needed = meet(operator.needed(window), source)
            if needed.area and window.area >= least:  # no operator takes an empty input, all of it padding
                break
        return window, needed

    @cached_property
    def costs(self) -> dict[str, float]:
        """What computing one position of each map costs, in multiply-accumulates."""
        found = {}
        for node in self.graph.nodes:
            name = node.output[0]
            if name in self.operators:
                channels = self.graph.shapes[name][1]
                moved = 0 if self.operators[name].alias else COPY * channels
                found[name] = node_macs(self.graph, node) / self.whole[name].area + moved
        return found
