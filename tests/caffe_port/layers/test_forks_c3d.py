"""C3D's layers on volumes, against loops and in both spellings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_port.convert import to_onnx
from tests.support.ported import noise, one_layer, read_text, run
from weights.errors import PrototxtError, ShapeError, UnsupportedError

SHAPE = (2, 4, 5, 7, 6)
Triple = tuple[int, int, int]
WINDOW = "kernel_size: 3 kernel_depth: 2 stride: 2 temporal_stride: 2 pad: 1 temporal_pad: 1"


def convolution(x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int, pad: int) -> np.ndarray:
    x = np.pad(x, ((0, 0), (0, 0), *[(pad, pad)] * 3))
    sizes = [(n - k) // stride + 1 for n, k in zip(x.shape[2:], w.shape[2:], strict=True)]
    y = np.zeros((x.shape[0], w.shape[0], *sizes))
    for at in np.ndindex(*sizes):
        d, r, c = (i * stride for i in at)
        window = x[:, :, d : d + w.shape[2], r : r + w.shape[3], c : c + w.shape[4]]
        y[(slice(None), slice(None), *at)] = np.tensordot(window, w, ([1, 2, 3, 4], [1, 2, 3, 4])) + b
    return y


def deconvolution(x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int, pad: int) -> np.ndarray:
    sizes = [stride * (n - 1) + k for n, k in zip(x.shape[2:], w.shape[2:], strict=True)]
    y = np.zeros((x.shape[0], w.shape[1], *sizes))
    for at in np.ndindex(*x.shape[2:]):
        d, r, c = (i * stride for i in at)
        part = np.tensordot(x[(slice(None), slice(None), *at)], w, ([1], [0]))
        y[:, :, d : d + w.shape[2], r : r + w.shape[3], c : c + w.shape[4]] += part
    inner = tuple(slice(pad, n - pad) for n in sizes)
    return y[(slice(None), slice(None), *inner)] + b[:, None, None, None]


@pytest.mark.parametrize("param", ["convolution_param", "convolution3d_param"])
@pytest.mark.parametrize("kind", ["Convolution3D", "Deconvolution3D"])
def test_convolution_and_deconvolution(tmp_path: Path, kind: str, param: str) -> None:
    rest = f"{param} {{ num_output: 3 {WINDOW} }}"
    net = read_text(one_layer(kind, {"x": SHAPE}, rest), tmp_path)
    channels = (3, 4) if kind == "Convolution3D" else (4, 3)
    x, w, b = noise(*SHAPE), noise(*channels, 2, 3, 3, seed=1), noise(3, seed=2)
    loop = convolution if kind == "Convolution3D" else deconvolution
    y = run(net, {"x": x}, {"l": (w, b)})["y"]
    np.testing.assert_allclose(y, loop(x, w, b, 2, 1), rtol=1e-4, atol=1e-5)


def test_a_convolution_without_bias(tmp_path: Path) -> None:
    rest = "convolution_param { num_output: 2 kernel_size: 1 kernel_depth: 3 bias_term: false }"
    net = read_text(one_layer("Convolution3D", {"x": SHAPE}, rest), tmp_path)
    x, w = noise(*SHAPE), noise(2, 4, 3, 1, 1, seed=1)
    y = run(net, {"x": x}, {"l": (w,)})["y"]
    np.testing.assert_allclose(y, convolution(x, w, np.zeros(2), 1, 0), rtol=1e-4, atol=1e-5)


def pooling(
    x: np.ndarray, pool: str, window: tuple[int, ...], stride: tuple[int, ...], pad: tuple[int, ...]
) -> np.ndarray:
    """The loop of pool3d_layer.cpp: the divisor counts the pad, but not what is beyond it."""
    sizes = [
        -(-(n + 2 * p - k) // s) + 1 for n, k, s, p in zip(x.shape[2:], window, stride, pad, strict=True)
    ]
    y = np.zeros((*x.shape[:2], *sizes))
    for at in np.ndindex(*sizes):
        start = [i * s - p for i, s, p in zip(at, stride, pad, strict=True)]
        end = [min(a + k, n + p) for a, k, n, p in zip(start, window, x.shape[2:], pad, strict=True)]
        part = x[(..., *(slice(max(a, 0), e) for a, e in zip(start, end, strict=True)))]
        extent = np.prod([e - a for a, e in zip(start, end, strict=True)])
        y[(..., *at)] = part.max((2, 3, 4)) if pool == "MAX" else part.sum((2, 3, 4)) / extent
    return y


@pytest.mark.parametrize("param", ["pooling_param", "pooling3d_param"])
@pytest.mark.parametrize(
    ("pool", "k", "kl", "s", "sl", "p"),
    [("MAX", 2, 1, 2, 1, 0), ("MAX", 2, 2, 2, 2, 0), ("MAX", 3, 3, 2, 1, 0), ("AVE", 3, 2, 2, 2, 1)],
)
def test_pooling(tmp_path: Path, param: str, pool: str, k: int, kl: int, s: int, sl: int, p: int) -> None:
    rest = (
        f"{param} {{ pool: {pool} kernel_size: {k} kernel_depth: {kl} stride: {s} temporal_stride: {sl} "
        f"pad: {p} }}"
    )
    net = read_text(one_layer("Pooling3D", {"x": SHAPE}, rest), tmp_path)
    x = noise(*SHAPE)
    expected = pooling(x, pool, (kl, k, k), (sl, s, s), (0, p, p))
    np.testing.assert_allclose(run(net, {"x": x})["y"], expected, rtol=1e-5, atol=1e-6)


def volume(x: np.ndarray, pool: str, k: Triple, s: Triple, p: Triple) -> np.ndarray:
    """Caffe's own pooling on more axes: the last window starts inside, MAX leaves padding out."""
    sizes = []
    for n, kernel, stride, pad in zip(x.shape[2:], k, s, p, strict=True):
        size = -(-(n + 2 * pad - kernel) // stride) + 1
        sizes.append(size - (pad > 0 and (size - 1) * stride >= n + pad))
    y = np.zeros((*x.shape[:2], *sizes))
    for at in np.ndindex(*sizes):
        start = [i * stride - pad for i, stride, pad in zip(at, s, p, strict=True)]
        part = x[(..., *(slice(max(a, 0), a + kernel) for a, kernel in zip(start, k, strict=True)))]
        y[(..., *at)] = part.max((2, 3, 4)) if pool == "MAX" else part.mean((2, 3, 4))
    return y


@pytest.mark.parametrize(
    ("rest", "pool", "k", "s", "p"),
    [
        ("kernel_size: 2 stride: 2", "MAX", (2, 2, 2), (2, 2, 2), (0, 0, 0)),
        ("kernel_size: [1, 2, 2] stride: [1, 2, 2]", "MAX", (1, 2, 2), (1, 2, 2), (0, 0, 0)),
        ("kernel_size: 3 stride: 2 pad: [1, 0, 1]", "MAX", (3, 3, 3), (2, 2, 2), (1, 0, 1)),
        ("pool: AVE kernel_size: [5, 3, 2] stride: [1, 2, 2]", "AVE", (5, 3, 2), (1, 2, 2), (0, 0, 0)),
        ("pool: AVE global_pooling: true", "AVE", (5, 7, 6), (1, 1, 1), (0, 0, 0)),
    ],
)
def test_pooling_with_one_value_an_axis(
    tmp_path: Path, rest: str, pool: str, k: Triple, s: Triple, p: Triple
) -> None:
    net = read_text(one_layer("Pooling", {"x": SHAPE}, f"pooling_param {{ {rest} }}"), tmp_path)
    x = noise(*SHAPE)
    np.testing.assert_allclose(run(net, {"x": x})["y"], volume(x, pool, k, s, p), rtol=1e-5, atol=1e-6)


def test_pooling_of_pictures_with_one_value_an_axis(tmp_path: Path) -> None:
    rest = "pooling_param { kernel_size: 3 kernel_size: 2 stride: [2, 1] }"
    x = noise(1, 2, 8, 6)
    y = run(read_text(one_layer("Pooling", {"x": (1, 2, 8, 6)}, rest), tmp_path), {"x": x})["y"]
    same = "pooling_param { kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 }"
    expected = run(read_text(one_layer("Pooling", {"x": (1, 2, 8, 6)}, same), tmp_path), {"x": x})["y"]
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(
    ("kind", "shape", "rest", "error", "message"),
    [
        ("Pooling", SHAPE, "pool: AVE kernel_size: 2 stride: 2", UnsupportedError, "pooling of a volume"),
        ("Pooling", SHAPE, "kernel_size: 1 stride: 3", UnsupportedError, "pooling of a volume"),
        ("Pooling", SHAPE, "pool: STOCHASTIC kernel_size: 2", UnsupportedError, "pooling of a volume"),
        ("Pooling", SHAPE, "kernel_h: 2 kernel_w: 2", PrototxtError, "kernel_h and kernel_w in a volume"),
        ("Pooling", SHAPE, "kernel_size: [2, 2]", PrototxtError, "kernel_size does not fit the axes"),
        ("Pooling3D", SHAPE, "kernel_size: [2, 2] kernel_depth: 1", PrototxtError, "is not one value"),
        ("Pooling3D", SHAPE, "kernel_size: 2 kernel_depth: 1 stride: 8", UnsupportedError, "starts beyond"),
        ("Pooling3D", SHAPE, "kernel_size: 2 kernel_depth: 1 pad: 1", PrototxtError, "what C3D does not do"),
        ("Pooling3D", (1, 2, 3, 4), "kernel_size: 2 kernel_depth: 1", ShapeError, "a volume is needed"),
        ("Pooling3D", SHAPE, "kernel_size: 2", PrototxtError, "kernel or stride is 0"),
        ("Pooling3D", SHAPE, "kernel_size: 2 kernel_depth: 2 stride_h: 2", UnsupportedError, "stride_h"),
        ("Pooling", SHAPE[1:], "kernel_size: 2 kernel_depth: 2", UnsupportedError, "kernel_depth"),
        ("Convolution3D", SHAPE, "num_output: 2 kernel_size: 3", PrototxtError, "kernel, stride or num"),
        (
            "Convolution3D",
            SHAPE,
            "num_output: 2 kernel_size: 3 kernel_depth: 3 group: 2",
            UnsupportedError,
            "group",
        ),
        (
            "Convolution3D",
            SHAPE,
            "num_output: 2 kernel_size: 9 kernel_depth: 1",
            ShapeError,
            "impossible shape",
        ),
        (
            "Convolution",
            SHAPE[1:],
            "num_output: 2 kernel_size: 3 temporal_pad: 1",
            UnsupportedError,
            "temporal_pad",
        ),
    ],
)
def test_what_c3d_does_not_do_is_refused(
    tmp_path: Path, kind: str, shape: tuple[int, ...], rest: str, error: type[Exception], message: str
) -> None:
    param = "pooling_param" if kind.startswith("Pooling") else "convolution_param"
    with pytest.raises(error, match=message):
        to_onnx(read_text(one_layer(kind, {"x": shape}, f"{param} {{ {rest} }}"), tmp_path), {})
