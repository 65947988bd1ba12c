"""Data layers become inputs: what their size is, and what is no input at all."""

from __future__ import annotations

from pathlib import Path

import pytest

import staged_onnx
from caffe_port import random_weights
from tests.support.ported import read_text, run
from weights.errors import PrototxtError, UnsupportedError

INPUT = 'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'


def layer(kind: str, bottoms: str, tops: str, rest: str = "") -> str:
    ends = [*(f'bottom: "{b}"' for b in bottoms.split()), *(f'top: "{t}"' for t in tops.split())]
    return f'layer {{ name: "{kind}_{tops.replace(" ", "_")}" type: "{kind}" {" ".join(ends)} {rest} }}\n'


CONV = layer("Convolution", "data", "score", "convolution_param { num_output: 4 kernel_size: 1 }")
LOSSES = layer("SoftmaxWithLoss", "score label", "loss") + layer("Accuracy", "score label", "accuracy")


def test_memory_data_of_stated_dimensions(tmp_path: Path) -> None:
    """naibaf7's fork: the whole shape, in order."""
    text = layer("MemoryData", "", "data label", "memory_data_param { dim: 1 dim: 3 dim: 64 dim: 48 }") + CONV
    assert [(i.name, i.shape) for i in read_text(text, tmp_path).inputs] == [("data", (1, 3, 64, 48))]
    with pytest.raises(PrototxtError, match="does not state its shape"):
        read_text(text.replace("dim: 64", "dim: 0"), tmp_path)


def test_an_input_that_only_left_out_layers_read_is_none(tmp_path: Path) -> None:
    label = 'input: "label" input_shape { dim: 1 dim: 1 dim: 8 dim: 8 }\n'
    net = read_text(INPUT + label + CONV + LOSSES, tmp_path)
    assert [i.name for i in net.inputs] == ["data"]
    assert 'input "label" left out: only layers that are left out read it' in net.notes
    blobs = random_weights(net)
    plan = staged_onnx.plan(net, ["score"])
    bundle = staged_onnx.export(net, blobs, plan, tmp_path / "x.staged")
    assert bundle.manifest.stages[0].inputs == ("frame",)


def test_an_unused_input_stays(tmp_path: Path) -> None:
    """Nothing reads it and nothing is left out: it is the file's own affair."""
    other = 'input: "other" input_shape { dim: 1 dim: 2 }\n'
    assert [i.name for i in read_text(INPUT + other + CONV, tmp_path).inputs] == ["data", "other"]


def test_a_data_layer_of_labels_alone_needs_no_shape(tmp_path: Path) -> None:
    """DIGITS keeps the labels in a data base, and so in a data layer, of their own."""
    net = read_text(INPUT + layer("Data", "", "label") + CONV + LOSSES, tmp_path)
    assert [i.name for i in net.inputs] == ["data"] and net.outputs == ("score",)


def test_an_undeclared_blob_that_only_a_cut_layer_reads(tmp_path: Path) -> None:
    """It is of no use to the net, stated or not: the message that asked for its shape led nowhere."""
    text = INPUT + CONV + layer("Proposal", "score im_info", "rois")
    for inputs in ({}, {"im_info": (1, 3)}):
        net = read_text(text, tmp_path, inputs=inputs)
        assert [i.name for i in net.inputs] == ["data"] and net.outputs == ("score",)
    with pytest.raises(PrototxtError, match="a shape is given for a blob that is no input; found im_inof"):
        read_text(text, tmp_path, inputs={"im_inof": (1, 3)})


def test_a_missing_bottom_becomes_an_input_as_the_message_says(tmp_path: Path) -> None:
    text = INPUT + layer("Eltwise", "data other", "y")
    with pytest.raises(PrototxtError, match="--shape other=N,C,H,W"):
        read_text(text, tmp_path)
    net = read_text(text, tmp_path, inputs={"other": (1, 3, 8, 8)})
    assert [i.name for i in net.inputs] == ["data", "other"]


def test_the_size_that_another_phase_states(tmp_path: Path) -> None:
    train = layer(
        "Data", "", "data label", "transform_param { crop_size: 9 } include { phase: TRAIN } data_param { }"
    )
    test = layer("Data", "", "data label", "include { phase: TEST } data_param { batch_size: 4 }")
    net = read_text(train + test.replace("Data_", "Test_") + CONV, tmp_path)
    assert net.inputs[0].shape == (1, 3, 9, 9)


def test_deeplabs_argmax_works_on_each_pixel(tmp_path: Path) -> None:
    hole = "convolution_param { num_output: 4 kernel_size: 3 hole: 2 pad: 2 }"
    text = INPUT + layer("Convolution", "data", "score", hole) + layer("ArgMax", "score", "map")
    net = read_text(text, tmp_path)
    assert "works on each pixel, as DeepLab v1 means it" in net.notes[-1]
    import numpy as np

    x = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    assert run(net, {"data": x})["map"].shape == (1, 1, 8, 8)
    plain = read_text(text.replace("hole: 2", "dilation: 2"), tmp_path)
    assert not plain.notes and run(plain, {"data": x})["map"].shape == (1, 1, 1, 1)


def test_a_forks_field_at_its_neutral_value(tmp_path: Path) -> None:
    text = INPUT + layer(
        "PriorBox", "data data", "y", "prior_box_param { min_size: 3 offset_w: 0.5 offset_h: 0.5 }"
    )
    read_text(text, tmp_path)
    with pytest.raises(UnsupportedError, match="unknown field"):
        read_text(text.replace("offset_w: 0.5", "offset_w: 0.4"), tmp_path)
