"""What passes do to the nets of layers/ and forks/ stays within 1e-5 of what the program named there gave.

Every convolution that can be computed in tiles is, whatever it costs, so that each net is a test of them.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

import caffe_port
import weights
from staged_onnx.passes import Target, fix_sizes
from staged_onnx.passes.batch_statistics import batch_statistics
from staged_onnx.passes.bilinear import bilinear
from staged_onnx.passes.live_region import live_region
from staged_onnx.passes.winograd import winograd
from tests.parity.test_layers import NOT_SUPPORTED, REFERENCES, TOLERANCE, relative_error
from tests.support.fixed_graphs import on_empty_frame, run_fixed

WORDS = ("onvolution", "BatchNorm", "BN")
CONVOLVED = [
    path
    for path in REFERENCES
    if any(word in (path.parent / "deploy.prototxt").read_text("utf-8", "replace") for word in WORDS)
    and path.parent.name not in NOT_SUPPORTED
]


@pytest.mark.parametrize("reference", CONVOLVED, ids=[f"{p.parent.name}-{p.stem}" for p in CONVOLVED])
def test_equals_reference_with_passes(reference: Path) -> None:
    folder = reference.parent
    with h5py.File(reference) as file:
        inputs = {name: np.asarray(blob[()]) for name, blob in file["inputs"].items()}
        expected = {name: np.asarray(blob[()]) for name, blob in file["outputs"].items()}
        stages = tuple(filter(None, file.attrs.get("stages", b"").decode().split(",")))
    net = caffe_port.read_net(folder / "deploy.prototxt", stages=stages)
    stored = sorted(folder.glob("net.caffemodel*"))
    blobs = weights.read(stored[0]) if stored else {}
    shapes = {name: values.shape for name, values in inputs.items()}
    model = caffe_port.to_onnx(net, blobs, outputs=list(expected), inputs=shapes, fixed=True)

    graph = fix_sizes(model, shapes)
    target = Target(on_empty_frame)
    narrowed = live_region(batch_statistics(graph, target), target)
    passed = bilinear(winograd(narrowed, target, share=np.inf), target)
    fed = {value.name: inputs[value.name] for value in graph.inputs}
    for name, found in run_fixed(passed, fed).items():
        assert relative_error(found, expected[name]) < TOLERANCE, name
