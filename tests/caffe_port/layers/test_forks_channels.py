"""Small layers of the classification forks, against NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_port.convert import to_onnx
from tests.support.ported import noise, one_layer, read_text, run
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


def test_l2norm_of_rows_has_four_axes(tmp_path: Path) -> None:
    """The fork's Reshape gives num, channels, height and width, whatever the bottom has."""
    x = noise(3, 5)
    expected = x / np.sqrt((x.astype(np.float64) ** 2).sum(1, keepdims=True))
    found = run(read_text(one_layer("L2Norm", {"x": (3, 5)}), tmp_path), {"x": x})["y"]
    np.testing.assert_allclose(found, expected[:, :, None, None], rtol=1e-5)
    with pytest.raises(ShapeError, match="L2Norm takes one to four axes"):
        to_onnx(read_text(one_layer("L2Norm", {"x": (1, 2, 3, 4, 5)}), tmp_path), {})


def reorg(x: np.ndarray, s: int) -> np.ndarray:
    """The loop of choasup/caffe-yolo9000, on flat memory."""
    batch, c, h, w = x.shape
    out_c = c // (s * s)
    y = np.zeros(x.size, np.float32)
    flat = x.reshape(-1)
    for b, k, j, i in np.ndindex(batch, c, h, w):
        c2, offset = k % out_c, k // out_c
        w2, h2 = i * s + offset % s, j * s + offset // s
        y[w2 + w * s * (h2 + h * s * (c2 + out_c * b))] = flat[i + w * (j + h * (k + c * b))]
    return y.reshape(batch, c * s * s, h // s, w // s)


def test_reorg_permutes_memory_as_choasup_does(tmp_path: Path) -> None:
    x = noise(2, 36, 6, 12)
    found = run(read_text(one_layer("Reorg", {"x": (2, 36, 6, 12)}), tmp_path), {"x": x})["y"]
    np.testing.assert_array_equal(found, reorg(x, 2))


@pytest.mark.parametrize("stride", [2, 3])
def test_reorg_permutes_memory_as_darknet_does(tmp_path: Path, stride: int) -> None:
    """`reverse: true` is choasup's loop with the top's natural shape, `reverse: false` takes it back."""
    x = noise(2, 36, 6, 12)
    wide = (2, 36 // stride**2, 6 * stride, 12 * stride)
    rest = f"reorg_param {{ stride: {stride} reverse: %s }}"
    there = run(read_text(one_layer("Reorg", {"x": x.shape}, rest % "true"), tmp_path), {"x": x})["y"]
    np.testing.assert_array_equal(there, reorg(x, stride).reshape(wide))
    back = run(
        read_text(one_layer("Reorg", {"x": x.shape}, rest % "false"), tmp_path),
        {"x": np.ascontiguousarray(there).reshape(x.shape)},
    )["y"]
    assert back.shape == (2, 36 * stride**2, 6 // stride, 12 // stride)
    np.testing.assert_array_equal(back.reshape(x.shape), x)


def test_a_reorg_with_a_stride_is_darknets(tmp_path: Path) -> None:
    """The forks that go darknet's way all demand a stride; choasup's published nets never give one."""
    x = noise(1, 8, 4, 6)
    found = [
        run(
            read_text(one_layer("Reorg", {"x": x.shape}, f"reorg_param {{ stride: 2 {rest} }}"), tmp_path),
            {"x": x},
        )["y"]
        for rest in ("", "reverse: false")
    ]
    np.testing.assert_array_equal(*found)


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
