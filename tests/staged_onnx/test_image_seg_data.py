"""Frames fitted to a net of one size: equal to DeepLab's data layer, and labels back on the frame."""

import json
from pathlib import Path

import numpy as np
import pytest

import runtime
import staged_onnx
from caffe_port import random_weights, read_net
from caffe_port.net import HostStep
from clockwork_onnx.cli import run
from staged_onnx import Preprocessing
from staged_onnx.export import export
from tests.support.ported import read_text
from tests.support.ported import run as run_net
from weights.errors import BundleError

MEAN = np.array([104.008, 116.669, 122.675], np.float32)
CROP = 33
NET = """
layers { name: "data" type: IMAGE_SEG_DATA top: "data" top: "label" top: "data_dim"
  transform_param { mean_value: 104.008 mean_value: 116.669 mean_value: 122.675 crop_size: 33 } }
layers { name: "c1" type: CONVOLUTION bottom: "data" top: "c1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 2 hole: 2 stride: 2
    weight_filler { type: "gaussian" std: 0.01 } } }
layers { name: "fc8" type: CONVOLUTION bottom: "c1" top: "fc8"
  convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "gaussian" std: 1 } } }
TAIL
layers { name: "crf" type: DENSE_CRF bottom: "SCORES" bottom: "data_dim" bottom: "data" top: "crf_inf"
  dense_crf_param { max_iter: 3 pos_w: 3 pos_xy_std: 3 bi_w: 5 bi_xy_std: 50 bi_rgb_std: 10 } }
"""
INTERP = 'layers { name: "up" type: INTERP bottom: "fc8" top: "up" interp_param { zoom_factor: 2 } }'
SIZES = [(20, 27), (33, 33), (50, 20), (40, 61), (34, 33)]


def net_text(tail: str, scores: str) -> str:
    return NET.replace("TAIL", tail).replace("SCORES", scores)


def by_the_data_layer(frame: np.ndarray) -> tuple[np.ndarray, tuple[slice, slice]]:
    """The net's input, and the part of the frame that it shows."""
    height, width = frame.shape[:2]
    rows, columns = min(CROP, height), min(CROP, width)
    down, across = (height - rows) // 2, (width - columns) // 2
    seen = slice(down, down + rows), slice(across, across + columns)
    data = np.zeros((1, 3, CROP, CROP), np.float32)
    data[0, :, :rows, :columns] = (frame[seen][:, :, ::-1] - MEAN).transpose(2, 0, 1)
    return data, seen


@pytest.mark.parametrize("stages", [1, 2])
def test_labels_are_those_of_the_padded_net_cropped_back(tmp_path: Path, stages: int) -> None:
    net = read_text(net_text(INTERP, "up"), tmp_path)
    blobs = random_weights(net, seed=3)
    plan = staged_onnx.plan(net, cuts=["c1", "fc8"][:stages])
    how = Preprocessing((CROP, CROP), "bgr", tuple(float(m) for m in MEAN), 1.0, "pad")
    bundle = export(net, blobs, plan, tmp_path / "x.staged", preprocessing=how)
    assert bundle.manifest.preprocessing == how
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]
    with runtime.open(bundle.path, device="cpu", schedule="oracle") as player:
        for frame in frames:
            labels = player.step(frame).labels
            data, seen = by_the_data_layer(frame)
            scores = run_net(net, {"data": data}, blobs)["up"][0]
            expected = np.zeros(frame.shape[:2], np.uint8)
            rows, columns = expected[seen].shape
            expected[seen] = scores[:, :rows, :columns].argmax(axis=0)
            assert labels.shape == frame.shape[:2] and np.array_equal(labels, expected)
    assert len({int(label) for label in np.unique(expected)}) > 2


def test_scores_of_the_frame_s_geometry_are_what_other_schedules_move(tmp_path: Path) -> None:
    net = read_text(net_text("", "fc8"), tmp_path)
    blobs = random_weights(net, seed=3)
    how = Preprocessing((CROP, CROP), "bgr", tuple(float(m) for m in MEAN), 1.0, "pad")
    export(net, blobs, staged_onnx.plan(net, cuts=["c1", "fc8"]), tmp_path / "x.staged", preprocessing=how)
    frames = [np.random.default_rng(5).integers(0, 256, (20, 27, 3), np.uint8)] * 4
    with runtime.open(tmp_path / "x.staged", device="cpu", schedule="oracle") as player:
        oracle = [step.labels for step in player.play(frames)]
    for schedule in ("warp:4@of=scores", "warp-feature:4", "correct:4"):
        with runtime.open(tmp_path / "x.staged", device="cpu", schedule=schedule) as player:
            still = [step.labels for step in player.play(frames)]
        agree = [np.mean(a == b) for a, b in zip(oracle, still, strict=True)]
        assert min(agree) > 0.97, schedule


def test_convert_chooses_it_for_the_data_layer_and_keeps_the_host_s_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "net.prototxt").write_text(net_text(INTERP, "up"), "utf-8")
    net = read_net(tmp_path / "net.prototxt")
    import weights

    weights.write(tmp_path / "net.caffemodel", net, random_weights(net))
    files = [str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel")]
    target = tmp_path / "x.staged"
    assert run(["convert", *files, "-o", str(target), "--cut", "c1"]) == 0
    assert "padded with the mean or cropped to 33 x 33" in " ".join(capsys.readouterr().out.split())
    manifest = staged_onnx.read_bundle(target).manifest
    assert manifest.preprocessing == Preprocessing((33, 33), "bgr", (104.008, 116.669, 122.675), 1.0, "pad")
    assert [(step.name, step.type) for step in manifest.host_steps] == [
        ("data", "ImageSegData"), ("crf", "DenseCRF"),
    ]  # fmt: skip
    assert manifest.host_steps == net.host_steps
    assert isinstance(manifest.host_steps[0], HostStep)
    assert run(["convert", *files, "-o", str(target), "--cut", "c1", "--size", "native", "--force"]) == 0
    assert staged_onnx.read_bundle(target).manifest.preprocessing.size is None


def test_bad_host_steps_are_refused(tmp_path: Path) -> None:
    net = read_text(net_text(INTERP, "up"), tmp_path)
    how = Preprocessing((CROP, CROP), fit="pad")
    export(
        net, random_weights(net), staged_onnx.plan(net, cuts=["c1"]), tmp_path / "x.staged", preprocessing=how
    )
    file = tmp_path / "x.staged/manifest.json"
    whole = json.loads(file.read_text())
    for change in ({"name": 3}, {"reads": "x"}, {"parameters": {"bi_w": {"a": 1}}}, {"parameters": []}):
        broken = {**whole, "host_steps": [{**whole["host_steps"][1], **change}]}
        file.write_text(json.dumps(broken))
        with pytest.raises(BundleError, match="host step"):
            staged_onnx.read_bundle(tmp_path / "x.staged")
