"""Pooling at sizes that are open: Caffe's count of windows, whoever fixes the size."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from caffe_port import to_onnx
from tests.support.ported import noise, read_text

Pair = tuple[int, int]
LOWEST = np.finfo(np.float32).min
SIZES = ((7, 8), (10, 9), (12, 5))


def windows(n: int, k: int, s: int, p: int, padded: bool) -> list[Pair]:
    """Start and end of each window on one axis, as pooling_layer.cpp counts them."""
    size = -(-(n + 2 * p - k) // s) + 1
    if padded and (size - 1) * s >= n + p:
        size -= 1
    return [(i * s - p, min(i * s - p + k, n + p)) for i in range(size)]


def pool(x: np.ndarray, method: str, kernel: Pair, stride: Pair, pad: Pair) -> np.ndarray:
    """Pooling window by window."""
    rows, columns = (
        windows(n, k, s, p, any(pad)) for n, k, s, p in zip(x.shape[2:], kernel, stride, pad, strict=True)
    )
    y = np.zeros((*x.shape[:2], len(rows), len(columns)), np.float32)
    for (i, (top, bottom)), (j, (left, right)) in product(enumerate(rows), enumerate(columns)):
        part = x[:, :, max(top, 0) : bottom, max(left, 0) : right]
        area = (bottom - top) * (right - left)
        y[:, :, i, j] = (
            part.max((2, 3), initial=LOWEST) if method == "MAX" else part.sum((2, 3)) / np.float32(area)
        )
    return y


def net_text(method: str, kernel: Pair, stride: Pair, pad: Pair) -> str:
    """Pooling, and a layer that reads it: a result planned too large shows there."""
    (kh, kw), (sh, sw), (ph, pw) = kernel, stride, pad
    return f"""
    input: "x" input_shape {{ dim: 1 dim: 2 dim: 20 dim: 20 }}
    layer {{ name: "p" type: "Pooling" bottom: "x" top: "p" pooling_param {{ pool: {method}
             kernel_h: {kh} kernel_w: {kw} stride_h: {sh} stride_w: {sw} pad_h: {ph} pad_w: {pw} }} }}
    layer {{ name: "half" type: "Power" bottom: "p" top: "half" power_param {{ scale: 0.5 }} }}
    layer {{ name: "y" type: "Eltwise" bottom: "half" bottom: "p" top: "y"
             eltwise_param {{ coeff: 0.5 coeff: 0.5 }} }}
    """


SQUARE = [((k, k), (s, s), (p, p)) for k, s in product(range(1, 5), range(1, 5)) for p in range(k)]
MIXED = [
    ((2, 5), (3, 2), (1, 0)), ((1, 4), (3, 4), (0, 3)), ((5, 2), (2, 2), (1, 1)), ((3, 1), (4, 3), (2, 0)),
]  # fmt: skip


def beyond(kernel: Pair, stride: Pair, pad: Pair) -> bool:
    """Whether a window may start beyond the picture; averages there make a graph for one size."""
    return not any(pad) and any(k < s for k, s in zip(kernel, stride, strict=True))


CASES = [(m, *c) for m in ("MAX", "AVE") for c in [*SQUARE, *MIXED] if m == "MAX" or not beyond(*c)]


@pytest.mark.parametrize(("method", "kernel", "stride", "pad"), CASES)
def test_open_sizes(tmp_path: Path, method: str, kernel: Pair, stride: Pair, pad: Pair) -> None:
    """With the size left open, and fixed by ONNX Runtime's override of a free dimension, as bundles do it."""
    model = to_onnx(read_text(net_text(method, kernel, stride, pad), tmp_path), {})
    assert not [p for p in model.metadata_props if p.key == "caffe.fixed_size"]
    content = model.SerializeToString()

    def session(sizes: Mapping[str, int]) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        for name, number in sizes.items():
            options.add_free_dimension_override_by_name(name, number)
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    left_open = session({})
    for height, width in SIZES:
        x = noise(1, 2, height, width)
        expected = np.float32(0.75) * pool(x, method, kernel, stride, pad)
        fixed = session({"height": height, "width": width})
        stated = fixed.get_outputs()[0].shape
        assert [d for d in stated if isinstance(d, int)] in ([1, 2], [*expected.shape])
        for one in (left_open, fixed):
            (found,) = one.run(None, {"x": x})
            assert found.shape == expected.shape
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
