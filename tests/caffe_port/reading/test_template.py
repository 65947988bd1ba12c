"""Templates: every published spelling of a variable is filled, and what is missing is listed at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from caffe_port.reading.template import fill_template, template_variables
from tests.support.ported import read_text
from weights.errors import PrototxtError


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ('top: "fc8_${EXP}"', 'top: "fc8_voc12"'),
        ("dim: $#EXP#$", "dim: voc12"),
        ("dim: $EXP$ dim: $EXP$", "dim: voc12 dim: voc12"),
        ("dim: $EXP\ndim: 2", "dim: voc12\ndim: 2"),
        ("dim: {EXP} dim:{ EXP }", "dim: voc12 dim:voc12"),
        ("name: \"a$b\" name: '$c$'", "name: \"a$b\" name: '$c$'"),
        ('name: "a \\" $b"', 'name: "a \\" $b"'),
        ("dim: 3 # costs ${MUCH} or $MORE", "dim: 3 # costs ${MUCH} or $MORE"),
        ("# don't\ndim: $EXP", "\ndim: voc12"),
        ("num_output: EXP name: 'EXP' a: EXPO b: 1.EXP", "num_output: voc12 name: 'EXP' a: EXPO b: 1.EXP"),
        ("shape { dim: 1 } a: { b: 1 }", "shape { dim: 1 } a: { b: 1 }"),
    ],
)
def test_spellings(text: str, filled: str) -> None:
    assert fill_template(text, {"EXP": "voc12"}, "f") == filled


def test_variables_are_listed_once_and_in_order() -> None:
    text = 'a: ${B} c: $A$ d: {C} e: "${B}" # $D\n# ${E}\n'
    assert template_variables(text) == ("B", "A", "C")
    with pytest.raises(PrototxtError) as caught:
        fill_template(text, {"B": "1"}, "net.prototxt")
    message = str(caught.value)
    assert "line 1: template variable without a value; the file has 2: A, C; found $A$" in message
    assert "--define A=VALUE --define C=VALUE" in message


@pytest.mark.parametrize("text", ["{% for i in x %}", "dim: {{ height }}", "{# a remark #}"])
def test_jinja_is_named(text: str) -> None:
    with pytest.raises(PrototxtError, match=r"line 2: a Jinja template, .*the file that Jinja makes of it"):
        fill_template("\n" + text, {}, "f")


@pytest.mark.parametrize("spelling", ["{NAME}", "$NAME$", "$NAME", "${NAME}"])
def test_sizes_of_a_net(tmp_path: Path, spelling: str) -> None:
    """FlowNet 2, autocolorize and AOD-Net leave the size of the picture open."""
    text = (
        f'input: "data" input_shape {{ dim: 1 dim: 3 dim: {spelling} dim: 4 }}\n'
        'layer { name: "r" type: "ReLU" bottom: "data" top: "y" }'
    )
    assert read_text(text, tmp_path, define={"NAME": "7"}).inputs[0].shape == (1, 3, 7, 4)
    with pytest.raises(PrototxtError, match=r"template variable without a value; .*--define NAME=VALUE"):
        read_text(text, tmp_path)


def test_many_blank_lines_take_no_time() -> None:
    import time

    began = time.process_time()
    fill_template("\n" * 60_000 + "dim: 1" + " \t" * 60_000, {}, "f")
    assert time.process_time() - began < 1


@pytest.mark.parametrize("word", ["cls6x", "224X224_1"])
def test_a_word_for_a_number_is_asked_for_and_filled(tmp_path: Path, word: str) -> None:
    text = (
        'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }'
        'layer { name: "c" type: "Convolution" bottom: "data" top: "c" '
        f"convolution_param {{ kernel_size: 3 num_output: {word} }} }}"
    )
    with pytest.raises(PrototxtError, match=f"--define {word}=VALUE"):
        read_text(text, tmp_path)
    assert read_text(text, tmp_path, define={word: "6"}).layers[0].spec.convolution_param.num_output == 6
    with pytest.raises(PrototxtError, match=f"bad input dimension; .*--define {word}=VALUE"):
        read_text(text.replace("dim: 3", f"dim: {word}"), tmp_path, define={"x": "1"})
