"""In-place layers on memory that several blobs share. Real Caffe gives p + 3 for "r" in each of VIEWS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_port import infer_shapes, to_onnx
from caffe_port.inspection import inspect_net
from tests.support.ported import noise, read_text, run
from weights.errors import ShapeError, UnsupportedError

INPUT = 'input: "x" input_shape { dim: 1 dim: 2 dim: 3 dim: 4 } '
ADD = 'layer { name: "add" type: "Power" bottom: "%s" top: "%s" power_param { shift: 3 } } '
VIEWS = {
    "Split": 'layer { name: "v" type: "Split" bottom: "p" top: "a" top: "b" } ',
    "Flatten": 'layer { name: "v" type: "Flatten" bottom: "p" top: "b" } ',
    "Reshape": 'layer { name: "v" type: "Reshape" bottom: "p" top: "b" '
    "reshape_param { shape { dim: 24 } } } ",
    "Concat": 'layer { name: "v" type: "Concat" bottom: "p" top: "b" } ',
    "Slice": 'layer { name: "v" type: "Slice" bottom: "p" top: "b" } ',
    "Permute": 'layer { name: "v" type: "Permute" bottom: "p" top: "b" '
    "permute_param { order: 0 order: 1 } } ",
}
PRODUCER = 'layer { name: "p" type: "Power" bottom: "x" top: "p" power_param { scale: 2 } } '
READER = 'layer { name: "r" type: "Power" bottom: "%s" top: "r" } '


@pytest.mark.parametrize("kind", VIEWS)
def test_a_reader_of_changed_memory_is_refused(tmp_path: Path, kind: str) -> None:
    other = "a" if kind == "Split" else "p"
    text = INPUT + PRODUCER + VIEWS[kind] + ADD % ("b", "b") + READER % other
    message = (
        r'layer "r" \(Power\): a blob whose memory another layer changes in place; '
        rf'found "{other}" shares its memory with what layer "add" works on in place'
    )
    with pytest.raises(UnsupportedError, match=message):
        read_text(text, tmp_path)
    found = inspect_net(read_text(text, tmp_path, tolerant=True))
    assert [layer.name for layer in found.unsupported] == ["r"]


@pytest.mark.parametrize("kind", VIEWS)
def test_a_reader_in_front_of_the_change_is_served(tmp_path: Path, kind: str) -> None:
    other = "a" if kind == "Split" else "p"
    net = read_text(INPUT + PRODUCER + VIEWS[kind] + READER % other + ADD % ("b", "b"), tmp_path)
    x = noise(1, 2, 3, 4)
    found = run(net, {"x": x}, {}, outputs=["r", "b"])
    np.testing.assert_array_equal(found["r"], 2 * x)
    np.testing.assert_array_equal(found["b"].ravel(), 2 * x.ravel() + np.float32(3))
    with pytest.raises(
        UnsupportedError, match=f'output "{other}" shares its memory.*layer "add", which changes'
    ):
        to_onnx(net, {}, outputs=[other])


def test_an_output_of_changed_memory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r'layer "v" \(Split\): a blob whose memory another'):
        read_text(INPUT + PRODUCER + VIEWS["Split"] + ADD % ("b", "b"), tmp_path)


def test_what_changes_nothing_or_has_its_own_memory_is_served(tmp_path: Path) -> None:
    x = noise(1, 2, 3, 4)
    drop = 'layer { name: "d" type: "Dropout" bottom: "b" top: "b" } '
    net = read_text(INPUT + PRODUCER + VIEWS["Flatten"] + drop + READER % "p", tmp_path)
    np.testing.assert_array_equal(run(net, {"x": x}, {})["r"], 2 * x)
    own = INPUT + PRODUCER + VIEWS["Flatten"] + ADD % ("b", "c") + ADD.replace("add", "more") % ("c", "c")
    found = run(read_text(own + READER % "p", tmp_path), {"x": x}, {})
    np.testing.assert_array_equal(found["r"], 2 * x)
    np.testing.assert_array_equal(found["c"], 2 * x.reshape(1, -1) + np.float32(3) + np.float32(3))


@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        ("Convolution", "convolution_param { num_output: 2 kernel_size: 1 }"),
        ("InnerProduct", "inner_product_param { num_output: 4 axis: 3 }"),
        ("Pooling", "pooling_param { kernel_size: 3 pad: 1 }"),
        ("ArgMax", "argmax_param { axis: 1 }"),
        ("Reduction", "reduction_param { axis: 1 }"),
        ("SPP", "spp_param { pyramid_height: 1 }"),
        ("Permute", "permute_param { order: 0 order: 2 order: 1 }"),
        ("Flatten", ""),
    ],
)
def test_a_layer_that_cannot_work_in_place_is_refused(tmp_path: Path, kind: str, rest: str) -> None:
    """Real Caffe's answers are no formula's (Flatten: it refuses)."""
    layer = f'layer {{ name: "l" type: "{kind}" bottom: "p" top: "%s" {rest} }} '
    message = (
        rf'layer "l" \({kind}\): a layer that writes over what it still reads; found "p" as bottom and top'
    )
    with pytest.raises(UnsupportedError, match=message):
        read_text(INPUT + PRODUCER + layer % "p", tmp_path)
    assert read_text(INPUT + PRODUCER + layer % "q", tmp_path).outputs == ("q",)


def test_only_the_first_bottom_is_written_over(tmp_path: Path) -> None:
    two = 'layer { name: "l" type: "Eltwise" bottom: "x" bottom: "p" top: "p" '
    two += "eltwise_param { operation: PROD } } "
    with pytest.raises(UnsupportedError, match="writes over what it still reads"):
        read_text(INPUT + PRODUCER + two, tmp_path)
    net = read_text(INPUT + PRODUCER + two.replace('"x" bottom: "p"', '"p" bottom: "x"'), tmp_path)
    x = noise(1, 2, 3, 4)
    np.testing.assert_array_equal(run(net, {"x": x}, {})["p"], 2 * x * x)


def test_lrn_in_place_is_the_gpus(tmp_path: Path) -> None:
    lrn = 'layer { name: "l" type: "LRN" bottom: "p" top: "%s" lrn_param { local_size: 3 alpha: 2 } } '
    x = noise(1, 2, 3, 4)
    here, there = (read_text(INPUT + PRODUCER + lrn % top, tmp_path) for top in ("p", "q"))
    np.testing.assert_array_equal(run(here, {"x": x}, {})["p"], run(there, {"x": x}, {})["q"])
    (notes,) = [p.value for p in to_onnx(here, {}).metadata_props if p.key == "caffe.notes"]
    assert notes == 'layer "l" (LRN): in place, as Caffe computes it on the GPU'


@pytest.mark.parametrize("kind", ["Split", "Flatten", "Reshape"])
def test_a_view_of_nothing_is_refused_by_its_layer(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ShapeError, match=rf'layer "v" \({kind}\): wrong number of bottoms'):
        infer_shapes(read_text(INPUT + VIEWS[kind].replace('bottom: "p" ', ""), tmp_path))
