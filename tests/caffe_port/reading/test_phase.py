"""include and exclude rules: which layers a phase, a level and stages keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.ported import read_text
from weights.errors import PrototxtError

INPUT = 'input: "data" input_shape { dim: 1 dim: 2 dim: 3 dim: 3 }\n'


def kept(folder: Path, rules: dict[str, str], **state: object) -> set[str]:
    text = INPUT + 'layer { name: "always" type: "ReLU" bottom: "data" top: "always" }'
    for name, rule in rules.items():
        text += f'layer {{ name: "{name}" type: "ReLU" bottom: "data" top: "{name}" {rule} }}\n'
    return {layer.name for layer in read_text(text, folder, **state).layers} - {"always"}


RULES = {
    "train": "include { phase: TRAIN }",
    "test": "include { phase: TEST }",
    "not_train": "exclude { phase: TRAIN }",
    "either": "include { phase: TRAIN } include { phase: TEST }",
    "deep": "include { min_level: 2 }",
    "shallow": "include { max_level: 1 }",
    "deploy": 'include { stage: "deploy" }',
    "not_deploy": 'include { not_stage: "deploy" }',
    "two_stages": 'include { stage: "deploy" stage: "fast" }',
    "test_deploy": 'include { phase: TEST stage: "deploy" }',
    "number": "include { phase: 1 }",
    "field": "phase: TEST",
    "field_train": "phase: TRAIN",
}


@pytest.mark.parametrize(
    ("state", "names"),
    [
        ({}, "test not_train either shallow not_deploy number field"),
        ({"phase": "TRAIN"}, "train either shallow not_deploy field_train"),
        ({"level": 2}, "test not_train either deep not_deploy number field"),
        ({"stages": ["deploy"]}, "test not_train either shallow deploy test_deploy number field"),
        (
            {"stages": ["deploy", "fast"]},
            "test not_train either shallow deploy two_stages test_deploy number field",
        ),
    ],
)
def test_rules(tmp_path: Path, state: dict[str, object], names: str) -> None:
    assert kept(tmp_path, RULES, **state) == set(names.split())


def test_the_files_own_stages_count_and_its_level_does_not(tmp_path: Path) -> None:
    text = (
        INPUT
        + """
    state { phase: TRAIN level: 5 stage: "deploy" }
    layer { name: "a" type: "ReLU" bottom: "data" top: "a" include { stage: "deploy" } }
    layer { name: "b" type: "ReLU" bottom: "a" top: "b" include { min_level: 1 } }
    layer { name: "c" type: "ReLU" bottom: "a" top: "c" include { phase: TEST } }
    """
    )
    assert [layer.name for layer in read_text(text, tmp_path).layers] == ["a", "c"]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("include { phase: TEST } exclude { stage: 'x' }", "include and exclude rules in one layer"),
        ("include { phase: DREAM }", "bad value in a NetStateRule"),
        ("include { min_level: high }", "bad value in a NetStateRule"),
        ("include { weather: SUN }", 'unknown field "weather" in NetStateRule'),
    ],
)
def test_bad_rules(tmp_path: Path, rule: str, message: str) -> None:
    with pytest.raises(PrototxtError, match=f'layer "x" .ReLU.: line 2: {message}'):
        kept(tmp_path, {"x": rule})


def test_a_phase_without_layers(tmp_path: Path) -> None:
    text = INPUT + 'layer { name: "a" type: "ReLU" bottom: "data" top: "a" include { phase: TRAIN } }'
    with pytest.raises(PrototxtError, match="found 1 layers in all, none for TEST"):
        read_text(text, tmp_path)
    with pytest.raises(PrototxtError, match="unknown phase; found SLEEP"):
        read_text(text, tmp_path, phase="SLEEP")
