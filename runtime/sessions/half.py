"""A graph in half precision: float16 inside and between the stages, float32 where float16 cannot hold it."""

from __future__ import annotations

from os import fspath

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from weights.errors import BundleError
from weights.shown import shown

__all__ = ["half"]

SMALL = 1024
"""Elements up to which a constant is left to the converter: scales, axes, borders."""
FLOAT32_OPERATORS = (
    "GridSample", "InstanceNormalization", "LayerNormalization", "LpNormalization",
    "MeanVarianceNormalization", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean",
    "ReduceProd", "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
"""Sums over maps: ONNX Runtime's half kernels keep them in half precision, which ends at 65504. GridSample
has no half kernel on a GPU.
"""


def half(source: str | bytes, folder: str) -> bytes:
    """Turn a graph into float16.

    Args:
        source: The graph's file, or the graph itself.
        folder: Where the weights lie that it keeps outside.

    Returns:
        The graph, weights and all.

    Raises:
        BundleError: It cannot be turned into float16.
    """
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    try:
        if isinstance(source, bytes):
            proto = onnx.load_from_string(source)
        else:
            proto = onnx.load(fspath(source), load_external_data=False)
        onnx.load_external_data_for_model(proto, folder)
        weights = _take_weights(proto)
        blocked = [*DEFAULT_OP_BLOCK_LIST, *FLOAT32_OPERATORS]
        converted = convert_float_to_float16(proto, op_block_list=blocked)
        _give_weights(converted, weights)
        _order(converted.graph)
        return bytes(converted.SerializeToString())
    except Exception as error:  # the converter raises whatever onnx and protobuf raise
        file = None if isinstance(source, bytes) else source
        raise BundleError("cannot be turned into float16", file=file, found=shown(error, 300)) from None


def _take_weights(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Take the large float32 constants out of a graph and leave inputs in their place.

    The converter, which is slow with numbers, then sees none; for an input it does what it does for a weight,
    a cast back to float32 before an operator that stays so included.
    """
    large = [
        t for t in proto.graph.initializer if t.data_type == TensorProto.FLOAT and np.prod(t.dims) > SMALL
    ]
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in large}
    for tensor in large:
        proto.graph.initializer.remove(tensor)
        proto.graph.input.append(
            onnx.helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims)
        )
    return weights


def _give_weights(proto: onnx.ModelProto, weights: dict[str, np.ndarray]) -> None:
    """Put the weights back, in float16; what is beyond its range becomes its largest number."""
    most = np.finfo(np.float16).max
    for value in [value for value in proto.graph.input if value.name in weights]:
        array = weights[value.name]
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            array = np.clip(array, -most, most).astype(np.float16)
        proto.graph.input.remove(value)
        proto.graph.initializer.append(numpy_helper.from_array(array, value.name))


def _order(graph: onnx.GraphProto) -> None:
    """Put every node behind those that it reads, and of nodes that make the same value leave the first.

    The converter writes a cast once for every reader, and writes some behind their readers.
    """
    left = {output: node for node in reversed(graph.node) for output in node.output if output}
    waiting = [node for node in graph.node if any(left.get(output) is node for output in node.output)]
    ordered: list[onnx.NodeProto] = []
    while waiting:
        late = []
        for node in waiting:
            if any(name in left for name in node.input):
                late.append(node)
                continue
            ordered.append(node)
            for output in node.output:
                left.pop(output, None)
        if len(late) == len(waiting):
            raise ValueError("a circle of nodes")
        waiting = late
    del graph.node[:]
    graph.node.extend(ordered)
