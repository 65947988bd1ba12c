"""Bundles: stages run in turn give what the whole net gives, and files appear whole or not at all."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto

import staged_onnx
from caffe_port import Net, random_weights, read_net, to_onnx
from staged_onnx.export import choose_signal
from tests.support.small_nets import chain, thin_fcn8s
from weights.errors import BundleError, ClockworkError, WeightsError

CUTS = ["pool3", "pool4", "upscore2"]
HOW_FIXED = staged_onnx.Preprocessing((16, 16), "bgr", (0.0,), 1.0)
HOW = staged_onnx.Preprocessing(None, "bgr", (104.0, 116.7, 122.7), 1.0)


def session(model: bytes | Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(
        model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
    )


def run_stages(bundle: staged_onnx.Bundle, frame: np.ndarray) -> dict[str, Any]:
    values: dict[str, Any] = {"frame": frame}
    for stage in (*bundle.manifest.stages, bundle.manifest.head):
        s = session(bundle.model_path(stage))
        assert sorted(i.name for i in s.get_inputs()) == sorted(stage.inputs)
        out = s.run(None, {i.name: values[i.name] for i in s.get_inputs()})
        values.update(zip((o.name for o in s.get_outputs()), out, strict=True))
    return values


def make(
    folder: Path, net: Net, cuts: list[str] = CUTS, how: staged_onnx.Preprocessing = HOW, **options: Any
) -> staged_onnx.Bundle:
    blobs = random_weights(net, seed=3)
    return staged_onnx.export(
        net, blobs, staged_onnx.plan(net, cuts), folder / "net.staged", preprocessing=how, **options
    )


def frame_of(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [(80, 96), (67, 101), (99, 64)])
def test_all_stages_equal_the_whole_net_at_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    net = thin_fcn8s(tmp_path)
    bundle = make(tmp_path, net)
    frame = frame_of(*size)
    values = run_stages(bundle, frame)
    x = (frame[..., ::-1].astype(np.float32) - np.array(HOW.mean, np.float32)).transpose(2, 0, 1)[None]
    scores = session(to_onnx(net, random_weights(net, seed=3)).SerializeToString()).run(None, {"data": x})[0]
    assert values["labels"].dtype == np.uint8 and values["labels"].shape == size
    assert np.array_equal(values["labels"], scores.argmax(1)[0])
    assert np.array_equal(
        values["labels"], session(bundle.path / "whole.onnx").run(None, {"frame": frame})[0]
    )


def test_scores_are_resized_to_the_frame(tmp_path: Path) -> None:
    """With a size of its own the net sees a bilinearly resized frame; labels come at the frame's size."""
    import skimage.transform

    net = chain(tmp_path)
    how = staged_onnx.Preprocessing((16, 24), "rgb", (0.0,), 0.01)
    bundle = make(tmp_path, net, ["a", "b"], how)
    frame = frame_of(32, 48)
    small = frame.reshape(16, 2, 24, 2, 3).astype(np.float64).mean((1, 3))  # bilinear at exactly half size
    x = (small * 0.01).astype(np.float32).transpose(2, 0, 1)[None]
    net_scores = session(to_onnx(net, random_weights(net, seed=3), ["up"]).SerializeToString()).run(
        None, {"data": x}
    )[0]
    large = skimage.transform.resize(
        net_scores[0].transpose(1, 2, 0), (32, 48), order=1, mode="edge", anti_aliasing=False
    )
    labels = run_stages(bundle, frame)["labels"]
    assert labels.shape == (32, 48)
    assert (labels == large.argmax(2)).mean() > 0.999


def test_one_channel_scores_are_probabilities(tmp_path: Path) -> None:
    from caffe_port import read_net

    file = tmp_path / "lane.prototxt"
    file.write_text(
        'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\n'
        'layer { name: "c" type: "Convolution" bottom: "data" top: "c"\n'
        "        convolution_param { num_output: 1 kernel_size: 1 } }\n"
        'layer { name: "s" type: "Sigmoid" bottom: "c" top: "s" }',
        "utf-8",
    )
    net = read_net(file)
    blobs = {"c": (np.array([1.0, 0, 0], np.float32).reshape(1, 3, 1, 1), np.array([-100.0], np.float32))}
    plan = staged_onnx.plan(net, ["c"])
    bundle = staged_onnx.export(
        net, blobs, plan, tmp_path / "lane.staged", preprocessing=staged_onnx.Preprocessing(None, "rgb")
    )
    frame = frame_of(8, 8)
    assert np.array_equal(run_stages(bundle, frame)["labels"], (frame[..., 0] > 100).astype(np.uint8))
    assert len(bundle.manifest.class_names) == 2


def test_the_manifest_says_all_a_player_needs(tmp_path: Path) -> None:
    net = thin_fcn8s(tmp_path)
    bundle = make(tmp_path, net, schedule="skip:2")
    manifest = bundle.manifest
    assert manifest.signal == "score_pool4"
    assert manifest.schedule == "skip:2"
    assert [s.name for s in manifest.stages] == ["stage1", "stage2", "stage3"]
    assert not manifest.head.reads_pixels and "frame" in manifest.head.inputs
    assert manifest.stages[0].reads_pixels
    assert manifest.values["score_pool4"].shape[1] == 5
    assert manifest.reference_size == (80, 96)
    assert len(manifest.source["prototxt"]["sha256"]) == 64
    assert staged_onnx.read_bundle(bundle.path).manifest == manifest


def test_symbolic_sizes_have_the_names_of_the_contract(tmp_path: Path) -> None:
    bundle = make(tmp_path, thin_fcn8s(tmp_path))
    stage2 = session(bundle.model_path(bundle.manifest.stages[1]))
    assert stage2.get_inputs()[0].shape == [1, 8, "pool3_d2", "pool3_d3"]
    assert session(bundle.model_path(bundle.manifest.stages[0])).get_inputs()[0].shape == [
        "height",
        "width",
        3,
    ]


def test_the_signal_is_a_score_map_an_earlier_stage_hands_to_the_head(tmp_path: Path) -> None:
    assert choose_signal(staged_onnx.plan(thin_fcn8s(tmp_path), CUTS)) == "score_pool4"
    assert choose_signal(staged_onnx.plan(chain(tmp_path), ["a", "b"])) == "a"
    assert choose_signal(staged_onnx.plan(chain(tmp_path), ["b"])) == ""


def with_mask(folder: Path, *, head: int = 1) -> Net:
    """SegNet in small: an encoder whose pooling mask the decoder reads; head: channels of its last layers."""
    layer = 'layer { name: "%s" type: "Convolution" bottom: "%s" top: "%s" convolution_param { %s } }\n'
    file = folder / "mask.prototxt"
    file.write_text(
        'input: "data" input_dim: 1 input_dim: 3 input_dim: 16 input_dim: 16\n'
        + layer % ("a", "data", "a", "num_output: 8 kernel_size: 3 pad: 1")
        + 'layer { name: "p" type: "Pooling" bottom: "a" top: "p" top: "p_mask" '
        "pooling_param { kernel_size: 2 stride: 2 } }\n"
        + layer
        % ("b", "p", "b", "num_output: 8 kernel_size: 3 pad: 1")
        + 'layer { name: "u" type: "Upsample" bottom: "b" bottom: "p_mask" top: "u" '
        "upsample_param { scale: 2 } }\n"
        + layer % ("c", "u", "c", f"num_output: {head} kernel_size: 3 pad: 1")
        + layer % ("score", "c", "score", "num_output: 3 kernel_size: 1")
    )
    return read_net(file)


def test_a_pooling_mask_is_no_signal(tmp_path: Path) -> None:
    net = with_mask(tmp_path)
    assert choose_signal(staged_onnx.plan(net, ["p_mask", "score"])) == "p"
    assert choose_signal(staged_onnx.plan(net, ["p", "score"])) == "p"
    for stages in (1, 2, 3):
        assert "p_mask" not in [stage.cut for stage in staged_onnx.plan(net, stages=stages).stages]


def test_without_a_map_there_is_no_signal_and_a_note(tmp_path: Path) -> None:
    """With the mask's layer a stage of its own and b before it, the last stage is handed the mask alone."""
    net = with_mask(tmp_path)
    plan = staged_onnx.plan(net, ["b", "u"])
    only_mask = dataclasses.replace(plan.stages[0], cut="p_mask", outputs=("p_mask",))
    assert choose_signal(dataclasses.replace(plan, stages=(only_mask, plan.stages[1]))) == ""
    bundle = make(tmp_path, net, ["b", "u"], HOW_FIXED, signal="")
    assert "no map that an adaptive clock could watch by default" in bundle.manifest.notes[-1]


def test_a_head_that_does_most_of_the_work_is_noted(tmp_path: Path) -> None:
    def notes(head: int) -> list[str]:
        net = with_mask(tmp_path, head=head)
        bundle = make(tmp_path, net, ["p", "b"], HOW_FIXED, force=True)
        return [note for note in bundle.manifest.notes if "the head does" in note]

    assert notes(1) == []
    # 256 places: a 3 x 8 x 9, b a quarter of 8 x 8 x 9, c 8 x 32 x 9, score 32 x 3
    share = (8 * 32 * 9 + 32 * 3) / (8 * 32 * 9 + 32 * 3 + 3 * 8 * 9 + 8 * 8 * 9 / 4)
    assert notes(32) == [f"the head does {share:.0%} of the work on every frame: clocks save little here"]


def test_weights_lie_outside_the_graphs(tmp_path: Path) -> None:
    bundle = make(tmp_path, thin_fcn8s(tmp_path))
    names = {p.name for p in (bundle.path / "weights").iterdir()}
    assert names == {"stage1.bin", "stage2.bin", "stage3.bin", "head.bin"}


def test_the_whole_net_shares_the_stages_weights(tmp_path: Path) -> None:
    net = thin_fcn8s(tmp_path)
    (tmp_path / "other").mkdir()
    with_whole, without = make(tmp_path, net), make(tmp_path / "other", net, whole=False)
    held = [sum(p.stat().st_size for p in (b.path / "weights").iterdir()) for b in (with_whole, without)]
    assert held[0] == held[1]
    labels = session(with_whole.path / "whole.onnx").run(None, {"frame": frame_of(67, 101)})[0]
    assert np.array_equal(run_stages(with_whole, frame_of(67, 101))["labels"], labels)


def test_an_existing_bundle_is_kept_without_force(tmp_path: Path) -> None:
    net = thin_fcn8s(tmp_path)
    first = make(tmp_path, net)
    with pytest.raises(BundleError, match="--force"):
        make(tmp_path, net)
    second = make(tmp_path, net, force=True, schedule="oracle")
    assert first.path == second.path and second.manifest.schedule == "oracle"


def test_force_replaces_nothing_but_bundles(tmp_path: Path) -> None:
    target = tmp_path / "net.staged"
    target.mkdir()
    (target / "thesis.tex").write_text("ten years of work")
    with pytest.raises(BundleError, match="bundles only"):
        make(tmp_path, thin_fcn8s(tmp_path), force=True)
    assert (target / "thesis.tex").read_text() == "ten years of work"


def test_a_failed_export_leaves_nothing_behind(tmp_path: Path) -> None:
    net = thin_fcn8s(tmp_path)
    blobs = random_weights(net)
    blobs.pop("fc6")
    before = set(tmp_path.iterdir())
    with pytest.raises(WeightsError, match="fc6"):
        staged_onnx.export(
            net, blobs, staged_onnx.plan(net, CUTS), tmp_path / "net.staged", preprocessing=HOW
        )
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(format="zip"), "not a bundle's manifest"),
        (lambda m: m.update(format_version=99), "unknown bundle version"),
        (lambda m: m["stages"][0].update(model="../../etc/passwd"), "name of an .onnx file"),
        (lambda m: m["stages"][0].update(model="/tmp/x.onnx"), "name of an .onnx file"),
        (lambda m: m["stages"][0].update(macs="many"), "macs"),
        (lambda m: m["stages"][1].update(inputs=["pool9"]), "pool9"),
        (lambda m: m["stages"][1].update(name="stage1"), "name of its own"),
        (lambda m: m["values"]["pool3"].update(shape=[1, -4]), "pool3"),
        (lambda m: m.update(signal="nope"), "signal"),
        (lambda m: m.update(head=None), "head"),
        (lambda m: m["preprocessing"].update(mean="1"), "mean"),
        (lambda m: m["classes"].update(palette=[[1, 2, 999]]), "palette"),
        (lambda m: m.update(stages=[]), "at least one stage"),
    ],
)
def test_a_hostile_manifest_is_refused_by_name(tmp_path: Path, change: Any, words: str) -> None:
    bundle = make(tmp_path, thin_fcn8s(tmp_path))
    file = bundle.path / "manifest.json"
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))
    with pytest.raises(ClockworkError, match=words) as caught:
        staged_onnx.read_bundle(bundle.path)
    assert str(file) in str(caught.value)


def test_what_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nothing at this path"):
        staged_onnx.read_bundle(tmp_path / "absent.staged")
    with pytest.raises(BundleError, match=r"without manifest\.json"):
        staged_onnx.read_bundle(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match="not JSON"):
        staged_onnx.read_bundle(tmp_path)


def test_weights_that_are_cut_short_or_missing(tmp_path: Path) -> None:
    bundle = make(tmp_path, thin_fcn8s(tmp_path))
    file = bundle.path / "weights" / "stage2.bin"
    content = file.read_bytes()
    file.write_bytes(content + b"more")
    staged_onnx.read_bundle(bundle.path)
    file.write_bytes(content[:-1])
    with pytest.raises(BundleError, match="cut short") as caught:
        staged_onnx.read_bundle(bundle.path)
    assert str(file) in str(caught.value)
    assert f"found {len(content) - 1} bytes; expected {len(content)} or more" in str(caught.value)
    file.unlink()
    with pytest.raises(BundleError, match=r"weights is missing; expected the weights of stage2\.onnx"):
        staged_onnx.read_bundle(bundle.path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("location", "../secret.bin", "lie outside the bundle"),
        ("location", "/etc/passwd", "lie outside the bundle"),
        ("location", "", "lie outside the bundle"),
        ("location", "weights", "weights is missing"),
        ("offset", "-4", "bad offset"),
        ("offset", "9" * 18, "cut short"),
        ("length", "many", "bad length"),
        ("length", "9" * 5000, "bad length"),
    ],
)
def test_hostile_places_of_weights(tmp_path: Path, key: str, value: str, words: str) -> None:
    bundle = make(tmp_path, thin_fcn8s(tmp_path))
    file = bundle.path / "stage2.onnx"
    model = onnx.load(file, load_external_data=False)
    outside = [t for t in model.graph.initializer if t.external_data]
    for entry in outside[0].external_data:
        entry.value = value if entry.key == key else entry.value
    file.write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match=words):
        staged_onnx.read_bundle(bundle.path)


def _add_outside(tensors: Any, offset: str = "4") -> None:
    """A tensor of 60 bytes in weights/inner.bin, without a length."""
    tensor = tensors.add(name="w", dims=[3, 5], data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights/inner.bin")
    tensor.external_data.add(key="offset", value=offset)


def test_weights_without_a_length(tmp_path: Path) -> None:
    """A tensor's own size counts where no length is given."""
    bundle = make(tmp_path, thin_fcn8s(tmp_path))
    file = bundle.path / "stage1.onnx"
    model = onnx.load(file, load_external_data=False)
    _add_outside(model.graph.initializer)
    file.write_bytes(model.SerializeToString())
    (bundle.path / "weights" / "inner.bin").write_bytes(bytes(64))
    staged_onnx.read_bundle(bundle.path)
    (bundle.path / "weights" / "inner.bin").write_bytes(bytes(63))
    with pytest.raises(BundleError, match="found 63 bytes; expected 64 or more"):
        staged_onnx.read_bundle(bundle.path)


def test_a_graph_inside_an_operator_is_refused(tmp_path: Path) -> None:
    bundle = make(tmp_path, thin_fcn8s(tmp_path))
    file = bundle.path / "stage1.onnx"
    model = onnx.load(file, load_external_data=False)
    inner = onnx.helper.make_graph([], "inner", [], [])
    _add_outside(inner.initializer)
    model.graph.node.append(onnx.helper.make_node("If", ["c"], ["d"], then_branch=inner))
    file.write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match='an operator that this package does not write; found "If"'):
        staged_onnx.read_bundle(bundle.path)
    model.graph.node[-1].op_type = "Relu"
    file.write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match='an operator with a graph inside it; found "Relu"'):
        staged_onnx.read_bundle(bundle.path)


def test_a_graph_that_is_cut_short(tmp_path: Path) -> None:
    bundle = make(tmp_path, thin_fcn8s(tmp_path))
    file = bundle.path / "head.onnx"
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(BundleError, match="not an ONNX model"):
        staged_onnx.read_bundle(bundle.path)


def test_channels_must_fit_the_net(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="channels"):
        make(tmp_path, thin_fcn8s(tmp_path), how=staged_onnx.Preprocessing(None, "gray"))


@pytest.mark.parametrize("names", [4, 6])
def test_there_is_a_name_for_each_channel_of_the_scores(tmp_path: Path, names: int) -> None:
    net = thin_fcn8s(tmp_path, classes=5)
    before = set(tmp_path.iterdir())
    with pytest.raises(BundleError, match=f'found {names} names; expected 5, for the 5 channels of "score"'):
        make(tmp_path, net, classes=staged_onnx.classes(names))
    assert set(tmp_path.iterdir()) == before
    assert len(make(tmp_path, net, classes=staged_onnx.classes(5)).manifest.class_names) == 5
