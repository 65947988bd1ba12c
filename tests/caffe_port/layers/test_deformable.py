"""DeformableConvolution: beside ONNX's own operator, its shapes, weights and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from caffe_port import infer_shapes
from caffe_port.match import wanted_blobs
from tests.support.ported import noise, one_layer, read_text, run
from weights.errors import PrototxtError, ShapeError

FIELDS = "num_output: 4 kernel_size: 3 pad: 2 dilation: 2 deformable_group: 2 bias_term: false"
X, OFFSETS = (1, 6, 8, 9), (1, 36, 8, 9)


def layer(fields: str, x: tuple[int, ...] = X, offsets: tuple[int, ...] = OFFSETS) -> str:
    return one_layer(
        "DeformableConvolution", {"x": x, "o": offsets}, f"deformable_convolution_param {{ {fields} }}"
    )


def onnx_deform_conv(x: np.ndarray, offsets: np.ndarray, weight: np.ndarray) -> np.ndarray:
    node = helper.make_node(
        "DeformConv",
        ["x", "w", "o"],
        ["y"],
        dilations=[2, 2],
        pads=[2] * 4,
        offset_group=2,
        kernel_shape=[3, 3],
    )
    given = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("x", "w", "o")]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    opsets = [helper.make_opsetid("", 19)]
    model = helper.make_model(helper.make_graph([node], "g", given, made), opset_imports=opsets, ir_version=9)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x, "w": weight, "o": offsets})[0])


def test_onnx_deform_conv_is_equal_inside_and_not_at_the_border(tmp_path: Path) -> None:
    x, weight = noise(*X), noise(4, 6, 3, 3, seed=1)
    offsets = 2 * noise(*OFFSETS, seed=2)
    ours = run(read_text(layer(FIELDS), tmp_path), {"x": x, "o": offsets}, {"l": (weight,)})["y"]
    theirs = onnx_deform_conv(x, offsets, weight)
    # A place is inside where no tap lies within a pixel of the edge: ONNX lets values fade there.
    moves = offsets.reshape(2, 9, 2, 8, 9)
    base = (
        np.indices((8, 9))[None, None] + (np.indices((3, 3)).reshape(2, 9).T * 2 - 2)[None, :, :, None, None]
    )
    places = moves + base
    far = np.array([7, 8]).reshape(1, 1, 2, 1, 1)
    near = ((places > -1) & (places < 0)) | ((places > far) & (places < far + 1))
    inside = ~near.any(axis=(0, 1, 2))
    assert 0 < inside.sum() < inside.size
    np.testing.assert_allclose(ours[..., inside], theirs[..., inside], rtol=1e-4, atol=1e-4)
    assert np.abs(ours - theirs)[..., ~inside].max() > 0.1


@settings(max_examples=15, deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)), kernel=st.integers(1, 3), stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
)  # fmt: skip
def test_without_offsets_it_is_a_convolution(
    tmp_path_factory: pytest.TempPathFactory, size: tuple[int, int], kernel: int, stride: int, dilation: int
) -> None:
    folder = tmp_path_factory.mktemp("net")
    window = f"num_output: 4 kernel_size: {kernel} stride: {stride} pad: {kernel} dilation: {dilation}"
    x = noise(1, 6, *size)
    plain = read_text(one_layer("Convolution", {"x": x.shape}, f"convolution_param {{ {window} }}"), folder)
    blobs = {"l": (noise(4, 6, kernel, kernel, seed=1), noise(4, seed=2))}
    expected = run(plain, {"x": x}, blobs)["y"]
    offsets = np.zeros((1, 2 * kernel**2, *expected.shape[2:]), np.float32)
    net = read_text(layer(window, x.shape, offsets.shape), folder)
    np.testing.assert_allclose(run(net, {"x": x, "o": offsets}, blobs)["y"], expected, rtol=1e-4, atol=1e-5)


def test_weights_and_work(tmp_path: Path) -> None:
    net = read_text(layer(FIELDS.replace("bias_term: false", "group: 2")), tmp_path)
    shapes = infer_shapes(net)
    assert shapes["y"] == (1, 4, 8, 9)
    assert [b.shape for b in wanted_blobs(net, shapes)["l"]] == [(4, 3, 3, 3), (4,)]


@pytest.mark.parametrize(
    ("fields", "offsets", "error"),
    [
        (FIELDS, (1, 18, 8, 9), ShapeError),
        (FIELDS, (1, 36, 7, 9), ShapeError),
        (FIELDS.replace("deformable_group: 2", "deformable_group: 4"), (1, 72, 8, 9), ShapeError),
        (FIELDS.replace("deformable_group: 2", "deformable_group: 0"), OFFSETS, ShapeError),
        (FIELDS.replace("num_output: 4", "num_output: 5 group: 2"), OFFSETS, ShapeError),
        (FIELDS.replace("kernel_size: 3", "kernel_size: 0"), OFFSETS, PrototxtError),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, fields: str, offsets: tuple[int, ...], error: type[Exception]
) -> None:
    with pytest.raises(error, match='layer "l"'):
        infer_shapes(read_text(layer(fields, offsets=offsets), tmp_path))
