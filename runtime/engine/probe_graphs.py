"""What a clock measures, as graphs that run where the cache lies; one number leaves the device.

With a the value now and b the reference kept from an earlier frame:

- argmax: d = (positions where argmax_c a differs from argmax_c b) / (h * w), on the raw map, border included;
  ties go to the first channel. The reference kept is the map of argmaxes. (Clockwork, section 4.3 and code.)
- relative: d = mean(|a - b| / ((|a| + |b|) / 2)), 0 where both are 0; of a frame, after the net's mean is
  subtracted. (Clockwork's comparison of layers and pixels.) Also for values without one channel per class.
- peak: mean over positions of max_c softmax(a)_c. Keeps no reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from caffe_port.onnx_graph import OnnxGraph

__all__ = ["SensorGraph", "sensor_graph"]

_ONNX_TYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float16): TensorProto.FLOAT16,
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.uint16): TensorProto.UINT16,
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


def sensor_graph(
    measure: str,
    shape: tuple[int, ...],
    dtype: type[np.generic],
    *,
    mean: tuple[float, ...] = (0.0,),
) -> SensorGraph:
    """The graph of a measure on a value of fixed shape and type.

    Args:
        measure: "argmax", "relative" or "peak" (see the module).
        shape: The value's shape.
        dtype: The value's type.
        mean: Subtracted before "relative" along the last axis, for a frame.

    Returns:
        The graph, and the shape and type of the reference that it keeps, None where it keeps none.
    """
    g = OnnxGraph()
    value = g.input("value", shape, _ONNX_TYPES[np.dtype(dtype)])
    snapshot = ""
    snapshot_shape: tuple[int, ...] | None = None
    snapshot_dtype: type[np.generic] = np.float32
    if measure == "peak":
        probabilities = g.node("Softmax", _as_float(g, value), axis=1)
        peaks = g.node("ReduceMax", probabilities, axes=[1], keepdims=0)
        change = g.node("Cast", g.node("ReduceMean", peaks, keepdims=0), to=TensorProto.DOUBLE)
    else:
        if measure == "argmax":
            # int32: ONNX Runtime's CUDA provider compares no uint8
            snapshot_shape, snapshot_dtype = (shape[0], *shape[2:]), np.int32
        else:
            snapshot_shape, snapshot_dtype = shape, dtype
        reference = g.input("reference", snapshot_shape, _ONNX_TYPES[np.dtype(snapshot_dtype)])
        if measure == "argmax":
            change, snapshot = _argmax_change(g, value, reference, int(np.prod(snapshot_shape)))
        else:
            change, snapshot = _relative_change(g, value, reference, mean), value
    g.output(change, "change", [], TensorProto.DOUBLE)
    if snapshot_shape is not None:
        g.output(snapshot, "snapshot", snapshot_shape, _ONNX_TYPES[np.dtype(snapshot_dtype)])
    return SensorGraph(g.model(measure).SerializeToString(), snapshot_shape, snapshot_dtype)


def _as_float(g: OnnxGraph, value: str) -> str:
    return g.node("Cast", value, to=TensorProto.FLOAT)


def _argmax_change(g: OnnxGraph, value: str, reference: str, positions: int) -> tuple[str, str]:
    """The share of positions that changed, and the map of argmaxes."""
    # along the last axis, where a GPU takes the first of equals too (see `staged_onnx.outputs.emit_labels`)
    last = g.node("Transpose", _as_float(g, value), perm=[0, 2, 3, 1])
    best = g.node("ArgMax", last, axis=3, keepdims=0)
    snapshot = g.node("Cast", best, to=TensorProto.INT32)
    differs = g.node("Not", g.node("Equal", snapshot, reference))
    count = g.node("ReduceSum", _as_float(g, differs), keepdims=0)
    # A whole number divided in double is the double nearest to the true share, so that a share of exactly
    # theta compares as equal to theta; a mean taken in float32 would miss it.
    exact = g.node("Cast", count, to=TensorProto.DOUBLE)
    return g.node("Div", exact, g.const(positions, np.float64)), snapshot


def _relative_change(g: OnnxGraph, value: str, reference: str, mean: tuple[float, ...]) -> str:
    a, b = _as_float(g, value), _as_float(g, reference)
    if any(mean):
        offset = g.const(mean)
        a, b = g.node("Sub", a, offset), g.node("Sub", b, offset)
    size = g.node("Add", g.node("Abs", a), g.node("Abs", b))
    both_zero = g.node("Equal", size, g.const(0))
    difference = g.node("Mul", g.node("Abs", g.node("Sub", a, b)), g.const(2))
    ratio = g.node("Div", difference, g.node("Where", both_zero, g.const(1), size))
    return g.node("Cast", g.node("ReduceMean", ratio, keepdims=0), to=TensorProto.DOUBLE)
