"""The head in two parts gives what the whole head gives."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

import staged_onnx
from caffe_port import Net, random_weights
from staged_onnx.split import split_head, split_manifest
from tests.support.small_nets import chain, thin_fcn8s
from weights.errors import BundleError, UsageError

CUTS = ["pool3", "pool4", "upscore2"]


def make(folder: Path, net: Net, cuts: list[str], size: tuple[int, int] | None) -> staged_onnx.Bundle:
    how = staged_onnx.Preprocessing(size, "bgr", (100.0,), 0.02)
    blobs = random_weights(net, seed=3)
    return staged_onnx.export(
        net, blobs, staged_onnx.plan(net, cuts), folder / "net.staged", preprocessing=how
    )


def run(bundle: staged_onnx.Bundle, frame: np.ndarray) -> dict[str, Any]:
    values: dict[str, Any] = {"frame": frame}
    for stage in (*bundle.manifest.stages, bundle.manifest.head):
        options = ort.SessionOptions()
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(bundle.path)
        )
        model = bundle.graphs.get(stage.name, str(bundle.path / stage.model))
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        names = [i.name for i in session.get_inputs()]
        assert sorted(names) == sorted(stage.inputs)
        assert [o.name for o in session.get_outputs()] == list(stage.outputs)
        values |= zip(stage.outputs, session.run(None, {n: values[n] for n in names}), strict=True)
    return values


def frame_of(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("native", [True, False])
def test_labels_are_the_heads_own(tmp_path: Path, native: bool) -> None:
    """At full scale, both where the scores have the frame's size and where they are resized to it."""
    bundle = make(tmp_path, thin_fcn8s(tmp_path), CUTS, None if native else (80, 96))
    for size in ((80, 96), (75, 101)):
        whole, parts = run(bundle, frame_of(*size)), run(split_head(bundle), frame_of(*size))
        np.testing.assert_array_equal(whole["labels"], parts["labels"])
        assert parts["labels"].shape == size
        assert len(np.unique(parts["labels"])) > 1


def test_scores_on_a_coarser_grid(tmp_path: Path) -> None:
    bundle = make(tmp_path, thin_fcn8s(tmp_path), CUTS, None)
    frame = frame_of(75, 101)
    full, half = run(split_head(bundle), frame), run(split_head(bundle, scale=Fraction(1, 2)), frame)
    assert full["scores"].shape == (75, 101, 5)
    assert half["scores"].shape == (38, 51, 5)
    np.testing.assert_array_equal(half["labels"], full["labels"])
    np.testing.assert_array_equal(full["labels"], full["scores"].argmax(2))
    assert (half["labels"][::2, ::2] == half["scores"].argmax(2)).mean() > 0.8


def test_scores_are_never_enlarged(tmp_path: Path) -> None:
    bundle = make(tmp_path, chain(tmp_path), ["a"], (16, 24))
    assert run(split_head(bundle, scale=Fraction(1, 2)), frame_of(64, 40))["scores"].shape == (16, 20, 3)


def test_a_head_without_layers_hands_on_what_it_reads(tmp_path: Path) -> None:
    bundle = make(tmp_path, chain(tmp_path), ["a", "up"], (16, 24))
    assert bundle.manifest.head.inputs == ("up", "frame")
    frame = frame_of(16, 24)
    np.testing.assert_array_equal(run(split_head(bundle), frame)["labels"], run(bundle, frame)["labels"])


def test_what_the_split_manifest_says(tmp_path: Path) -> None:
    manifest = make(tmp_path, thin_fcn8s(tmp_path), CUTS, None).manifest
    after = split_manifest(manifest, scale=Fraction(1, 2))
    assert [stage.name for stage in after.stages] == ["stage1", "stage2", "stage3", "head"]
    assert after.stages[-1].outputs == ("label_map", "scores") and after.head.inputs == ("label_map",)
    assert after.stages[-1].macs == manifest.head.macs and after.macs == manifest.macs
    assert after.values["scores"].shape == (40, 48, 5)


def test_strides_of_the_values(tmp_path: Path) -> None:
    values = make(tmp_path, thin_fcn8s(tmp_path), CUTS, None).manifest.values
    eight, sixteen = ("pool3", "score_pool3"), ("pool4", "score_pool4", "upscore2")
    expected = dict.fromkeys(eight, (8, 8)) | dict.fromkeys(sixteen, (16, 16))
    assert {name: value.stride for name, value in values.items()} == expected


def test_another_value_called_scores_keeps_its_name(tmp_path: Path) -> None:
    manifest = make(tmp_path, chain(tmp_path), ["a"], (16, 24)).manifest
    taken = replace(manifest, values={**manifest.values, "scores": manifest.values["up"]})
    assert split_manifest(taken).stages[-1].outputs == ("label_map", "scores_")


def test_the_label_map_as_a_carried_value(tmp_path: Path) -> None:
    bundle = make(tmp_path, thin_fcn8s(tmp_path), CUTS, None)
    after = split_head(bundle, "labels")
    frame = frame_of(75, 101)
    values = run(after, frame)
    np.testing.assert_array_equal(values["labels"], run(bundle, frame)["labels"])
    np.testing.assert_array_equal(values["label_map"], values["labels"])
    assert after.manifest.stages[-1].macs == bundle.manifest.head.macs


def test_fresh_scores_stand_where_something_was_hidden(tmp_path: Path) -> None:
    bundle = make(tmp_path, thin_fcn8s(tmp_path), CUTS, None)
    after = split_head(bundle, "fresh")
    assert [stage.name for stage in after.manifest.stages[-2:]] == ["head", "keep"]
    frame, other = frame_of(80, 96), frame_of(80, 96)[::-1].copy()
    now, key = run(after, frame), run(after, other)
    np.testing.assert_array_equal(now["labels"], run(split_head(bundle), frame)["labels"])
    np.testing.assert_array_equal(now["kept_scores"][:, :5], now["scores"])
    assert not now["kept_scores"][:, 5].any()
    kept = key["kept_scores"].copy()
    kept[:, 5, :, :48] = 1
    session = ort.InferenceSession(after.graphs["labels"], providers=["CPUExecutionProvider"])
    feeds = {"scores": now["scores"], "frame": frame, "kept_scores": kept}
    mixed = session.run(None, feeds)[0]
    np.testing.assert_array_equal(mixed[:, :48], now["labels"][:, :48])
    np.testing.assert_array_equal(mixed[:, 48:], key["labels"][:, 48:])


def test_something_else_cannot_be_carried(tmp_path: Path) -> None:
    manifest = make(tmp_path, chain(tmp_path), ["a"], (16, 24)).manifest
    with pytest.raises(UsageError, match="what is to be carried"):
        split_manifest(manifest, "logits")


@pytest.mark.parametrize("scale", [Fraction(0), Fraction(-1), Fraction(3, 2), Fraction(1, 100)])
def test_bad_scales(tmp_path: Path, scale: Fraction) -> None:
    manifest = make(tmp_path, chain(tmp_path), ["a"], (16, 24)).manifest
    with pytest.raises(UsageError, match="bad scale"):
        split_manifest(manifest, scale=scale)


def test_a_bundle_of_an_earlier_release(tmp_path: Path) -> None:
    bundle = make(tmp_path, chain(tmp_path), ["a"], (16, 24))
    file = bundle.path / "manifest.json"
    data = json.loads(file.read_text("utf-8"))
    del data["output"]
    for value in data["values"].values():
        value.pop("stride", None)
    file.write_text(json.dumps(data), "utf-8")
    old = staged_onnx.read_bundle(bundle.path)
    assert old.manifest.scores is None and old.manifest.values["up"].stride is None
    for carried in ("scores", "fresh"):
        with pytest.raises(BundleError, match="convert the net again"):
            split_head(old, carried)
    frame = frame_of(16, 24)
    np.testing.assert_array_equal(run(split_head(old, "labels"), frame)["labels"], run(old, frame)["labels"])


@pytest.mark.parametrize(
    "scores",
    [
        {"name": "nothing", "channels": 3, "native": True},
        {"name": "", "channels": 3, "native": True},
    ],
)
def test_scores_that_are_not_in_the_head(tmp_path: Path, scores: dict[str, Any]) -> None:
    bundle = make(tmp_path, chain(tmp_path), ["a"], (16, 24))
    file = bundle.path / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), "output": scores}), "utf-8")
    with pytest.raises(BundleError, match="no such value"):
        split_head(staged_onnx.read_bundle(bundle.path))


@pytest.mark.parametrize(
    "part",
    [
        {"output": []},
        {"output": {"name": 1, "channels": 3, "native": True}},
        {"output": {"name": "up", "channels": 1000, "native": True}},
        {"output": {"name": "up", "channels": True, "native": True}},
        {"output": {"name": "up", "channels": 3, "native": 1}},
        {"values": {"up": {"shape": [1, 3, 16, 24], "stride": [0, 2]}}},
        {"values": {"up": {"shape": [1, 3, 16, 24], "stride": [2]}}},
        {"values": {"up": {"shape": [1, 3, 16, 24], "stride": [float("nan"), 2]}}},
        {"values": {"up": {"shape": [1, 3, 16, 24], "stride": "22"}}},
    ],
)
def test_hostile_fields_are_refused(tmp_path: Path, part: dict[str, Any]) -> None:
    bundle = make(tmp_path, chain(tmp_path), ["a"], (16, 24))
    file = bundle.path / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **part}), "utf-8")
    with pytest.raises(BundleError, match="in the manifest"):
        staged_onnx.read_bundle(bundle.path)
