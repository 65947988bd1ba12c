"""Normalisation by a map's own statistics, as one operator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_port import random_weights, read_net, to_onnx
from staged_onnx.passes import Target, fix_sizes
from staged_onnx.passes.batch_statistics import batch_statistics
from tests.support.fixed_graphs import on_empty_frame, run_fixed

NORM = "batch_norm_param {{ use_global_stats: {} eps: 0.001 }}"


def net(folder: Path, own: str, *, scaled: bool, batch: int = 1) -> str:
    """A BatchNorm on its own statistics, with a Scale behind it or a reader of what lies between."""
    text = f"""
    layer {{ name: "data" type: "Input" top: "data"
             input_param {{ shape {{ dim: {batch} dim: 4 dim: 9 dim: 7 }} }} }}
    layer {{ name: "norm" type: "BatchNorm" bottom: "data" top: "norm" {NORM.format(own)} }}
    """
    if scaled:
        text += (
            'layer { name: "scale" type: "Scale" bottom: "norm" top: "y" scale_param { bias_term: true } }'
        )
    else:
        text += 'layer { name: "relu" type: "ReLU" bottom: "norm" top: "y" }'
    (folder / "net.prototxt").write_text(text)
    return str(folder / "net.prototxt")


@pytest.mark.parametrize("scaled", [True, False])
def test_one_operator_with_the_same_numbers(tmp_path: Path, scaled: bool) -> None:
    read = read_net(net(tmp_path, "false", scaled=scaled))
    graph = fix_sizes(to_onnx(read, random_weights(read, seed=2)), {"data": (1, 4, 9, 7)})
    after = batch_statistics(graph, Target(on_empty_frame))

    assert [node.op_type for node in after.nodes].count("InstanceNormalization") == 1
    assert not {"ReduceMean", "Sqrt", "Div"} & {node.op_type for node in after.nodes}
    data = np.random.default_rng(0).normal(30, 9, (1, 4, 9, 7)).astype(np.float32)
    expected, found = (run_fixed(g, {"data": data})["y"] for g in (graph, after))
    assert np.abs(found - expected).max() < 2e-6 * np.abs(expected).max()


@pytest.mark.parametrize(("own", "batch"), [("true", 1), ("false", 2)])
def test_others_stay(tmp_path: Path, own: str, batch: int) -> None:
    read = read_net(net(tmp_path, own, scaled=True, batch=batch))
    graph = fix_sizes(to_onnx(read, random_weights(read, seed=2)), {"data": (batch, 4, 9, 7)})
    assert batch_statistics(graph, Target(on_empty_frame)) is graph
