"""Separable Deconvolutions as matrix products."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_port.onnx_graph import OnnxGraph
from staged_onnx.passes import FixedGraph, Target, fix_sizes
from staged_onnx.passes.bilinear import bilinear
from tests.support.fixed_graphs import on_empty_frame, run_fixed
from weights.upsample import bilinear_filler

TARGET = Target(on_empty_frame)


def upsampled(
    kernels: np.ndarray, size: tuple[int, int], stride: int, pads: list[int], *, bias: bool = False
) -> FixedGraph:
    """One grouped Deconvolution."""
    channels, kernel = kernels.shape[0], kernels.shape[-1]
    g = OnnxGraph()
    x = g.input("data", [1, channels, *size])
    weights = [g.const(kernels)] + ([g.const(np.arange(channels, dtype=np.float32))] if bias else [])
    y = g.node(
        "ConvTranspose",
        x,
        *weights,
        group=channels,
        strides=[stride] * 2,
        pads=pads,
        kernel_shape=[kernel] * 2,
    )
    out = [(s - 1) * stride + kernel - pads[i] - pads[i + 2] for i, s in enumerate(size)]
    g.output(y, "out", [1, channels, *out])
    return fix_sizes(g.model("one"), {"data": (1, channels, *size)})


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.data())
def test_the_same_numbers(data: st.DataObject) -> None:
    """Any separable kernel, stride, uneven padding and size for which it pays."""
    stride = data.draw(st.integers(1, 8))
    kernel = data.draw(st.integers(stride, 2 * stride + 2))
    pads = data.draw(st.lists(st.integers(0, kernel // 2), min_size=4, max_size=4))
    size = (data.draw(st.integers(3, 12)), data.draw(st.integers(3, 12)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    one = np.outer(rng.standard_normal(kernel), rng.standard_normal(kernel))
    kernels = np.tile(one, (3, 1, 1, 1)).astype(np.float32)
    graph = upsampled(kernels, size, stride, pads, bias=data.draw(st.booleans()))
    after = bilinear(graph, TARGET)
    x = {"data": rng.standard_normal((1, 3, *size)).astype(np.float32)}
    expected, found = run_fixed(graph, x)["out"], run_fixed(after, x)["out"]
    assert np.abs(found - expected).max() <= 1e-6 * max(1, np.abs(expected).max())


def test_fcns_upsampling_becomes_two_products() -> None:
    kernels = np.tile(bilinear_filler(16), (21, 1, 1, 1)).astype(np.float32)
    graph = upsampled(kernels, (65, 65), 8, [15, 15, 13, 13])
    after = bilinear(graph, TARGET)
    assert [node.op_type for node in after.nodes] == ["MatMul", "MatMul"]
    x = {"data": np.random.default_rng(0).standard_normal((1, 21, 65, 65)).astype(np.float32)}
    expected, found = run_fixed(graph, x)["out"], run_fixed(after, x)["out"]
    assert np.abs(found - expected).max() < 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("change", ["one channel differs", "not separable", "too large to pay"])
def test_others_stay(change: str) -> None:
    kernels = np.tile(bilinear_filler(4), (3, 1, 1, 1)).astype(np.float32)
    size = (8, 8)
    if change == "one channel differs":
        kernels[1] *= 1.5
    elif change == "not separable":
        kernels[:, :, 0, 0] += 0.1
    else:
        size = (400, 400)
    graph = upsampled(kernels, size, 2, [1, 1, 1, 1])
    assert bilinear(graph, TARGET) is graph
