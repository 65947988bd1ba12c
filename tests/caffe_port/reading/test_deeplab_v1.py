"""DeepLab v1's dialect: ArgMax per pixel, layers that a host carries out, `strict_dim: false`."""

from pathlib import Path

import numpy as np
import pytest

import staged_onnx
from caffe_port.convert import to_onnx
from caffe_port.net import HostStep
from tests.support.ported import noise, read_text, run
from weights.errors import PrototxtError, WeightsError

HOLE = """
layers { name: "c" type: CONVOLUTION bottom: "x" top: "z"
  convolution_param { num_output: 4 kernel_size: 3 hole: 2 pad: 2 } }
"""


def v1(argmax: str, extra: str = HOLE) -> str:
    shape = "input_dim: 1 input_dim: 4 input_dim: 5 input_dim: 6"
    layer = f'layers {{ name: "a" type: ARGMAX bottom: "x" top: "y" argmax_param {{ {argmax} }} }}'
    return f'input: "x" {shape} {extra} {layer}'


def by_loops(x: np.ndarray, top_k: int, values: bool) -> np.ndarray:
    """argmax_layer.cpp of the fork: pairs (value, class) sorted downwards at each pixel."""
    n, _, height, width = x.shape
    y = np.zeros((n, top_k * (2 if values else 1), height, width), np.float32)
    for i in range(n):
        for h in range(height):
            for w in range(width):
                pairs = sorted(((v, c) for c, v in enumerate(x[i, :, h, w])), reverse=True)
                for k in range(top_k):
                    y[i, k, h, w] = pairs[k][1]
                    if values:
                        y[i, top_k + k, h, w] = pairs[k][0]
    return y


@pytest.mark.parametrize(("top_k", "values"), [(1, False), (3, False), (1, True), (2, True)])
def test_argmax_without_axis_works_per_pixel_and_the_larger_class_wins_ties(
    tmp_path: Path, top_k: int, values: bool
) -> None:
    crf = 'layers { name: "crf" type: DENSE_CRF bottom: "x" top: "q" }'
    net = read_text(v1(f"top_k: {top_k} out_max_val: {str(values).lower()}", crf), tmp_path)
    x = np.round(noise(1, 4, 5, 6)).astype(np.float32)  # rounded: full of ties
    assert np.array_equal(run(net, {"x": x})["y"], by_loops(x, top_k, values))
    assert any("on each pixel, as DeepLab v1 means it" in note for note in net.notes)


def test_with_hole_the_same_and_in_other_nets_bvlc_s_rule(tmp_path: Path) -> None:
    assert read_text(v1(""), tmp_path).layers[-1].type == "PixelArgMax"
    assert read_text(v1("axis: 1"), tmp_path).layers[-1].type == "ArgMax"
    plain = read_text(v1("", ""), tmp_path)
    assert plain.layers[-1].type == "ArgMax"
    assert run(plain, {"x": noise(1, 4, 5, 6)})["y"].shape == (1, 1, 1, 1)
    newer = (
        v1("")
        .replace("layers", "layer")
        .replace("CONVOLUTION", '"Convolution"')
        .replace("ARGMAX", '"ArgMax"')
    )
    newer = newer.replace("hole", "dilation")
    assert read_text(newer, tmp_path).layers[-1].type == "ArgMax"


def test_top_k_beyond_the_channels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"top_k does not fit.*5.*1 to 4"):
        run(read_text(v1("top_k: 5"), tmp_path), {"x": noise(1, 4, 5, 6)})


STEPS = """
layers { name: "data" type: IMAGE_SEG_DATA top: "data" top: "label" top: "data_dim"
  image_data_param { root_folder: "/never/opened" source: "list/val.txt" batch_size: 1 }
  transform_param { mean_value: 104.008 mean_value: 116.669 mean_value: 122.675 crop_size: 33 }
  include: { phase: TEST } }
layers { name: "fc8" type: CONVOLUTION bottom: "data" top: "fc8"
  convolution_param { num_output: 5 kernel_size: 1 } }
layers { name: "crf" type: DENSE_CRF bottom: "fc8" bottom: "data_dim" bottom: "data" top: "crf_inf"
  dense_crf_param { max_iter: 7 pos_w: 3 pos_xy_std: 3 bi_w: 5 bi_xy_std: 50 bi_rgb_std: 10
                    bi_w: 2 bi_xy_std: 20 bi_rgb_std: 4 } }
layers { name: "mat" type: MAT_WRITE bottom: "crf_inf" bottom: "fc8"
  mat_write_param { prefix: "f/val/crf/" source: "list/val_id.txt" strip: 4 period: 2 } }
"""


def test_host_steps_keep_what_they_read_make_and_are_told(tmp_path: Path) -> None:
    net = read_text(STEPS, tmp_path)
    assert net.host_steps == (
        HostStep(
            "data", "ImageSegData", (), ("data", "label", "data_dim"),
            {"crop_size": 33, "mean_value": [104.008, 116.669, 122.675]},
        ),
        HostStep(
            "crf", "DenseCRF", ("fc8", "data_dim", "data"), ("crf_inf",),
            {"max_iter": 7, "pos_w": [3], "pos_xy_std": [3],
             "bi_w": [5, 2], "bi_xy_std": [50, 20], "bi_rgb_std": [10, 4]},
        ),
        HostStep(
            "mat", "MatWrite", ("crf_inf", "fc8"), (),
            {"prefix": "f/val/crf/", "source": "list/val_id.txt", "strip": 4, "period": 2},
        ),
    )  # fmt: skip
    assert net.outputs == ("fc8",)
    assert [i.name for i in net.inputs] == ["data"]


def test_defaults_of_the_layers_and_mat_read(tmp_path: Path) -> None:
    text = """layers { name: "m" type: MAT_READ top: "x" mat_read_param { prefix: "p/" source: "ids.txt" } }
    layers { name: "c" type: DENSE_CRF bottom: "x" top: "q" }"""
    net = read_text(text + HOLE, tmp_path, inputs={"x": (1, 4, 5, 6)})
    read, crf = net.host_steps
    assert read.parameters == {"prefix": "p/", "source": "ids.txt", "strip": 0, "period": 1}
    assert crf.parameters["max_iter"] == 10 and crf.parameters["bi_w"] == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bi_w: 2 ", "", "1 bi_w, 2 bi_xy_std, 2 bi_rgb_std"),
        ("max_iter: 7", "max_iter: many", "bad max_iter"),
        ("bi_xy_std: 20", "bi_xy_std: wide", "bad bi_xy_std"),
        ("strip: 4", "strip: -4", "bad strip"),
    ],
)
def test_bad_parameters_of_host_steps_name_the_layer(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(PrototxtError, match=message) as caught:
        read_text(STEPS.replace(old, new), tmp_path)
    assert caught.value.layer in ("crf", "mat")


def test_strict_dim_false_takes_any_shape_of_as_many_numbers(tmp_path: Path) -> None:
    text = """input: "x" input_dim: 1 input_dim: 4 input_dim: 5 input_dim: 6
    layers { name: "c" type: CONVOLUTION bottom: "x" top: "y" %s
      convolution_param { num_output: 2 kernel_size: 3 bias_term: false } }"""
    kernel = noise(2, 4, 3, 3)
    flat = {"c": (kernel.reshape(1, 1, 8, 9),)}
    x = noise(1, 4, 5, 6)
    loose = read_text(text % "strict_dim: false", tmp_path)
    expected = run(loose, {"x": x}, {"c": (kernel,)})["y"]
    assert np.array_equal(run(loose, {"x": x}, flat)["y"], expected)
    strict = read_text(text % "", tmp_path)
    with pytest.raises(WeightsError, match="wrong shape"):
        to_onnx(strict, flat)
    with pytest.raises(WeightsError, match="wrong shape"):
        to_onnx(loose, {"c": (kernel[:1],)})


def test_a_bundle_takes_its_labels_from_the_scores_before_the_argmax(tmp_path: Path) -> None:
    chain = v1("", HOLE).replace('bottom: "x" top: "y"', 'bottom: "z" top: "y"')
    chain = chain.replace("input_dim: 1 input_dim: 4", "input_dim: 1 input_dim: 3")
    scores = staged_onnx.plan(read_text(chain, tmp_path), cuts=["z"]).scores
    assert scores == "z"
