"""inspect_net: verdicts, sizes and weights of every layer, and nothing raised for what cannot be ported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import caffe_port
import weights
from caffe_port.inspection import Inspection, inspect_net
from tests.support.ported import noise, read_text
from tests.support.shared_data import shared
from weights.errors import UnsupportedError

NET = """
name: "sample"
input: "data" input_shape { dim: 1 dim: 3 dim: 16 dim: 24 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { name: "w" }
        convolution_param { num_output: 6 kernel_size: 3 pad: 1 bias_term: false } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "again" type: "Convolution" bottom: "data" top: "again" param { name: "w" }
        convolution_param { num_output: 6 kernel_size: 3 pad: 1 bias_term: false } }
layer { name: "odd" type: "Teleport" bottom: "pool" top: "odd" teleport_param { speed: 3 } }
layer { name: "field" type: "Power" bottom: "pool" top: "field" power_param { warp: 9 } }
layer { name: "after" type: "Sigmoid" bottom: "odd" top: "after" }
layer { name: "noisy" type: "Dropout" bottom: "pool" top: "noisy"
        dropout_param { sample_weights_test: true dropout_ratio: 1 } }
layer { name: "even" type: "LRN" bottom: "pool" top: "even" lrn_param { local_size: 4 } }
"""
W = noise(6, 3, 3, 3)


def sample(folder: Path, blobs: dict[str, tuple[np.ndarray, ...]] | None = None) -> Inspection:
    return inspect_net(read_text(NET, folder, tolerant=True), blobs)


def test_layers(tmp_path: Path) -> None:
    found = sample(tmp_path)
    layers = {layer.name: layer for layer in found.layers}
    conv, relu = layers["conv"], layers["relu"]
    assert (conv.type, conv.fork, conv.verdict, conv.why) == ("Convolution", "BVLC Caffe", "exact", "")
    assert conv.bottom_shapes == ((1, 3, 16, 24),) and conv.top_shapes == ((1, 6, 16, 24),)
    assert conv.parameters == 6 * 3 * 9 and conv.macs == 6 * 3 * 9 * 16 * 24
    assert relu.tops == ("conv",) and relu.parameters == 0 and relu.macs == 0
    assert layers["pool"].top_shapes == ((1, 6, 8, 12),)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("odd", 'unsupported layer type; found type "Teleport"; expected a type listed in docs/layers.md'),
        ("field", 'line 11: unknown field "warp" in PowerParameter'),
        ("noisy", "bad dropout_ratio; found 1.0; expected 0 or more, below 1"),
        ("even", "bad local_size; found 4"),
    ],
)
def test_what_cannot_be_ported_says_why(tmp_path: Path, name: str, why: str) -> None:
    found = sample(tmp_path)
    assert not found.converts
    (layer,) = (layer for layer in found.unsupported if layer.name == name)
    assert layer.why.startswith(why) and str(tmp_path) not in layer.why
    if name in ("odd", "field", "even"):
        assert layer.top_shapes == (None,) and layer.parameters is None and layer.macs is None


def test_what_comes_after_is_not_known(tmp_path: Path) -> None:
    found = sample(tmp_path)
    (after,) = (layer for layer in found.layers if layer.name == "after")
    assert after.verdict == "exact" and after.bottom_shapes == after.top_shapes == (None,)
    assert [layer.name for layer in found.unsupported] == ["odd", "field", "noisy", "even"]
    assert found.outputs["after"] is None and found.outputs["noisy"] == (1, 6, 8, 12)


def test_totals_count_shared_weights_once(tmp_path: Path) -> None:
    found = sample(tmp_path)
    assert found.parameters == W.size and found.macs == 2 * W.size * 16 * 24
    assert found.weights is None


def test_weights(tmp_path: Path) -> None:
    found = sample(tmp_path, {"conv": (W,), "loss": (W,)}).weights
    assert found is not None
    assert found.found == ("conv", "again") and not found.missing and found.left_over == ("loss",)
    found = sample(tmp_path, {"conv": (W[:, :2],), "odd": (W,)}).weights
    assert found is not None
    assert found.missing == ("again",) and not found.left_over
    assert found.wrong == {
        "conv": "blob 0 (weight) has the wrong shape; found (6, 2, 3, 3); expected (6, 3, 3, 3); "
        "do prototxt and weights belong together?"
    }


def test_missing_weights_do_not_convert(tmp_path: Path) -> None:
    text = NET.split('layer { name: "odd"')[0]
    net = read_text(text, tmp_path)
    assert inspect_net(net).converts
    assert inspect_net(net, {"conv": (W,)}).converts
    report = inspect_net(net, {})
    assert not report.converts and report.weights is not None and report.weights.missing == ("conv", "again")
    assert [layer.weights for layer in report.layers] == ["missing", "", "", "missing"]


def test_json(tmp_path: Path) -> None:
    found = json.loads(json.dumps(sample(tmp_path, {"conv": (W,)}).to_json()))
    assert found["name"] == "sample" and found["converts"] is False
    assert [layer["verdict"] for layer in found["layers"]].count("unsupported") == 4
    assert found["inputs"] == {"data": [1, 3, 16, 24]} and found["weights"]["found"] == ["conv", "again"]


def test_without_tolerance_the_first_refusal_is_raised(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r'layer "odd" \(Teleport\): unsupported layer type'):
        read_text(NET, tmp_path)
    with pytest.raises(UnsupportedError, match=r'layer "odd" \(Teleport\): unsupported layer type'):
        caffe_port.to_onnx(read_text(NET, tmp_path, tolerant=True), {"conv": (W,)})


def test_fixed_sizes_and_remarks(tmp_path: Path) -> None:
    text = 'input: "x" input_shape { dim: 3 dim: 1 dim: 4 } input: "c" input_shape { dim: 3 dim: 1 }'
    text += (
        'layer { name: "l" type: "LSTM" bottom: "x" bottom: "c" top: "y" recurrent_param { num_output: 2 } }'
    )
    found = inspect_net(read_text(text, tmp_path))
    assert found.fixed_size == "no input is a picture (N, C, H, W)"
    assert found.layers[0].notes == ('layer "l" (LSTM): every run starts from a state of zeros',)
    text = 'input: "x" input_shape { dim: 1 dim: 1 dim: 9 dim: 9 }'
    text += 'layer { name: "l" type: "SPP" bottom: "x" top: "y" spp_param { pyramid_height: 2 } }'
    assert "kernels follow the size" in inspect_net(read_text(text, tmp_path)).fixed_size


@pytest.mark.parametrize(
    ("folder", "file", "layers"),
    [("espnet-cityscapes", "pretrained.caffemodel", 106), ("enet-cityscapes", "pretrained.caffemodel", 181),
     ("tusimple-lane", "weights.caffemodel", 60)],
)  # fmt: skip
def test_real_nets(folder: str, file: str, layers: int) -> None:
    root = shared(f"models/{folder}")
    blobs = weights.read(root / file)
    found = inspect_net(caffe_port.read_net(root / "deploy.prototxt"), blobs)
    assert found.converts and not found.fixed_size and all(x.verdict == "exact" for x in found.layers)
    assert found.weights is not None and len(found.weights.found) == layers and not found.weights.left_over
