"""Random nets against themselves: a graph of one size, one of open size, and the shape rules agree.

Against real Caffe they are run by fuzz.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe_port
from tests.parity.fuzz import session, shape_of
from tests.parity.random_nets import random_net
from weights.errors import ClockworkError


def compare(path: Path, feeds: dict[str, tuple[object, ...]], rng: np.random.Generator) -> bool:
    """Compare the graphs of one net at one or two sizes; False for a net that the shape rules refuse."""
    net = caffe_port.read_net(path)
    try:
        caffe_port.infer_shapes(net)
    except ClockworkError:
        return False
    blobs = caffe_port.random_weights(net, seed=1)
    first = {i.name: i.shape for i in net.inputs}
    left_open = caffe_port.to_onnx(net, blobs)
    sizes = [first]
    one_size = any(fact.key == "caffe.fixed_size" for fact in left_open.metadata_props)
    if not one_size and list(first) == ["data"]:
        sizes.append({"data": (*first["data"][:2], *(n + 3 for n in first["data"][2:]))})
    for shapes in sizes:
        try:
            predicted = caffe_port.infer_shapes(net, shapes)
        except ClockworkError:
            assert shapes is not first
            continue
        inputs = {
            name: rng.integers(*how[1:], size=shapes[name])
            if how[0] == "integers"
            else rng.normal(0, 2, shapes[name])
            for name, how in feeds.items()
        }
        found = []
        for model in (caffe_port.to_onnx(net, blobs, inputs=shapes, fixed=True), left_open):
            runner = session(model)
            fed = {node.name: inputs[node.name].astype(np.float32) for node in runner.get_inputs()}
            found.append(runner.run(list(net.outputs), fed))
        for name, a, b in zip(net.outputs, *found, strict=True):
            assert a.shape == b.shape == predicted[name]
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * max(1.0, np.abs(a).max(initial=0)))
    return True


@pytest.mark.parametrize("block", range(0, 60, 10))
def test_random_nets_agree_with_themselves(tmp_path: Path, block: int) -> None:
    compared = 0
    for seed in range(block, block + 10):
        rng = np.random.default_rng(seed)
        text, feeds = random_net(rng, shape_of)
        path = tmp_path / f"{seed}.prototxt"
        path.write_text(text, "utf-8")
        compared += compare(path, feeds, rng)
    assert compared >= 7
