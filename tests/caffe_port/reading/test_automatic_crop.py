"""AutoCrop: the offset that follows from the layers between two blobs."""

from __future__ import annotations

from pathlib import Path

import pytest

import caffe_port
from weights.errors import PrototxtError, ShapeError

HEAD = 'input: "data" input_shape { dim: 1 dim: 3 dim: 64 dim: 80 }\n'


def layer(name: str, kind: str, bottoms: str, rest: str = "") -> str:
    read = " ".join(f'bottom: "{b}"' for b in bottoms.split())
    return f'layer {{ name: "{name}" type: "{kind}" {read} top: "{name}" {rest} }}\n'


def conv(name: str, bottom: str, setting: str, kind: str = "Convolution") -> str:
    return layer(name, kind, bottom, f"convolution_param {{ num_output: 2 {setting} }}")


def offsets(tmp_path: Path, text: str) -> list[list[int]]:
    path = tmp_path / "net.prototxt"
    path.write_text(HEAD + text)
    net = caffe_port.read_net(path)
    return [list(x.spec.crop_param.offset) for x in net.layers if x.type == "AutoCrop"]


def test_fcn32s_offset_is_the_published_one(tmp_path: Path) -> None:
    # VGG's pools after pad 100, fc6 of kernel 7, upsampling by 32 with kernel 64: voc-fcn32s crops at 19.
    text = conv("c1", "data", "kernel_size: 3 pad: 100")
    last = "c1"
    for number in range(5):
        text += layer(f"p{number}", "Pooling", last, "pooling_param { kernel_size: 2 stride: 2 }")
        last = f"p{number}"
    text += conv("fc6", last, "kernel_size: 7")
    text += conv("up", "fc6", "kernel_size: 64 stride: 32", "Deconvolution")
    text += layer("score", "AutoCrop", "up data")

    assert offsets(tmp_path, text) == [[19, 19]]


def test_hed_side_output_with_asymmetric_stride(tmp_path: Path) -> None:
    text = conv("c1", "data", "kernel_size: 3 pad: 35")
    text += layer("p1", "Pooling", "c1", "pooling_param { kernel_h: 2 kernel_w: 4 stride_h: 2 stride_w: 4 }")
    text += layer("r1", "ReLU", "p1")
    text += conv("up", "r1", "kernel_h: 4 kernel_w: 8 stride_h: 2 stride_w: 4", "Deconvolution")
    text += layer("y", "AutoCrop", "up data")

    assert offsets(tmp_path, text) == [[35, 36]]


def test_crop_on_the_way_counts(tmp_path: Path) -> None:
    text = conv("c1", "data", "kernel_size: 3 pad: 5")
    text += layer("cut", "Crop", "c1 data", "crop_param { axis: 2 offset: 1 offset: 2 }")
    text += layer("y", "AutoCrop", "cut data")

    assert offsets(tmp_path, text) == [[3, 2]]


def test_scales_that_differ_are_refused(tmp_path: Path) -> None:
    text = conv("c1", "data", "kernel_size: 2 stride: 2") + layer("y", "AutoCrop", "data c1")

    with pytest.raises(ShapeError, match="scales of the two bottoms differ"):
        offsets(tmp_path, text)


def test_unknown_movement_is_refused(tmp_path: Path) -> None:
    text = layer("f", "Flip", "data") + layer("y", "AutoCrop", "f data")

    with pytest.raises(PrototxtError, match="no layers of known effect"):
        offsets(tmp_path, text)
