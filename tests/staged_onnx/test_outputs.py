"""What comes out of a bundle: the kind is known, and the head's graph gives just that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

import runtime
import staged_onnx
from caffe_port import Net, read_net
from staged_onnx import Preprocessing
from staged_onnx.outputs import choose_kind
from weights.errors import BundleError, UsageError

INPUT = 'input: "data" input_shape {{ dim: 1 dim: {} dim: 8 dim: 8 }}\n'


def net_of(folder: Path, channels: int, *layers: str) -> Net:
    file = folder / "net.prototxt"
    file.write_text(INPUT.format(channels) + "\n".join(layers))
    return read_net(file)


def conv(top: str, bottom: str, outputs: int, rest: str = "kernel_size: 1") -> str:
    return (
        f'layer {{ name: "{top}" type: "Convolution" bottom: "{bottom}" top: "{top}" '
        f"convolution_param {{ num_output: {outputs} {rest} bias_term: false }} }}"
    )


def layer(kind: str, top: str, bottom: str, rest: str = "") -> str:
    return f'layer {{ name: "{top}" type: "{kind}" bottom: "{bottom}" top: "{top}" {rest} }}'


def eye(outputs: int, inputs: int, scale: float = 1.0) -> tuple[np.ndarray]:
    weights = np.zeros((outputs, inputs, 1, 1), np.float32)
    weights[range(outputs), [i % inputs for i in range(outputs)]] = scale
    return (weights,)


def frame_of(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def head_output(bundle: staged_onnx.Bundle, frame: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(bundle.path / "whole.onnx", providers=["CPUExecutionProvider"])
    assert [o.name for o in session.get_outputs()] == [bundle.manifest.output.kind]
    return session.run(None, {"frame": frame})[0]


def played(bundle: staged_onnx.Bundle, frame: np.ndarray) -> runtime.Step:
    with runtime.open(bundle.path, device="cpu", schedule="oracle") as player:
        return next(iter(player.play([frame])))


@pytest.mark.parametrize(
    ("layers", "value", "inputs", "kind"),
    [
        ((conv("rgb", "data", 3),), "rgb", 3, "picture"),
        ((conv("score", "data", 3),), "score", 3, "labels"),
        ((conv("y", "data", 3), layer("Softmax", "p", "y")), "y", 3, "labels"),
        ((conv("y", "data", 5),), "y", 3, "labels"),
        ((conv("y", "data", 1),), "y", 1, "picture"),
        ((conv("depth", "data", 1),), "depth", 3, "map"),
        ((conv("y", "data", 1), layer("Sigmoid", "s", "y")), "s", 3, "labels"),
        ((conv("features", "data", 300),), "features", 3, "map"),
        ((layer("InnerProduct", "fc", "data", "inner_product_param { num_output: 7 }"),), "fc", 3, "vector"),
        (
            (
                layer("InnerProduct", "fc", "data", "inner_product_param { num_output: 7 }"),
                layer("Softmax", "prob", "fc"),
            ),
            "prob",
            3,
            "scores",
        ),
    ],
)
def test_the_kind_follows_from_the_net(
    tmp_path: Path, layers: tuple[str, ...], value: str, inputs: int, kind: str
) -> None:
    from caffe_port import infer_shapes

    net = net_of(tmp_path, inputs, *layers)
    assert choose_kind(net, value, net.outputs[0], infer_shapes(net)[value], named=False)[0] == kind


def test_class_names_make_labels_of_three_channels(tmp_path: Path) -> None:
    net = net_of(tmp_path, 3, conv("rgb", "data", 3))
    plan = staged_onnx.plan(net, ["rgb"])
    blobs = {"rgb": eye(3, 3)}
    named = staged_onnx.export(net, blobs, plan, tmp_path / "a.staged", classes=staged_onnx.classes(3))
    assert named.manifest.output.kind == "labels"
    bundle = staged_onnx.export(net, blobs, plan, tmp_path / "b.staged")
    assert bundle.manifest.output.kind == "picture" and bundle.manifest.class_names == ()
    assert "the output is a picture: three channels" in bundle.manifest.notes[0]
    assert staged_onnx.read_bundle(bundle.path).manifest == bundle.manifest


@pytest.mark.parametrize("size", [None, (8, 8)])
@pytest.mark.parametrize("how", [("bgr", (104.0, 117.0, 123.0), 0.5), ("rgb", (0.0,), 1 / 255)])
def test_a_net_that_changes_nothing_gives_the_frame_back(
    tmp_path: Path, size: tuple[int, int] | None, how: tuple[str, tuple[float, ...], float]
) -> None:
    """The inverse of the pre-processing, cut and rounded: image-to-image nets are not argmaxed."""
    net = net_of(tmp_path, 3, conv("out", "data", 3))
    bundle = staged_onnx.export(
        net,
        {"out": eye(3, 3)},
        staged_onnx.plan(net, ["out"]),
        tmp_path / "x.staged",
        preprocessing=Preprocessing(size, *how),
    )
    frame = frame_of(8, 8) if size else frame_of(5, 11)
    assert np.array_equal(head_output(bundle, frame), frame)
    step = played(bundle, frame)
    assert step.kind == "picture" and np.array_equal(step.output, frame)
    with pytest.raises(UsageError, match=r"gives no labels; found a picture; it is in step\.output"):
        _ = step.labels


def test_a_larger_picture_keeps_its_size_and_its_values_are_cut(tmp_path: Path) -> None:
    deconv = (
        'layer { name: "up" type: "Deconvolution" bottom: "data" top: "up" convolution_param '
        "{ num_output: 3 group: 3 kernel_size: 2 stride: 2 bias_term: false } }"
    )
    net = net_of(tmp_path, 3, deconv)
    blobs = {"up": (np.full((3, 1, 2, 2), 2, np.float32),)}
    bundle = staged_onnx.export(
        net,
        blobs,
        staged_onnx.plan(net, ["up"]),
        tmp_path / "x.staged",
        preprocessing=Preprocessing(None, "rgb"),
    )
    frame = frame_of(5, 7)
    expected = np.minimum(2 * frame.astype(int), 255).repeat(2, 0).repeat(2, 1)
    assert np.array_equal(played(bundle, frame).output, expected)
    assert np.array_equal(head_output(bundle, frame), expected)


def test_a_map_is_brought_to_the_frame(tmp_path: Path) -> None:
    net = net_of(tmp_path, 3, conv("depth", "data", 1, "kernel_size: 2 stride: 2"))
    weights = np.zeros((1, 3, 2, 2), np.float32)
    weights[0, 0] = 0.25
    bundle = staged_onnx.export(
        net,
        {"depth": (weights,)},
        staged_onnx.plan(net, ["depth"]),
        tmp_path / "x.staged",
        preprocessing=Preprocessing(None, "rgb"),
    )
    frame = np.full((6, 10, 3), 90, np.uint8)
    step = played(bundle, frame)
    assert step.kind == "map" and step.output.dtype == np.float32 and step.output.shape == (6, 10)
    np.testing.assert_allclose(step.output, 90.0)


def test_a_classifier_gives_its_scores(tmp_path: Path) -> None:
    net = net_of(
        tmp_path,
        3,
        conv("c", "data", 4),
        layer("InnerProduct", "fc", "c", "inner_product_param { num_output: 7 }"),
        layer("Softmax", "prob", "fc"),
    )
    rng = np.random.default_rng(0)
    blobs = {
        "c": (rng.normal(size=(4, 3, 1, 1)).astype(np.float32),),
        "fc": (rng.normal(size=(7, 256)).astype(np.float32) * 1e-3, np.zeros(7, np.float32)),
    }
    bundle = staged_onnx.export(
        net,
        blobs,
        staged_onnx.plan(net, ["c"]),
        tmp_path / "x.staged",
        preprocessing=Preprocessing((8, 8), "rgb"),
    )
    frame = frame_of(8, 8)
    step = played(bundle, frame)
    assert step.kind == "scores" and step.output.shape == (7,) and len(bundle.manifest.class_names) == 7
    hidden = np.einsum("oi,hwi->ohw", blobs["c"][0][..., 0, 0], frame.astype(np.float64))
    logits = blobs["fc"][0] @ hidden.reshape(-1)
    expected = np.exp(logits - logits.max())
    np.testing.assert_allclose(step.output, expected / expected.sum(), rtol=1e-4, atol=1e-6)


def test_the_kind_can_be_chosen(tmp_path: Path) -> None:
    """Saliency: the probabilities themselves, and not where they are above a half."""
    net = net_of(tmp_path, 3, conv("c", "data", 1), layer("Sigmoid", "s", "c"))
    blobs = {"c": (np.full((1, 3, 1, 1), 0.001, np.float32),)}
    chosen = staged_onnx.plan(net, ["c"], kind="map")
    bundle = staged_onnx.export(net, blobs, chosen, tmp_path / "m.staged")
    frame = frame_of(4, 6)
    expected = 1 / (1 + np.exp(-0.001 * frame.astype(np.float64).sum(2)))
    np.testing.assert_allclose(played(bundle, frame).output, expected, rtol=1e-5)
    plain = staged_onnx.export(net, blobs, staged_onnx.plan(net, ["c"]), tmp_path / "l.staged")
    assert plain.manifest.output.kind == "labels" and "--kind map" in plain.manifest.notes[0]
    softmax = net_of(tmp_path, 3, conv("c", "data", 2), layer("Softmax", "s", "c"))
    assert staged_onnx.plan(softmax, ["c"]).scores == "c"
    assert staged_onnx.plan(softmax, ["c"], kind="map").scores == "s"


def test_a_kind_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    net = net_of(tmp_path, 3, conv("c", "data", 4))
    for kind, words in (("picture", "cannot be a picture"), ("vector", "one number for each channel")):
        with pytest.raises(BundleError, match=words):
            staged_onnx.export(
                net, {"c": eye(4, 3)}, staged_onnx.plan(net, ["c"], kind=kind), tmp_path / "x.staged"
            )
    with pytest.raises(UsageError, match="unknown kind of output"):
        staged_onnx.export(
            net, {"c": eye(4, 3)}, staged_onnx.plan(net, ["c"], kind="sound"), tmp_path / "x.staged"
        )


@pytest.mark.parametrize("size", [(16, 24), (17, 25), (21, 30)])
def test_labels_always_have_the_frames_size(tmp_path: Path, size: tuple[int, int]) -> None:
    """DeepLab at the frame's own size: its scores have it only where a size is a multiple of 8 and one more.

    A net of that kind is told apart from one whose scores follow every size.
    """
    net = net_of(
        tmp_path,
        3,
        layer("Pooling", "p", "data", "pooling_param { kernel_size: 3 stride: 2 pad: 1 }"),
        conv("score", "p", 4),
        layer("Interp", "up", "score", "interp_param { zoom_factor: 2 shrink_factor: 1 }"),
    )
    net_inputs = {"data": (1, 3, 17, 25)}
    from staged_onnx.stage_graphs import frame_sized

    assert not frame_sized(net, net_inputs, "up")
    bundle = staged_onnx.export(
        net,
        {"score": eye(4, 3)},
        staged_onnx.plan(net, ["score"], inputs=net_inputs),
        tmp_path / "x.staged",
        preprocessing=Preprocessing(None, "rgb"),
    )
    assert not bundle.manifest.output.native
    assert played(bundle, frame_of(*size)).labels.shape == size


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "sound"}, '"kind" of output'),
        ({"channels": 0}, '"channels" of output'),
        ({"channels": 257}, '"channels" of output'),
        ({"native": 1}, '"native" of output'),
        ({"kind": "map"}, "outputs of the head"),
    ],
)
def test_a_hostile_output_is_refused_by_name(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    net = net_of(tmp_path, 3, conv("score", "data", 4))
    plan = staged_onnx.plan(net, ["score"])
    bundle = staged_onnx.export(net, {"score": eye(4, 3)}, plan, tmp_path / "x.staged")
    file = bundle.path / "manifest.json"
    data = json.loads(file.read_text())
    data["output"].update(change)
    file.write_text(json.dumps(data))
    with pytest.raises(BundleError, match=words):
        staged_onnx.read_bundle(bundle.path)
