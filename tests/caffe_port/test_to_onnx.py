"""to_onnx and save_model: names, sizes, outputs, and files that are whole or not there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from caffe_port import random_weights, save_model, to_onnx
from caffe_port.convert import draft_onnx
from caffe_port.net import Net
from caffe_port.save import LARGEST_FILE
from tests.support.ported import noise, one_layer, read_text, run
from weights.errors import UsageError

TEXT = """
name: "small"
input: "data" input_shape { dim: 1 dim: 3 dim: 20 dim: 24 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 40 kernel_size: 3 stride: 2 pad: 8 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "up" type: "Deconvolution" bottom: "pool" top: "up"
        convolution_param { num_output: 4 kernel_size: 4 stride: 4 bias_term: false } }
layer { name: "crop" type: "Crop" bottom: "up" bottom: "data" top: "score" }
"""


@pytest.fixture
def net(tmp_path: Path) -> Net:
    return read_text(TEXT, tmp_path)


def dims(value: onnx.ValueInfoProto) -> list[int | str]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def facts(model: onnx.ModelProto) -> dict[str, str]:
    return {p.key: p.value for p in model.metadata_props}


def test_names_and_symbolic_sizes(net: Net) -> None:
    model = to_onnx(net, random_weights(net))
    onnx.checker.check_model(model, full_check=True)
    assert [(i.name, dims(i)) for i in model.graph.input] == [("data", [1, 3, "height", "width"])]
    assert [(o.name, dims(o)) for o in model.graph.output] == [("score", [1, 4, "score_d2", "score_d3"])]
    assert model.opset_import[0].version == 17
    names = {o for node in model.graph.node for o in node.output}
    assert {"conv", "pool", "up", "score"} <= names
    assert "caffe.fixed_size" not in facts(model)


def test_one_model_serves_all_sizes(net: Net) -> None:
    blobs = random_weights(net)
    for height, width in ((20, 24), (20, 21), (33, 50), (41, 24)):
        found = run(net, {"data": noise(1, 3, height, width)}, blobs)["score"]
        assert found.shape == (1, 4, height, width)


def test_fixed_sizes(net: Net) -> None:
    model = to_onnx(net, random_weights(net), fixed=True, inputs={"data": (1, 3, 32, 40)})
    assert dims(model.graph.input[0]) == [1, 3, 32, 40] and dims(model.graph.output[0]) == [1, 4, 32, 40]


def test_any_blobs_as_outputs(net: Net) -> None:
    blobs = random_weights(net)
    x = noise(1, 3, 20, 24)
    found = run(net, {"data": x}, blobs, outputs=["pool", "conv", "conv@conv"])
    assert list(found) == ["pool", "conv", "conv@conv"]
    np.testing.assert_array_equal(found["conv"], np.maximum(found["conv@conv"], 0))
    model = to_onnx(net, blobs, outputs=["conv"])
    assert {node.op_type for node in model.graph.node} == {"Conv", "Relu"}  # nothing that it does not need


def test_weights_of_other_layers_are_not_needed(net: Net) -> None:
    blobs = {"conv": random_weights(net)["conv"]}
    assert to_onnx(net, blobs, outputs=["pool"]).graph.output[0].name == "pool"


def test_an_unknown_output(net: Net) -> None:
    with pytest.raises(UsageError, match='output "pol" is no blob of this net; expected a blob such as pool'):
        to_onnx(net, random_weights(net), outputs=["pol"])


@pytest.mark.parametrize(
    ("kind", "param", "reason"),
    [
        (
            "SPP",
            "spp_param { pyramid_height: 2 }",
            'layer "l" (SPP): its kernels follow the size of the bottom',
        ),
        (
            "Pooling",
            "pooling_param { pool: AVE kernel_size: 1 stride: 3 }",
            "windows that start beyond the picture",
        ),
        ("Slice", "slice_param { axis: 2 slice_point: 3 }", "cuts axis 2, which follows the frame size"),
    ],
)
def test_models_of_one_size_say_why(tmp_path: Path, kind: str, param: str, reason: str) -> None:
    net = read_text(one_layer(kind, {"x": (1, 2, 7, 9)}, param, "y z" if kind == "Slice" else "y"), tmp_path)
    model = to_onnx(net, {})
    assert reason in facts(model)["caffe.fixed_size"]
    assert dims(model.graph.input[0]) == [1, 2, 7, 9]
    run(net, {"x": noise(1, 2, 7, 9)})


def test_shared_weights_are_stored_once(tmp_path: Path) -> None:
    layers = "".join(
        f'layer {{ name: "{a}" type: "Convolution" bottom: "{b}" top: "{a}" param {{ name: "w" }} '
        f"convolution_param {{ num_output: 8 kernel_size: 3 pad: 1 bias_term: false }} }}"
        for a, b in (("b", "a"), ("c", "b"), ("d", "c"))
    )
    net = read_text('input: "a" input_shape { dim: 1 dim: 8 dim: 9 dim: 9 }' + layers, tmp_path)
    assert len(to_onnx(net, random_weights(net)).graph.initializer) == 1


def test_unsupported_settings_are_refused(tmp_path: Path) -> None:
    for kind, param, message in (
        ("Dropout", "dropout_param { sample_weights_test: true dropout_ratio: 1 }", "bad dropout_ratio"),
        ("Exp", "exp_param { base: -2 }", "bad base; found -2.0; expected above 0"),
        ("Log", "log_param { base: 1 }", "bad base; found 1.0"),
        (
            "Pooling",
            "pooling_param { pool: STOCHASTIC kernel_size: 2 pad: 1 }",
            "padding in stochastic pooling",
        ),
    ):
        net = read_text(one_layer(kind, {"x": (1, 2, 7, 9)}, param), tmp_path)
        with pytest.raises(Exception, match=message) as error:
            to_onnx(net, {})
        assert f'net.prototxt: layer "l" ({kind}): ' in str(error.value)


# -- files -------------------------------------------------------------------------------------------------


def scores(path: Path, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"data": x})[0]


@pytest.mark.parametrize("weights_file", [None, "weights/net.bin"])
@pytest.mark.parametrize("kind", ["model", "draft"])
def test_a_saved_model_is_the_model(net: Net, tmp_path: Path, weights_file: str | None, kind: str) -> None:
    blobs = random_weights(net)
    model = to_onnx(net, blobs)
    x = noise(1, 3, 30, 35)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    path = tmp_path / "out" / "net.onnx"
    save_model(model if kind == "model" else draft_onnx(net, blobs), path, weights_file=weights_file)
    onnx.checker.check_model(str(path), full_check=True)
    np.testing.assert_array_equal(scores(path, x), session.run(None, {"data": x})[0])
    loaded = onnx.load(path)
    assert loaded.graph.node == model.graph.node and loaded.metadata_props == model.metadata_props
    files = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert files == sorted(["net.onnx", *([weights_file] if weights_file else [])])


def test_a_model_of_others_is_saved_as_it_is(tmp_path: Path) -> None:
    """Numbers in fields of their own, types of all kinds, functions: whatever the message holds."""
    helper = onnx.helper
    big = np.arange(2048, dtype=np.float32)
    tensors = [
        helper.make_tensor("plain", onnx.TensorProto.FLOAT, [3], [1.0, 2.0, 3.0]),
        onnx.numpy_helper.from_array(big, "big"),
        onnx.numpy_helper.from_array(np.arange(2000, dtype=np.float16), "half"),
        onnx.numpy_helper.from_array(np.zeros((0, 5), np.float32), "empty"),
    ]
    node = helper.make_node("Identity", ["big"], ["y"])
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2048])
    model = helper.make_model(helper.make_graph([node], "g", [], [output], tensors, doc_string="doc"))
    helper.set_model_props(model, {"a": "b"})
    save_model(model, tmp_path / "net.onnx")
    assert onnx.load(tmp_path / "net.onnx") == model


def test_too_large_for_one_file(net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LARGEST_FILE == 2**31 - 1
    monkeypatch.setattr("caffe_port.save.LARGEST_FILE", 64 << 20)
    save_model(draft_onnx(net, random_weights(net)), tmp_path / "net.onnx")
    graph, outside = sorted(p.name for p in tmp_path.glob("net.onnx*"))
    assert graph == "net.onnx" and re.fullmatch(r"net\.onnx\.[0-9a-f]{16}\.data", outside)
    onnx.checker.check_model(str(tmp_path / "net.onnx"))
    save_model(draft_onnx(net, random_weights(net, seed=1)), tmp_path / "net.onnx")
    graph, other = sorted(p.name for p in tmp_path.glob("net.onnx*"))
    assert other != outside, "called by its content, and the older one is gone"
    onnx.checker.check_model(str(tmp_path / "net.onnx"))


@pytest.mark.parametrize("place", ["/tmp/elsewhere.bin", "../elsewhere.bin", "net.onnx"])
def test_weights_stay_in_the_models_folder(net: Net, tmp_path: Path, place: str) -> None:
    with pytest.raises(UsageError, match="bad place for weights"):
        save_model(draft_onnx(net, random_weights(net)), tmp_path / "out" / "net.onnx", weights_file=place)
    assert not list((tmp_path / "out").rglob("*"))


def test_a_failed_write_leaves_what_was_there(
    net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out" / "net.onnx"
    target.parent.mkdir()
    target.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("caffe_port.save.release", full)
    for weights_file in (None, "net.bin"):
        with pytest.raises(OSError, match="disk full"):
            save_model(draft_onnx(net, random_weights(net)), target, weights_file=weights_file)
        assert [p.name for p in target.parent.iterdir()] == ["net.onnx"]
        assert target.read_bytes() == b"old"
