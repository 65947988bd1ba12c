"""Layers without a bottom: their tops are the same in every pass.

DummyData (BVLC dummy_data_layer.cpp): tops of stated shapes, filled by `data_filler` (one for all tops or one
each; constant 0 where none is given). A layer with a random filler, whose numbers change from pass to pass,
becomes inputs (boundary.random_inputs).
Parameter (BVLC parameter_layer.hpp): a learnt blob of `shape`, handed on as it is.
ContinuationIndicator (LSTM forks): time_step x batch_size, 0 in the first row and 1 below, which tells an
LSTM that a sequence starts.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Shape
from caffe_port.proto.caffe_pb2 import DummyDataParameter
from caffe_port.registry import Blob, LayerRule, register
from weights.errors import PrototxtError


def dummy_shapes(spec: DummyDataParameter, tops: int) -> tuple[Shape, ...]:
    """The shapes that a DummyDataParameter gives to so many tops."""
    if len(spec.data_filler) not in (0, 1, tops):
        raise PrototxtError(
            "fillers do not fit the tops", found=len(spec.data_filler), expected=f"0, 1 or {tops}"
        )
    legacy = (spec.num, spec.channels, spec.height, spec.width)
    if spec.shape and any(legacy):
        raise PrototxtError("shape is given both ways", expected="shape, or num, channels, height and width")
    if spec.shape:
        shapes = [tuple(s.dim) for s in spec.shape]
    else:
        lengths = {len(values) for values in legacy}
        if len(lengths) != 1:
            raise PrototxtError("half a shape", expected="num, channels, height and width equally often")
        shapes = list(zip(*legacy, strict=True))
    if len(shapes) not in (1, tops):
        raise PrototxtError("shapes do not fit the tops", found=len(shapes), expected=f"1 or {tops}")
    return tuple(shapes) if len(shapes) == tops else (shapes[0],) * tops


def dummy_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    return dummy_shapes(layer.spec.dummy_data_param, len(layer.tops))


def emit_dummy(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    values = [filler.value for filler in layer.spec.dummy_data_param.data_filler]
    values = values * len(layer.tops) if len(values) == 1 else values or [0.0] * len(layer.tops)
    return tuple(
        g.node("Expand", g.const(np.float32(value)), g.ints(*g.shape(top)))
        for value, top in zip(values, layer.tops, strict=True)
    )


def parameter_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    return (tuple(layer.spec.parameter_param.shape.dim),)


def parameter_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    spec = layer.spec.parameter_param
    return (Blob(tuple(spec.shape.dim), spec.filler if spec.HasField("filler") else None, "weight"),)


def emit_parameter(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    return (g.const(blobs[0]),)


def continuation_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    spec = layer.spec.continuation_indicator_param
    return ((spec.time_step, spec.batch_size),)


def emit_continuation(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    steps, streams = g.shape(layer.tops[0])
    rows = [
        g.node("Expand", g.const(np.float32(value)), g.ints(count, streams))
        for value, count in ((0, 1), (1, steps - 1))
        if count
    ]
    return (rows[0] if len(rows) == 1 else g.node("Concat", *rows, axis=0),)


register(
    LayerRule("DummyData", dummy_shape, emit_dummy, bottoms=(0, 0), tops=(1, None), module=__name__),
    LayerRule("Parameter", parameter_shape, emit_parameter, parameter_blobs, bottoms=(0, 0), module=__name__),
    LayerRule(
        "ContinuationIndicator",
        continuation_shape,
        emit_continuation,
        bottoms=(0, 0),
        fork="LSTM forks",
        module=__name__,
    ),
)
