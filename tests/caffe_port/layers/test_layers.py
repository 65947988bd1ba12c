"""Layers where the parity nets of real Caffe do not reach: GPU-only forms, open sizes, and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from caffe_port import random_weights, to_onnx
from caffe_port.convert import draft_onnx
from caffe_port.shapes import infer_shapes
from tests.support.ported import noise, one_layer, read_text, run
from weights.errors import ClockworkError


def test_clip(tmp_path: Path) -> None:
    net = read_text(one_layer("Clip", {"x": (2, 3)}, "clip_param { min: -0.5 max: 0.25 }"), tmp_path)
    x = noise(2, 3)
    np.testing.assert_array_equal(run(net, {"x": x})["y"], np.clip(x, np.float32(-0.5), np.float32(0.25)))


def test_stochastic_pooling_weighs_by_activation(tmp_path: Path) -> None:
    """StoPoolForwardTest: sum of squares over sum, 0 where the sum is not above 0."""
    param = "pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }"
    net = read_text(one_layer("Pooling", {"x": (1, 2, 4, 6)}, param), tmp_path)
    x = np.abs(noise(1, 2, 4, 6))
    x[0, 0, :2, :2] = 0
    cells = x.reshape(1, 2, 2, 2, 3, 2)
    total = cells.sum((3, 5))
    expected = np.divide((cells**2).sum((3, 5)), total, out=np.zeros_like(total), where=total > 0)
    np.testing.assert_allclose(run(net, {"x": x})["y"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    "layer", ["axis: 1", "axis: 1 top_k: 2", "axis: -1", "", "top_k: 3 out_max_val: true"]
)
def test_argmax_puts_the_larger_of_equal_places_first(tmp_path: Path, layer: str) -> None:
    net = read_text(one_layer("ArgMax", {"x": (2, 4, 3, 5)}, f"argmax_param {{ {layer} }}"), tmp_path)
    x = np.random.default_rng(0).integers(0, 3, (2, 4, 3, 5)).astype(np.float32)
    found = run(net, {"x": x})["y"]
    spec = net.layers[0].spec.argmax_param
    rows = np.moveaxis(x, spec.axis, -1) if spec.HasField("axis") else x.reshape(2, -1)
    order = np.array(
        [
            sorted(range(len(row)), key=lambda i: (row[i], i), reverse=True)[: spec.top_k]
            for row in rows.reshape(-1, rows.shape[-1])
        ]
    )
    if spec.HasField("axis"):
        expected = np.moveaxis(order.reshape(*rows.shape[:-1], spec.top_k), -1, spec.axis)
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_array_equal(found[:, 0, :, 0], order)
        if spec.out_max_val:
            np.testing.assert_array_equal(found[:, 1, :, 0], np.take_along_axis(rows, order, 1))


OPEN = {
    "AbsVal": "", "BNLL": "", "ELU": "", "TanH": "", "Swish": "swish_param { beta: 2 }", "LRN": "",
    "Exp": "exp_param { base: 2 shift: 1 }", "Log": "log_param { shift: 9 }", "Threshold": "",
    "Power": "power_param { power: 0 }", "Clip": "clip_param { min: 0 max: 1 }", "MVN": "",
    "ArgMax": "argmax_param { axis: 1 top_k: 2 }", "Flatten": "flatten_param { axis: 1 end_axis: 2 }",
    "Reshape": "reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 0 } }",
    "Tile": "tile_param { axis: 2 tiles: 3 }",
    "Permute": "permute_param { order: 0 order: 3 order: 1 }", "Reverse": "reverse_param { axis: 3 }",
    "Reduction": "reduction_param { axis: 2 operation: SUMSQ coeff: 0.5 }",
    "Im2col": "convolution_param { kernel_size: 3 pad: 1 }",
}  # fmt: skip


@pytest.mark.parametrize("kind", OPEN)
def test_one_graph_serves_every_size(tmp_path: Path, kind: str) -> None:
    """The open graph gives what a graph made for the size gives."""
    net = read_text(one_layer(kind, {"x": (2, 4, 8, 6)}, OPEN[kind]), tmp_path)
    model = to_onnx(net, {})
    assert not [p for p in model.metadata_props if p.key == "caffe.fixed_size"]
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for shape in ((2, 4, 8, 6), (2, 4, 5, 9), (2, 4, 12, 7)):
        x = noise(*shape)
        fixed = run(net, {"x": x}, {}, fixed=True, inputs={"x": shape})["y"]
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], fixed)


CROPPED = """
    input: "x" input_shape {{ dim: 1 dim: 2 dim: 12 dim: 12 }}
    layer {{ name: "u" type: "Pooling" bottom: "x" top: "u"
             pooling_param {{ pool: AVE kernel_size: 2 stride: 2 }} }}
    layer {{ name: "c" type: "Crop" bottom: "x" bottom: "u" top: "y" crop_param {{ axis: {} offset: {} }} }}
    """


@pytest.mark.parametrize("override", [False, True])
def test_a_crop_that_leaves_its_bottom_fails_when_it_runs(tmp_path: Path, override: bool) -> None:
    """Where the size is open, Caffe's check of the window is made when the graph runs."""
    net = read_text(CROPPED.format(2, 5), tmp_path)
    model = to_onnx(net, {})

    def session(size: int) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        for name in ("height", "width") if override else ():
            options.add_free_dimension_override_by_name(name, size)
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    x = noise(1, 2, 10, 10)
    np.testing.assert_array_equal(session(10).run(None, {"x": x})[0], x[:, :, 5:, 5:])
    with pytest.raises(
        ClockworkError, match=r"the crop leaves its bottom on axis 2; found offset 5 \+ size 4"
    ):
        infer_shapes(net, {"x": (1, 2, 8, 8)})
    small = session(8)
    with pytest.raises(Exception, match=r"Name:'c/Reshape'.* cannot be reshaped"):
        small.run(None, {"x": noise(1, 2, 8, 8)})


def test_a_crop_of_all_axes(tmp_path: Path) -> None:
    x = noise(1, 2, 10, 14)
    found = run(read_text(CROPPED.format(0, 0), tmp_path), {"x": x})["y"]
    np.testing.assert_array_equal(found, x[:, :, :5, :7])


def test_flattening_between_open_axes(tmp_path: Path) -> None:
    """No axis can simply be copied from its own place here."""
    net = read_text(
        one_layer("Flatten", {"x": (2, 3, 8, 6)}, "flatten_param { axis: 0 end_axis: 1 }"), tmp_path
    )
    for shape in ((2, 3, 8, 6), (2, 3, 5, 9)):
        x = noise(*shape)
        np.testing.assert_array_equal(run(net, {"x": x})["y"], x.reshape(6, *shape[2:]))


@pytest.mark.parametrize("transpose", [False, True])
def test_inner_product_along_the_last_axis_of_an_open_size(tmp_path: Path, transpose: bool) -> None:
    text = f"""
    input: "data" input_shape {{ dim: 1 dim: 3 dim: 8 dim: 6 }}
    layer {{ name: "p" type: "Permute" bottom: "data" top: "p"
             permute_param {{ order: 0 order: 2 order: 3 order: 1 }} }}
    layer {{ name: "l" type: "InnerProduct" bottom: "p" top: "y"
             inner_product_param {{ num_output: 5 axis: 3 transpose: {str(transpose).lower()} }} }}
    """
    net = read_text(text, tmp_path)
    w, b = noise(3, 5) if transpose else noise(5, 3), noise(5, seed=1)
    for size in ((8, 6), (5, 9)):
        x = noise(1, 3, *size)
        expected = x.transpose(0, 2, 3, 1) @ (w if transpose else w.T) + b
        np.testing.assert_allclose(run(net, {"data": x}, {"l": (w, b)})["y"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["DepthwiseConvolution", "ConvolutionDepthwise", "DepthWiseConvolution"])
def test_depthwise_is_one_group_a_channel(tmp_path: Path, kind: str) -> None:
    param = "num_output: 6 kernel_size: 3 stride: 2 pad: 1"
    own = read_text(one_layer(kind, {"x": (1, 6, 9, 8)}, f"convolution_param {{ {param} }}"), tmp_path)
    plain = f"convolution_param {{ {param} group: 6 }}"
    grouped = read_text(one_layer("Convolution", {"x": (1, 6, 9, 8)}, plain), tmp_path)
    x, blobs = noise(1, 6, 9, 8), {"l": (noise(6, 1, 3, 3, seed=1), noise(6, seed=2))}
    np.testing.assert_array_equal(run(own, {"x": x}, blobs)["y"], run(grouped, {"x": x}, blobs)["y"])


def test_convolution_depthwise_takes_no_num_output(tmp_path: Path) -> None:
    """conv_dw_layer.cpp makes its weights and its top by the bottom's channels alone."""
    param = "convolution_param { num_output: %d kernel_size: 3 pad: 1 group: 3 }"
    x, blobs = noise(1, 6, 5, 4), {"l": (noise(6, 1, 3, 3, seed=1), noise(6, seed=2))}
    net = read_text(one_layer("ConvolutionDepthwise", {"x": x.shape}, param % 3), tmp_path)
    right = read_text(one_layer("ConvolutionDepthwise", {"x": x.shape}, param % 6), tmp_path)
    np.testing.assert_array_equal(run(net, {"x": x}, blobs)["y"], run(right, {"x": x}, blobs)["y"])
    (notes,) = [p.value for p in draft_onnx(net, blobs).model.metadata_props if p.key == "caffe.notes"]
    assert '"l" (ConvolutionDepthwise): makes 6 channels, not 3: this layer ignores num_output' in notes
    net = read_text(one_layer("DepthwiseConvolution", {"x": x.shape}, param % 3), tmp_path)
    with pytest.raises(ClockworkError, match="group does not divide the channels"):
        random_weights(net)


def test_power_of_nothing(tmp_path: Path) -> None:
    """scale * power = 0: Caffe writes one number without reading the bottom, NaN or not."""
    x = np.array([[np.nan, 2.0]], np.float32)
    for param, value in (("power: 0 shift: 7", 1.0), ("scale: 0 shift: 3 power: 2", 9.0), ("scale: 0", 0.0)):
        net = read_text(one_layer("Power", {"x": (1, 2)}, f"power_param {{ {param} }}"), tmp_path)
        assert run(net, {"x": x})["y"].tolist() == [[value, value]]


def test_lrn_within_takes_no_k(tmp_path: Path) -> None:
    x = noise(1, 2, 5, 5)
    found = []
    for k in (1, 50):
        param = f"lrn_param {{ norm_region: WITHIN_CHANNEL local_size: 3 alpha: 2 k: {k} }}"
        found.append(run(read_text(one_layer("LRN", {"x": (1, 2, 5, 5)}, param), tmp_path), {"x": x})["y"])
    np.testing.assert_array_equal(*found)


def test_in_place_sums_lose_their_first_bottom_and_say_so(tmp_path: Path) -> None:
    text = """
    input: "x" input_shape { dim: 2 dim: 3 }
    layer { name: "p" type: "Power" bottom: "x" top: "y" power_param { scale: 5 } }
    layer { name: "s" type: "Eltwise" bottom: "y" bottom: "x" top: "y" eltwise_param { coeff: 7 coeff: 2 } }
    """
    net = read_text(text, tmp_path)
    x = noise(2, 3)
    np.testing.assert_array_equal(run(net, {"x": x}, {})["y"], 2 * x)
    (notes,) = [p.value for p in draft_onnx(net, {}).model.metadata_props if p.key == "caffe.notes"]
    assert 'layer "s" (Eltwise): in place, so its first bottom is lost' in notes


RECURRENT = 'input: "x" input_shape { dim: 3 dim: 2 dim: 4 } input: "c" input_shape { dim: 3 dim: 2 }'


@pytest.mark.parametrize(
    ("bottoms", "tops", "param", "message"),
    [
        ("x c x", "y", "num_output: 2", r"x_static does not fit x; found \(3, 2, 4\); expected \(2, ...\)"),
        ("c x", "y", "num_output: 2", "cont does not fit x"),
        ("x c", "y", "", "no num_output"),
        ("x c", "y", "num_output: 2 expose_hidden: true", "bottoms or tops do not fit expose_hidden"),
        ("x c", "y h", "num_output: 2", "bottoms or tops do not fit expose_hidden; found 2 bottoms, 2 tops"),
        (
            "x c x",
            "y h",
            "num_output: 2 expose_hidden: true",
            r"a first state does not fit; .* expected \(1, 2, 2\)",
        ),
    ],
)
def test_recurrent_bottoms(tmp_path: Path, bottoms: str, tops: str, param: str, message: str) -> None:
    ends = [f'bottom: "{b}"' for b in bottoms.split()] + [f'top: "{t}"' for t in tops.split()]
    text = f'{RECURRENT} layer {{ name: "l" type: "RNN" {" ".join(ends)} recurrent_param {{ {param} }} }}'
    with pytest.raises(ClockworkError, match=message):
        random_weights(read_text(text, tmp_path))


def test_a_sequence_of_one_step(tmp_path: Path) -> None:
    text = RECURRENT.replace("dim: 3", "dim: 1")
    text += (
        'layer { name: "l" type: "LSTM" bottom: "x" bottom: "c" top: "y" recurrent_param { num_output: 5 } }'
    )
    net = read_text(text, tmp_path)
    x, wx, b, wh = noise(1, 2, 4), noise(20, 4, seed=1), noise(20, seed=2), noise(20, 5, seed=3)
    i, _, o, g = np.split(x[0] @ wx.T + b, 4, axis=1)
    sigmoid = lambda a: 1 / (1 + np.exp(-a))  # noqa: E731
    expected = sigmoid(o) * np.tanh(sigmoid(i) * np.tanh(g))
    found = run(net, {"x": x, "c": np.ones((1, 2))}, {"l": (wx, b, wh)})["y"]
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-6)


def test_constants_need_no_input(tmp_path: Path) -> None:
    text = """
    layer { name: "d" type: "DummyData" top: "a" top: "b"
            dummy_data_param { shape { dim: 2 dim: 3 } data_filler { value: 4 } data_filler { value: 5 } } }
    layer { name: "p" type: "Parameter" top: "w" parameter_param { shape { dim: 2 dim: 3 } } }
    layer { name: "s" type: "Eltwise" bottom: "a" bottom: "b" bottom: "w" top: "y" }
    layer { name: "c" type: "ContinuationIndicator" top: "cont"
            continuation_indicator_param { time_step: 3 batch_size: 2 } }
    """
    w = noise(2, 3)
    found = run(read_text(text, tmp_path), {}, {"p": (w,)})
    np.testing.assert_array_equal(found["y"], 9 + w)
    assert found["cont"].tolist() == [[0, 0], [1, 1], [1, 1]]


def test_random_dummy_data_becomes_an_input(tmp_path: Path) -> None:
    """Caffe draws it anew in every pass, so there is no number to keep; constants beside it go in too."""
    text = """
    layer { name: "d" type: "DummyData" top: "a" top: "b"
            dummy_data_param { num: 2 channels: 3 height: 1 width: 4
                               data_filler { type: "gaussian" std: 2 } data_filler { value: 5 } } }
    layer { name: "s" type: "Eltwise" bottom: "a" bottom: "b" top: "y" }
    """
    net = read_text(text, tmp_path)
    assert net.notes == ('DummyData layer "d" of random numbers became input a 2x3x1x4, b 2x3x1x4',)
    a, b = noise(2, 3, 1, 4), noise(2, 3, 1, 4, seed=1)
    np.testing.assert_array_equal(run(net, {"a": a, "b": b}, {})["y"], a + b)
    net = read_text(text, tmp_path, inputs={"a": (1, 3, 1, 4), "b": (1, 3, 1, 4)})
    assert [i.shape for i in net.inputs] == [(1, 3, 1, 4)] * 2
    with pytest.raises(ClockworkError, match=r'layer "d" \(DummyData\): half a shape'):
        read_text(text.replace("width: 4", ""), tmp_path)


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("shape { dim: 1 } num: 1 channels: 1 height: 1 width: 1", "shape is given both ways"),
        ("num: 1 channels: 1 height: 1", "half a shape"),
        (
            "shape { dim: 1 } shape { dim: 1 } shape { dim: 1 }",
            "shapes do not fit the tops; found 3; expected 1 or 2",
        ),
        (
            "shape { dim: 1 } " + "data_filler { } " * 3,
            "fillers do not fit the tops; found 3; expected 0, 1 or 2",
        ),
    ],
)
def test_dummy_data_that_caffe_refuses(tmp_path: Path, param: str, message: str) -> None:
    text = f'layer {{ name: "d" type: "DummyData" top: "a" top: "b" dummy_data_param {{ {param} }} }}'
    with pytest.raises(ClockworkError, match=message):
        to_onnx(read_text(text, tmp_path), {})
