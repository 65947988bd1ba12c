"""Net surgery from the command line: convolutionalise, transplant, interp."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import weights
from caffe_port import random_weights, read_net
from caffe_port.nets import digits_fcn_alexnet
from caffe_port.nets.building import convolution, input_layer, layer, net_text, relu
from clockwork_onnx.cli import run


@pytest.fixture
def classifier(tmp_path: Path) -> tuple[Path, Path]:
    """A small classifier of 6 classes, prototxt and caffemodel."""
    layers = [
        input_layer("data", (1, 3, 20, 24)),
        convolution("c1", "data", 4, 3, stride=2),
        relu("r1", "c1"),
    ]
    for name, bottom, outputs in (("f1", "c1", 10), ("f2", "f1", 6)):
        product = layer(name, "InnerProduct", [bottom])
        product.inner_product_param.num_output = outputs
        layers.append(product)
    file = tmp_path / "old.prototxt"
    file.write_text(net_text("old", [*layers, layer("prob", "Softmax", ["f2"])]), "utf-8")
    net = read_net(file)
    weights.write(tmp_path / "old.caffemodel", net, random_weights(net, seed=7))
    return file, tmp_path / "old.caffemodel"


def output(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_convolutionalise_and_transplant(
    tmp_path: Path, classifier: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    old, old_weights = map(str, classifier)
    new, moved = tmp_path / "new.prototxt", tmp_path / "new.caffemodel"
    assert run(["net", "convolutionalise", old, "-o", str(new), "--size", "40x50", "--json"]) == 0
    said = output(capsys)
    assert said["changed"] == [
        {"layer": "f1", "now": "Convolution 9x11"},
        {"layer": "f2", "now": "Convolution 1x1"},
    ]
    assert said["score"] == "f2" and said["stride"] == 2
    assert run(["weights", "transplant", old, old_weights, str(new), "-o", str(moved), "--json"]) == 0
    rows = output(capsys)
    assert rows["coerced"] == [
        {"layer": "f1", "blob": 0, "shape": [10, 4, 9, 11], "from": "f1", "from_shape": [10, 396]},
        {"layer": "f2", "blob": 0, "shape": [6, 10, 1, 1], "from": "f2", "from_shape": [6, 10]},
    ]
    assert rows["filled"] == [{"layer": "upscore", "blob": 0, "shape": [6, 1, 3, 3], "how": "bilinear"}]
    assert rows["dropped"] == []
    before, after = weights.read(old_weights), weights.read(moved)
    assert after["f1"][0].tobytes() == before["f1"][0].tobytes()
    assert run(["convert", str(new), str(moved), "-o", str(tmp_path / "new.onnx")]) == 0


def test_renamed_layers_more_classes_and_what_is_dropped(
    tmp_path: Path, classifier: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    old, old_weights = map(str, classifier)
    new = tmp_path / "new.prototxt"
    assert run(["net", "convolutionalise", old, "-o", str(new), "--classes", "6"]) == 0
    new.write_text(new.read_text("utf-8").replace('"f2"', '"score_fr"'), "utf-8")
    moved = tmp_path / "nine.caffemodel"
    command = ["weights", "transplant", old, old_weights, str(new), "-o", str(moved)]
    assert run([*command, "--rename", "f2=score_fr", "--classes", "9"]) == 0
    shown = capsys.readouterr().out
    assert "6x10x1x1 and more classes" in shown and "flat copy of 10x396" in shown
    before, after = weights.read(old_weights), weights.read(moved)
    np.testing.assert_array_equal(after["score_fr"][0][:6, :, 0, 0], before["f2"][0])
    assert not after["score_fr"][0][6:].any() and after["score_fr"][1].shape == (9,)
    net = read_net(tmp_path / "nine.prototxt")
    up = next(x for x in net.layers if x.type == "Deconvolution").spec.convolution_param
    assert (up.num_output, up.group) == (9, 9)
    np.testing.assert_array_equal(after["upscore"][0][8, 0], weights.bilinear_filler(3))
    assert run([*command, "--force", "--json"]) == 0
    assert [row["from"] for row in output(capsys)["dropped"]] == ["f2", "f2"]  # type: ignore[attr-defined,index]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rename", "f2"], "expected OLD=NEW"),
        (["--rename", "nothing=c1"], "no such layer with weights"),
        (["--rename", "f2=nothing"], "no such layer with weights"),
        (["--rename", "f2=c1"], "two layers for one place"),
        (["--rename", "f1=upscore", "--rename", "f2=f1"], "another count of numbers"),
        (["--classes", "0"], "--classes"),
    ],
)
def test_impossible_transplants(
    tmp_path: Path,
    classifier: tuple[Path, Path],
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old, old_weights = map(str, classifier)
    new, moved = tmp_path / "new.prototxt", tmp_path / "x.caffemodel"
    assert run(["net", "convolutionalise", old, "-o", str(new)]) == 0
    capsys.readouterr()
    assert run(["weights", "transplant", old, old_weights, str(new), "-o", str(moved), *options]) == 2
    assert message in capsys.readouterr().err
    assert not moved.exists()


def test_interp_fills_every_upsampling(
    tmp_path: Path, classifier: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    new, moved, filled = tmp_path / "n.prototxt", tmp_path / "n.caffemodel", tmp_path / "f.caffemodel"
    text = digits_fcn_alexnet(3, size=(40, 40)).replace("num_output: 4096", "num_output: 8")
    for one in (96, 256, 384):
        text = text.replace(f"num_output: {one}\n", "num_output: 4\n")
    new.write_text(text, "utf-8")
    net = read_net(new)
    weights.write(moved, net, random_weights(net, seed=1))
    assert run(["weights", "interp", str(new), str(moved), "-o", str(filled), "--json"]) == 0
    assert output(capsys)["layers"] == ["upscore"]
    kernel = weights.read(filled)["upscore"][0]
    np.testing.assert_array_equal(kernel, np.broadcast_to(weights.upsample_filt(63), (3, 1, 63, 63)))
    # Caffe's filler of its time is off centre for 63; FCN's surgery is not.
    assert weights.bilinear_filler(63).sum() == pytest.approx(31.984**2, rel=1e-4)
    assert kernel[0, 0].sum() == pytest.approx(32.0**2, rel=1e-6)
    assert (
        run(["weights", "interp", str(new), str(moved), "-o", str(filled), "--force", "--layer", "fc6"]) == 2
    )
    assert "no such Deconvolution; found fc6; expected upscore" in capsys.readouterr().err


def test_the_net_that_is_read_is_not_replaced(
    tmp_path: Path, classifier: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    old, old_weights = map(str, classifier)
    new = tmp_path / "new.prototxt"
    assert run(["net", "convolutionalise", old, "-o", str(new)]) == 0
    command = ["weights", "transplant", old, old_weights, str(new), "-o", str(tmp_path / "new.caffemodel")]
    assert run([*command, "--classes", "9", "--force"]) == 2
    assert "would replace the net that is read" in capsys.readouterr().err
