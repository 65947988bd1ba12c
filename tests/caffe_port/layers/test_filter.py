"""Filter: a number of items that is known only when the net runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from caffe_port import to_onnx
from caffe_port.shapes import measure
from tests.support.ported import noise, read_text
from weights.errors import ShapeError, UnsupportedError

TEXT = """
input: "a" input_shape { dim: 4 dim: 2 dim: 6 dim: 5 }
input: "b" input_shape { dim: 4 dim: 3 }
input: "keep" input_shape { dim: 4 dim: 1 dim: 1 dim: 1 }
layer { name: "f" type: "Filter" bottom: "a" bottom: "b" bottom: "keep" top: "x" top: "y" }
layer { name: "r" type: "Reshape" bottom: "x" top: "z" reshape_param { shape { dim: 0 dim: -1 } } }
"""


def test_items_that_pass(tmp_path: Path) -> None:
    net = read_text(TEXT, tmp_path)
    a, b = noise(4, 2, 6, 5), noise(4, 3, seed=1)
    for outputs, keeps in (
        (["y", "z"], [(1, 0, 0, 1), (1, 1, 1, 1), (0, 0, -0.5, 0)]),
        (["y"], [(0, 0, 0, 0)]),
    ):
        model = to_onnx(net, {}, outputs=outputs).SerializeToString()
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        for keep in keeps:
            chosen = np.array(keep) != 0
            feeds = {"a": a, "b": b, "keep": np.array(keep, np.float32).reshape(4, 1, 1, 1)}
            feeds = {i.name: feeds[i.name] for i in session.get_inputs()}
            y, *z = session.run(outputs, feeds)
            np.testing.assert_array_equal(y, b[chosen])
            if z:
                np.testing.assert_array_equal(z[0], a[chosen].reshape(chosen.sum(), -1))


@pytest.mark.parametrize("fixed", [False, True])
def test_the_count_stays_open(tmp_path: Path, fixed: bool) -> None:
    sizes = measure(read_text(TEXT, tmp_path), fixed=fixed)
    assert sizes.dims["y"] == (None, 3) and sizes.shapes["y"] == (4, 3)
    assert sizes.dims["x"] == ((None, 2, 6, 5) if fixed else (None, 2, None, None))


def test_layers_that_need_the_count(tmp_path: Path) -> None:
    slices = "slice_param { axis: 0 slice_point: 1 }"
    text = TEXT + f'layer {{ name: "s" type: "Slice" bottom: "y" top: "p" top: "q" {slices} }}'
    with pytest.raises(UnsupportedError, match=r'known only when the net runs; found layer "s" \(Slice\)'):
        to_onnx(read_text(text, tmp_path), {})


def test_selectors_that_do_not_fit(tmp_path: Path) -> None:
    for old, new in (("dim: 4 dim: 1 dim: 1", "dim: 4 dim: 2 dim: 1"), ("dim: 4 dim: 3", "dim: 5 dim: 3")):
        with pytest.raises(ShapeError, match=r'layer "f" \(Filter\): the last bottom does not say'):
            measure(read_text(TEXT.replace(old, new), tmp_path))
