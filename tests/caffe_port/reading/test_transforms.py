"""What prototxts say of mean and scale."""

from pathlib import Path

import pytest

from caffe_port.net import Transform
from tests.support.ported import read_text

CONV = """layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 2 kernel_size: 1 } }"""
CASES = {
    "transform_param": (
        'layer { name: "d" type: "Data" top: "data" top: "label" data_param { batch_size: 2 } '
        "transform_param { mean_value: 104 mean_value: 117 mean_value: 123 scale: 0.5 crop_size: 32 } }",
        Transform('Data layer "d"', (104.0, 117.0, 123.0), "", 0.5),
    ),
    "nothing is subtracted": (
        'layer { name: "d" type: "ImageData" top: "data" top: "label" '
        "image_data_param { new_height: 32 new_width: 32 } }",
        Transform('ImageData layer "d"'),
    ),
    "the older place": (
        'layer { name: "d" type: "Data" top: "data" top: "label" '
        'data_param { mean_file: "/etc/passwd" scale: 0.01 crop_size: 8 } }',
        Transform('Data layer "d"', (), "/etc/passwd", 0.01),
    ),
    "another phase": (
        'layer { name: "t" type: "Data" top: "data" top: "label" include { phase: TRAIN } '
        "transform_param { mean_value: 127.5 scale: 0.0078 crop_size: 32 } } "
        'layer { name: "i" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } '
        "include { phase: TEST } }",
        Transform('Data layer "t" of another phase', (127.5,), "", 0.0078),
    ),
    "an input with a transform": (
        'layer { name: "i" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } '
        "transform_param { mean_value: 128 } }",
        Transform('Input layer "i"', (128.0,)),
    ),
    "FCN's reader": (
        'layer { name: "d" type: "Python" top: "data" top: "label" python_param { module: "voc_layers" '
        'layer: "VOCSegDataLayer" param_str: "{\'mean\': (104.00699, 116.66877, 122.67892)}" } }',
        Transform('Python layer "d"', (104.00699, 116.66877, 122.67892)),
    ),
    "ImageSegData pads": (
        'layer { name: "d" type: "ImageSegData" top: "data" top: "label" transform_param { mean_value: 100 '
        "crop_size: 33 } }",
        Transform('ImageSegData layer "d"', (100.0,), "", 1.0, True),
    ),
    "a plain input": (
        'layer { name: "i" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }',
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_transform(tmp_path: Path, case: str) -> None:
    text, expected = CASES[case]
    assert read_text(text + CONV, tmp_path).transform == expected
