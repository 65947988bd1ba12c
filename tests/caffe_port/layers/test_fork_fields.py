"""Fields of forks: honoured, harmless and listed so, or refused by name; never read over in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from caffe_port import infer_shapes, to_onnx
from caffe_port.reading.schema import HARMLESS, ONLY_FOR
from tests.support.ported import one_layer, read_text
from weights.errors import UnsupportedError

MAP = {"x": (1, 4, 9, 9)}
CONV = "num_output: 2 kernel_size: 3"


@pytest.mark.parametrize(
    ("kind", "rest", "size"),
    [
        ("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", 5),
        ("Pooling", "pooling_param { kernel_size: 2 stride: 2 ceil_mode: false }", 4),
        ("Pooling", "pooling_param { kernel_size: 2 stride: 2 round_mode: FLOOR }", 4),
        ("Convolution", f"convolution_param {{ {CONV} }}", 7),
        ("Convolution", f"convolution_param {{ {CONV} hole: 2 }}", 5),
        ("Convolution", f"convolution_param {{ {CONV} hole_h: 2 hole_w: 2 }}", 5),
        ("Convolution", f"convolution_param {{ {CONV} dilation: 2 }}", 5),
    ],
)
def test_fields_that_change_sizes_are_honoured(tmp_path: Path, kind: str, rest: str, size: int) -> None:
    net = read_text(one_layer(kind, MAP, rest), tmp_path)
    assert infer_shapes(net)["y"][2:] == (size, size)


# Fields that people's prototxts have and whose meaning for the result is not known to be nothing.
REFUSED = [
    ("Convolution", "convolution_param", "is_relu", "true"),
    ("Convolution", "convolution_param", "fuse_type", "1"),
    ("Convolution", "convolution_param", "out_pad", "1"),
    ("Convolution", "convolution_param", "is_eltwise_sum", "true"),
    ("Pooling", "pooling_param", "fused_eltwise", "true"),
    ("PriorBox", "prior_box_param", "img_scale", "2"),
    ("Convolution", "convolution_param", "kernel_depth", "3"),
    ("Convolution", "convolution_param", "temporal_stride", "2"),
    ("Pooling", "pooling_param", "kernel_depth", "3"),
    ("Deconvolution", "convolution_param", "hole", "2"),
    ("PriorBox", "prior_box_param", "width", "4"),
]


@pytest.mark.parametrize(("kind", "param", "field", "value"), REFUSED)
def test_what_may_change_the_result_is_refused_by_name(
    tmp_path: Path, kind: str, param: str, field: str, value: str
) -> None:
    with pytest.raises(UnsupportedError) as error:
        read_text(one_layer(kind, MAP, f"{param} {{ {field}: {value} }}"), tmp_path)
    message = str(error.value)
    assert f'layer "l" ({kind}): line 1: unknown field "{field}" in ' in message
    assert "\n" not in message


def test_an_unknown_field_of_the_layer_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match='unknown field "telescope_param" in LayerParameter'):
        read_text(one_layer("ReLU", MAP, "telescope_param { power: 2 }"), tmp_path)


def test_dropout_that_samples_at_test_time_is_drawn_in_every_run(tmp_path: Path) -> None:
    param = "dropout_param { sample_weights_test: true dropout_ratio: 0.25 }"
    net = read_text(one_layer("Dropout", {"x": (1, 8, 64, 64)}, param), tmp_path)
    model = to_onnx(net, {})
    assert "drawn at random in every run" in model.metadata_props[0].value
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    ones = np.ones((1, 8, 64, 64), np.float32)
    first, second = (session.run(None, {"x": ones})[0] for _ in range(2))

    assert (first != second).any()
    np.testing.assert_allclose(np.unique(first), [0, 1 / 0.75], rtol=1e-6)
    assert abs((first == 0).mean() - 0.25) < 0.02


def test_dropout_is_nothing_otherwise(tmp_path: Path) -> None:
    quiet = read_text(one_layer("Dropout", MAP, "dropout_param { sample_weights_test: false }"), tmp_path)
    assert [n.op_type for n in to_onnx(quiet, {}).graph.node] == ["Identity"]


OF_MESSAGE = {
    "LayerParameter": ("ReLU", "{}"),
    "FillerParameter": (
        "Convolution",
        f"convolution_param {{{{ {CONV} weight_filler {{{{ {{}} }}}} }}}}",
    ),
    "BatchNormParameter": ("BatchNorm", "batch_norm_param {{ {} }}"),
    "ConvolutionParameter": ("Convolution", f"convolution_param {{{{ {CONV} {{}} }}}}"),
    "PoolingParameter": ("Pooling", "pooling_param {{ kernel_size: 3 {} }}"),
    "InnerProductParameter": ("InnerProduct", "inner_product_param {{ num_output: 2 {} }}"),
    "BNParameter": ("BN", "bn_param {{ {} }}"),
    "YoloDetectionOutputParameter": ("YoloDetectionOutput", "yolo_detection_output_param {{ {} }}"),
    "DetectionOutputParameter": ("DetectionOutput", "detection_output_param {{ num_classes: 2 {} }}"),
}


@pytest.mark.parametrize(("message", "field"), sorted(HARMLESS))
def test_harmless_fields_leave_the_layer_as_it_is(tmp_path: Path, message: str, field: str) -> None:
    assert len(HARMLESS[message, field]) > 10, "each has its reason"
    kind, form = OF_MESSAGE[message]
    with_field = read_text(one_layer(kind, MAP, form.format(f"{field}: 1")), tmp_path, postprocess=True)
    without = read_text(one_layer(kind, MAP, form.format("")), tmp_path, postprocess=True)
    assert with_field.layers[0].spec == without.layers[0].spec


def test_fields_of_one_type_are_fields_of_the_schema() -> None:
    from caffe_port.proto import caffe_pb2
    from caffe_port.registry import is_known

    for (message, field), kinds in ONLY_FOR.items():
        assert field in getattr(caffe_pb2, message).DESCRIPTOR.fields_by_name
        assert all(is_known(kind) for kind in kinds)
