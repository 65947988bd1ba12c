"""Findings D6 and D10: two runs into one folder; weights that are no numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe_port
from caffe_port.match import match_weights
from caffe_port.shapes import infer_shapes
from clockwork_onnx import cli
from tests.support.toy_bundles import chain
from weights.whole_file import locked_folder

NET = (
    'input: "x" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'
    'layer { name: "c" type: "Convolution" bottom: "x" top: "y" '
    "convolution_param { num_output: 2 kernel_size: 1 } }"
)


def test_weights_that_are_no_numbers_are_noted(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(NET)
    net = caffe_port.read_net(tmp_path / "net.prototxt")
    weight = np.ones((2, 3, 1, 1), np.float32)
    bias = np.zeros(2, np.float32)
    shapes = infer_shapes(net)
    assert not match_weights(net, shapes, {"c": (weight, bias)}).notes
    weight[0, 1], bias[1] = np.nan, np.inf
    (note,) = match_weights(net, shapes, {"c": (weight, bias)}).notes
    assert note == 'layer "c" (Convolution): 2 weights are NaN or infinite'


def test_the_second_run_into_a_folder_says_why_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = chain(tmp_path / "toy.staged")
    frames, out = tmp_path / "frames", tmp_path / "out"
    frames.mkdir()
    out.mkdir()
    for index in range(3):
        Image.fromarray(np.full((4, 6, 3), index, np.uint8)).save(frames / f"{index}.png")
    run = ["run", str(bundle), str(frames), "--device", "cpu", "--labels", "-o", str(out), "--quiet"]
    with locked_folder(out):
        before = sorted(out.iterdir())
        assert cli.run(run) == 2
        assert "another run is writing into this folder" in capsys.readouterr().err
        assert sorted(out.iterdir()) == before
    assert cli.run(run) == 0
    assert sorted(path.name for path in out.iterdir()) == ["labels", "run.json"]
