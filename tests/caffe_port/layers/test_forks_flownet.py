"""Correlation and FlowWarp against the forks' loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_port.convert import to_onnx
from tests.support.ported import noise, one_layer, read_text, run
from weights.errors import PrototxtError, ShapeError, UnsupportedError


def correlation(
    a: np.ndarray, b: np.ndarray, pad: int, k: int, reach: int, s1: int, s2: int, subtract: bool
) -> np.ndarray:
    """Window by window, move by move."""
    a, b = (np.pad(x.astype(np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad))) for x in (a, b))
    moves = range(-(reach // s2), reach // s2 + 1)
    plane = [-(-(n - 2 * (reach + k // 2)) // s1) for n in a.shape[2:]]
    y = np.zeros((a.shape[0], len(moves) ** 2, *plane))
    for channel, (p, q) in enumerate((p, q) for p in moves for q in moves):
        for i, j in np.ndindex(*plane):
            r, c = i * s1 + reach, j * s1 + reach
            one = a[:, :, r : r + k, c : c + k]
            two = b[:, :, r + p * s2 : r + p * s2 + k, c + q * s2 : c + q * s2 + k]
            compared = abs(one - two) if subtract else one * two
            y[:, channel, i, j] = compared.sum((1, 2, 3)) / (k * k * a.shape[1])
    return y


@pytest.mark.parametrize(
    ("pad", "k", "reach", "s1", "s2"),
    [(2, 1, 2, 1, 1), (4, 1, 4, 1, 2), (3, 3, 2, 2, 1), (0, 3, 1, 1, 1), (5, 1, 5, 2, 2), (1, 1, 0, 1, 1)],
)
@pytest.mark.parametrize("kind", ["MULTIPLY", "SUBTRACT"])
def test_correlation(tmp_path: Path, pad: int, k: int, reach: int, s1: int, s2: int, kind: str) -> None:
    rest = (
        f"correlation_param {{ pad: {pad} kernel_size: {k} max_displacement: {reach} stride_1: {s1} "
        f"stride_2: {s2} correlation_type: {kind} }}"
    )
    net = read_text(one_layer("Correlation", {"a": (2, 3, 8, 10), "b": (2, 3, 8, 10)}, rest), tmp_path)
    for shape in ((2, 3, 8, 10), (2, 3, 11, 9)):
        a, b = noise(*shape), noise(*shape, seed=1)
        expected = correlation(a, b, pad, k, reach, s1, s2, kind == "SUBTRACT")
        np.testing.assert_allclose(run(net, {"a": a, "b": b})["y"], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("correlation_param { kernel_size: 2 max_displacement: 1 }", "bad window"),
        ("correlation_param { max_displacement: 1 }", "bad window"),
        ("correlation_param { kernel_size: 1 max_displacement: 1 stride_2: 0 }", "bad stride"),
        ("correlation_param { kernel_size: 1 max_displacement: 9 }", "impossible shape"),
        ("correlation_param { kernel_size: 1 max_displacement: 900000 pad: 900000 }", "too many moves"),
    ],
)
def test_correlation_that_cannot_be_is_refused(tmp_path: Path, rest: str, message: str) -> None:
    net = read_text(one_layer("Correlation", {"a": (1, 1, 8, 8), "b": (1, 1, 8, 8)}, rest), tmp_path)
    with pytest.raises((PrototxtError, ShapeError, UnsupportedError), match=message):
        to_onnx(net, {})


def flow_warp(image: np.ndarray, flow: np.ndarray, fill: float) -> np.ndarray:
    batch, _, h, w = image.shape
    y = np.full(image.shape, fill, np.float32)
    for n, i, j in np.ndindex(batch, h, w):
        u, v = np.float32(j) + flow[n, 0, i, j], np.float32(i) + flow[n, 1, i, j]
        if not (0 <= u < w and 0 <= v < h):
            continue
        left, top = int(u), int(v)
        right, bottom = min(left + 1, w - 1), min(top + 1, h - 1)
        a, b = u - left, v - top
        y[n, :, i, j] = (
            (1 - a) * (1 - b) * image[n, :, top, left]
            + a * (1 - b) * image[n, :, top, right]
            + (1 - a) * b * image[n, :, bottom, left]
            + a * b * image[n, :, bottom, right]
        )
    return y


@pytest.mark.parametrize(
    ("rest", "fill"), [("", 0.0), ("flow_warp_param { fill_value: NOT_A_NUMBER }", np.nan)]
)
def test_flow_warp(tmp_path: Path, rest: str, fill: float) -> None:
    net = read_text(one_layer("FlowWarp", {"image": (2, 3, 8, 10), "flow": (2, 2, 8, 10)}, rest), tmp_path)
    for h, w in ((8, 10), (11, 5)):
        image, flow = noise(2, 3, h, w), 2 * noise(2, 2, h, w, seed=1)
        flow[:, :, 0, 0] = 0
        flow[:, 0, 1, 1], flow[:, 1, 1, 1] = w - 1.25, h - 1.5
        y = run(net, {"image": image, "flow": flow})["y"]
        expected = flow_warp(image, flow, fill)
        np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
        assert (expected == fill).any() or np.isnan(expected).any()
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_flow_of_another_size_is_refused(tmp_path: Path) -> None:
    net = read_text(one_layer("FlowWarp", {"image": (1, 3, 4, 4), "flow": (1, 2, 4, 5)}), tmp_path)
    with pytest.raises(ShapeError, match="image and flow do not fit"):
        to_onnx(net, {})
