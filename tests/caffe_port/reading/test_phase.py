"""include and exclude rules: which layers a phase, a level and stages keep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.ported import noise, read_text, run
from weights.errors import PrototxtError, UnsupportedError

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
        ({}, "test not_train either shallow not_deploy number field field_train"),
        ({"phase": "TRAIN"}, "train either shallow not_deploy field field_train"),
        ({"level": 2}, "test not_train either deep not_deploy number field field_train"),
        ({"stages": ["deploy"]}, "test not_train either shallow deploy test_deploy number field field_train"),
        (
            {"stages": ["deploy", "fast"]},
            "test not_train either shallow deploy two_stages test_deploy number field field_train",
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


def conv(top: str, bottom: str, rest: str = "") -> str:
    return (
        f'layer {{ name: "{top}" type: "Convolution" bottom: "{bottom}" top: "{top}" {rest} '
        "convolution_param { num_output: 2 kernel_size: 1 } }"
    )


def test_a_layers_own_phase_is_its_mode_and_no_filter(tmp_path: Path) -> None:
    """Caffe's Net::FilterNet looks at include and exclude only; Vitis writes the field on every layer."""
    relu = 'layer { name: "r" type: "ReLU" bottom: "a" top: "a" phase: TRAIN }'
    net = read_text(INPUT + conv("a", "data") + relu + conv("b", "a"), tmp_path)
    assert [layer.name for layer in net.layers] == ["a", "r", "b"] and not net.notes
    x = noise(1, 2, 3, 3)
    blobs = {name: (noise(2, 2, 1, 1, seed=i), noise(2, seed=i + 5)) for i, name in enumerate("ab")}

    def product(x: np.ndarray, name: str) -> np.ndarray:
        weight, bias = blobs[name]
        return np.einsum("oi,nihw->nohw", weight[..., 0, 0], x) + bias.reshape(1, -1, 1, 1)

    expected = product(np.maximum(product(x, "a"), 0), "b")
    np.testing.assert_allclose(run(net, {"data": x}, blobs)["b"], expected, atol=1e-5)
    everything = INPUT + conv("a", "data", "phase: TRAIN") + relu + conv("b", "a", "phase: TRAIN")
    assert len(read_text(everything, tmp_path).layers) == 3


def test_batch_norm_in_train_mode_uses_the_batch(tmp_path: Path) -> None:
    text = INPUT + 'layer { name: "n" type: "BatchNorm" bottom: "data" top: "n" phase: TRAIN %s }'
    x = noise(1, 2, 3, 3)
    blobs = {"n": (np.array([3, 4], np.float32), np.array([5, 6], np.float32), np.ones(1, np.float32))}
    net = read_text(text % "", tmp_path)
    assert "statistics of each batch" in net.notes[0]
    mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    expected = (x - mean) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(run(net, {"data": x}, blobs)["n"], expected, atol=1e-5)
    stored = read_text(text % "batch_norm_param { use_global_stats: true }", tmp_path)
    assert not stored.notes
    assert np.abs(run(stored, {"data": x}, blobs)["n"] - expected).max() > 0.1


@pytest.mark.parametrize(
    "layer",
    [
        'type: "Dropout"',
        'type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 }',
        'type: "BN"',
    ],
)
def test_random_layers_in_train_mode_are_refused_by_name(tmp_path: Path, layer: str) -> None:
    text = INPUT + f'layer {{ name: "d" {layer} bottom: "data" top: "d" phase: TRAIN }}'
    with pytest.raises(UnsupportedError, match=r'layer "d" .*TRAIN mode .*delete the field'):
        read_text(text, tmp_path)
    read_text(text.replace("TRAIN", "TEST"), tmp_path)
    assert read_text(text, tmp_path, tolerant=True).layers[0].refusal is not None
