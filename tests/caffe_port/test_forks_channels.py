"""Small layers of the classification forks, against NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ported import noise, one_layer, read_text, run

from caffe_port.convert import to_onnx
from weights.errors import PrototxtError, ShapeError


def test_shuffled_channels(tmp_path: Path) -> None:
    net = read_text(
        one_layer("ShuffleChannel", {"x": (2, 6, 3, 4)}, "shuffle_channel_param { group: 3 }"), tmp_path
    )
    x = noise(2, 6, 3, 4)
    np.testing.assert_array_equal(run(net, {"x": x})["y"], x[:, [0, 2, 4, 1, 3, 5]])
    wider = noise(2, 6, 5, 9)
    np.testing.assert_array_equal(run(net, {"x": wider})["y"], wider[:, [0, 2, 4, 1, 3, 5]])


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 1, 1)])
def test_axpy(tmp_path: Path, shape: tuple[int, ...]) -> None:
    net = read_text(one_layer("Axpy", {"a": shape, "x": (2, 5, 3, 4), "z": (2, 5, 3, 4)}), tmp_path)
    a, x, z = noise(*shape), noise(2, 5, 3, 4, seed=1), noise(2, 5, 3, 4, seed=2)
    found = run(net, {"a": a, "x": x, "z": z})["y"]
    np.testing.assert_allclose(found, a.reshape(2, 5, 1, 1) * x + z, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "rest", "expected"),
    [
        ("ReLU6", "", lambda x: np.clip(x, 0, 6)),
        ("ReLU6", "relu6_param { n: 2 }", lambda x: np.clip(x, 0, 2)),
        (
            "ReLU6",
            "relu6_param { negative_slope: 0.5 }",
            lambda x: np.clip(x, 0, 6) + 0.5 * np.minimum(x, 0),
        ),
        ("BReLU", "brelu_param { minval: -1 maxval: 2 }", lambda x: np.clip(x, -1, 2)),
        ("BReLU", "", lambda x: np.clip(x, 0, 1)),
        ("SpatialDropout", "spatial_dropout_param { dropout_ratio: 0.5 }", lambda x: x),
        ("L2Norm", "", lambda x: x / np.sqrt((x**2).sum((1, 2, 3), keepdims=True))),
    ],
)
def test_elementwise(tmp_path: Path, kind: str, rest: str, expected: object) -> None:
    text = (
        one_layer(kind, {"x": (2, 5, 3, 4)}, rest)
        + ' layer { name: "s" type: "AbsVal" bottom: "y" top: "z" }'
    )
    net = read_text(text, tmp_path)
    x = noise(2, 5, 3, 4) * 5
    found = run(net, {"x": x}, outputs=["y"])["y"]
    np.testing.assert_allclose(found, expected(x), rtol=1e-5, atol=1e-6)  # type: ignore[operator]


def test_l2norm_of_nothing_is_nothing(tmp_path: Path) -> None:
    net = read_text(one_layer("L2Norm", {"x": (1, 4)}), tmp_path)
    np.testing.assert_array_equal(run(net, {"x": np.zeros((1, 4))})["y"], 0)


def test_crop_center(tmp_path: Path) -> None:
    rest = "crop_center_param { crop_size: 0 crop_size: 1 crop_size: 2 crop_size: 3 }"
    net = read_text(one_layer("CropCenter", {"x": (2, 5, 9, 9)}, rest), tmp_path)
    x = noise(2, 5, 9, 9)
    np.testing.assert_array_equal(run(net, {"x": x})["y"], x[:, 1:4, 2:7, 3:6])


def reorg(x: np.ndarray, s: int) -> np.ndarray:
    """The fork's loop, on flat memory."""
    batch, c, h, w = x.shape
    out_c = c // (s * s)
    y = np.zeros(x.size, np.float32)
    flat = x.reshape(-1)
    for b, k, j, i in np.ndindex(batch, c, h, w):
        c2, offset = k % out_c, k // out_c
        w2, h2 = i * s + offset % s, j * s + offset // s
        y[w2 + w * s * (h2 + h * s * (c2 + out_c * b))] = flat[i + w * (j + h * (k + c * b))]
    return y.reshape(batch, c * s * s, h // s, w // s)


@pytest.mark.parametrize(("rest", "stride"), [("", 2), ("reorg_param { stride: 3 }", 3)])
def test_reorg_permutes_memory_as_darknet_does(tmp_path: Path, rest: str, stride: int) -> None:
    net = read_text(one_layer("Reorg", {"x": (2, 36, 6, 12)}, rest), tmp_path)
    x = noise(2, 36, 6, 12)
    np.testing.assert_array_equal(run(net, {"x": x})["y"], reorg(x, stride))


@pytest.mark.parametrize(
    ("kind", "shapes", "rest", "message"),
    [
        (
            "ShuffleChannel",
            {"x": (1, 5, 2, 2)},
            "shuffle_channel_param { group: 2 }",
            "group does not divide",
        ),
        ("Axpy", {"a": (1, 4), "x": (1, 5, 2, 2), "z": (1, 5, 2, 2)}, "", "bottoms do not fit"),
        ("CropCenter", {"x": (1, 5, 9, 9)}, "crop_center_param { crop_size: 1 }", "crop_size does not fit"),
        ("CropCenter", {"x": (1, 5)}, "crop_center_param { crop_size: 0 crop_size: 3 }", "impossible shape"),
        ("Reorg", {"x": (1, 5, 4, 4)}, "", "stride does not divide"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, kind: str, shapes: dict[str, tuple[int, ...]], rest: str, message: str
) -> None:
    net = read_text(one_layer(kind, shapes, rest), tmp_path)
    with pytest.raises((ShapeError, PrototxtError), match=f'layer "l" \\({kind}\\): {message}'):
        to_onnx(net, {})
