"""What is written so that every provider and every reader computes Caffe's numbers, and fast."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import staged_onnx
from caffe_port import infer_shapes, random_weights
from caffe_port.convert import to_onnx
from tests.support.ported import noise, one_layer, read_text, run
from weights.errors import ShapeError, UnsupportedError


def average(x: np.ndarray, kernel: int, stride: int, pad: int, sizes: tuple[int, int]) -> np.ndarray:
    """BVLC pooling_layer.cpp, AVE: the window is cut to the padded picture, and that is what divides."""
    height, width = x.shape[2:]
    y = np.zeros((*x.shape[:2], *sizes))
    for i in range(sizes[0]):
        for j in range(sizes[1]):
            top, left = i * stride - pad, j * stride - pad
            bottom, right = min(top + kernel, height + pad), min(left + kernel, width + pad)
            count = (bottom - top) * (right - left)
            part = x[:, :, max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
            y[:, :, i, j] = part.astype(np.float64).sum((2, 3)) / count
    return y


@pytest.mark.parametrize("mode", ["", "round_mode: FLOOR"])
@pytest.mark.parametrize(
    ("kernel", "stride", "pad"), [(3, 2, 0), (3, 2, 1), (2, 2, 0), (5, 3, 2), (3, 1, 1), (3, 3, 1), (4, 3, 0)]
)
def test_ragged_average_pooling(tmp_path: Path, kernel: int, stride: int, pad: int, mode: str) -> None:
    """No reader is asked what a window divides by: cuDNN's and OpenCV's answers are not the CPU's."""
    param = f"pooling_param {{ pool: AVE kernel_size: {kernel} stride: {stride} pad: {pad} {mode} }}"
    net = read_text(one_layer("Pooling", {"x": (1, 2, 12, 17)}, param), tmp_path)
    model = to_onnx(net, {})
    for node in model.graph.node:
        settings = {a.name: a.i for a in node.attribute}
        assert not settings.get("count_include_pad") and not settings.get("ceil_mode")
    for height, width in ((12, 17), (13, 18), (14, 16), (11, 19)):
        x = noise(1, 2, height, width)
        sizes = infer_shapes(net, {"x": x.shape})["y"][2:]
        expected = average(x, kernel, stride, pad, (sizes[0], sizes[1]))
        np.testing.assert_allclose(run(net, {"x": x})["y"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("axis", "op"), [(1, "Div"), (2, "Div"), (3, "Softmax"), (0, "Div"), (-1, "Softmax")]
)
def test_softmax_is_written_out_where_the_kernel_is_slow(tmp_path: Path, axis: int, op: str) -> None:
    net = read_text(one_layer("Softmax", {"x": (2, 5, 4, 3)}, f"softmax_param {{ axis: {axis} }}"), tmp_path)
    assert to_onnx(net, {}).graph.node[-1].op_type == op
    x = noise(2, 5, 4, 3) * 50
    powers = np.exp(x.astype(np.float64) - x.max(axis, keepdims=True))
    np.testing.assert_allclose(run(net, {"x": x})["y"], powers / powers.sum(axis, keepdims=True), atol=1e-6)


@pytest.mark.parametrize(("size", "expected"), [((1, 1), 1), ((2, 2), 1), ((3, 3), 1)])
def test_a_kernel_larger_than_its_bottom(tmp_path: Path, size: tuple[int, int], expected: int) -> None:
    """C++ divides toward zero: (1 - 2) / 2 + 1 = 1; what lies beyond the bottom counts as 0.

    Real Caffe: weights 1, inputs 3 and 5 on a 1 x 1 bottom give 8.
    """
    param = "convolution_param { num_output: 1 kernel_size: 2 stride: 2 bias_term: false }"
    net = read_text(one_layer("Convolution", {"x": (1, 2, *size)}, param), tmp_path)
    assert infer_shapes(net)["y"] == (1, 1, expected, expected)
    x = np.array([3, 5], np.float32).reshape(1, 2, 1, 1) * np.ones((1, 2, *size), np.float32)
    y = run(net, {"x": x}, {"l": (np.ones((1, 2, 2, 2), np.float32),)})["y"]
    assert float(y[0, 0, 0, 0]) == 8 * min(size[0], 2) ** 2


def test_a_kernel_that_is_larger_by_its_stride_fits_nowhere(tmp_path: Path) -> None:
    param = "convolution_param { num_output: 1 kernel_size: 3 stride: 2 }"
    with pytest.raises(ShapeError, match="impossible shape"):
        infer_shapes(read_text(one_layer("Convolution", {"x": (1, 1, 1, 1)}, param), tmp_path))


def test_fillers_of_forks_and_where_one_is_unknown(tmp_path: Path) -> None:
    param = (
        "convolution_param { num_output: 2 group: 2 kernel_size: 4 stride: 2 pad: 1 bias_term: false "
        'weight_filler { type: "%s" } }'
    )
    text = one_layer("Deconvolution", {"x": (1, 2, 3, 3)}, param)
    plain, fork = (random_weights(read_text(text % n, tmp_path)) for n in ("bilinear", "bilinear_upsampling"))
    assert np.array_equal(plain["l"][0], fork["l"][0])
    with pytest.raises(UnsupportedError, match=r'net\.prototxt: layer "l" \(Deconvolution\): unknown filler'):
        random_weights(read_text(text % "magic", tmp_path))


def test_fractions_of_prior_boxes_are_noted(tmp_path: Path) -> None:
    text = one_layer(
        "PriorBox", {"x": (1, 3, 2, 2), "image": (1, 3, 60, 60)}, "prior_box_param { min_size: 51.2 }"
    )
    notes = {p.key: p.value for p in to_onnx(read_text(text, tmp_path), {}).metadata_props}["caffe.notes"]
    assert 'layer "l" (PriorBox): takes 51.2 as 51, as SSD' in notes


def test_layers_that_only_the_weights_file_has_are_noted(tmp_path: Path) -> None:
    net = read_text(one_layer("ReLU", {"x": (1, 3, 2, 2)}), tmp_path)
    blobs = {f"fc{i}": (np.zeros(1, np.float32),) for i in range(7)}
    notes = {p.key: p.value for p in to_onnx(net, blobs).metadata_props}["caffe.notes"]
    assert notes == "the weights file has layers that the net has not: fc0, fc1, fc2, fc3, fc4 and 2 more"


def test_a_dense_deconvolution_counts_what_runs(tmp_path: Path) -> None:
    """Bilinear weights in dense form are those of one group per channel, and run so."""
    text = (
        'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'
        'layer { name: "c" type: "Convolution" bottom: "data" top: "c" '
        "convolution_param { num_output: 4 kernel_size: 1 } }\n"
        'layer { name: "up" type: "Deconvolution" bottom: "c" top: "up" convolution_param '
        "{ num_output: 4 kernel_size: 4 stride: 2 pad: 1 bias_term: false } }"
    )
    net = read_text(text, tmp_path)
    dense = np.zeros((4, 4, 4, 4), np.float32)
    one = np.array([0.25, 0.75, 0.75, 0.25], np.float32)
    dense[range(4), range(4)] = np.outer(one, one)
    blobs = {"c": (noise(4, 3, 1, 1), np.zeros(4, np.float32))}
    macs = []
    for number, weight in enumerate((dense, noise(4, 4, 4, 4))):
        plan = staged_onnx.plan(net, ["c", "up"])
        bundle = staged_onnx.export(net, {**blobs, "up": (weight,)}, plan, tmp_path / f"{number}.staged")
        macs.append(bundle.manifest.stages[1].macs)
    assert macs == [64 * 4 * 16, 64 * 4 * 4 * 16]
