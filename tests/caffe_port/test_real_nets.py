"""Trained nets of the wild, against what real Caffe made of them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import onnxruntime as ort
import pytest

import caffe_port
import weights
from tests.support.shared_data import shared


def answer(root: Path, file: str, x: np.ndarray, outputs: list[str], *, fixed: bool) -> dict[str, np.ndarray]:
    net = caffe_port.read_net(root / "deploy.prototxt")
    shapes = {"data": x.shape} if fixed else None
    model = caffe_port.to_onnx(net, weights.read(root / file), outputs=outputs, fixed=fixed, inputs=shapes)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(outputs, session.run(outputs, {"data": x}), strict=True))


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(
    ("folder", "file"),
    [("espnet-cityscapes", "pretrained.caffemodel"), ("tusimple-lane", "weights.caffemodel")],
)
def test_equal_to_caffe(folder: str, file: str, fixed: bool) -> None:
    root = shared(f"models/{folder}")
    with h5py.File(root / "reference.h5") as reference:
        x = np.asarray(reference["inputs/data"], np.float32)
        expected = {name: np.asarray(blob) for name, blob in reference["outputs"].items()}
    found = answer(root, file, x, list(expected), fixed=fixed)
    for name, values in expected.items():
        assert np.abs(found[name] - values).max() <= 1e-5 * np.abs(values).max()


def test_enet_takes_statistics_of_the_batch() -> None:
    """Five-blob BatchNorms of which many have `use_global_stats: false`: their results are normalised."""
    root = shared("models/enet-cityscapes")
    net = caffe_port.read_net(root / "deploy.prototxt")
    blobs = weights.read(root / "pretrained.caffemodel")
    own = [
        layer
        for layer in net.layers
        if layer.type == "BatchNorm" and not layer.spec.batch_norm_param.use_global_stats
    ]
    assert own
    x = np.random.default_rng(0).normal(0, 1, (1, 3, 64, 128)).astype(np.float32)
    for layer in own[:3]:
        (y,) = answer(root, "pretrained.caffemodel", x, [layer.tops[0]], fixed=False).values()
        scale, shift = (blobs[layer.name][i].reshape(-1) for i in (0, 1))
        np.testing.assert_allclose(y.mean((0, 2, 3)), shift, atol=1e-3)
        np.testing.assert_allclose(y.std((0, 2, 3)), np.abs(scale), rtol=0.02, atol=1e-3)
