"""Estimators find known motions, in the direction that the warp reads, and say clearly what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from PIL import Image

from caffe_port import random_weights, read_net, to_onnx
from caffe_port.nets import flownet
from runtime.flow.estimators import flow_estimator
from runtime.flow.fields import resize_flow
from staged_onnx.warp import warp_graph
from weights.errors import FlowError


def texture(height: int = 96, width: int = 128, seed: int = 0) -> np.ndarray:
    """A smooth random pattern, larger than the frames cut out of it."""
    rough = np.random.default_rng(seed).integers(0, 256, (height // 6, width // 6, 3), np.uint8)
    return np.asarray(Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC))


def moving(x: int, y: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two frames of 72 x 96 between which everything moves by (x, y)."""
    pattern = texture(112, 136, seed)
    return pattern[20:92, 20:116], pattern[20 - y : 92 - y, 20 - x : 116 - x]


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("dis:ultrafast", 0.3), ("dis:fast", 0.3), ("dis:medium", 0.3), ("dis:medium/2", 0.5), ("dis", 0.1),
     ("dis/2", 0.3), ("skimage", 0.3), ("skimage/2", 0.4), ("auto", 0.1)],
)  # fmt: skip
@pytest.mark.parametrize(("x", "y"), [(3, 0), (0, -2), (-2, 3)])
def test_a_translation_is_found(name: str, tolerance: float, x: int, y: int) -> None:
    previous, current = moving(x, y)
    flow = flow_estimator(name).estimate(previous, current)
    assert flow.shape == (72, 96, 2) and flow.dtype == np.float32
    inside = flow[12:-12, 12:-12]
    np.testing.assert_allclose(np.median(inside, axis=(0, 1)), (-x, -y), atol=tolerance)


@pytest.mark.parametrize("name", ["dis:fast", "skimage"])
def test_the_warp_by_the_flow_brings_the_frame_before_onto_this_one(name: str) -> None:
    previous, current = moving(4, -3)
    flow = flow_estimator(name).estimate(previous, current)
    planes = previous.astype(np.float32).transpose(2, 0, 1)[None]
    graph = warp_graph(planes.shape, flow.shape).SerializeToString()
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    moved = session.run(None, {"value": planes, "flow": flow})[0][0].transpose(1, 2, 0)
    inside = (slice(10, -10), slice(10, -10))
    left = np.abs(moved[inside] - current[inside]).mean()
    assert left < 0.2 * np.abs(previous[inside].astype(float) - current[inside]).mean()


@pytest.mark.parametrize("name", ["dis", "dis:ultrafast", "dis:medium", "skimage"])
def test_a_picture_that_stands_still_has_no_flow_at_all(name: str) -> None:
    frame = texture()
    assert not flow_estimator(name).estimate(frame, frame.copy()).any()


def test_coarse_flow_is_in_pixels_of_its_own_grid() -> None:
    previous, current = moving(4, 0)
    coarse = flow_estimator("dis:medium/2").coarse(previous, current)
    assert coarse.shape == (36, 48, 2)
    assert np.median(coarse[6:-6, 6:-6, 0]) == pytest.approx(-2, abs=0.25)


def test_frames_are_reduced_for_scikit_image() -> None:
    frame = texture(200, 350)
    assert flow_estimator("skimage").coarse(frame, frame).shape == (67, 117, 2)
    assert flow_estimator("skimage").estimate(frame, frame).shape == (200, 350, 2)


def test_dis_reduces_large_frames_and_its_presets_do_not() -> None:
    small, large = texture(120, 640), texture(240, 960)
    assert flow_estimator("dis").coarse(small, small).shape == (120, 640, 2)
    assert flow_estimator("dis").coarse(large, large).shape == (120, 480, 2)
    assert flow_estimator("dis/1").coarse(large, large).shape == (240, 960, 2)
    assert flow_estimator("dis:ultrafast").coarse(large, large).shape == (240, 960, 2)


def test_auto_is_dis_where_there_is_opencv() -> None:
    pytest.importorskip("cv2")
    assert flow_estimator("auto").name == "dis" and flow_estimator("auto/2").name == "dis/2"


def test_auto_is_scikit_image_where_opencv_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_none(name: str) -> None:
        assert name == "cv2"

    monkeypatch.setattr("runtime.flow.estimators.find_spec", find_none)
    monkeypatch.setitem(sys.modules, "cv2", None)
    previous, current = moving(3, -1)
    estimator = flow_estimator()
    assert estimator.name == "skimage"
    flow = estimator.estimate(previous, current)
    np.testing.assert_allclose(np.median(flow[12:-12, 12:-12], axis=(0, 1)), (-3, 1), atol=0.3)


def test_resized_flow_points_to_the_same_place() -> None:
    flow = np.broadcast_to(np.float32([3, -2]), (10, 20, 2))
    np.testing.assert_allclose(resize_flow(flow, 40, 40), np.broadcast_to([6, -8], (40, 40, 2)), rtol=1e-6)
    assert resize_flow(flow, 10, 20) is flow


def test_a_function_is_an_estimator() -> None:
    def shift(previous: np.ndarray, current: np.ndarray) -> np.ndarray:
        assert previous[0, 0, 0] == 1 and current[0, 0, 0] == 2
        return np.full((*current.shape[:2], 2), 0.5)

    frames = [np.full((5, 7, 3), value, np.uint8) for value in (1, 2)]
    flow = flow_estimator(shift).estimate(*frames)
    assert flow.dtype == np.float32 and (flow == 0.5).all()
    same = flow_estimator("skimage")
    assert flow_estimator(same) is same


@pytest.mark.parametrize(
    ("flow", "words"),
    [
        (np.zeros((5, 8, 2), np.float32), "another size; found 5 x 8 x 2; expected 5 x 7 x 2"),
        (np.zeros((2, 5, 7), np.float32), "another size"),
        (np.zeros((5, 7, 2), np.int64), "made no flow; found int64"),
        (np.full((5, 7, 2), np.nan, np.float32), "not finite; found 35 pixels"),
        (None, "another size"),
    ],
)
def test_a_function_that_makes_no_flow(flow: Any, words: str) -> None:
    frame = np.zeros((5, 7, 3), np.uint8)
    with pytest.raises(FlowError) as error:
        flow_estimator(lambda a, b: flow).estimate(frame, frame)
    assert words in str(error.value)


def test_frames_must_be_alike() -> None:
    small, large = np.zeros((20, 20, 3), np.uint8), np.zeros((20, 24, 3), np.uint8)
    for name in ("dis:fast", "skimage"):
        with pytest.raises(FlowError, match="different sizes; found 20 x 20 x 3 and 20 x 24 x 3"):
            flow_estimator(name).estimate(small, large)
        with pytest.raises(FlowError, match="takes frames; found float64"):
            flow_estimator(name).estimate(small.astype(float), small.astype(float))
    with pytest.raises(FlowError, match="too small"):
        flow_estimator("dis:fast").estimate(small[:8], small[:8])


@pytest.mark.parametrize(
    "name", ["dis:", "dis:slow", "raft", "", "dis:fast/0", "dis/0", "dis:fast/x", "skimage/100"]
)
def test_unknown_names(name: str) -> None:
    with pytest.raises(FlowError):
        flow_estimator(name)


def test_something_else_entirely() -> None:
    with pytest.raises(FlowError, match="not a flow estimator; found int"):
        flow_estimator(3)  # type: ignore[arg-type]


def test_without_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    for name in ("dis", "dis:fast"):
        with pytest.raises(FlowError, match=rf'found "{name}"; install the extra \[flow\]'):
            flow_estimator(name)


# -- ONNX models -----------------------------------------------------------------------------------------


def model(
    path: Path, inputs: dict[str, tuple[int, list[Any]]], nodes: list[onnx.NodeProto], output: list[Any]
) -> Path:
    graph = helper.make_graph(
        nodes,
        "flow",
        [helper.make_tensor_value_info(n, kind, dims) for n, (kind, dims) in inputs.items()],
        [helper.make_tensor_value_info("flow", TensorProto.FLOAT, output)],
    )
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), str(path))
    return path


def difference_model(path: Path, height: Any = "h", width: Any = "w") -> Path:
    """Flow = red and green of current minus earlier frame: tells which input is which."""
    planes = (TensorProto.FLOAT, [1, 3, height, width])
    nodes = [
        helper.make_node("Sub", ["now", "before"], ["d"]),
        helper.make_node("Constant", [], ["i"], value_ints=[0, 1]),
        helper.make_node("Gather", ["d", "i"], ["flow"], axis=1),
    ]
    return model(path, {"now": planes, "before": planes}, nodes, [1, 2, height, width])


def test_a_model_of_two_pictures(tmp_path: Path) -> None:
    before, now = np.full((6, 8, 3), 10, np.uint8), np.full((6, 8, 3), (13, 8, 0), np.uint8)
    for source in (difference_model(tmp_path / "a.onnx"), str(tmp_path / "a.onnx")):
        flow = flow_estimator(source).estimate(before, now)
        np.testing.assert_array_equal(flow, np.broadcast_to(np.float32([3, -2]), (6, 8, 2)))


def test_a_model_of_fixed_size_gets_resized_frames_and_its_flow_is_scaled(tmp_path: Path) -> None:
    before, now = np.full((12, 32, 3), 10, np.uint8), np.full((12, 32, 3), (13, 8, 0), np.uint8)
    estimator = flow_estimator(difference_model(tmp_path / "a.onnx", 6, 8))
    assert estimator.coarse(before, now).shape == (6, 8, 2)
    np.testing.assert_allclose(estimator.estimate(before, now), np.broadcast_to([12, -4], (12, 32, 2)))


def test_a_model_of_uint8_frames(tmp_path: Path) -> None:
    picture = (TensorProto.UINT8, ["h", "w", 3])
    nodes = [
        helper.make_node("Cast", ["now"], ["a"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["before"], ["b"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["a", "b"], ["d"]),
        helper.make_node("Constant", [], ["i"], value_ints=[0, 2]),
        helper.make_node("Gather", ["d", "i"], ["flow"], axis=2),
    ]
    path = model(tmp_path / "m.onnx", {"now": picture, "before": picture}, nodes, ["h", "w", 2])
    before, now = np.full((6, 8, 3), 10, np.uint8), np.full((6, 8, 3), (13, 8, 9), np.uint8)
    flow = flow_estimator(path).estimate(before, now)
    np.testing.assert_array_equal(flow, np.broadcast_to(np.float32([3, -1]), (6, 8, 2)))


def test_a_model_of_six_planes(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["i"], value_ints=[0, 5]),
        helper.make_node("Gather", ["x", "i"], ["flow"], axis=1),
    ]
    inputs = {"x": (TensorProto.FLOAT, [1, 6, "h", "w"])}
    path = model(tmp_path / "m.onnx", inputs, nodes, [1, 2, "h", "w"])
    before, now = np.full((6, 8, 3), 10, np.uint8), np.full((6, 8, 3), 13, np.uint8)
    flow = flow_estimator(path).estimate(before, now)
    np.testing.assert_array_equal(flow, np.broadcast_to(np.float32([13, 10]), (6, 8, 2)))


def test_models_of_another_kind(tmp_path: Path) -> None:
    frame = np.zeros((6, 8, 3), np.uint8)
    planes = (TensorProto.FLOAT, [1, 3, "h", "w"])
    identity = [helper.make_node("Identity", ["a"], ["flow"])]
    three = model(tmp_path / "three.onnx", dict.fromkeys("abc", planes), identity, [1, 3, "h", "w"])
    with pytest.raises(FlowError, match="not a flow model; found 3 inputs"):
        flow_estimator(three)
    one = model(tmp_path / "one.onnx", {"a": planes}, identity, [1, 3, "h", "w"])
    with pytest.raises(FlowError, match="not a flow model; found an input of 1 x 3 x h x w"):
        flow_estimator(one)
    wide = model(tmp_path / "wide.onnx", {"a": planes, "b": planes}, identity, [1, 3, "h", "w"])
    with pytest.raises(FlowError, match="found outputs of 1 x 3 x 6 x 8"):
        flow_estimator(wide).estimate(frame, frame)
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(FlowError, match=r"text.onnx: not an ONNX model"):
        flow_estimator(tmp_path / "text.onnx")
    with pytest.raises(FlowError, match=r"missing.onnx"):
        flow_estimator(str(tmp_path / "missing.onnx"))


def test_a_model_that_makes_nan(tmp_path: Path) -> None:
    planes = (TensorProto.FLOAT, [1, 3, "h", "w"])
    nodes = [
        helper.make_node("Sub", ["a", "b"], ["d"]),
        helper.make_node("Log", ["d"], ["l"]),
        helper.make_node("Constant", [], ["i"], value_ints=[0, 1]),
        helper.make_node("Gather", ["l", "i"], ["flow"], axis=1),
    ]
    path = model(tmp_path / "nan.onnx", {"a": planes, "b": planes}, nodes, [1, 2, "h", "w"])
    frame = np.zeros((6, 8, 3), np.uint8)
    with pytest.raises(FlowError, match="not finite"):
        flow_estimator(path).estimate(frame + np.uint8(1), frame)


def test_a_missing_model_is_the_wording_of_missing_files(tmp_path: Path) -> None:
    with pytest.raises(FlowError) as error:
        flow_estimator(str(tmp_path / "none.onnx"))
    expected = "cannot be read; found No such file or directory; expected an ONNX model"
    assert str(error.value) == f"{tmp_path / 'none.onnx'}: {expected}"


def test_flownet_by_its_own_conventions(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(flownet(size=(64, 96), thin=8))
    net = read_net(tmp_path / "net.prototxt")
    flow_model = to_onnx(net, random_weights(net, seed=1))
    onnx.save(flow_model, str(tmp_path / "flownet.onnx"))
    rng = np.random.default_rng(0)
    previous, current = (rng.integers(0, 256, (64, 96, 3), np.uint8) for _ in range(2))
    planes = {
        name: (frame - np.array([123.15, 115.9, 103.06], np.float32)).transpose(2, 0, 1)[np.newaxis]
        for name, frame in (("data", current), ("data_key", previous))
    }
    session = ort.InferenceSession(flow_model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(["flow"], planes)[0][0].transpose(1, 2, 0)
    found = flow_estimator(str(tmp_path / "flownet.onnx")).coarse(previous, current)
    assert found.shape == (4, 6, 2)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
