"""The live region, on random graphs and on nets whose windows are known: bit for bit what the whole gives."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from onnx import ModelProto

from staged_onnx.passes import Target, fix_sizes
from staged_onnx.passes.live_region import live_region
from staged_onnx.passes.window_plan import live_windows
from tests.support.fixed_graphs import map_graphs, on_empty_frame, run_fixed

Made = tuple[ModelProto, dict[str, tuple[int, ...]]]


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(map_graphs())
def test_bit_for_bit_on_random_graphs(made: Made) -> None:
    model, shapes = made
    graph = fix_sizes(model, {"data": shapes["data"]})
    narrowed = live_region(graph, Target(on_empty_frame))
    for seed in (0, 1):
        feeds = {"data": np.random.default_rng(seed).standard_normal(shapes["data"]).astype(np.float32)}
        expected, found = run_fixed(graph, feeds), run_fixed(narrowed, feeds)
        for name, array in expected.items():
            assert array.shape == shapes[name]
            np.testing.assert_array_equal(found[name], array)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(map_graphs())
def test_nothing_changes_outside_the_live_windows(made: Made) -> None:
    model, shapes = made
    graph = fix_sizes(model, {"data": shapes["data"]})
    rng = np.random.default_rng(0)
    runs = [run_fixed(graph, {"data": rng.standard_normal(shapes["data"]).astype(np.float32)}) for _ in "ab"]
    for name, window in live_windows(graph).items():
        if name in runs[0]:
            dead = np.ones(shapes[name][2:], bool)
            dead[slice(*window.rows), slice(*window.columns)] = False
            np.testing.assert_array_equal(runs[0][name][..., dead], runs[1][name][..., dead])
