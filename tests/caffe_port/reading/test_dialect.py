"""Names with two meanings: the fields decide, else the rest of the file, else the user, else nobody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_port import infer_shapes, to_onnx
from caffe_port.reading.dialect import DIALECTS
from clockwork_onnx import options
from tests.parity.cases import layer
from tests.support.ported import read_text, run
from weights.errors import ClockworkError, UnsupportedError, UsageError

INPUT = 'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }'


def test_the_commands_know_every_dialect() -> None:
    assert sorted(options.DIALECTS) == sorted(DIALECTS)


def test_normalize_is_asked_for(tmp_path: Path) -> None:
    text = INPUT + layer("Normalize", "data", "y")
    with pytest.raises(UnsupportedError, match="--dialect ssd or --dialect normface"):
        infer_shapes(read_text(text, tmp_path))
    normface = read_text(text, tmp_path, dialect=["normface"])
    x = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    norm = np.sqrt((x**2).sum(1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(run(normface, {"data": x})["y"], x / norm, rtol=1e-5)
    assert (
        normface.notes[-1] == 'layer "y" (Normalize): over the channels of each point, as NormFace means it'
    )
    ssd = read_text(text, tmp_path, dialect=["ssd"])
    scale = {"y": (np.array(3, np.float32),)}
    assert to_onnx(ssd, scale).graph.node


def test_bn_is_asked_for(tmp_path: Path) -> None:
    text = INPUT + layer("BN", "data", "y")
    with pytest.raises(ClockworkError, match="two forks have a layer called BN"):
        infer_shapes(read_text(text, tmp_path))
    blobs = tuple(np.ones((1, 3, 1, 1), np.float32) for _ in range(4))
    assert to_onnx(read_text(text, tmp_path, dialect=["pspnet"]), {"y": blobs}).graph.node
    assert to_onnx(read_text(text, tmp_path, dialect=["segnet"]), {"y": blobs[:2]}).graph.node


def test_argmax_takes_the_users_word(tmp_path: Path) -> None:
    text = INPUT + layer("ArgMax", "data", "y")
    shapes = [infer_shapes(read_text(text, tmp_path, dialect=d))["y"] for d in ([], ["bvlc"], ["deeplab-v1"])]
    assert shapes == [(1, 1, 1, 1), (1, 1, 1, 1), (1, 1, 8, 8)]


FACTORS = "resize_param { is_pyramid_test: true out_height_scale: 2.0 out_width_scale: 1.5 }"


def test_resize_by_factors(tmp_path: Path) -> None:
    text = INPUT + layer("Resize", "data", "y", rest=FACTORS)
    with pytest.raises(UnsupportedError, match="--dialect maskyolo or --dialect happynear"):
        infer_shapes(read_text(text, tmp_path))
    x = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    rows = np.floor(np.arange(16) / 2).astype(int)
    columns = np.floor(np.arange(12) * 8 / 12).astype(int)
    nearest = run(read_text(text, tmp_path, dialect=["maskyolo"]), {"data": x})["y"]
    np.testing.assert_array_equal(nearest, x[:, :, rows][:, :, :, columns])
    bilinear = run(read_text(text, tmp_path, dialect=["happynear"]), {"data": x})["y"]
    same = INPUT + layer("Resize", "data", "y", rest="resize_param { height_fac: 2.0 width_fac: 1.5 }")
    np.testing.assert_array_equal(bilinear, run(read_text(same, tmp_path), {"data": x})["y"])


def test_maskyolo_shows_itself(tmp_path: Path) -> None:
    rois = 'input: "rois" input_shape { dim: 2 dim: 5 }'
    align = layer("ROIAlignment", "y rois", "z", rest="roi_alignment_param { pooled_h: 2 pooled_w: 2 }")
    net = read_text(INPUT + rois + layer("Resize", "data", "y", rest=FACTORS) + align, tmp_path)
    assert [x.type for x in net.layers] == ["FloorResize", "ROIAlignment"]


def test_wrong_dialects_are_usage_errors(tmp_path: Path) -> None:
    text = INPUT + layer("ReLU", "data", "y")
    with pytest.raises(UsageError, match="unknown dialect"):
        read_text(text, tmp_path, dialect=["latin"])
    with pytest.raises(UsageError, match="two dialects of Normalize; found ssd and normface"):
        read_text(text, tmp_path, dialect=["ssd", "normface"])
    assert read_text(text, tmp_path, dialect=["ssd"]).notes == (
        "dialect ssd: no Normalize layer leaves open what it means",
    )
