"""Frames brought to sizes that a net takes, and results back on the frame, as NumPy does it."""

import json
from pathlib import Path

import numpy as np
import pytest

import runtime
import staged_onnx
from caffe_port import random_weights
from staged_onnx import Preprocessing
from staged_onnx.export import export
from staged_onnx.fit import nearest_fit, size_multiple
from tests.support.ported import read_text
from tests.support.ported import run as run_net
from weights.errors import BundleError, UsageError

MEAN = np.array([104.0, 116.5, 122.5], np.float32)


def skip_net(stride: int, size: tuple[int, int]) -> str:
    """A net whose two branches meet where the size is a multiple of the stride (or 2 x 2 poolings round)."""
    return f"""
    input: "data" input_shape {{ dim: 1 dim: 3 dim: {size[0]} dim: {size[1]} }}
    layer {{ name: "a" type: "Convolution" bottom: "data" top: "a"
      convolution_param {{ num_output: 4 kernel_size: {stride} stride: {stride}
        weight_filler {{ type: "gaussian" std: 0.02 }} }} }}
    layer {{ name: "up" type: "Deconvolution" bottom: "a" top: "up"
      convolution_param {{ num_output: 4 group: 4 kernel_size: {stride} stride: {stride} bias_term: false
        weight_filler {{ type: "gaussian" std: 0.5 }} }} }}
    layer {{ name: "b" type: "Convolution" bottom: "data" top: "b"
      convolution_param {{ num_output: 4 kernel_size: 1 weight_filler {{ type: "gaussian" std: 0.01 }} }} }}
    layer {{ name: "s" type: "Eltwise" bottom: "up" bottom: "b" top: "s" }}
    """


@pytest.mark.parametrize(("stride", "size"), [(1, (8, 8)), (4, (8, 12)), (6, (12, 24)), (8, (16, 16))])
def test_the_multiple_is_found(tmp_path: Path, stride: int, size: tuple[int, int]) -> None:
    net = read_text(skip_net(stride, size), tmp_path)
    assert size_multiple(net, {"data": (1, 3, *size)}, "s") == (stride, stride)


def test_nearest_fit_is_no_smaller_and_on_the_grid() -> None:
    for size in ((1, 2), (16, 17), (333, 12)):
        found = nearest_fit(size, (8, 5), (1, 2))
        assert all(0 <= f - s < m for f, s, m in zip(found, size, (8, 5), strict=True))
        assert found[0] % 8 == 1 and found[1] % 5 == 2


def labels_of(bundle: Path, frames: list[np.ndarray], schedule: str = "oracle") -> list[np.ndarray]:
    with runtime.open(bundle, device="cpu", schedule=schedule) as player:
        return [step.labels for frame in frames for step in player.play([frame])]


def frames_of(*sizes: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


@pytest.mark.parametrize("stages", [1, 2])
def test_frames_off_the_grid_are_padded_with_the_mean(tmp_path: Path, stages: int) -> None:
    net = read_text(skip_net(8, (16, 16)), tmp_path)
    blobs = random_weights(net, seed=1)
    how = Preprocessing(None, "bgr", tuple(MEAN.tolist()), 0.5, "pad", (8, 8))
    plan = staged_onnx.plan(net, cuts=["a", "s"][:stages])
    bundle = export(net, blobs, plan, tmp_path / "x.staged", preprocessing=how)
    assert staged_onnx.read_bundle(bundle.path).manifest.preprocessing == how
    frames = frames_of((13, 20), (16, 24), (7, 33))
    for frame, labels in zip(frames, labels_of(bundle.path, frames), strict=True):
        height, width = frame.shape[:2]
        data = np.zeros((1, 3, -(-height // 8) * 8, -(-width // 8) * 8), np.float32)
        data[0, :, :height, :width] = ((frame[..., ::-1] - MEAN) * 0.5).transpose(2, 0, 1)
        scores = run_net(net, {"data": data}, blobs)["s"][0, :, :height, :width]
        assert np.array_equal(labels, scores.argmax(axis=0)) and len(np.unique(labels)) > 2


def test_frames_off_the_grid_can_be_resized(tmp_path: Path) -> None:
    net = read_text(skip_net(8, (16, 16)), tmp_path)
    how = Preprocessing(None, "bgr", (0.0,), 1.0, "resize", (8, 8))
    plan = staged_onnx.plan(net, cuts=["a"])
    export(net, random_weights(net), plan, tmp_path / "x.staged", preprocessing=how)
    (odd, even) = labels_of(tmp_path / "x.staged", frames_of((13, 20), (16, 24)))
    assert odd.shape == (13, 20) and even.shape == (16, 24)


def test_a_grid_with_a_remainder(tmp_path: Path) -> None:
    net = read_text(skip_net(8, (24, 24)), tmp_path)
    how = Preprocessing(None, "bgr", (0.0,), 1.0, "pad", (16, 16), (8, 8))
    export(
        net, random_weights(net), staged_onnx.plan(net, cuts=["a"]), tmp_path / "x.staged", preprocessing=how
    )
    assert labels_of(tmp_path / "x.staged", frames_of((9, 20)))[0].shape == (9, 20)


def test_a_picture_of_twice_the_size_ends_where_the_frame_does(tmp_path: Path) -> None:
    text = """
    input: "data" input_shape { dim: 1 dim: 3 dim: 16 dim: 16 }
    layer { name: "a" type: "Convolution" bottom: "data" top: "a"
      convolution_param { num_output: 3 kernel_size: 1 } }
    layer { name: "up" type: "Deconvolution" bottom: "a" top: "up"
      convolution_param { num_output: 3 kernel_size: 2 stride: 2 } }"""
    net = read_text(text, tmp_path)
    how = Preprocessing(None, "bgr", (0.0,), 1.0, "pad", (8, 8))
    plan = staged_onnx.plan(net, cuts=["a"], kind="picture")
    export(net, random_weights(net), plan, tmp_path / "x.staged", preprocessing=how)
    with runtime.open(tmp_path / "x.staged", device="cpu") as player:
        assert player.step(frames_of((10, 13))[0]).output.shape == (20, 26, 3)


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    for options in ({"fit": "stretch"}, {"multiple": (0, 1)}, {"multiple": (8, 8), "remainder": (8, 0)}):
        with pytest.raises(UsageError):
            Preprocessing(**options)  # type: ignore[arg-type]
    net = read_text(skip_net(8, (16, 16)), tmp_path)
    export(net, random_weights(net), staged_onnx.plan(net, cuts=["a"]), tmp_path / "x.staged")
    file = tmp_path / "x.staged/manifest.json"
    whole = json.loads(file.read_text())
    for change in ({"fit": 3}, {"multiple": 8}, {"multiple": [8, True]}, {"remainder": [1]}, {"fit": "x"}):
        file.write_text(json.dumps({**whole, "preprocessing": {**whole["preprocessing"], **change}}))
        with pytest.raises((BundleError, UsageError)):
            staged_onnx.read_bundle(tmp_path / "x.staged")
