"""DIGITS' FCN-AlexNet from an AlexNet: weights transplanted, converted, run on pictures of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import weights
from caffe_port import random_weights, read_net
from caffe_port.nets import digits_fcn_alexnet
from caffe_port.nets.building import input_layer, layer, net_text, relu
from caffe_port.nets.fcn import alexnet
from clockwork_onnx.cli import run

THIN = {96: 6, 256: 8, 384: 12, 4096: 10}
"""Channels of AlexNet and what a test takes for them."""


def thin(text: str) -> str:
    for channels, few in THIN.items():
        text = text.replace(f"num_output: {channels}\n", f"num_output: {few}\n")
    return text


@pytest.fixture
def old(tmp_path: Path) -> tuple[Path, Path]:
    """An AlexNet of 1000 classes with few channels, prototxt and caffemodel."""
    layers = [input_layer("data", (10, 3, 227, 227)), *alexnet("data", 0)]
    for name, bottom, outputs in (("fc6", "pool5", 4096), ("fc7", "fc6", 4096), ("fc8", "fc7", 1000)):
        product = layer(name, "InnerProduct", [bottom])
        product.inner_product_param.num_output = outputs
        layers += [product, relu(f"relu_{name}", name)]
    (tmp_path / "alexnet.prototxt").write_text(thin(net_text("AlexNet", layers)), "utf-8")
    net = read_net(tmp_path / "alexnet.prototxt")
    weights.write(tmp_path / "alexnet.caffemodel", net, random_weights(net, seed=1))
    return tmp_path / "alexnet.prototxt", tmp_path / "alexnet.caffemodel"


def test_from_alexnet_to_labels(tmp_path: Path, old: tuple[Path, Path]) -> None:
    """With five classes instead of 21; the picture decides the size."""
    new = tmp_path / "new.prototxt"
    new.write_text(thin(digits_fcn_alexnet(suffix="_21classes")), "utf-8")
    moved, bundle = tmp_path / "five.caffemodel", tmp_path / "five.staged"
    files = [str(old[0]), str(old[1]), str(new)]
    assert run(["weights", "transplant", *files, "-o", str(moved), "--classes", "5"]) == 0
    read = weights.read(moved)
    assert read["fc6"][0].shape == (10, 8, 6, 6) and "fc8" not in read
    assert read["score_fr_21classes"][0].shape == (5, 10, 1, 1)
    # A net of zeros would label everything 0: scores as training might have left them.
    scores = np.random.default_rng(2).normal(size=(5, 10, 1, 1)).astype(np.float32)
    net = read_net(tmp_path / "five.prototxt")
    weights.write(moved, net, {**read, "score_fr_21classes": (scores, np.arange(5, dtype=np.float32))})
    convert = ["convert", str(tmp_path / "five.prototxt"), str(moved), "-o", str(bundle), "--cut", "pool5"]
    assert run(convert) == 0
    for height, width in ((64, 90), (93, 51)):
        picture = np.random.default_rng(3).integers(0, 255, (height, width, 3), np.uint8)
        Image.fromarray(picture).save(tmp_path / "one.png")
        out = tmp_path / f"out{height}"
        assert run(["run", str(bundle), str(tmp_path / "one.png"), "-o", str(out), "--views", "--quiet"]) == 0
        with Image.open(out / "views/one-fill.png") as fill:
            assert fill.size == (width, height)


@pytest.mark.parametrize(
    ("phase", "stages", "left_out"),
    [("TRAIN", (), {"loss"}), ("TEST", ("val",), {"loss", "accuracy"}), ("TEST", ("deploy",), set())],
)
def test_the_all_in_one_file_gives_three_nets(
    tmp_path: Path, phase: str, stages: tuple[str, ...], left_out: set[str]
) -> None:
    """Whatever the phase, the net runs without labels: only losses and measures read them."""
    file = tmp_path / "all.prototxt"
    file.write_text(digits_fcn_alexnet(all_in_one=True), "utf-8")
    net = read_net(file, phase, stages=stages, inputs={"data": (1, 3, 375, 500)})
    assert [i.name for i in net.inputs] == ["data"] and net.outputs == ("score",)
    assert [layer.name for layer in net.layers][-3:] == ["score_fr", "upscore", "score"]
    said = " ".join(net.notes)
    assert {name for name in ("loss", "accuracy") if f'"{name}" left out' in said} == left_out
