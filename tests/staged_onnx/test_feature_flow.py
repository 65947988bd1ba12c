"""Nets of two graphs: which stages they become, what the bundle says of them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from staged_onnx import read_bundle
from staged_onnx.feature_flow import is_feature_flow, plan_feature_flow
from staged_onnx.manifest_reader import from_json
from tests.support.feature_flow_nets import thin_bundle, thin_nets
from tests.support.small_nets import chain
from weights.errors import BundleError


@pytest.mark.parametrize(
    ("system", "carried", "joined"),
    [
        ("dff", [], ("flow", "Convolution5_scale")),
        ("accel-18", ["18_score"], ("flow",)),
        ("accel-34", ["34_score"], ("flow",)),
        ("accel-50", ["curr_score"], ("flow",)),
        ("accel-101", ["res5c_relu"], ("flow",)),
    ],
)
def test_stages(tmp_path: Path, system: str, carried: list[str], joined: tuple[str, ...]) -> None:
    plan = plan_feature_flow(*thin_nets(system, tmp_path))
    assert (plan.value, plan.earlier_value, plan.picture, plan.earlier_picture) == (
        "conv_feat",
        "feat_key",
        "data",
        "data_key",
    )
    assert plan.corrects == bool(carried)
    assert plan.transform.inputs == joined
    assert [stage.net_inputs for stage in plan.between.stages] == [("data", "data_key"), ("data",)][
        : 1 + len(carried)
    ]
    assert list(plan.between.head.inputs) == ["conv_feat", *carried]
    assert plan.key.head.inputs == ("conv_feat",)
    # every layer of both nets has its place
    stages = (*plan.between.stages, plan.transform, plan.between.head)
    assert {layer.key for stage in stages for layer in stage.layers} == {x.key for x in plan.net.layers}
    keys = (*plan.key.stages, plan.key.head)
    assert {layer.key for stage in keys for layer in stage.layers} == {x.key for x in plan.key_net.layers}


def test_the_manifest_says_how_it_is_played(tmp_path: Path) -> None:
    bundle, _, _ = thin_bundle("accel-18", tmp_path)
    manifest = bundle.manifest
    assert [(s.name, s.between) for s in manifest.stages] == [
        ("reference", False),
        ("flow", True),
        ("correction", True),
        ("features", False),
    ]
    flow = manifest.feature_flow
    assert flow is not None
    assert (flow.value, flow.inputs, flow.reference) == ("conv_feat", ("flow",), "reference_frame")
    assert from_json(manifest.to_json(), tmp_path / "manifest.json") == manifest
    assert manifest.schedule == "accel:5"
    assert manifest.preprocessing.mean == (123.15, 115.90, 103.06)
    assert manifest.macs == manifest.stages[3].macs + flow.head.macs


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("value", "flow"),
        ("value", 5),
        ("model", "../transform.onnx"),
        ("inputs", ["conv_feat"]),
        ("reference", "nothing"),
        ("head", {}),
    ],
)
def test_a_wrong_entry_is_refused(tmp_path: Path, field: str, value: object) -> None:
    bundle, _, _ = thin_bundle("dff", tmp_path)
    file = bundle.path / "manifest.json"
    data = json.loads(file.read_text())
    data["feature_flow"][field] = value
    file.write_text(json.dumps(data))
    with pytest.raises(BundleError):
        read_bundle(bundle.path)


def test_a_head_of_key_frames_needs_nothing_from_between(tmp_path: Path) -> None:
    bundle, _, _ = thin_bundle("accel-18", tmp_path)
    data = bundle.manifest.to_json()
    data["feature_flow"]["head"]["inputs"].append("18_score")
    with pytest.raises(BundleError, match="inputs of the head"):
        from_json(data, tmp_path / "manifest.json")


def test_plain_nets_and_mismatched_ones_are_told_apart(tmp_path: Path) -> None:
    key, between = thin_nets("dff", tmp_path)
    plain = chain(tmp_path)
    assert is_feature_flow(between) and not is_feature_flow(key) and not is_feature_flow(plain)
    for pair in ((plain, between), (key, key), (key, plain)):
        with pytest.raises(BundleError, match="cannot be played as key frames"):
            plan_feature_flow(*pair)
