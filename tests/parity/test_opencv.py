"""A second, independent reader: OpenCV's Caffe importer on whole nets, with fresh weights and inputs.

The weights file it reads is the port's own, so this also shows that the file is one that others read.
OpenCV is right on these nets; where it is not (README.md lists that), real Caffe's references decide.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import caffe_port
import weights

cv2 = pytest.importorskip("cv2", reason="needs opencv-python-headless (below 5)")
if not hasattr(cv2.dnn, "readNetFromCaffe"):
    pytest.skip("OpenCV 5 has no Caffe importer", allow_module_level=True)

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-4
NETS = {
    "layers/net_alexnet": ("fc8", "pool2"),
    "layers/net_deeplab": ("score",),
    "layers/net_densenet": ("y",),
    "layers/net_fcn8s": ("score", "upscore2", "score_pool4c"),
    "layers/net_fcn_alexnet": ("score",),
    "layers/net_inception": ("y", "grid"),
    "layers/net_mobilenet": ("y",),
    "layers/net_resnet": ("fc",),
    "layers/net_senet": ("y",),
    "layers/net_shuffle_by_reshape": ("y",),
    "layers/net_squeezenet": ("pool10",),
    "forks/net_ssd_head": ("mbox_loc", "mbox_conf_flatten", "mbox_priorbox"),
}


@pytest.mark.parametrize("name", NETS)
def test_equals_opencv(name: str, tmp_path: Path) -> None:
    prototxt, outputs = HERE / name / "deploy.prototxt", list(NETS[name])
    net = caffe_port.read_net(prototxt)
    blobs = caffe_port.random_weights(net, seed=20)
    weights.write(tmp_path / "net.caffemodel", net, blobs)
    rng = np.random.default_rng(21)
    inputs = {i.name: rng.uniform(-120, 135, i.shape).astype(np.float32) for i in net.inputs}

    reader = cv2.dnn.readNetFromCaffe(str(prototxt), str(tmp_path / "net.caffemodel"))
    for blob, values in inputs.items():
        reader.setInput(values, blob)
    expected = [np.array(values) for values in reader.forward(outputs)]

    model = caffe_port.to_onnx(net, blobs, outputs=outputs)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for output, got, wanted in zip(outputs, session.run(outputs, inputs), expected, strict=True):
        assert got.shape == wanted.shape, output
        assert np.ptp(wanted) > 0, output
        assert np.abs(got - wanted).max() <= TOLERANCE * np.abs(wanted).max(), output
