"""Trained Cityscapes nets on a Cityscapes frame: our stages give upstream's own label pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import skimage.io

import caffe_port
import staged_onnx
import weights
from tests.support.shared_data import shared

HOW = staged_onnx.Preprocessing((512, 1024), "bgr", (12.90909, 14.77273, 13.04545), 0.022)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "cuts"), [("espnet", ["ConvNd_20", "ConvNd_76"]), ("enet", ["BatchNorm_12", "BatchNorm_43"])]
)
def test_labels_equal_upstreams(tmp_path: Path, name: str, cuts: list[str]) -> None:
    """At least 99.9 % of pixels; the resize to half size is part of the first stage."""
    folder = shared(f"models/{name}-cityscapes")
    frame = skimage.io.imread(shared("models/munich_000000_000019_leftImg8bit.png"))
    expected = skimage.io.imread(folder / f"expected_munich_{name}.png")[..., 2::-1]
    net = caffe_port.read_net(folder / "deploy.prototxt")
    blobs = weights.read(folder / "pretrained.caffemodel")
    bundle = staged_onnx.export(
        net,
        blobs,
        staged_onnx.plan(net, cuts),
        tmp_path / "n.staged",
        preprocessing=HOW,
        classes=staged_onnx.classes("cityscapes"),
    )
    values = {"frame": frame}
    for stage in (*bundle.manifest.stages, bundle.manifest.head):
        session = ort.InferenceSession(str(bundle.model_path(stage)), providers=["CPUExecutionProvider"])
        found = session.run(None, {i.name: values[i.name] for i in session.get_inputs()})
        values.update(zip((o.name for o in session.get_outputs()), found, strict=True))
    # The picture holds labels at the net's size; the bundle's labels come at the frame's.
    scores = ort.InferenceSession(
        caffe_port.to_onnx(net, blobs).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    half = frame.reshape(512, 2, 1024, 2, 3).astype(np.float32).mean((1, 3))[..., ::-1]
    x = ((half - np.array(HOW.mean, np.float32)) * np.float32(HOW.scale)).transpose(2, 0, 1)[None]
    labels = scores.run(None, {"data": x})[0].argmax(1)[0]
    palette = np.array(bundle.manifest.palette)
    assert (palette[labels] == expected).all(-1).mean() >= 0.999
    enlarged = palette[values["labels"]].reshape(512, 2, 1024, 2, 3)[:, 0, :, 0]
    assert values["labels"].shape == frame.shape[:2]
    assert (enlarged == expected).all(-1).mean() > 0.98
