"""Weights and net: what fits, what is adapted, and the messages where nothing fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_port import random_weights
from caffe_port.inspection import inspect_net
from caffe_port.match import match_weights
from caffe_port.net import Net
from caffe_port.shapes import infer_shapes
from tests.support.ported import noise, one_layer, read_text, run
from weights.errors import WeightsError
from weights.upsample import upsample_filt

CONV = one_layer("Convolution", {"x": (1, 3, 6, 6)}, "convolution_param { num_output: 4 kernel_size: 3 }")
W, B = noise(4, 3, 3, 3), noise(4, seed=1)


def matched(net: Net, blobs: dict[str, tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    return match_weights(net, infer_shapes(net), blobs).blobs["l"]


def test_exact_and_legacy_shapes(tmp_path: Path) -> None:
    net = read_text(CONV, tmp_path)
    for bias in (B, B.reshape(1, 1, 1, 4)):
        w, b = matched(net, {"l": (W, bias)})
        assert w is W and b.shape == (4,)
        np.testing.assert_array_equal(b, B)
    fc = read_text(
        one_layer("InnerProduct", {"x": (1, 12)}, "inner_product_param { num_output: 5 }"), tmp_path
    )
    w = noise(5, 12)
    got, _ = matched(fc, {"l": (w.reshape(1, 1, 5, 12), noise(1, 1, 1, 5))})
    np.testing.assert_array_equal(got, w)


@pytest.mark.parametrize(
    ("blobs", "message"),
    [
        ({}, r"no weights for this layer; found weights for 0 layers \(none"),
        ({"other": (W, B)}, r"no weights for this layer; found weights for 1 layers \(other"),
        ({"l": (W,)}, r"wrong number of weight blobs; found 1 of shapes .*; expected 2 of shapes"),
        ({"l": (W, B, B)}, "found 3 of shapes"),
        (
            {"l": (W[:, :2], B)},
            r"blob 0 \(weight\) has the wrong shape; found \(4, 2, 3, 3\); expected \(4, 3, 3, 3\)",
        ),
        ({"l": (W.reshape(4, 27), B)}, r"blob 0 .* found \(4, 27\)"),
        ({"l": (W.transpose(1, 0, 2, 3), B)}, r"found \(3, 4, 3, 3\)"),
        ({"l": (W, noise(5))}, r"blob 1 \(bias\) has the wrong shape; found \(5,\); expected \(4,\)"),
        ({"l": (W, B.reshape(4, 1, 1, 1))}, r"blob 1 .* found \(4, 1, 1, 1\)"),
    ],
)
def test_misfits(tmp_path: Path, blobs: dict[str, tuple[np.ndarray, ...]], message: str) -> None:
    net = read_text(CONV, tmp_path)
    with pytest.raises(WeightsError, match=message) as error:
        match_weights(net, infer_shapes(net), blobs)
    assert str(error.value).startswith(f'{tmp_path / "net.prototxt"}: layer "l" (Convolution): ')
    assert "\n" not in str(error.value)


def test_left_over_layers_are_listed(tmp_path: Path) -> None:
    text = CONV + 'layer { name: "relu" type: "ReLU" bottom: "y" top: "z" }'
    net = read_text(text, tmp_path)
    found = match_weights(net, infer_shapes(net), {"l": (W, B), "loss": (B,), "relu": (B,)})
    assert found.left_over == ("loss", "relu") and list(found.blobs) == ["l"]


SHARED = """
input: "a" input_shape { dim: 1 dim: 2 dim: 4 dim: 4 }
layer { name: "first" type: "Convolution" bottom: "a" top: "b" param { name: "w" } param { name: "b" }
        convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "second" type: "Convolution" bottom: "b" top: "c" param { name: "w" } param { name: "b" }
        convolution_param { num_output: 2 kernel_size: 1 } }
"""


def test_of_shared_blobs_the_last_in_the_file_counts(tmp_path: Path) -> None:
    """As real Caffe does: every copy in the file is written over the one array that the layers share."""
    net = read_text(SHARED, tmp_path)
    w, b, other = noise(2, 2, 1, 1), noise(2, seed=1), noise(2, 2, 1, 1, seed=2)
    shapes = infer_shapes(net)
    same = {"first": (w, b)}, {"second": (w, b), "first": (w, b)}, {"first": (w, b), "second": (w, b)}
    assert all(match_weights(net, shapes, blobs).notes == () for blobs in same)
    (note,) = match_weights(net, shapes, {"second": (other, b), "first": (w, b)}).notes
    assert note.startswith(
        'weights shared as "w" are not the same everywhere in the file: the last are taken'
    )
    x = noise(1, 2, 4, 4)
    once = np.einsum("oc,nchw->nohw", w[:, :, 0, 0], x) + b.reshape(1, 2, 1, 1)
    twice = np.einsum("oc,nchw->nohw", w[:, :, 0, 0], once) + b.reshape(1, 2, 1, 1)
    for blobs in (*same, {"second": (other, b), "first": (w, b)}, {"first": (other, b), "second": (w, b)}):
        np.testing.assert_allclose(run(net, {"a": x}, blobs)["c"], twice, rtol=1e-5, atol=1e-6)


def test_an_owner_that_is_not_needed_still_gives_its_blobs(tmp_path: Path) -> None:
    """Caffe's HDF5 files hold a shared blob with its owner only."""
    net = read_text(SHARED.replace('bottom: "b"', 'bottom: "a"'), tmp_path)
    w, b, x = noise(2, 2, 1, 1), noise(2, seed=1), noise(1, 2, 4, 4)
    found = run(net, {"a": x}, {"first": (w, b)}, outputs=["c"])["c"]
    expected = np.einsum("oc,nchw->nohw", w[:, :, 0, 0], x) + b.reshape(1, 2, 1, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_random_weights_are_shared(tmp_path: Path) -> None:
    blobs = random_weights(read_text(SHARED, tmp_path))
    for first, second in zip(blobs["first"], blobs["second"], strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_blob_shared_between_other_sizes(tmp_path: Path) -> None:
    text = SHARED.replace("num_output: 2 kernel_size: 1 } }\n", "num_output: 3 kernel_size: 1 } }\n", 1)
    net = read_text(text, tmp_path)
    blobs = {"first": (noise(3, 2, 1, 1), noise(3)), "second": (noise(2, 3, 1, 1), noise(2))}
    with pytest.raises(WeightsError, match=r'layer "second" .* blob 1 cannot be shared as "b"'):
        match_weights(net, infer_shapes(net), blobs)


BN = "batch_norm_param {{ eps: 0.01 {} }}"


def test_batch_norm_of_three_blobs(tmp_path: Path) -> None:
    net = read_text(one_layer("BatchNorm", {"x": (2, 3, 4, 4)}, BN.format("")), tmp_path)
    x, mean, variance = noise(2, 3, 4, 4), noise(3, seed=1), np.abs(noise(3, seed=2))
    for factor in (1.0, 4.0, 0.0):
        ratio = 0 if factor == 0 else 1 / factor
        m, v = (a.reshape(1, 3, 1, 1) * ratio for a in (mean, variance))
        found = run(net, {"x": x}, {"l": (mean, variance, np.array([factor], np.float32))})["y"]
        np.testing.assert_allclose(found, (x - m) / np.sqrt(v + 0.01), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dialect", ["xilinx", "nvidia"])
def test_batch_norm_of_five_blobs(tmp_path: Path, dialect: str) -> None:
    """Scale, shift, mean, variance and a flag (Xilinx), or mean, variance, factor, scale, shift (NVIDIA)."""
    extra = 'scale_filler { type: "constant" value: 1 } bias_filler { type: "constant" }'
    net = read_text(one_layer("BatchNorm", {"x": (2, 3, 4, 4)}, BN.format(extra)), tmp_path)
    x, scale, shift, mean = (noise(*s, seed=i) for i, s in enumerate([(2, 3, 4, 4), (3,), (3,), (3,)]))
    variance = np.abs(noise(3, seed=9))
    four = [a.reshape(1, 3, 1, 1) for a in (scale, shift, mean, variance)]
    if dialect == "xilinx":
        blobs = (*four, np.zeros((1, 1, 1, 1), np.float32))
        used_mean, used_variance = four[2:]
    else:
        factor = np.array([2.0], np.float32)
        blobs = (mean, variance, factor, scale, shift)
        used_mean, used_variance = four[2] / 2, four[3] / 2
    expected = (x - used_mean) / np.sqrt(used_variance + 0.01) * four[0] + four[1]
    np.testing.assert_allclose(run(net, {"x": x}, {"l": blobs})["y"], expected, rtol=1e-4, atol=1e-5)


def test_batch_norm_by_the_batch_itself(tmp_path: Path) -> None:
    """`use_global_stats: false` at TEST time: mean and biased variance of the batch (ENet)."""
    net = read_text(
        one_layer("BatchNorm", {"x": (2, 3, 4, 4)}, BN.format("use_global_stats: false")), tmp_path
    )
    x = noise(2, 3, 4, 4)
    expected = (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(x.var((0, 2, 3), keepdims=True) + 0.01)
    blobs = {"l": (noise(3), noise(3), np.ones(1, np.float32))}
    np.testing.assert_allclose(run(net, {"x": x}, blobs)["y"], expected, rtol=1e-4, atol=1e-5)


def deconv(group: int, rest: str = "") -> str:
    param = f"num_output: 3 group: {group} kernel_size: 4 stride: 2 bias_term: false"
    return one_layer("Deconvolution", {"x": (1, 3, 4, 5)}, f"convolution_param {{ {param} }} {rest}")


KERNELS = noise(3, 1, 4, 4)
DENSE = np.zeros((3, 3, 4, 4), np.float32)
DENSE[range(3), range(3)] = KERNELS[:, 0]


@pytest.mark.parametrize(
    ("group", "weight", "layout", "note"),
    [
        (3, KERNELS, "grouped as in the prototxt (3 groups)", ""),
        (1, DENSE, "dense with nothing beside the diagonal: run as 3 groups", "run as 3 groups"),
        (
            3,
            DENSE,
            "dense weight of a grouped layer: its diagonal taken (3 groups)",
            "a dense weight (3x3x4x4) for a layer of 3 groups: its diagonal was taken",
        ),
        (
            1,
            KERNELS,
            "grouped weight of a dense layer: put on the diagonal",
            "the kernels were put on the diagonal",
        ),
    ],
    ids=["grouped", "dense", "dense weight, grouped layer", "grouped weight, dense layer"],
)
def test_four_ways_of_a_group_deconvolution(
    tmp_path: Path, group: int, weight: np.ndarray, layout: str, note: str
) -> None:
    """Which it was is always on record; there is a note where the graph is not what the prototxt says."""
    net = read_text(deconv(group), tmp_path)
    x = noise(1, 3, 4, 5)
    expected = np.zeros((1, 3, 10, 12), np.float32)
    for i in range(4):
        for j in range(5):
            expected[0, :, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += x[0, :, i, j, None, None] * KERNELS[:, 0]
    np.testing.assert_allclose(run(net, {"x": x}, {"l": (weight,)})["y"], expected, rtol=1e-5, atol=1e-5)
    matched = match_weights(net, infer_shapes(net), {"l": (weight,)})
    assert matched.layouts == {"l": layout}
    assert len(matched.notes) == bool(note)
    assert all(n.startswith('layer "l" (Deconvolution): ') and note in n for n in matched.notes)
    assert inspect_net(net, {"l": (weight,)}).to_json()["weights"]["layouts"] == {"l": layout}


def test_a_dense_weight_with_more_than_a_diagonal(tmp_path: Path) -> None:
    full = DENSE + 0.1
    with pytest.raises(WeightsError, match=r'layer "l" \(Deconvolution\): .*numbers beside the diagonal'):
        run(read_text(deconv(3), tmp_path), {"x": noise(1, 3, 4, 5)}, {"l": (full,)})


@pytest.mark.parametrize("rate", [0, 1])
@pytest.mark.parametrize("bilinear", [False, True])
def test_fixed_kernels_that_are_not_bilinear_are_reported(tmp_path: Path, rate: int, bilinear: bool) -> None:
    net = read_text(deconv(3, f"param {{ lr_mult: {rate} }}"), tmp_path)
    weight = np.broadcast_to(upsample_filt(4), (3, 1, 4, 4)) if bilinear else KERNELS
    notes = match_weights(net, infer_shapes(net), {"l": (weight,)}).notes
    expected = rate == 0 and not bilinear
    assert [n.endswith("its kernel is fixed (lr_mult: 0) but not bilinear") for n in notes] == [
        True
    ] * expected
