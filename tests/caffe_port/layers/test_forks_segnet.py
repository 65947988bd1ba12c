"""SegNet, ENet and PSPNet: BN in its dialects, and Upsample with and without a pooling mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from caffe_port import random_weights
from caffe_port.convert import to_onnx
from tests.support.ported import noise, one_layer, read_text, run
from weights.errors import PrototxtError, ShapeError, UnsupportedError, WeightsError

SEGNET = 'bn_param { bn_mode: %s scale_filler { type: "constant" value: 1 } shift_filler { value: 0.001 } }'
PSPNET = (
    'bn_param { slope_filler { type: "constant" value: 1 } bias_filler { value: 0 } frozen: true eps: 0.01 }'
)


def four(seed: int = 3) -> list[np.ndarray]:
    """Scale, shift, mean and a positive variance of five channels, as the forks store them."""
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(0, 1, (1, 5, 1, 1)).astype(np.float32) for _ in range(3)]
    return [*arrays, rng.uniform(0.5, 2, (1, 5, 1, 1)).astype(np.float32)]


def test_bn_of_segnet_with_absorbed_statistics(tmp_path: Path) -> None:
    net = read_text(one_layer("BN", {"x": (2, 5, 4, 3)}, SEGNET % "INFERENCE"), tmp_path)
    scale, shift = four()[:2]
    x = noise(2, 5, 4, 3)
    np.testing.assert_allclose(
        run(net, {"x": x}, {"l": (scale, shift)})["y"], x * scale + shift, rtol=1e-6, atol=1e-6
    )


def test_bn_of_segnet_takes_one_value_a_channel_too(tmp_path: Path) -> None:
    net = read_text(one_layer("BN", {"x": (1, 5, 2, 2)}, SEGNET % "INFERENCE"), tmp_path)
    scale, shift = four()[:2]
    x = noise(1, 5, 2, 2)
    found = run(net, {"x": x}, {"l": (scale.reshape(5), shift.reshape(5))})["y"]
    np.testing.assert_allclose(found, x * scale + shift, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", ["LEARN", ""])
def test_bn_of_segnet_with_the_batch_s_own_statistics(tmp_path: Path, mode: str) -> None:
    rest = SEGNET % mode if mode else SEGNET.replace("bn_mode: %s", "")
    net = read_text(one_layer("BN", {"x": (3, 5, 4, 3)}, rest), tmp_path)
    scale, shift = four()[:2]
    x = noise(3, 5, 4, 3) * 2 + 1
    mean, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    expected = (x - mean) / np.sqrt(var + 1e-9) * scale + shift
    np.testing.assert_allclose(run(net, {"x": x}, {"l": (scale, shift)})["y"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["BN", "SyncBN"])
def test_bn_of_pspnet(tmp_path: Path, kind: str) -> None:
    net = read_text(one_layer(kind, {"x": (2, 5, 4, 3)}, PSPNET), tmp_path)
    slope, bias, mean, var = four()
    x = noise(2, 5, 4, 3)
    found = run(net, {"x": x}, {"l": (slope, bias, mean, var)})["y"]
    np.testing.assert_allclose(found, (x - mean) / np.sqrt(var + 0.01) * slope + bias, rtol=1e-5, atol=1e-5)


def test_bn_of_pspnet_on_volumes(tmp_path: Path) -> None:
    net = read_text(one_layer("BN", {"x": (1, 5, 2, 4, 3)}, PSPNET), tmp_path)
    arrays = four()
    x = noise(1, 5, 2, 4, 3)
    slope, bias, mean, var = (a.reshape(1, 5, 1, 1, 1) for a in arrays)
    found = run(net, {"x": x}, {"l": tuple(arrays)})["y"]
    np.testing.assert_allclose(found, (x - mean) / np.sqrt(var + 0.01) * slope + bias, rtol=1e-5, atol=1e-5)


def test_cudnn_batch_norm_of_genet_has_a_least_eps(tmp_path: Path) -> None:
    rest = "cudnn_batch_norm_param { frozen: false momentum: 0.95 eps: 1e-9 scale_filler { value: 1 } }"
    net = read_text(one_layer("CuDNNBatchNorm", {"x": (2, 5, 4, 3)}, rest), tmp_path)
    scale, bias, mean, _ = four()
    var = np.full((1, 5, 1, 1), 1e-6, np.float32)
    x = noise(2, 5, 4, 3)
    found = run(net, {"x": x}, {"l": (scale, bias, mean, var)})["y"]
    np.testing.assert_allclose(found, (x - mean) / np.sqrt(var + 1e-5) * scale + bias, rtol=1e-4, atol=1e-3)


def test_random_weights_of_pspnet_leave_values_alone(tmp_path: Path) -> None:
    net = read_text(one_layer("BN", {"x": (1, 5, 4, 3)}, PSPNET), tmp_path)
    x = noise(1, 5, 4, 3)
    np.testing.assert_allclose(run(net, {"x": x})["y"], x / np.sqrt(1.01), rtol=1e-5)


@pytest.mark.parametrize("rest", ["", "bn_param { }", "bn_param { scale_filler { } slope_filler { } }"])
def test_a_bn_that_could_be_either_is_refused(tmp_path: Path, rest: str) -> None:
    net = read_text(one_layer("BN", {"x": (1, 5, 4, 3)}, rest), tmp_path)
    with pytest.raises(UnsupportedError, match=r'layer "l" \(BN\): two forks have a layer called BN'):
        random_weights(net)


def test_weights_of_the_other_fork_are_refused(tmp_path: Path) -> None:
    net = read_text(one_layer("BN", {"x": (1, 5, 4, 3)}, SEGNET % "INFERENCE"), tmp_path)
    with pytest.raises(WeightsError, match="wrong number of weight blobs"):
        to_onnx(net, {"l": tuple(four())})


POOL = """layer { name: "p" type: "Pooling" bottom: "x" top: "p" top: "m"
    pooling_param { pool: MAX kernel_size: %d stride: 2 } }
    layer { name: "r" type: "Power" bottom: "p" top: "q" power_param { scale: 2 } }
    layer { name: "u" type: "Upsample" bottom: "q" bottom: "m" top: "y" upsample_param { %s } }"""


def unpooled(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Twice the greatest value of each 2 x 2 window at its own place, rounded up at the edges."""
    y = np.zeros((*x.shape[:2], *size), np.float32)
    for n, c in np.ndindex(*x.shape[:2]):
        for h in range(0, x.shape[2], 2):
            for w in range(0, x.shape[3], 2):
                part = x[n, c, h : h + 2, w : w + 2]
                i, j = np.unravel_index(part.argmax(), part.shape)
                y[n, c, h + i, w + j] = 2 * part[i, j]
    return y


@pytest.mark.parametrize(
    ("size", "rest"),
    [
        ((6, 8), "scale: 2"),
        ((5, 8), "scale: 2 pad_out_h: true"),
        ((5, 7), "scale: 2 pad_out_h: true pad_out_w: true"),
        ((5, 7), "scale: 2 upsample_h: 5 upsample_w: 7"),
        ((6, 8), "scale_h: 2 scale_w: 2"),
    ],
)
def test_upsample_puts_values_back_where_the_pooling_found_them(
    tmp_path: Path, size: tuple[int, int], rest: str
) -> None:
    text = f'input: "x" input_shape {{ dim: 2 dim: 3 dim: {size[0]} dim: {size[1]} }}' + POOL % (2, rest)
    net = read_text(text, tmp_path)
    x = noise(2, 3, *size)
    np.testing.assert_array_equal(run(net, {"x": x})["y"], unpooled(x, size))


def test_upsample_by_a_scale_follows_the_frame_size(tmp_path: Path) -> None:
    text = 'input: "x" input_shape { dim: 2 dim: 3 dim: 6 dim: 8 }' + POOL % (2, "scale: 2")
    net = read_text(text, tmp_path)
    x = noise(2, 3, 10, 4)
    np.testing.assert_array_equal(run(net, {"x": x})["y"], unpooled(x, (10, 4)))


def test_upsample_to_a_stated_plane_fixes_the_frame_size(tmp_path: Path) -> None:
    text = 'input: "x" input_shape { dim: 1 dim: 3 dim: 6 dim: 8 }' + POOL % (
        2,
        "upsample_h: 6 upsample_w: 8",
    )
    model = to_onnx(read_text(text, tmp_path), {})
    sizes = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert sizes == [1, 3, 6, 8]
    facts = {p.key: p.value for p in model.metadata_props}
    assert 'layer "u" (Upsample): writes a plane of a fixed size' in facts["caffe.fixed_size"]


def test_the_mask_of_overlapping_windows_is_refused(tmp_path: Path) -> None:
    text = 'input: "x" input_shape { dim: 1 dim: 3 dim: 7 dim: 7 }' + POOL % (
        3,
        "upsample_h: 7 upsample_w: 7",
    )
    with pytest.raises(
        UnsupportedError, match=r'layer "u" \(Upsample\): the mask of overlapping pooling windows'
    ):
        to_onnx(read_text(text, tmp_path), {})


def test_upsample_without_a_mask_repeats_values(tmp_path: Path) -> None:
    net = read_text(one_layer("Upsample", {"x": (2, 3, 4, 5)}, "upsample_param { scale: 3 }"), tmp_path)
    x = noise(2, 3, 4, 5)
    np.testing.assert_array_equal(run(net, {"x": x})["y"], x.repeat(3, 2).repeat(3, 3))
    wider = noise(2, 3, 6, 7)
    np.testing.assert_array_equal(run(net, {"x": wider})["y"], wider.repeat(3, 2).repeat(3, 3))


@pytest.mark.parametrize(
    ("shapes", "rest", "message"),
    [
        ({"x": (1, 3, 4, 4)}, "", "no scale"),
        ({"x": (1, 3, 4, 4)}, "upsample_param { scale: 2 upsample_h: 8 }", "without its mask"),
        ({"x": (1, 3, 4, 4), "m": (1, 3, 4, 5)}, "upsample_param { scale: 2 }", "the mask does not fit"),
        ({"x": (1, 3, 4, 4), "m": (1, 3, 4, 4)}, "upsample_param { scale: 3 pad_out_h: true }", "pad_out"),
        ({"x": (1, 3, 4, 4), "m": (1, 3, 4, 4)}, "upsample_param { scale_h: 2 }", "half a scale"),
        ({"x": (1, 3, 4, 4), "m": (1, 3, 4, 4)}, "upsample_param { upsample_h: 2 }", "half a size"),
    ],
)
def test_an_upsample_that_does_not_fit_is_refused(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], rest: str, message: str
) -> None:
    net = read_text(one_layer("Upsample", shapes, rest), tmp_path)
    with pytest.raises((ShapeError, PrototxtError), match=f"Upsample.*{message}"):
        to_onnx(net, {})


SPATIAL = """python_param { module: "spatial_dropout" layer: "SpatialDropoutLayer"
    param_str: "{'phase': '%s', 'p': '%s'}" }"""


def test_the_spatial_dropout_of_enet_scales_at_test_time(tmp_path: Path) -> None:
    net = read_text(one_layer("Python", {"x": (1, 3, 4, 5)}, SPATIAL % ("TEST", "0.1")), tmp_path)
    x = noise(1, 3, 4, 5)
    np.testing.assert_allclose(run(net, {"x": x})["y"], x / 0.9, rtol=1e-6)


def test_rows_by_their_length_in_python(tmp_path: Path) -> None:
    """hizhangp/triplet's L2NormLayer: sklearn's normalize, which leaves a row of zeros alone."""
    rest = 'python_param { module: "triplet.l2norm_layer" layer: "L2NormLayer" }'
    x = noise(3, 5)
    x[1] = 0
    expected = x / np.maximum(np.sqrt((x**2).sum(1, keepdims=True)), 1e-30)
    found = run(read_text(one_layer("Python", {"x": (3, 5)}, rest), tmp_path), {"x": x})["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    with pytest.raises(ShapeError, match="rows are needed"):
        random_weights(read_text(one_layer("Python", {"x": (3, 5, 2)}, rest), tmp_path))


def test_a_spatial_dropout_that_stays_random_is_refused(tmp_path: Path) -> None:
    net = read_text(one_layer("Python", {"x": (1, 3, 4, 5)}, SPATIAL % ("TRAIN", "0.1")), tmp_path)
    with pytest.raises(UnsupportedError, match="random at test time"):
        to_onnx(net, {})
    net = read_text(one_layer("Python", {"x": (1, 3, 4, 5)}, SPATIAL % ("TEST", "2")), tmp_path)
    with pytest.raises(PrototxtError, match="bad param_str"):
        to_onnx(net, {})


def test_ops_of_the_model_are_plain(tmp_path: Path) -> None:
    text = 'input: "x" input_shape { dim: 1 dim: 3 dim: 6 dim: 8 }' + POOL % (2, "scale: 2")
    model = to_onnx(read_text(text, tmp_path), {})
    onnx.checker.check_model(model)
    assert "ScatterElements" in {n.op_type for n in model.graph.node}
