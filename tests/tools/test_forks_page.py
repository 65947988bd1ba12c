"""The facts about forks, how they are taken from sources, and the page made from them."""

from __future__ import annotations

from pathlib import Path

import pytest

import caffe_port
from caffe_port.reading.fork_facts import fork_facts, is_neutral
from tools.collect_forks import fields_of, ranges, types_of
from tools.forks_page import main, page
from weights.errors import UnsupportedError

ROOT = Path(__file__).resolve().parents[2]

PROTO = """
syntax = "proto2"; // a comment with message Fake { optional int32 no = 1; }
message LayerParameter {
  optional string name = 1;
  optional OddParameter odd_param = 2; /* repeated float no = 3; */
  message Inner { repeated float part = 1 [packed = true]; }
}
message OddParameter {
  enum Mode { A = 0; B = 1; }
  optional Mode mode = 1 [default = B];
  optional float size = 2 [default = -0.5];
  optional .caffe.Fill fill = 3;
}
enum LayerType { NONE = 0; CONVOLUTION = 4; ODD = 99; }
"""


def test_page_is_what_facts_and_code_say() -> None:
    assert main(["--check", str(ROOT / "docs" / "forks.md")]) == 0


def test_a_stale_page_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stale = tmp_path / "forks.md"
    stale.write_text(page() + "one more line\n")

    assert main(["--check", str(stale)]) == 1
    assert "stale: make docs" in capsys.readouterr().err


def test_facts_cover_eighty_forks_and_what_everyone_has() -> None:
    facts = fork_facts()

    assert len(facts.forks) >= 80
    assert len(facts.types["Convolution"].forks) > 100
    assert {f.default for f in facts.fields["ConvolutionParameter.bias_term"]} == {"true"}


def test_fields_of_a_proto() -> None:
    assert list(fields_of(PROTO)) == [
        ("LayerParameter.name", "string", ""),
        ("LayerParameter.odd_param", "OddParameter", ""),
        ("Inner.part", "repeated float", ""),
        ("OddParameter.mode", "Mode", "B"),
        ("OddParameter.size", "float", "-0.5"),
        ("OddParameter.fill", "Fill", ""),
    ]


def test_types_of_sources_and_old_enumerations() -> None:
    source = (
        "REGISTER_LAYER_CLASS(Odd);\n// REGISTER_LAYER_CLASS(Not);\nREGISTER_LAYER_CREATOR(Convolution, Get);"
    )

    assert types_of([source], [PROTO]) == {"Odd", "Convolution", "ODD"}


def test_ranges() -> None:
    assert ranges([5, 0, 1, 2, 7]) == "0-2,5,7"


@pytest.mark.parametrize(
    ("field", "text", "neutral"),
    [
        ("PoolingParameter.ceil_mode", "true", True),
        ("PoolingParameter.ceil_mode", "false", False),
        ("PriorBoxParameter.offset_w", "0.50", True),
        ("PriorBoxParameter.offset_w", "0.4", False),
        ("LayerParameter.no_such_field", "1", False),
    ],
)
def test_neutral_values(field: str, text: str, neutral: bool) -> None:
    assert is_neutral(field, text) is neutral


def test_a_forks_field_at_its_neutral_value_is_taken(tmp_path: Path) -> None:
    text = (
        'input: "data" input_shape {{ dim: 1 dim: 2 dim: 8 dim: 8 }}\n'
        'layer {{ name: "a" type: "Deconvolution" bottom: "data" top: "a"\n'
        "  convolution_param {{ num_output: 2 kernel_size: 2 hole: {} }} }}\n"
    )
    path = tmp_path / "net.prototxt"

    path.write_text(text.format(1))
    assert caffe_port.read_net(path).layers[0].type == "Deconvolution"

    path.write_text(text.format(2))
    with pytest.raises(UnsupportedError, match="hole"):
        caffe_port.read_net(path)
