"""Resize and Resample against the forks' loops."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from caffe_port.convert import to_onnx
from tests.support.ported import noise, one_layer, read_text, run
from weights.errors import PrototxtError, UnsupportedError


def resize(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Point by point, four neighbours, those beyond the map are 0."""
    batch, channels, h, w = x.shape
    y = np.zeros((batch, channels, height, width))
    wide = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)))
    for i, j in np.ndindex(height, width):
        fy, fx = i * h / height, j * w / width
        r, c = math.floor(fy), math.floor(fx)
        for dr, dc in np.ndindex(2, 2):
            share = (fy - r if dr else 1 - fy + r) * (fx - c if dc else 1 - fx + c)
            y[:, :, i, j] += share * wide[:, :, r + dr, c + dc]
    return y


@pytest.mark.parametrize(
    ("rest", "size"),
    [
        ("height: 9 width: 4", (9, 4)),
        ("height: 1 width: 7", (1, 7)),
        ("height_fac: 2 width_fac: 1.5", (10, 10)),
        ("height_fac: 0.5 width_fac: 0.7", (2, 4)),
    ],
)
def test_resize(tmp_path: Path, rest: str, size: tuple[int, int]) -> None:
    net = read_text(one_layer("Resize", {"x": (2, 3, 5, 7)}, f"resize_param {{ {rest} }}"), tmp_path)
    x = noise(2, 3, 5, 7)
    y = run(net, {"x": x})["y"]
    assert y.shape[2:] == size
    np.testing.assert_allclose(y, resize(x, *size), rtol=1e-5, atol=1e-6)


def test_resize_to_the_sizes_of_another_blob(tmp_path: Path) -> None:
    net = read_text(one_layer("Resize", {"x": (1, 2, 4, 4), "like": (1, 9, 6, 3)}), tmp_path)
    x = noise(1, 2, 4, 4)
    y = run(net, {"x": x, "like": noise(1, 9, 6, 3)})["y"]
    np.testing.assert_allclose(y, resize(x, 6, 3), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("bottoms", "rest", "error", "message"),
    [
        ({"x": (1, 1, 4, 4)}, "", PrototxtError, "no new size"),
        ({"x": (1, 1, 4, 4)}, "resize_param { height: 3 }", PrototxtError, "no new size"),
        (
            {"x": (1, 1, 4, 4), "s": (1, 1, 1, 4)},
            "",
            UnsupportedError,
            "a second bottom whose values, not whose sizes, say the new size",
        ),
        (
            {"x": (1, 1, 4, 5000)},
            "resize_param { height: 9 width: 5000 }",
            UnsupportedError,
            "too many weights between two sizes; found 25000000",
        ),
        (
            {"x": (1, 1, 4, 4)},
            "resize_param { is_pyramid_test: true height: 3 width: 3 }",
            UnsupportedError,
            "--dialect maskyolo",
        ),
    ],
)
def test_resize_that_cannot_be_is_refused(
    tmp_path: Path, bottoms: dict[str, tuple[int, ...]], rest: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        to_onnx(read_text(one_layer("Resize", bottoms, rest), tmp_path), {})


def half_away(x: float) -> int:
    return int(math.floor(abs(x) + 0.5) * (1 if x >= 0 else -1))


def kernel(kind: str, x: float) -> float:
    x = abs(x)
    if kind == "LINEAR":
        return max(0.0, 1 - x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def resample(x: np.ndarray, size: tuple[int, int], kind: str, antialias: bool) -> np.ndarray:
    """Point by point, all neighbours in two dimensions at once, as the fork's kernel does."""
    h, w = x.shape[2:]
    fy, fx = h / size[0], w / size[1]
    antialias = antialias and (fx > 1 or fy > 1)
    ay, ax = (1 / fy, 1 / fx) if antialias else (1.0, 1.0)
    taps = 4 if kind == "CUBIC" else 2
    ry, rx = (2 if f < 1 else math.ceil(taps / a) for f, a in ((fy, ay), (fx, ax)))
    y = np.zeros((*x.shape[:2], *size))
    for i, j in np.ndindex(size):
        v, u = i * fy + fx / 2 - 0.5, j * fx + fy / 2 - 0.5
        r, c = half_away(v), half_away(u)
        if kind == "NEAREST":
            y[:, :, i, j] = x[:, :, r, c]
            continue
        total = 0.0
        for rr in range(max(0, r - ry), min(h, r + ry + 1)):
            for cc in range(max(0, c - rx), min(w, c + rx + 1)):
                weight = ax * kernel(kind, ax * (u - cc)) * ay * kernel(kind, ay * (v - rr))
                total += weight
                y[:, :, i, j] += weight * x[:, :, rr, cc]
        if total:
            y[:, :, i, j] /= total
    return y


@pytest.mark.parametrize("kind", ["NEAREST", "LINEAR", "CUBIC"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [(12, 16), (3, 4), (6, 8), (9, 20)])
def test_resample(tmp_path: Path, kind: str, antialias: bool, size: tuple[int, int]) -> None:
    rest = (
        f"resample_param {{ type: {kind} antialias: {str(antialias).lower()} "
        f"height: {size[0]} width: {size[1]} }}"
    )
    net = read_text(one_layer("Resample", {"x": (1, 2, 6, 8)}, rest), tmp_path)
    x = noise(1, 2, 6, 8)
    expected = resample(x, size, kind, antialias)
    np.testing.assert_allclose(run(net, {"x": x})["y"], expected, rtol=1e-4, atol=1e-5)


def test_resample_to_the_sizes_of_another_blob(tmp_path: Path) -> None:
    net = read_text(one_layer("Resample", {"x": (1, 1, 4, 4), "like": (1, 2, 8, 8)}), tmp_path)
    x = noise(1, 1, 4, 4)
    expected = resample(x, (8, 8), "LINEAR", True)
    y = run(net, {"x": x, "like": noise(1, 2, 8, 8)})["y"]
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_resample_that_cannot_be_is_refused(tmp_path: Path) -> None:
    for rest, message in (
        ("resample_param { type: AREA height: 2 width: 2 }", "bad type"),
        ("resample_param { height: 2 }", "no new size"),
        ("resample_param { type: NEAREST height: 1 width: 4 }", "the nearest point lies outside the map"),
    ):
        with pytest.raises((PrototxtError, UnsupportedError), match=message):
            to_onnx(read_text(one_layer("Resample", {"x": (1, 1, 8, 4)}, rest), tmp_path), {})
