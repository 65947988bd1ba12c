"""Table 1 and Figure 2: what is measured, whatever the cuts, and what comes out on video of known changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import caffe_port
import staged_onnx
from clockwork_onnx.evaluation.datasets import shapes
from clockwork_onnx.evaluation.datasets.base import DataSet
from clockwork_onnx.evaluation.paper import protocols
from clockwork_onnx.evaluation.paper.layer_changes import (
    LayerChange,
    difference_table,
    layer_changes,
    score_layers,
)
from clockwork_onnx.evaluation.paper.protocols import Options
from clockwork_onnx.evaluation.paper.sources import Experiment
from clockwork_onnx.evaluation.scoring.truncated import StageRunner
from staged_onnx import Bundle
from tests.clockwork_onnx.evaluation.paper.test_experiments import toy_video


def test_table_1_on_a_video_of_known_changes(toy: Bundle) -> None:
    video = toy_video([0, 0, 1, 1], shots=2)
    experiment = Experiment("", video, lambda m: protocols.whole_shots(video, m, Options()))
    found = layer_changes(experiment, video, toy, Options(pixel_values="raw"), "cpu")
    layers = {layer.name: layer.stage for layer in score_layers(toy)}
    assert layers == {"c1": 1, "s1": 1, "c2": 2, "s2": 2, "s3": 3, "score": 3}
    summary = found.differences
    by_name = {row.name: row for row in found.rows}
    # One change in four frames; it turns one channel on and another off, which is a difference of 2 each.
    assert by_name["pixels"].relative is not None
    assert by_name["pixels"].relative.mean == pytest.approx(2 / 3 * 2 / 4)
    for name in ("s1", "s2", "s3", "output"):
        assert by_name[name].change is not None and by_name[name].change.mean == 0.25
    assert by_name["s3"].mean_iu == 1.0 and by_name["true label"].change.mean == 0.25
    assert summary["s1"].shots == 2 and summary["s1"].std == 0.0
    doubled = layer_changes(
        experiment, video, toy, Options(pixel_values="raw", label_change="hamming"), "cpu"
    )
    assert {row.name: row for row in doubled.rows}["s1"].change.mean == 0.5
    table = difference_table("t", found.rows, with_paper=True)
    assert table.rows[0][7] == 0.26 and table.columns[-1] == "paper mean IU"
    assert {name: len(values) for name, values in found.traces["s0"].items()} == {"s2": 3, "s3": 3}


def thin_fcn8s() -> str:
    """The prototxt of the paper's FCN-8s: its layers and names, with 2 channels each and 3 classes."""
    text = ['input: "data" input_shape { dim: 1 dim: 3 dim: 64 dim: 64 }']
    last = "data"

    def layer(name: str, kind: str, bottoms: list[str], parameters: str) -> str:
        lines = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
        text.append(f'layer {{ name: "{name}" type: "{kind}" {lines} top: "{name}" {parameters} }}')
        return name

    def conv(name: str, bottom: str, channels: int, kernel: int, pad: int = 0) -> str:
        what = f"num_output: {channels} kernel_size: {kernel} pad: {pad}"
        return layer(name, "Convolution", [bottom], f"convolution_param {{ {what} }}")

    def up(name: str, bottom: str, kernel: int, stride: int) -> str:
        what = f"num_output: 3 kernel_size: {kernel} stride: {stride} bias_term: false"
        return layer(name, "Deconvolution", [bottom], f"convolution_param {{ {what} }}")

    def crop(name: str, bottoms: list[str], offset: int) -> str:
        return layer(name, "Crop", bottoms, f"crop_param {{ axis: 2 offset: {offset} }}")

    for group, count in enumerate((2, 2, 3, 3, 3), start=1):
        for number in range(1, count + 1):
            last = conv(f"conv{group}_{number}", last, 2, 3, 100 if last == "data" else 1)
        last = layer(f"pool{group}", "Pooling", [last], "pooling_param { kernel_size: 2 stride: 2 }")
    last = conv("fc7", conv("fc6", last, 2, 7), 2, 1)
    for name, bottom in (("score_fr", last), ("score_pool4", "pool4"), ("score_pool3", "pool3")):
        conv(name, bottom, 3, 1)
    up("upscore2", "score_fr", 4, 2)
    crop("score_pool4c", ["score_pool4", "upscore2"], 5)
    layer("fuse_pool4", "Eltwise", ["upscore2", "score_pool4c"], "")
    up("upscore_pool4", "fuse_pool4", 4, 2)
    crop("score_pool3c", ["score_pool3", "upscore_pool4"], 9)
    layer("fuse_pool3", "Eltwise", ["upscore_pool4", "score_pool3c"], "")
    up("upscore8", "fuse_pool3", 16, 8)
    crop("score", ["upscore8", "data"], 31)
    return "\n".join(text)


@pytest.mark.parametrize(
    "cuts", [["pool3", "pool4", "upscore2"], ["pool3", "pool4", "score_fr"], ["conv4_1", "fc6"]]
)
def test_the_papers_layers_and_depths_whatever_the_cuts(tmp_path: Path, cuts: list[str]) -> None:
    (tmp_path / "net.prototxt").write_text(thin_fcn8s())
    net = caffe_port.read_net(tmp_path / "net.prototxt")
    weights = caffe_port.random_weights(net, seed=0)
    bundle = staged_onnx.export(net, weights, staged_onnx.plan(net, cuts=cuts), tmp_path / "net.staged")
    depths = {layer.name: layer.depth for layer in score_layers(bundle)}
    assert depths == {"score_pool3": 9, "score_pool4": 13, "score_fr": 19, "score": None}
    table = difference_table(
        "t", [LayerChange(name, None, None, None, depth) for name, depth in depths.items()], with_paper=True
    )
    assert [row[-2] for row in table.rows] == [9, 13, 19, None]  # the paper's own column


@pytest.fixture(scope="module")
def short_video() -> DataSet:
    video = shapes.read(frames=3)
    return replace(video, shots=video.shots[:2])


def test_the_score_layers_of_the_embedded_net(shapes_bundle: Bundle) -> None:
    layers = {layer.name: (layer.stage, layer.depth) for layer in score_layers(shapes_bundle)}
    assert list(layers) == ["score_pool3", "score_pool4", "score_fr", "score"]
    assert [stage for stage, _ in layers.values()] == [1, 2, 3, 3]
    depths = [depth for _, depth in layers.values()]
    assert depths[3] is None and all(isinstance(depth, int) for depth in depths[:3])
    assert depths[:3] == sorted(depths[:3])


def test_blobs_inside_of_stages_are_those_of_the_whole_net(shapes_bundle: Bundle) -> None:
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    plain = StageRunner(shapes_bundle, "cpu")
    probed = StageRunner(shapes_bundle, "cpu", blobs=["score_fr", "score"])
    labels, _ = plain.run(image)
    same, _ = probed.run(image)
    np.testing.assert_array_equal(labels, same)
    np.testing.assert_array_equal(probed.value("score")[0].argmax(axis=0), labels)
    assert probed.value("score_fr").shape[1] == len(shapes_bundle.manifest.class_names)


def test_every_layer_is_measured_and_two_shots_are_traced(
    shapes_bundle: Bundle, short_video: DataSet
) -> None:
    experiment = Experiment("", short_video, lambda m: protocols.whole_shots(short_video, m, Options()))
    found = layer_changes(experiment, short_video, shapes_bundle, Options(), "cpu")
    names = [row.name for row in found.rows]
    assert names == [
        "pixels", "score_pool3", "score_pool4", "score_fr", "score", "output", "true label",
    ]  # fmt: skip
    rows = {row.name: row for row in found.rows}
    # the labels are the score's argmax
    assert rows["score"].change is not None and rows["output"].change is not None
    assert rows["score"].change.mean == pytest.approx(rows["output"].change.mean)
    assert rows["score"].mean_iu == rows["output"].mean_iu
    assert set(found.traces) == {shot.name for shot in short_video.shots}
    for layers in found.traces.values():
        assert list(layers) == ["score_pool4", "score_fr"]
        assert all(len(values) == 2 for values in layers.values())
    stillest, liveliest = (np.mean(layers["score_fr"]) for layers in found.traces.values())
    assert stillest <= liveliest
