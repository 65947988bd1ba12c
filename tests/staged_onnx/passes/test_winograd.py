"""Convolutions in tiles: equal within a bound that the default's promise of 1e-5 leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caffe_port.onnx_graph import OnnxGraph
from staged_onnx.passes import FixedGraph, Target, fix_sizes
from staged_onnx.passes.cook_toom import transforms
from staged_onnx.passes.winograd import tiling_of, winograd
from tests.support.fixed_graphs import on_empty_frame, run_fixed

TARGET = Target(on_empty_frame, threads=1)


@pytest.mark.parametrize(("results", "taps"), [(4, 3), (2, 3), (2, 5), (2, 7)])
def test_the_matrices_give_a_correlation(results: int, taps: int) -> None:
    size = results + taps - 1
    rng = np.random.default_rng(0)
    signal, kernel = rng.standard_normal((size, size)), rng.standard_normal((taps, taps))
    m = transforms(results, taps)
    found = m.result @ ((m.kernel @ kernel.ravel()) * (m.signal @ signal.ravel()))
    windows = np.lib.stride_tricks.sliding_window_view(signal, (taps, taps))
    np.testing.assert_allclose(found, np.einsum("ijab,ab->ij", windows, kernel).ravel(), rtol=0, atol=1e-12)


def convolution(
    channels: int,
    kernels: int,
    size: tuple[int, int],
    kernel: int,
    dilation: int,
    pads: list[int],
    *,
    bias: bool,
) -> FixedGraph:
    """One layer, whose results are about 1 on random numbers."""
    rng = np.random.default_rng(channels * kernels)
    g = OnnxGraph()
    x = g.input("data", [1, channels, *size])
    scale = np.sqrt(2 / (channels * kernel**2))
    weights = [g.const(rng.standard_normal((kernels, channels, kernel, kernel)) * scale)]
    if bias:
        weights.append(g.const(rng.standard_normal(kernels)))
    y = g.node("Conv", x, *weights, pads=pads, kernel_shape=[kernel] * 2, dilations=[dilation] * 2)
    extent = dilation * (kernel - 1)
    out = [s + pads[i] + pads[i + 2] - extent for i, s in enumerate(size)]
    g.output(y, "out", [1, kernels, *out])
    return fix_sizes(g.model("one"), {"data": (1, channels, *size)})


def error(graph: FixedGraph, tiled: FixedGraph) -> float:
    """The largest difference over the largest number, or over 1 where all are smaller."""
    (value,) = graph.inputs
    data = np.random.default_rng(5).standard_normal(graph.shapes[value.name]).astype(np.float32)
    (before,), (after,) = (run_fixed(g, {value.name: data}).values() for g in (graph, tiled))
    assert before.shape == after.shape
    return float(np.abs(before - after).max() / max(1, np.abs(before).max()))


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_layer_in_tiles(data: st.DataObject) -> None:
    """Sizes that no tile divides, uneven padding, dilation, with and without a bias: whatever it costs."""
    kernel, dilation = data.draw(st.sampled_from([3, 3, 5, 7])), data.draw(st.sampled_from([1, 1, 2, 3]))
    extent = dilation * (kernel - 1)
    pads = data.draw(st.lists(st.integers(0, kernel), min_size=4, max_size=4))
    size = tuple(data.draw(st.integers(max(1, extent + 1 - pads[i]), 40)) for i in (0, 1))
    channels, kernels = data.draw(st.integers(1, 24)), data.draw(st.integers(1, 24))
    graph = convolution(channels, kernels, size, kernel, dilation, pads, bias=data.draw(st.booleans()))
    tiled = winograd(graph, TARGET, share=np.inf)
    assert any(node.op_type == "MatMul" for node in tiled.nodes)
    assert error(graph, tiled) < 1e-5


@pytest.mark.parametrize(
    ("kernel", "dilation", "bound"), [(3, 1, 5e-6), (3, 2, 5e-6), (3, 12, 5e-6), (5, 1, 5e-6), (7, 1, 1e-5)]
)
def test_layers_that_pay(kernel: int, dilation: int, bound: float) -> None:
    pad = dilation * (kernel // 2)
    graph = convolution(256, 256, (48, 48), kernel, dilation, [pad] * 4, bias=True)
    tiled = winograd(graph, TARGET)
    assert tiled.macs() < 0.6 * graph.macs()
    assert error(graph, tiled) < bound


@pytest.mark.parametrize(
    "graph",
    [
        convolution(3, 64, (64, 64), 3, 1, [1] * 4, bias=True),
        convolution(64, 64, (64, 64), 1, 1, [0] * 4, bias=True),
        convolution(512, 512, (4, 4), 3, 1, [1] * 4, bias=True),
    ],
)
def test_layers_that_do_not_pay_stay(graph: FixedGraph) -> None:
    assert winograd(graph, TARGET) is graph
    assert all(tiling_of(graph, node, 1) is None for node in graph.nodes)
