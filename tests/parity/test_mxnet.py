"""Deep Feature Flow's and Accel's nets against real MXNet, built by the authors' own code.

`mxnet/*.h5` are MXNet's answers on nets of an eighth of the channels, with parameters drawn from their names;
`mxnet/parameters.txt` lists the parameters of the nets at full width. `make_mxnet_fixtures.py` wrote both.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import onnxruntime
import pytest

import caffe_port
from caffe_port.match import wanted_blobs
from caffe_port.net import Net
from caffe_port.nets import accel, dff_deeplab, flownet
from tests.parity.mxnet_weights import SUFFIX, parameter, pictures

HERE = Path(__file__).resolve().parent
THIN, EVERY = 8, 5
TOLERANCE = {"flow": 1e-5, "Convolution5_scale": 1e-5, "conv_feat": 1e-5}
"""Of max |a - b| / max |b|; 1e-4 behind a whole ResNet."""
OURS = dict.fromkeys(("warping_feat", "res5c_relu", "scaled_feat", "feat_conv_3x3_relu"), "conv_feat")
"""What the same blob is called here, where its maker depends on the frame."""


def net_of(name: str, folder: Path, *, thin: int = 1, size: tuple[int, int] = (96, 160)) -> Net:
    """The net of a fixture: flownet, dff-deeplab, accel-V, and those of key frames."""
    kind, *rest = name.split("-")
    if kind == "flownet":
        text = flownet(size=size, thin=thin)
    elif kind == "dff":
        text = dff_deeplab(size=size, thin=thin)
    else:
        text = accel(int(rest[0]), size=size, thin=thin)
    path = folder / f"{name}.prototxt"
    path.write_text(text)
    return caffe_port.read_net(path, stages=rest[1:])


def parameter_names(net: Net) -> dict[str, tuple[int, ...]]:
    """What MXNet calls the net's parameters, with their shapes as it writes them."""
    names = {}
    for layer, blobs in wanted_blobs(net, caffe_port.infer_shapes(net)).items():
        for blob in blobs:
            shape = (blob.shape[1],) if blob.role in ("scale", "shift", "mean", "variance") else blob.shape
            names[f"{layer}_{SUFFIX[blob.role]}"] = shape
    return names


def drawn_weights(net: Net) -> dict[str, tuple[np.ndarray, ...]]:
    """The parameters that MXNet was given, by layer."""
    blobs: dict[str, tuple[np.ndarray, ...]] = {}
    for name, shape in parameter_names(net).items():
        layer = next(name[: -len(end) - 1] for end in SUFFIX.values() if name.endswith(f"_{end}"))
        blobs[layer] = (*blobs.get(layer, ()), parameter(name, shape))
    return blobs


def inputs_of(net: Net, size: tuple[int, int]) -> dict[str, np.ndarray]:
    now, before = pictures(size, 2)
    channels = next((i.shape[1] for i in net.inputs if i.name == "feat_key"), 1)
    shape = (1, channels, -(-size[0] // 16), -(-size[1] // 16))
    features = np.abs(np.random.RandomState(1).normal(0, 1, shape)).astype(np.float32)
    given = {"data": now[np.newaxis], "data_key": before[np.newaxis], "feat_key": features}
    return {i.name: given[i.name] for i in net.inputs}


def answers(net: Net, inputs: Mapping[str, np.ndarray], outputs: list[str]) -> dict[str, np.ndarray]:
    model = caffe_port.to_onnx(net, drawn_weights(net), outputs)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    fed = {node.name: inputs[node.name] for node in session.get_inputs()}
    return dict(zip(outputs, session.run(outputs, fed), strict=True))


@pytest.mark.parametrize("path", sorted((HERE / "mxnet").glob("*.h5")), ids=lambda path: path.stem)
def test_equals_mxnet(path: Path, tmp_path: Path) -> None:
    name, _, text = path.stem.rpartition("-")
    height, width = (int(n) for n in text.split("x"))
    # The prototxt has one size, and the graph follows the pictures'.
    net = net_of(name, tmp_path, thin=THIN)
    with h5py.File(path) as file:
        expected = {OURS.get(blob, blob): values[()] for blob, values in file["outputs"].items()}
    got = answers(net, inputs_of(net, (height, width)), list(expected))
    for blob, values in expected.items():
        step = EVERY if got[blob].shape[2] == height else 1
        mine = got[blob][:, :, ::step, ::step]
        assert mine.shape == values.shape
        error = np.abs(mine - values).max() / np.abs(values).max()
        bound = TOLERANCE.get(blob, 1e-4) if not name.endswith("key") else 1e-4
        assert error <= bound, f"{blob}: {error:.2g}"


@pytest.mark.parametrize(
    "name",
    [
        "flownet",
        "accel-18",
        "accel-34",
        "accel-50",
        "accel-101",
        "accel-18-key",
        "dff-deeplab",
        "dff-deeplab-key",
    ],
)
def test_parameters_have_the_published_names_and_shapes(name: str, tmp_path: Path) -> None:
    lines = (line.split() for line in (HERE / "mxnet" / "parameters.txt").read_text().splitlines())
    published = {key: tuple(map(int, shape.split("x"))) for net, key, shape in lines if net == name}
    ours = parameter_names(net_of(name, tmp_path))
    if name.startswith("dff"):  # the head for segmentation was not published
        ours = {key: shape for key, shape in ours.items() if not key.startswith(("score", "upsampling"))}
    assert ours == published
