"""read_net: files that are not prototxts, template variables, and blobs resolved to values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe_port
from tests.support.ported import noise, read_text, run
from weights.errors import PrototxtError, UnsupportedError

INPUT = 'input: "data" input_shape { dim: 1 dim: 2 dim: 4 dim: 4 }\n'


def layer(kind: str, bottom: str, top: str, rest: str = "", name: str = "") -> str:
    return f'layer {{ name: "{name or top}" type: "{kind}" bottom: "{bottom}" top: "{top}" {rest} }}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no layers"),
        (b"\x0a\x05hello\x00\x00", "binary data.*is this the caffemodel"),
        (b"<!DOCTYPE html><html></html>", "an HTML page"),
        (b"base_lr: 0.1", 'unknown field "base_lr" in NetParameter.*solver'),
        (b"layer: 3", 'bad value of "layer"; found 3'),
        (b'layer { name: "x" }', "a layer without a type"),
        (b'layer { name: "x" type: "Teleport" top: "y" }', 'unsupported layer type; found type "Teleport"'),
        (
            b'input: "x" layer { type: "ReLU" bottom: "x" top: "y" }',
            'input "x" has no shape.*--shape x=1,3,500,500',
        ),
        (b'input: "x" input_dim: 1 layer { type: "ReLU" bottom: "x" top: "y" }', "1 dimensions for 1 inputs"),
        (
            b'input: "x" input_shape { dim: 0 } layer { type: "ReLU" bottom: "x" top: "y" }',
            "bad input dimension",
        ),
        (b'input: "x" input_shape { dim: 99999999999 } layer { type: "ReLU" }', "bad input dimension"),
    ],
)
def test_files_that_are_no_nets(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(content)
    with pytest.raises((PrototxtError, UnsupportedError), match=message) as error:
        caffe_port.read_net(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_a_path_that_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.prototxt", tmp_path):
        with pytest.raises(PrototxtError, match="cannot be read"):
            caffe_port.read_net(path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("data_param { batch_size: 2 }", ""),
        ("transform_param { scale: 0.00390625 mirror: true }", "times scale 0.00390625"),
        (
            "transform_param { scale: 0.5 mean_value: 104 mean_value: 117 mean_value: 123 }",
            "minus mean_value 104, 117, 123, times scale 0.5",
        ),
        ('data_param { mean_file: "m.binaryproto" }', "minus its mean_file"),
    ],
)
def test_what_a_data_layer_does_to_its_pictures_is_said(tmp_path: Path, settings: str, said: str) -> None:
    """The input that replaces the layer is its top, so the net does not do it again."""
    text = f'layer {{ name: "d" type: "Data" top: "data" {settings} }} ' + layer("ReLU", "data", "y")
    (note,) = read_text(text, tmp_path, inputs={"data": (2, 3, 8, 8)}).notes
    more = f"; a plain model is fed numbers as the layer makes them: {said}" if said else ""
    assert note == f'Data layer "d" became input data 2x3x8x8{more}'


def test_comments_in_any_encoding(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes("# größer\n".encode("latin-1") + (INPUT + layer("ReLU", "data", "y")).encode())
    assert caffe_port.read_net(path).outputs == ("y",)


def test_template_variables(tmp_path: Path) -> None:
    text = (
        INPUT
        + "# ${IN_A_COMMENT}\n"
        + layer(
            "Convolution",
            "data",
            "fc8_${EXP}",
            "convolution_param { num_output: $#CLASSES#$ kernel_size: 1 }",
        )
    )
    net = read_text(text, tmp_path, define={"EXP": "voc12", "CLASSES": "21"})
    assert net.outputs == ("fc8_voc12",) and net.layers[0].spec.convolution_param.num_output == 21
    with pytest.raises(
        PrototxtError, match=r"line 3: template variable without a value; found \$\{EXP\}; .*--define EXP"
    ):
        read_text(text, tmp_path, define={"CLASSES": "21"})
    with pytest.raises(PrototxtError, match="--define CLASSES=VALUE"):
        read_text(text, tmp_path, define={"EXP": "voc12"})


def test_values_cannot_smuggle_in_other_variables(tmp_path: Path) -> None:
    text = INPUT + layer("ReLU", "data", "${A}")
    assert read_text(text, tmp_path, define={"A": "${B}", "B": "no"}).outputs == ("${B}",)


def test_in_place_layers_make_values(tmp_path: Path) -> None:
    text = INPUT + (
        layer("Power", "data", "y", "power_param { scale: 2 }")
        + layer("ReLU", "y", "y", name="relu")
        + layer("Power", "y", "y", "power_param { shift: 1 }", name="shift")
        + layer("AbsVal", "y", "z")
    )
    net = read_text(text, tmp_path)
    assert [x.tops for x in net.layers] == [("y@y",), ("y@relu",), ("y",), ("z",)]
    assert [x.bottoms for x in net.layers] == [("data",), ("y@y",), ("y@relu",), ("y",)]
    x = noise(1, 2, 4, 4)
    found = run(net, {"data": x}, {}, outputs=["y@y", "y"])
    np.testing.assert_allclose(found["y@y"], 2 * x)
    np.testing.assert_allclose(found["y"], np.maximum(2 * x, 0) + 1)


def test_a_layer_reads_the_value_of_its_time(tmp_path: Path) -> None:
    text = INPUT + (
        layer("Power", "data", "y")
        + layer("AbsVal", "y", "before")
        + layer("ReLU", "y", "y", name="relu")
        + layer("AbsVal", "y", "after")
    )
    x = noise(1, 2, 4, 4)
    found = run(read_text(text, tmp_path), {"data": x}, {})
    np.testing.assert_allclose(found["before"], np.abs(x))
    np.testing.assert_allclose(found["after"], np.maximum(x, 0))


def test_in_place_on_an_input(tmp_path: Path) -> None:
    text = INPUT + layer("ReLU", "data", "data", name="relu") + layer("AbsVal", "data", "y")
    net = read_text(text, tmp_path)
    assert [i.name for i in net.inputs] == ["data"]
    assert net.layers[0].tops == net.layers[1].bottoms == ("data@relu",)
    x = noise(1, 2, 4, 4)
    np.testing.assert_allclose(run(net, {"data": x}, {})["y"], np.maximum(x, 0))


def test_two_makers_of_one_blob(tmp_path: Path) -> None:
    text = INPUT + layer("ReLU", "data", "y") + layer("AbsVal", "data", "y", name="again")
    with pytest.raises(
        PrototxtError,
        match=r'layer "again" .* a top that is made twice; found "y", already made by layer "y"',
    ):
        read_text(text, tmp_path)


def test_a_missing_bottom(tmp_path: Path) -> None:
    with pytest.raises(PrototxtError, match=r'layer "y" .ReLU.: missing bottom; found "nowhere"'):
        read_text(INPUT + layer("ReLU", "nowhere", "y"), tmp_path)


def test_empty_names_are_names(tmp_path: Path) -> None:
    """ESPNet has a Concat whose name and top are the empty string."""
    text = INPUT + (
        'layer { name: "" type: "Concat" bottom: "data" bottom: "data" top: "" }'
        + 'layer { name: "" type: "ReLU" bottom: "" top: "y" }'
    )
    net = read_text(text, tmp_path)
    assert [(x.name, x.bottoms, x.tops) for x in net.layers] == [
        ("", ("data", "data"), ("",)),
        ("", ("",), ("y",)),
    ]
    x = noise(1, 2, 4, 4)
    np.testing.assert_allclose(run(net, {"data": x}, {})["y"], np.maximum(np.concatenate([x, x], 1), 0))


def test_layers_of_one_name_have_keys(tmp_path: Path) -> None:
    text = INPUT + layer("Scale", "data", "a", name="s") + layer("Scale", "a", "b", name="s")
    net = read_text(text, tmp_path)
    assert [(x.name, x.key) for x in net.layers] == [("s", "s"), ("s", "s#2")]
    weights = {"s": (np.array([2, 3], np.float32),)}
    x = noise(1, 2, 4, 4)
    np.testing.assert_allclose(
        run(net, {"data": x}, weights)["b"], x * np.array([4, 9]).reshape(1, 2, 1, 1), rtol=1e-6
    )


def test_shapes_given_by_the_caller(tmp_path: Path) -> None:
    text = INPUT + layer("ReLU", "data", "y")
    assert read_text(text, tmp_path, inputs={"data": (1, 2, 6, 7)}).inputs[0].shape == (1, 2, 6, 7)
    with pytest.raises(
        PrototxtError, match="a shape is given for a blob that is no input; found dta; expected data"
    ):
        read_text(text, tmp_path, inputs={"dta": (1, 2, 6, 7)})


def test_data_layers_become_inputs_and_losses_go(tmp_path: Path) -> None:
    text = """
    layer { name: "train" type: "Data" top: "data" top: "label" include { phase: TRAIN }
            data_param { source: "/no/such/file" batch_size: 64 } transform_param { crop_size: 9 } }
    layer { name: "test" type: "Data" top: "data" top: "label" include { phase: TEST }
            data_param { source: "/no/such/file" batch_size: 2 }
            transform_param { crop_size: 5 mean_file: "/etc/passwd" } }
    """ + (
        layer("InnerProduct", "data", "score", "inner_product_param { num_output: 3 }")
        + layer("SoftmaxWithLoss", "score", "loss", 'bottom: "label"')
        + layer("Accuracy", "score", "acc", 'bottom: "label"')
    )
    net = read_text(text, tmp_path)
    assert [(i.name, i.shape) for i in net.inputs] == [("data", (2, 3, 5, 5))]
    assert [x.name for x in net.layers] == ["score"] and net.outputs == ("score",)
    assert any("became input" in note for note in net.notes) and any(
        "training only" in note for note in net.notes
    )
