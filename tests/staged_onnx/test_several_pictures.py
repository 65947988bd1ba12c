"""Bundles of nets that take several pictures per frame: the manifest, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import staged_onnx
from caffe_port import random_weights, read_net
from staged_onnx import Preprocessing, read_bundle
from staged_onnx.manifest_reader import from_json
from staged_onnx.stage_graphs import picture_inputs
from tests.support.several_pictures import COLOUR, MORE, SIZE, thin_bundle, thin_net
from tests.support.shared_data import ROOT
from tests.support.toy_bundles import chain
from weights.errors import BundleError, UsageError


@pytest.mark.parametrize(("which", "dtype", "planes"), [("hha", "uint8", 3), ("depth", "uint16", 1)])
def test_the_manifest_says_what_comes_with_a_frame(
    tmp_path: Path, which: str, dtype: str, planes: int
) -> None:
    _, _, bundle = thin_bundle(tmp_path, which)
    data = json.loads((bundle.path / "manifest.json").read_text("utf-8"))
    assert data["format_version"] == 2
    (entry,) = data["more_frames"]
    assert (entry["name"], entry["dtype"], entry["layout"]) == (which, dtype, "HWC")
    assert entry["preprocessing"] == MORE[which].to_json()
    assert bundle.manifest.frame_names == ("frame", which)
    assert read_bundle(bundle.path).manifest.to_json() == data
    reader = next(stage for stage in bundle.manifest.stages if which in stage.inputs)
    graph = onnx.load(bundle.model_path(reader), load_external_data=False).graph
    assert {i.name: i.type.tensor_type.shape.dim[-1].dim_value for i in graph.input}[which] == planes


def test_the_schema_fits(tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is in the extra [test]")
    schema = json.loads((ROOT / "docs/reference/manifest.schema.json").read_text("utf-8"))
    _, _, bundle = thin_bundle(tmp_path, "depth")
    data = json.loads((bundle.path / "manifest.json").read_text("utf-8"))
    jsonschema.validate(data, schema)
    assert set(data) <= set(schema["properties"])
    for change in (lambda m: m.update(format_version=1), lambda m: m.pop("more_frames")):
        broken = json.loads(json.dumps(data))
        change(broken)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


def test_a_bundle_of_one_picture_stays_as_it_was(tmp_path: Path) -> None:
    """Readers of format version 1 play it, and such a bundle is read."""
    manifest = read_bundle(chain(tmp_path / "three.staged")).manifest
    data = manifest.to_json()
    assert data["format_version"] == 1 and "more_frames" not in data
    assert manifest.frame_names == ("frame",)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda m: m.update(more_frames=[]), "more_frames"),
        (lambda m: m.update(more_frames={}), "more_frames"),
        (lambda m: m.update(more_frames=m["more_frames"] * 40), "more_frames"),
        (lambda m: m["more_frames"][0].update(name="frame"), "more_frames"),
        (lambda m: m["more_frames"][0].update(dtype="float32"), "more_frames"),
        (lambda m: m["more_frames"][0].pop("preprocessing"), "preprocessing"),
        (lambda m: m["more_frames"][0]["preprocessing"].update(size=[3, 4]), "more_frames"),
        (lambda m: m["more_frames"][0]["preprocessing"].update(channels="hsv"), "channels"),
        (lambda m: m["more_frames"][0].update(name="else"), "input of stage"),
        (lambda m: m.update(format_version=1), "input of stage"),
        (lambda m: m.update(format_version=3), "unknown bundle version"),
        (lambda m: m.update(format_version=10**5000), "unknown bundle version"),
    ],
)
def test_hostile_manifests(tmp_path: Path, change: Callable[[Any], object], named: str) -> None:
    _, _, bundle = thin_bundle(tmp_path, "hha", whole=False)
    data = json.loads((bundle.path / "manifest.json").read_text("utf-8"))
    change(data)
    with pytest.raises(BundleError, match=named):
        from_json(data, bundle.path / "manifest.json")


@pytest.mark.parametrize(
    ("how", "more", "said"),
    [
        (COLOUR, {}, "several pictures per frame.*hha"),
        (COLOUR, {"depth": MORE["depth"]}, "do not fit"),
        (COLOUR, {"hha": Preprocessing(None, "gray")}, 'channels do not fit the net\'s input "hha"'),
        (Preprocessing(None, "gray"), {"hha": MORE["hha"]}, 'channels do not fit the net\'s input "color"'),
    ],
)
def test_what_is_refused(
    tmp_path: Path, how: Preprocessing, more: dict[str, Preprocessing], said: str
) -> None:
    net = thin_net(tmp_path, "nyud-fcn32s-color-hha")
    with pytest.raises(BundleError, match=said):
        staged_onnx.export(
            net, random_weights(net), staged_onnx.plan(net, stages=2), tmp_path / "x.staged",
            preprocessing=how, more=more,
        )  # fmt: skip
    assert not (tmp_path / "x.staged").exists()


def test_inputs_that_are_no_pictures_or_differ_in_size_are_refused(tmp_path: Path) -> None:
    for other in ("dim: 1 dim: 3", "dim: 1 dim: 3 dim: 8 dim: 9"):
        file = tmp_path / "net.prototxt"
        file.write_text(
            'input: "a" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'
            f'input: "b" input_shape {{ {other} }}\n'
            'layer { name: "y" type: "ReLU" bottom: "a" top: "y" }\n'
            'layer { name: "z" type: "ReLU" bottom: "b" top: "z" }\n'
        )
        with pytest.raises(BundleError, match="cannot be fed"):
            picture_inputs(read_net(file))


def test_depth_has_one_channel_and_a_mean_for_it() -> None:
    with pytest.raises(UsageError, match="mean does not fit"):
        Preprocessing(None, "depth", (1.0, 2.0, 3.0))
    frame = staged_onnx.FrameSpec("depth", MORE["depth"])
    assert frame.shape(SIZE) == (*SIZE, 1) and frame.dtype is np.uint16
