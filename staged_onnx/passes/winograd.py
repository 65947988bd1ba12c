"""Winograd: convolutions of stride 1 with a third or a quarter of the multiplications, in stock operators.

A map is cut into tiles of n x n numbers that overlap by r - 1; each gives m x m results of an r x r kernel
(`cook_toom`). The tiles of all channels are transformed by one convolution over the map seen as a volume of
depth C, kernel 1 x n x n and stride 1 x m x m, whose n^2 results come out with the channels behind them, as
the products want them: n^2 products of K x C with C x tiles. One more product goes back, and DepthToSpace
lays the tiles side by side. No transposition of the large arrays is left.

A dilated convolution falls apart into d x d ordinary ones, on every d-th row and column: just more tiles.

What this costs in accuracy is bounded by the choice of points: at most about 3e-6 of a layer's largest result
for 3 x 3, 7e-6 for 7 x 7, where a direct convolution in float32 loses 3e-7 (`tests/staged_onnx/passes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

import numpy as np
from onnx import NodeProto, helper

from staged_onnx.passes.cook_toom import transforms
from staged_onnx.passes.fixed_graph import FixedGraph
from staged_onnx.passes.map_operators import attributes, whole_map
from staged_onnx.passes.target import Target

__all__ = ["Tiling", "tiling_of", "winograd"]

RESULTS = {3: (4, 2), 5: (2,), 7: (2,)}
"""By kernel size, how many results a tile may have along an axis."""

# Nanoseconds on one core with AVX-512 at 3.5 GHz, from profiles of layers of 64 to 512 channels.
DIRECT = 1 / 56  # a multiply-accumulate of a convolution
PRODUCT = 1 / 45  # of a matrix product
FORWARD = 1.5  # a number of the transformed map
BACK = 0.9  # a number that is transformed back
LAID = 1.5  # a result that is laid in its place, by one thread whatever there are
ADDED = 0.3  # a result to which the bias is added
SHUFFLED = 5.5  # a number that is sorted by its phase, by one thread
READ = 0.1  # a weight
GAIN = 0.9
"""Share of the direct convolution's time that a tiled one must stay under: estimates are good to a tenth."""


@dataclass(frozen=True)
class Tiling:
    """How a convolution is cut into tiles.

    results, taps: of a tile and of the kernel, along an axis. dilation: of the kernel. tiles: down and
    across, for each of dilation^2 phases. channels: of the map. kernels: channels of the result. result: its
    height and width.
    """

    results: int
    taps: int
    dilation: int
    tiles: tuple[int, int]
    channels: int
    kernels: int
    result: tuple[int, int]

    @property
    def size(self) -> int:
        """Numbers of a tile along an axis."""
        return self.results + self.taps - 1

    @property
    def count(self) -> int:
        """How many tiles a channel has."""
        return self.dilation**2 * prod(self.tiles)

    @property
    def padded(self) -> tuple[int, ...]:
        """Height and width of the map that the tiles of all phases cover."""
        return tuple(self.dilation * (self.results * count + self.taps - 1) for count in self.tiles)

    def nanoseconds(self, threads: int) -> float:
        """What it should take."""
        numbers, laid = self.size**2 * self.count, self.results**2 * self.count * self.kernels
        columns = ceil(self.count / 16) * 16
        shared = self.size**2 * self.kernels * self.channels * (columns * PRODUCT + READ)
        shared += numbers * (self.channels * FORWARD + self.kernels * BACK) + laid * ADDED
        alone = laid * LAID
        if self.dilation > 1:
            alone = SHUFFLED * (laid + self.channels * prod(self.padded))
        return shared / threads + alone

    def direct_nanoseconds(self, threads: int) -> float:
        """What the convolution takes as it is."""
        return prod(self.result) * self.kernels * self.channels * self.taps**2 * DIRECT / threads


def winograd(graph: FixedGraph, target: Target, share: float = GAIN) -> FixedGraph:
    """Compute convolutions in tiles where that is faster.

    Pre-condition: none; what is not a dense convolution of stride 1 with a square kernel of 3, 5 or 7 stays.
    Post-condition: the same inputs and outputs; each layer's result differs from the direct one by float32's
    rounding of the transforms, see above.

    Args:
        graph: Any graph.
        target: Its threads count for the cost.
        share: Of the direct convolution's time, as estimated, that a tiled one must stay under.

    Returns:
        The new graph; the same one where no layer is faster in tiles.
    """
    nodes: list[NodeProto] = []
    arrays: dict[str, np.ndarray] = {}
    shapes = dict(graph.shapes)
    for node in graph.nodes:
        tiling = tiling_of(graph, node, target.threads, share)
        if tiling is None:
            nodes.append(node)
        else:
            writer = _Writer(graph, node, tiling, nodes, arrays, shapes)
            writer.write()
    return graph if not arrays else graph.with_nodes(nodes, arrays, shapes)


def tiling_of(graph: FixedGraph, node: NodeProto, threads: int, share: float = GAIN) -> Tiling | None:
    """The fastest way to compute a node in tiles; None where it is faster, or only possible, as it is."""
    if node.op_type != "Conv" or whole_map(graph, node.input[0]) is None:
        return None
    weights, result = graph.shapes.get(node.input[1]), graph.shapes.get(node.output[0])
    given = attributes(node)
    if weights is None or result is None or not all(graph.is_constant(name) for name in node.input[1:]):
        return None
    strides, dilations = given.get("strides", [1, 1]), given.get("dilations", [1, 1])
    kernel, dilation = weights[2], dilations[0]
    plain = given.get("group", 1) == 1 and given.get("auto_pad", b"NOTSET") == b"NOTSET"
    square = weights[2:] == (kernel, kernel) and dilations[1] == dilation and list(strides) == [1, 1]
    if not plain or not square or kernel not in RESULTS:
        return None
    height, width = result[2:]
    found = []
    for results in RESULTS[kernel]:
        tiles = [ceil(ceil(size / dilation) / results) for size in (height, width)]
        found.append(
            Tiling(results, kernel, dilation, (tiles[0], tiles[1]), weights[1], weights[0], (height, width))
        )
    best = min(found, key=lambda tiling: tiling.nanoseconds(threads))
    faster = best.nanoseconds(threads) < share * best.direct_nanoseconds(threads)
    return best if faster else None


class _Writer:
    """Writes the nodes of one convolution in tiles."""

    def __init__(
        self,
        graph: FixedGraph,
        node: NodeProto,
        tiling: Tiling,
        nodes: list[NodeProto],
        arrays: dict[str, np.ndarray],
        shapes: dict[str, tuple[int, ...]],
    ) -> None:
        self._graph, self._node, self._tiling = graph, node, tiling
        self._nodes, self._arrays, self._shapes = nodes, arrays, shapes

    def write(self) -> None:
        """Add the nodes; the last one's result has the convolution's name."""
        node, t = self._node, self._tiling
        matrices = transforms(t.results, t.taps)
        signal = matrices.signal.astype(np.float32).reshape(-1, 1, 1, t.size, t.size)
        weights = _transformed(self._graph.array(node.input[1]), matrices.kernel)
        tiles = self._tiled(self._array("signal", signal))
        tiles = self._reshaped(tiles, (t.size**2, t.channels, t.count))
        found = self._add("MatMul", self._array("weights", weights), tiles, (t.size**2, t.kernels, t.count))
        found = self._reshaped(found, (t.size**2, t.kernels * t.count))
        back = self._array("result", matrices.result.astype(np.float32))
        found = self._add("MatMul", back, found, (t.results**2, t.kernels * t.count))
        found = self._laid(found)
        self._finished(found)

    def _tiled(self, signal: str) -> str:
        """The transformed tiles: 1 x n^2 x (channels, and phases) x tiles down x tiles across."""
        t, name = self._tiling, self._node.input[0]
        pads = attributes(self._node).get("pads", [0, 0, 0, 0])
        channels, height, width = self._shapes[name][1:]
        needed = t.padded
        after = [needed[0] - height - pads[0], needed[1] - width - pads[1]]
        around = [pads[0], pads[1], *after]
        if t.dilation > 1:
            size = np.array([0, 0, *around[:2], 0, 0, *around[2:]], np.int64)
            padded = self._add("Pad", name, self._array("pads", size), (1, channels, *needed))
            rows, columns = (n // t.dilation for n in needed)
            split = self._reshaped(padded, (channels, rows, t.dilation, columns, t.dilation))
            phases = (channels, t.dilation, t.dilation, rows, columns)
            name = self._add("Transpose", split, None, phases, perm=[0, 2, 4, 1, 3])
            channels, height, width = channels * t.dilation**2, rows, columns
            around = [0, 0, 0, 0]
        volume = self._reshaped(name, (1, 1, channels, height, width))
        return self._add(
            "Conv", volume, signal, (1, t.size**2, channels, *t.tiles), kernel_shape=[1, t.size, t.size],
            strides=[1, t.results, t.results], pads=[0, *around[:2], 0, *around[2:]],
        )  # fmt: skip

    def _laid(self, found: str) -> str:
        """The results in their places: 1 x kernels x height x width, or somewhat more."""
        t, m = self._tiling, self._tiling.results
        size = [count * m * t.dilation for count in t.tiles]
        if t.dilation == 1:
            depth = self._reshaped(found, (1, m**2 * t.kernels, *t.tiles))
            return self._add("DepthToSpace", depth, None, (1, t.kernels, *size), blocksize=m, mode="DCR")
        split = self._reshaped(found, (m, m, t.kernels, t.dilation, t.dilation, *t.tiles))
        turned = (t.kernels, t.tiles[0], m, t.dilation, t.tiles[1], m, t.dilation)
        turn = self._add("Transpose", split, None, turned, perm=[2, 5, 0, 3, 6, 1, 4])
        return self._reshaped(turn, (1, t.kernels, *size))

    def _finished(self, found: str) -> None:
        """Cut to the result's size, add the bias, and give it the convolution's name."""
        node, shape = self._node, self._graph.shapes[self._node.output[0]]
        if self._shapes[found] != shape:
            ends = [
                self._array(n, np.array(v))
                for n, v in (("from", [0, 0]), ("to", shape[2:]), ("axes", [2, 3]))
            ]
            name = self._name("Slice")
            self._nodes.append(helper.make_node("Slice", [found, *ends], [name], name=name))
            self._shapes[name], found = shape, name
        output = node.output[0]
        if len(node.input) > 2 and node.input[2]:
            bias = self._array("bias", self._graph.array(node.input[2]).reshape(1, -1, 1, 1))
            self._nodes.append(helper.make_node("Add", [found, bias], [output], name=output))
        else:
            self._nodes.append(helper.make_node("Identity", [found], [output], name=output))

    def _reshaped(self, name: str, shape: tuple[int, ...]) -> str:
        return self._add("Reshape", name, self._array("shape", np.array(shape, np.int64)), shape)

    def _add(self, op: str, first: str, second: str | None, shape: tuple[int, ...], **given: object) -> str:
        name = self._name(op)
        inputs = [first] if second is None else [first, second]
        self._nodes.append(helper.make_node(op, inputs, [name], name=name, **given))
        self._shapes[name] = shape
        return name

    def _array(self, what: str, array: np.ndarray) -> str:
        name = self._name(what)
        self._arrays[name] = array
        self._shapes[name] = array.shape
        return name

    def _name(self, what: str) -> str:
        base = f"{self._node.output[0]}/winograd/{what}"
        name, number = base, 1
        while name in self._shapes:
            number += 1
            name = f"{base}_{number}"
        return name


BLOCK = 1 << 22
"""Weights that are transformed at a time, in float64."""


def _transformed(weights: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """K x C x r x r weights as n^2 x K x C."""
    kernels, channels = weights.shape[:2]
    found = np.empty((kernel.shape[0], kernels, channels), np.float32)
    step = max(1, BLOCK // prod(weights.shape[1:]))
    for start in range(0, kernels, step):
        part = weights[start : start + step].reshape(-1, kernel.shape[1]).astype(np.float64)
        found[:, start : start + step] = (kernel @ part.T).reshape(kernel.shape[0], -1, channels)
    return found
