"""Half precision: what float16 cannot hold stays float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from caffe_port.onnx_graph import OnnxGraph
from runtime.sessions.device import Device
from runtime.sessions.half import half
from runtime.sessions.memory import allocate, download, upload
from runtime.sessions.session import Session
from weights.errors import BundleError

HALF = Device("cpu", 0, "test", "fp16", threads=1)


def converted(g: OnnxGraph, folder: Path) -> onnx.ModelProto:
    return onnx.load_from_string(half(g.model("net").SerializeToString(), str(folder)))


def test_a_mean_over_a_map_does_not_overflow(tmp_path: Path) -> None:
    g = OnnxGraph()
    x = g.input("x", [1, 2, 300, 300])
    g.output(g.node("ReduceMean", x, axes=[2, 3], keepdims=1), "y", [1, 2, 1, 1])
    model = g.model("net")
    onnx.save(model, tmp_path / "net.onnx")
    session = Session(tmp_path / "net.onnx", HALF, {"x": (1, 2, 300, 300)}, name="net")
    values = np.full((1, 2, 300, 300), 500, np.float16)  # their sum is 4.5e7
    assert session.inputs["x"].dtype is np.float16
    given, made = (allocate(shape, np.float16, HALF) for shape in (values.shape, (1, 2, 1, 1)))
    upload(values, given, HALF)
    session.run(session.bind({"x": given}, {"y": made}))
    assert (download(made, np.float16, HALF) == 500).all()
    nodes = onnx.load_from_string(half(model.SerializeToString(), str(tmp_path))).graph.node
    assert [node.attribute[0].i for node in nodes if node.op_type == "Cast"] == [
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
    ]


def test_weights_become_half_and_are_cut_off_at_its_range(tmp_path: Path) -> None:
    g = OnnxGraph()
    weight = np.linspace(-1e5, 1e5, 2048, dtype=np.float32).reshape(1, 2, 32, 32)
    g.output(g.node("Mul", g.input("x", [1, 2, 32, 32]), g.const(weight)), "y", [1, 2, 32, 32])
    (kept,) = converted(g, tmp_path).graph.initializer
    array = numpy_helper.to_array(kept)
    assert array.dtype == np.float16 and array.min() == -65504 and array.max() == 65504
    inside = np.abs(weight) < 65504
    assert np.array_equal(array[inside], weight[inside].astype(np.float16))


def test_two_readers_in_float32_share_one_cast(tmp_path: Path) -> None:
    g = OnnxGraph()
    both = g.node("Relu", g.input("x", [1, 2, 4, 4]))
    sums = [g.node(kind, both, keepdims=1) for kind in ("ReduceMean", "ReduceL2")]
    g.output(g.node("Add", *sums), "y", [1, 1, 1, 1])
    model = converted(g, tmp_path)
    made = [name for node in model.graph.node for name in node.output]
    assert len(made) == len(set(made))
    onnx.checker.check_model(model)


def test_a_weight_that_a_float32_operator_reads_is_cast_back(tmp_path: Path) -> None:
    g = OnnxGraph()
    weight = g.const(np.full((1, 2, 32, 32), 3, np.float32))
    scaled = g.node("Add", g.input("x", [1, 2, 1, 1]), g.node("ReduceMean", weight, axes=[2, 3], keepdims=1))
    g.output(scaled, "y", [1, 2, 1, 1])
    onnx.checker.check_model(converted(g, tmp_path), full_check=True)


def test_what_is_no_graph_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match=r"net\.onnx: cannot be turned into float16"):
        half(str(tmp_path / "net.onnx"), str(tmp_path))
