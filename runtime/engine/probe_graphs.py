"""What a clock measures, as graphs that run where the cache lies; one number leaves the device.

With a the value now and b the reference kept from an earlier frame:

- argmax: d = (positions where argmax_c a differs from argmax_c b) / (h * w), on the raw map, border included;
  ties go to the first channel. The reference kept is the map of argmaxes. (Clockwork, section 4.3 and code.)
- relative: d = mean(|a - b| / ((|a| + |b|) / 2)), 0 where both are 0; of a frame, after the net's mean is
  subtracted. (Clockwork's comparison of layers and pixels.) Used for values without one channel a class too.
- peak: mean over positions of max_c softmax(a)_c. Keeps no reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["SensorGraph", "sensor_graph"]

_ONNX_TYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float16): TensorProto.FLOAT16,
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.int32): TensorProto.INT32,
}


@dataclass(frozen=True)
class SensorGraph:
    """A graph with inputs `value` and, if it keeps one, `reference`; outputs `change` (float64, no
    dimensions) and, if it keeps one, `snapshot`, the next reference, of the given shape and type.
    """

    model: bytes
    snapshot_shape: tuple[int, ...] | None
    snapshot_dtype: type[np.generic] = np.float32


class _Graph:
    """Nodes and constants of a graph in the making."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, op: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        out = name or f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def const(self, array: Any, dtype: type[np.generic] = np.float32) -> str:
        name = f"const{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name


def sensor_graph(
    measure: str,
    shape: tuple[int, ...],
    dtype: type[np.generic],
    *,
    mean: tuple[float, ...] = (0.0,),
) -> SensorGraph:
    """The graph of a measure ("argmax", "relative" or "peak") on a value of fixed shape and type.

    mean: subtracted before "relative" along the last axis, for a frame.
    """
    g = _Graph()
    kept: tuple[int, ...] | None
    if measure == "argmax":
        # int32: ONNX Runtime's CUDA provider compares no uint8
        kept, kept_type = (shape[0], *shape[2:]), np.int32
        _argmax_change(g, int(np.prod(kept)))
    elif measure == "relative":
        kept, kept_type = shape, dtype  # type: ignore[assignment]
        _relative_change(g, mean)
    else:
        kept, kept_type = None, np.float32  # type: ignore[assignment]
        probabilities = g.node("Softmax", g.node("Cast", "value", to=TensorProto.FLOAT), axis=1)
        peaks = g.node("ReduceMax", probabilities, axes=[1], keepdims=0)
        g.node("Cast", g.node("ReduceMean", peaks, keepdims=0), name="change", to=TensorProto.DOUBLE)
    inputs = [helper.make_tensor_value_info("value", _ONNX_TYPES[np.dtype(dtype)], shape)]
    outputs = [helper.make_tensor_value_info("change", TensorProto.DOUBLE, [])]
    if kept is not None:
        kind = _ONNX_TYPES[np.dtype(kept_type)]
        inputs.append(helper.make_tensor_value_info("reference", kind, kept))
        outputs.append(helper.make_tensor_value_info("snapshot", kind, kept))
    graph = helper.make_graph(g.nodes, measure, inputs, outputs, g.constants)
    model = helper.make_model(
        graph, producer_name="clockwork-onnx", ir_version=8, opset_imports=[helper.make_opsetid("", 17)]
    )
    onnx.checker.check_model(model)
    return SensorGraph(model.SerializeToString(), kept, kept_type)


def _argmax_change(g: _Graph, positions: int) -> None:
    best = g.node("ArgMax", g.node("Cast", "value", to=TensorProto.FLOAT), axis=1, keepdims=0)
    g.node("Cast", best, name="snapshot", to=TensorProto.INT32)
    differs = g.node("Not", g.node("Equal", "snapshot", "reference"))
    count = g.node("ReduceSum", g.node("Cast", differs, to=TensorProto.FLOAT), keepdims=0)
    # A whole number divided in double is the double nearest to the true share, so that a share of exactly
    # theta compares as equal to theta; a mean taken in float32 would miss it.
    g.node("Div", g.node("Cast", count, to=TensorProto.DOUBLE), g.const(positions, np.float64), name="change")


def _relative_change(g: _Graph, mean: tuple[float, ...]) -> None:
    a, b = (g.node("Cast", name, to=TensorProto.FLOAT) for name in ("value", "reference"))
    if any(mean):
        offset = g.const(mean)
        a, b = g.node("Sub", a, offset), g.node("Sub", b, offset)
    size = g.node("Add", g.node("Abs", a), g.node("Abs", b))
    both_zero = g.node("Equal", size, g.const(0))
    difference = g.node("Mul", g.node("Abs", g.node("Sub", a, b)), g.const(2))
    ratio = g.node("Div", difference, g.node("Where", both_zero, g.const(1), size))
    g.node("Cast", g.node("ReduceMean", ratio, keepdims=0), name="change", to=TensorProto.DOUBLE)
    g.node("Identity", "value", name="snapshot")
