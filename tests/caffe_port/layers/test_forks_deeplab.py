"""DeepLab and PSPNet: Interp by every rule, Padding, and BilinearInterpolation, against written-out loops."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from caffe_port.convert import to_onnx
from caffe_port.shapes import infer_shapes
from tests.support.ported import noise, one_layer, read_text, run
from weights.errors import PrototxtError, ShapeError


def interp(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Caffe's interp: corners on corners, the neighbour beyond the last row is the last row."""
    old_h, old_w = x.shape[2:]
    y = np.zeros((*x.shape[:2], height, width))
    for i in range(height):
        h = i * (old_h - 1) / (height - 1) if height > 1 else 0.0
        h0 = math.floor(h)
        h1 = min(h0 + 1, old_h - 1)
        for j in range(width):
            w = j * (old_w - 1) / (width - 1) if width > 1 else 0.0
            w0 = math.floor(w)
            w1 = min(w0 + 1, old_w - 1)
            top = x[:, :, h0, w0] * (1 - w + w0) + x[:, :, h0, w1] * (w - w0)
            bottom = x[:, :, h1, w0] * (1 - w + w0) + x[:, :, h1, w1] * (w - w0)
            y[:, :, i, j] = top * (1 - h + h0) + bottom * (h - h0)
    return y


RULES = [
    ("zoom_factor: 8", (5, 7), (33, 49), (0, 0)),
    ("shrink_factor: 3", (10, 13), (4, 5), (0, 0)),
    ("shrink_factor: 8 pad_beg: -1 pad_end: 0", (26, 34), (4, 5), (1, 0)),
    ("height: 6 width: 11", (4, 4), (6, 11), (0, 0)),
    ("height: 1 width: 1", (4, 4), (1, 1), (0, 0)),
    ("shrink_factor: 2 zoom_factor: 3", (9, 11), (13, 16), (0, 0)),
    ("zoom_factor: 2 pad_beg: -1 pad_end: -2", (9, 8), (11, 9), (1, 2)),
    ("zoom_factor: 1", (5, 7), (5, 7), (0, 0)),
]


@pytest.mark.parametrize(("rule", "old", "new", "crop"), RULES)
def test_interp(
    tmp_path: Path, rule: str, old: tuple[int, int], new: tuple[int, int], crop: tuple[int, int]
) -> None:
    net = read_text(one_layer("Interp", {"x": (2, 3, *old)}, f"interp_param {{ {rule} }}"), tmp_path)
    assert infer_shapes(net)["y"] == (2, 3, *new)
    x = noise(2, 3, *old)
    inner = x[:, :, crop[0] : old[0] - crop[1], crop[0] : old[1] - crop[1]]
    np.testing.assert_allclose(run(net, {"x": x})["y"], interp(inner, *new), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rule", ["zoom_factor: 8", "shrink_factor: 3", "shrink_factor: 2 zoom_factor: 3"])
def test_interp_follows_the_frame_size(tmp_path: Path, rule: str) -> None:
    net = read_text(one_layer("Interp", {"x": (1, 2, 33, 33)}, f"interp_param {{ {rule} }}"), tmp_path)
    x = noise(1, 2, 21, 14)
    found = run(net, {"x": x})["y"]
    np.testing.assert_allclose(found, interp(x, *found.shape[2:]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("", "no new size"),
        ("zoom_factor: 0", "below 1"),
        ("height: 4", "no new size"),
        ("zoom_factor: 2 pad_beg: 1", "positive padding"),
        ("zoom_factor: 2 pad_beg: -9", "cropped to nothing"),
    ],
)
def test_an_interp_that_the_fork_refuses(tmp_path: Path, rule: str, message: str) -> None:
    net = read_text(one_layer("Interp", {"x": (1, 2, 5, 5)}, f"interp_param {{ {rule} }}"), tmp_path)
    with pytest.raises((PrototxtError, ShapeError), match=f'layer "l" \\(Interp\\): .*{message}'):
        to_onnx(net, {})


def test_bilinear_interpolation_to_another_blob_s_size(tmp_path: Path) -> None:
    shapes = {"x": (2, 3, 4, 5), "like": (2, 1, 9, 16)}
    net = read_text(one_layer("BilinearInterpolation", shapes), tmp_path)
    x = noise(2, 3, 4, 5)
    found = run(net, {"x": x, "like": noise(2, 1, 9, 16)})["y"]
    np.testing.assert_allclose(found, interp(x, 9, 16), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("before", "behind"), [(2, 3), (0, 1), (-7, -8), (-1, 0), (0, 0)])
def test_padding_and_cropping(tmp_path: Path, before: int, behind: int) -> None:
    rest = f"padding_param {{ pad_beg: {before} pad_end: {behind} }}"
    net = read_text(one_layer("Padding", {"x": (2, 3, 20, 24)}, rest), tmp_path)
    x = noise(2, 3, 20, 24)
    if before + behind > 0:
        expected = np.pad(x, ((0, 0), (0, 0), (before, behind), (before, behind)))
    else:
        expected = x[:, :, -before : 20 + behind, -before : 24 + behind]
    np.testing.assert_array_equal(run(net, {"x": x})["y"], expected)
    with_other_size = noise(2, 3, 31, 17)
    assert run(net, {"x": with_other_size})["y"].shape == (2, 3, 31 + before + behind, 17 + before + behind)


def test_padding_of_two_signs_is_refused(tmp_path: Path) -> None:
    net = read_text(
        one_layer("Padding", {"x": (1, 2, 5, 5)}, "padding_param { pad_beg: 1 pad_end: -1 }"), tmp_path
    )
    with pytest.raises(PrototxtError, match="padding on one side and a crop on the other"):
        to_onnx(net, {})


def test_v1_spelling_of_deeplab(tmp_path: Path) -> None:
    text = """input: "data" input_dim: 1 input_dim: 3 input_dim: 33 input_dim: 33
    layers { bottom: "data" top: "c" name: "c" type: CONVOLUTION blobs_lr: 1 weight_decay: 1
      convolution_param { num_output: 4 kernel_size: 3 pad: 4 hole: 4 } }
    layers { bottom: "c" top: "i" name: "i" type: INTERP interp_param { zoom_factor: 8 } }
    layers { bottom: "i" top: "p" name: "p" type: PADDING padding_param { pad_beg: -7 pad_end: -8 } }"""
    net = read_text(text, tmp_path)
    shapes = infer_shapes(net)
    assert [shapes[v] for v in ("c", "i", "p")] == [(1, 4, 33, 33), (1, 4, 257, 257), (1, 4, 242, 242)]
    assert run(net, {"data": noise(1, 3, 33, 33)})["p"].shape == (1, 4, 242, 242)
