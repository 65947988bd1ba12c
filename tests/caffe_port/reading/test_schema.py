"""Every field is checked by name and value, and the generated schema is current."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from caffe_port.proto import caffe_pb2
from caffe_port.reading.schema import HARMLESS
from tests.support.ported import read_text
from weights.errors import PrototxtError, UnsupportedError

INPUT = 'input: "data" input_shape { dim: 1 dim: 2 dim: 8 dim: 8 }\n'


def conv(fields: str, rest: str = "") -> str:
    return INPUT + (
        'layer { name: "c" type: "Convolution" bottom: "data" top: "c"\n'
        f"convolution_param {{ num_output: 2 kernel_size: 1 {fields} }} {rest} }}"
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            "telescope: 3",
            'line 3: unknown field "telescope" in ConvolutionParameter; expected a field of BVLC Caffe',
        ),
        ("group: two", "bad value of \"group\"; found 'two'; expected a whole number"),
        ("group: 1.5", "bad value of \"group\"; found '1.5'; expected a whole number"),
        ('group: "2"', 'bad value of "group"; found "2"; expected a value without quotes'),
        ("group: -1", 'bad value of "group"; found -1; expected 0 to 4294967295'),
        ("group: 99999999999", "expected 0 to 4294967295"),
        ("group { }", 'bad value of "group"; found a { block }; expected a single value'),
        ("group: 1 group: 2", '"group" is given twice in ConvolutionParameter; found 1 and 2'),
        ("bias_term: maybe", 'bad value of "bias_term"; found maybe; expected true or false'),
        ("weight_filler: 3", 'bad value of "weight_filler"; found 3; expected a { block }'),
        ("weight_filler { type: xavier }", 'bad value of "type"; found xavier; expected a quoted string'),
        ('weight_filler { type: "constant" value: much }', "found 'much'; expected a number"),
        (
            "weight_filler { variance_norm: ALL }",
            'unknown value of "variance_norm"; found ALL; expected FAN_IN',
        ),
    ],
)
def test_refusals_name_file_layer_line_and_field(tmp_path: Path, fields: str, message: str) -> None:
    with pytest.raises((PrototxtError, UnsupportedError)) as error:
        read_text(conv(fields), tmp_path)
    text = str(error.value)
    assert re.search(re.escape(message), text), text
    assert text.startswith(str(tmp_path / "net.prototxt")) and 'layer "c" (Convolution): line 3: ' in text
    assert "\n" not in text


def test_the_same_value_twice_is_one_value(tmp_path: Path) -> None:
    assert read_text(conv("group: 2 group: 2"), tmp_path).layers[0].spec.convolution_param.group == 2


def test_unknown_engines_and_harmless_fields_are_read_over(tmp_path: Path) -> None:
    net = read_text(
        conv("engine: MKL2017 cudnn_convolution_algo_seeker: 1", "quantization_param { x: 1 }"), tmp_path
    )
    assert net.layers[0].spec.convolution_param.engine == 0


@pytest.mark.parametrize(("message", "field"), sorted(HARMLESS))
def test_harmless_fields_are_no_fields_of_the_schema(message: str, field: str) -> None:
    """A field that is both would be read, and its entry here would be dead."""
    assert field not in getattr(caffe_pb2, message).DESCRIPTOR.fields_by_name


def test_what_the_runtime_never_needs_is_not_read(tmp_path: Path) -> None:
    rest = "blobs { nonsense: 1 } loss_weight: 1 propagate_down: true"
    spec = read_text(conv("", rest), tmp_path).layers[0].spec
    assert not spec.blobs and not spec.loss_weight and not spec.propagate_down


def test_generated_module_is_current(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    from caffe_port.proto.generate import generate

    made, committed = (
        ast.literal_eval(re.findall(r"AddSerializedFile\((b'.*')\)", path.read_text("utf-8"))[0])
        for path in (generate(tmp_path), Path(caffe_pb2.__file__))
    )
    assert made == committed, "run python -m caffe_port.proto.generate"
    types = "caffe_pb2.pyi"
    committed_types = Path(caffe_pb2.__file__).with_name(types).read_text("utf-8")
    assert (tmp_path / types).read_text("utf-8") == committed_types, "run python -m caffe_port.proto.generate"
