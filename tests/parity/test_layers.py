"""Every net under layers/ and forks/ gives what the program named in its reference.h5 gave, within 1e-5."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import onnxruntime
import pytest

import caffe_port
import weights
from weights.errors import UnsupportedError

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-5
REFERENCES = sorted([*HERE.glob("layers/*/reference*.h5"), *HERE.glob("forks/*/reference*.h5")])

# Valid nets that the port refuses, and says so. Everything else must match.
NOT_SUPPORTED: frozenset[str] = frozenset()

# Nets with a layer whose windows or boxes depend on the input's size in a way that ONNX cannot express: they
# become models of one size, and say why.
ONE_SIZE = frozenset({
    "net_ssd_head", "pool_3dstn", "pool_gaps_ave", "pool_grid_ave_gaps", "prior_box", "prior_box_dense",
    "prior_box_denser", "spp_resized",
})  # fmt: skip

# Nets whose shapes depend on the numbers in an input, so that they cannot be told before.
COUNTED = frozenset({"filter"})


def relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    """max|got - expected| / max|expected|, over the values that are numbers of an ordinary size.

    Caffe leaves -FLT_MAX where a MAX window is empty and NaN where an AVE window is: such values must be
    the same in both, and do not set the scale of the others.
    """
    assert got.shape == expected.shape
    odd = ~np.isfinite(expected) | (np.abs(expected) > 1e30)
    np.testing.assert_array_equal(got[odd], expected[odd])
    difference = np.abs(got[~odd].astype(np.float64) - expected[~odd])
    return float(difference.max(initial=0.0) / max(1e-30, np.abs(expected[~odd]).max(initial=0.0)))


@pytest.mark.parametrize("fixed", [False, True], ids=["symbolic", "fixed"])
@pytest.mark.parametrize("reference", REFERENCES, ids=[f"{p.parent.name}-{p.stem}" for p in REFERENCES])
def test_equals_reference(reference: Path, fixed: bool) -> None:
    folder = reference.parent
    with h5py.File(reference) as file:
        inputs = {name: np.asarray(blob[()]) for name, blob in file["inputs"].items()}
        expected = {name: np.asarray(blob[()]) for name, blob in file["outputs"].items()}
        stages = tuple(filter(None, file.attrs.get("stages", b"").decode().split(",")))
    if folder.name in NOT_SUPPORTED:
        with pytest.raises(UnsupportedError):
            caffe_port.to_onnx(caffe_port.read_net(folder / "deploy.prototxt", stages=stages), {})
        return
    net = caffe_port.read_net(folder / "deploy.prototxt", stages=stages)
    if folder.name not in COUNTED:
        predicted = caffe_port.infer_shapes(net, {name: values.shape for name, values in inputs.items()})
        assert {name: predicted[name] for name in expected} == {name: b.shape for name, b in expected.items()}
    stored = sorted(folder.glob("net.caffemodel*"))
    blobs = weights.read(stored[0]) if stored else {}
    # A net with a fixed size is made for the size of this reference.
    shapes = {name: values.shape for name, values in inputs.items()} if fixed else None

    model = caffe_port.to_onnx(net, blobs, outputs=list(expected), inputs=shapes, fixed=fixed)
    if not fixed and folder.name in ONE_SIZE:
        assert any(fact.key == "caffe.fixed_size" and fact.value for fact in model.metadata_props)
        shapes = {name: values.shape for name, values in inputs.items()}
        model = caffe_port.to_onnx(net, blobs, outputs=list(expected), inputs=shapes)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    # What only a loss or an accuracy reads, such as a label, is no input of the model.
    fed = {node.name: inputs[node.name] for node in session.get_inputs()}
    got = dict(zip(expected, session.run(list(expected), fed), strict=True))

    declared = {node.name: node.type.tensor_type.shape.dim for node in model.graph.output}
    wrong = {}
    for name, values in expected.items():
        stated = [
            size if isinstance(size, int) else n for size, n in zip(declared[name], values.shape, strict=True)
        ]
        if not got[name].shape == tuple(stated) == values.shape:
            wrong[name] = f"shape {got[name].shape}, declared {declared[name]}, expected {values.shape}"
        elif not (error := relative_error(got[name], values)) <= TOLERANCE:
            wrong[name] = f"relative error {error:.3g}"
    assert not wrong
