"""The embedded net: original Caffe layers in clockwork's topology, and a net that does what the demo says."""

from __future__ import annotations

import numpy as np
import pytest

import caffe_port
import runtime
import weights
from caffe_port.coord_map import crop_offsets
from clockwork_onnx.evaluation.datasets.shapes_video import CLASS_NAMES, shapes_video
from clockwork_onnx.evaluation.demo.demo import NET, embedded_bundle
from clockwork_onnx.evaluation.scoring.metrics import Confusion
from staged_onnx import Bundle

FOLDER = NET
PROTOTXT, CAFFEMODEL = FOLDER / "deploy.prototxt", FOLDER / "shapes-fcn8s.caffemodel"


@pytest.fixture(scope="module")
def net() -> caffe_port.Net:
    return caffe_port.read_net(PROTOTXT)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return embedded_bundle(tmp_path_factory.mktemp("demo") / "shapes-fcn8s.staged")


def test_only_original_layers_and_at_most_a_megabyte(net: caffe_port.Net) -> None:
    original = {"Input", "Convolution", "ReLU", "Pooling", "Deconvolution", "Crop", "Eltwise"}
    assert {layer.type for layer in net.layers} <= original
    assert CAFFEMODEL.stat().st_size <= 1_000_000


def test_layers_are_named_and_ordered_as_in_clockworks_stage_net(net: caffe_port.Net) -> None:
    convs = [f"conv{group}_{i}" for group, n in enumerate((2, 2, 3, 3, 3), start=1) for i in range(1, n + 1)]
    names = [layer.name for layer in net.layers]
    assert [name for name in names if name.startswith("conv")] == convs
    order = "pool3 score_pool3 conv4_1 pool4 score_pool4 conv5_1 fc6 fc7 score_fr upscore2 score_pool4c"
    order += " fuse_pool4 upscore_pool4 score_pool3c fuse_pool3 upscore8 score"
    places = [names.index(name) for name in order.split()]
    assert places == sorted(places)


def test_crops_lie_where_the_geometry_puts_them(net: caffe_port.Net) -> None:
    rows = crop_offsets(net)
    assert [row.layer for row in rows] == ["score_pool4c", "score_pool3c", "score"]
    assert all(row.stated == row.computed for row in rows)


@pytest.mark.parametrize("size", [(51, 60), (145, 176), (176, 240), (209, 175)])
def test_any_frame_size_fits_its_crops(net: caffe_port.Net, size: tuple[int, int]) -> None:
    shapes = caffe_port.infer_shapes(net, {"data": (1, 3, *size)})
    assert shapes["score"] == (1, len(CLASS_NAMES), *size)


def test_upsampling_is_bilinear_and_weights_are_finite() -> None:
    blobs = weights.read(CAFFEMODEL)
    for name, kernel in (("upscore2", 4), ("upscore_pool4", 4), ("upscore8", 16)):
        (kernels,) = blobs[name]
        assert kernels.shape == (len(CLASS_NAMES), 1, kernel, kernel)
        line = 1 - np.abs(np.arange(kernel) + 0.5 - kernel / 2) / (kernel / 2)
        np.testing.assert_allclose(kernels[0, 0], np.outer(line, line), atol=1e-7)
        assert all(np.array_equal(one, kernels[0]) for one in kernels)
    assert all(np.isfinite(array).all() for arrays in blobs.values() for array in arrays)


def mean_iu(bundle: Bundle, schedule: str) -> float:
    """On the middle and the end of held-out moving shots, so that the schedules are in their stride."""
    confusion = Confusion(len(CLASS_NAMES))
    for shot in shapes_video("val", frames=9, kinds=("fast", "fast pan", "crowd")):
        with runtime.open(bundle.path, device="cpu", schedule=schedule) as player:
            for truth, step in zip(shot.labels, player.play(list(shot.frames)), strict=True):
                confusion.add(truth, step.labels)
    return confusion.scores().mean_iu


def test_the_clock_beats_skipping_at_the_same_deep_rate(bundle: Bundle) -> None:
    oracle, clockwork, skip = (mean_iu(bundle, name) for name in ("oracle", "alternating", "skip:2"))
    assert skip + 0.02 < clockwork <= oracle + 0.01


def test_the_deep_stage_matters(bundle: Bundle) -> None:
    """With the first frame's deep features for ever the net must do clearly worse: they carry the classes."""
    assert mean_iu(bundle, "rates:1,1,1000") < mean_iu(bundle, "oracle") - 0.05


def test_held_out_accuracy(bundle: Bundle) -> None:
    """Mean IU of at least 0.85, on every sixth frame of the held-out shots."""
    confusion = Confusion(len(CLASS_NAMES))
    with runtime.open(bundle.path, device="cpu", schedule="oracle") as player:
        for shot in shapes_video("val"):
            for truth, step in zip(shot.labels[::6], player.play(list(shot.frames[::6])), strict=True):
                confusion.add(truth, step.labels)
    assert confusion.scores().mean_iu >= 0.85
