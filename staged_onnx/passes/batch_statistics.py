"""Batch statistics: a BatchNorm on its own input's statistics is one InstanceNormalization for one frame.

Caffe's BatchNorm with `use_global_stats: false` is written for any batch,

    y = (x - mean) / sqrt(mean((x - mean)^2) + eps) * scale + shift,  means over batch, rows and columns,

eight operators of which each goes over the whole map. With a batch of one its means are those of the
instance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from onnx import NodeProto, helper

from staged_onnx.passes.fixed_graph import FixedGraph
from staged_onnx.passes.map_operators import attributes, whole_map
from staged_onnx.passes.target import Target

__all__ = ["batch_statistics"]


def batch_statistics(graph: FixedGraph, target: Target) -> FixedGraph:
    """Write each normalisation by the map's own statistics as one operator.

    Pre-condition: none; a map with a batch of more than one, and whatever is written otherwise, stays.
    Post-condition: the same inputs and outputs; numbers differ by the rounding of the means.

    Args:
        graph: Any graph.
        target: Not asked.

    Returns:
        The new graph; the same one where there is no such normalisation.
    """
    del target
    made = {output: node for node in graph.nodes for output in node.output}
    readers = Counter(name for node in graph.nodes for name in node.input)
    readers.update(value.name for value in graph.outputs)
    follows = {node.input[0]: node for node in graph.nodes if node.op_type in ("Mul", "Add")}
    arrays: dict[str, np.ndarray] = {}
    instead: dict[str, NodeProto] = {}
    for node in graph.nodes:
        found = _normalised(graph, node, made)
        if found is None:
            continue
        (source, epsilon), channels = found, graph.shapes[node.output[0]][1]
        scale, shift, last = np.ones(channels, np.float32), np.zeros(channels, np.float32), node
        for op in ("Mul", "Add"):
            after = follows.get(last.output[0])
            if after is None or after.op_type != op or readers[last.output[0]] != 1:
                continue
            per_channel = _per_channel(graph, after.input[1], channels)
            if per_channel is not None:
                scale, shift = (per_channel, shift) if op == "Mul" else (scale, per_channel)
                last = after
        name = last.output[0]
        given = [f"{name}/scale", f"{name}/shift"]
        arrays |= zip(given, (scale, shift), strict=True)
        instead[name] = helper.make_node(
            "InstanceNormalization", [source, *given], [name], name=name, epsilon=epsilon
        )
    if not instead:
        return graph
    nodes = [instead.get(node.output[0], node) for node in graph.nodes]
    return graph.with_nodes(nodes, arrays, {**graph.shapes, **{n: a.shape for n, a in arrays.items()}})


def _normalised(
    graph: FixedGraph, node: NodeProto, made: Mapping[str, NodeProto]
) -> tuple[str, float] | None:
    """What a Div normalises by its own statistics, and epsilon; None where it does something else."""
    if node.op_type != "Div" or whole_map(graph, node.output[0]) is None:
        return None
    centred, root = (made.get(name) for name in node.input)
    inside = made.get(root.input[0]) if root is not None and root.op_type == "Sqrt" else None
    if centred is None or centred.op_type != "Sub" or inside is None or inside.op_type != "Add":
        return None
    mean, spread = made.get(centred.input[1]), made.get(inside.input[0])
    square = made.get(spread.input[0]) if spread is not None else None
    if not (_is_mean(mean) and _is_mean(spread)) or mean is None or square is None:
        return None
    same = mean.input[0] == centred.input[0] and list(square.input) == [centred.output[0]] * 2
    epsilon = graph.array(inside.input[1]) if graph.is_constant(inside.input[1]) else None
    if not same or square.op_type != "Mul" or epsilon is None or epsilon.size != 1:
        return None
    return centred.input[0], float(epsilon.reshape(()))


def _is_mean(node: NodeProto | None) -> bool:
    """Whether a node is the mean of each channel."""
    if node is None or node.op_type != "ReduceMean":
        return False
    given = attributes(node)
    return sorted(given.get("axes", ())) == [0, 2, 3] and given.get("keepdims", 1) == 1


def _per_channel(graph: FixedGraph, name: str, channels: int) -> np.ndarray | None:
    """A constant with one number per channel, as a vector."""
    if not graph.is_constant(name) or graph.shapes[name][-3:] != (channels, 1, 1):
        return None
    return np.ascontiguousarray(graph.array(name).reshape(-1), np.float32)
