"""The ONNX builder: names, constants, what is left out, and graphs that go on where a model ends."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from caffe_port.onnx_graph import OnnxGraph


def run(model: onnx.ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def test_a_graph_runs_and_its_names_are_the_outputs_own() -> None:
    g = OnnxGraph()
    x = g.input("x", [2, "n"])
    y = g.node("Add", g.node("Mul", x, g.const(2.0)), g.const(1.0))
    g.output(y, "y", [2, "n"])
    model = g.model("line")
    assert [node.op_type for node in model.graph.node] == ["Mul", "Add"]  # no Identity for the output
    assert model.opset_import[0].version == 17
    np.testing.assert_array_equal(run(model, x=np.ones((2, 3), np.float32))[0], np.full((2, 3), 3))


def test_one_result_as_two_outputs_and_an_input_as_an_output() -> None:
    g = OnnxGraph()
    x = g.input("x", [1])
    y = g.node("Neg", x)
    for value, name in ((y, "a"), (y, "b"), (x, "c")):
        g.output(value, name, [1])
    assert [float(v[0]) for v in run(g.model("three"), x=np.array([4], np.float32))] == [-4, -4, 4]


def test_constants_are_stored_once_and_keep_their_type_and_shape() -> None:
    g = OnnxGraph()
    large = np.arange(100, dtype=np.float32)
    assert g.const(large) == g.const(large) != g.const(large.copy())
    assert g.const([1, 2]) == g.const(np.array([1.0, 2.0])) != g.ints(1, 2)
    assert g.const(1.0) != g.const([1.0])  # a scalar is no vector


def test_what_no_output_needs_is_left_out() -> None:
    g = OnnxGraph()
    x = g.input("x", [1])
    g.node("Mul", g.node("Exp", x), g.const([7.0]))
    g.output(g.node("Neg", x), "y", [1])
    model = g.model("neg")
    assert [node.op_type for node in model.graph.node] == ["Neg"] and not model.graph.initializer


def test_an_invalid_graph_is_found_when_it_is_finished() -> None:
    g = OnnxGraph()
    g.output(g.node("NoSuchOperator", g.input("x", [1])), "y", [1])
    with pytest.raises(onnx.checker.ValidationError, match="NoSuchOperator"):
        g.model("bad")


def test_a_graph_goes_on_where_a_model_ends() -> None:
    first = OnnxGraph()
    x = first.input("x", [1, 2])
    first.output(first.node("Mul", x, first.const([[3.0, 4.0]])), "y", [1, 2])
    first.output(first.node("Exp", x), "unused", [1, 2])
    g = OnnxGraph(first.model("first"))
    assert g.inputs == ("x",) and g.has("y") and not g.has("z") and not g.has("const")
    z = g.node("Mul", "y", g.const([[10.0, 10.0]]))
    g.output(z, "z", [1, 2])
    model = g.model("second")
    assert [o.name for o in model.graph.output] == ["z"]
    assert "Exp" not in [node.op_type for node in model.graph.node]
    onnx.checker.check_model(model)
    np.testing.assert_array_equal(run(model, x=np.array([[1, 2]], np.float32))[0], [[30, 80]])


def test_names_inside_control_flow_are_seen() -> None:
    """A branch reads values of the graph around it: those are needed, and their names are taken."""
    branch = helper.make_graph(
        [helper.make_node("Neg", ["Exp"], ["inside"], name="Neg")],
        "branch",
        [],
        [helper.make_tensor_value_info("inside", onnx.TensorProto.FLOAT, [1])],
    )
    g = OnnxGraph()
    x, which = g.input("x", [1]), g.input("which", [], onnx.TensorProto.BOOL)
    assert g.node("Exp", x) == "Exp"
    g.output(g.node("If", which, then_branch=branch, else_branch=branch), "y", [1])
    model = g.model("choice")
    assert [node.op_type for node in model.graph.node] == ["Exp", "If"]
    longer = OnnxGraph(model)
    assert longer.node("Neg", "y") == "Neg_2"
