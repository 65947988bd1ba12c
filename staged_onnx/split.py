"""A bundle whose result is a carried value: the head in two parts, its network and the step to labels.

What is to be moved from frame to frame (see `staged_onnx.warp`) must be in the feature cache. So the head
becomes one more stage, which hands out what is carried, and a last part without weights makes labels of that:

- "scores": the label map, and the scores on a grid that suits the warp, h x w x C, of which other label maps
  are made.
- "labels": the label map itself; the last part hands it on.
- "fresh": the scores, computed on every frame, and a copy of those of key frames, which is moved; where
  something has come into view since, as one more channel of the copy says, the last part takes fresh ones.

No file changes: the network part is the head's own graph, ended where it has what is carried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import count
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from caffe_port.onnx_graph import OnnxGraph
from staged_onnx.bundle import Bundle
from staged_onnx.frame_graphs import emit_resize
from staged_onnx.manifest import Manifest, StageSpec, ValueSpec
from staged_onnx.outputs import OutputSpec, emit_labels
from weights.errors import BundleError, UsageError
from weights.shown import one_line

__all__ = ["CARRIED", "KEEP", "LABELS", "split_head", "split_manifest"]

CARRIED = ("scores", "labels", "fresh")
LABELS = "labels"
"""Name of the part that makes labels."""
KEEP = "keep"
"""Name of the stage that copies the scores of key frames."""

FINEST_SCALE = Fraction(1, 64)


def split_manifest(manifest: Manifest, carried: str = "scores", scale: Fraction = Fraction(1)) -> Manifest:
    """The manifest of a bundle after `split_head`: its stages, the head as one more, and what goes with that.

    Args:
        manifest: The bundle's.
        carried: As in `split_head`.
        scale: As in `split_head`.

    Returns:
        The new manifest. The first value of the last stage is the one to be moved; with "scores", the second
        one holds the scores.

    Raises:
        UsageError: A bad `carried` or `scale`, or a bundle that does not give labels.
        BundleError: The bundle does not say where its scores are, though they are to be carried, or a stage
            has the name of an added part.
    """
    if carried not in CARRIED:
        raise UsageError("what is to be carried?", found=f'"{carried}"', expected=", ".join(CARRIED))
    if not FINEST_SCALE <= scale <= 1:
        raise UsageError("bad scale of the scores", found=scale, expected=f"{FINEST_SCALE} to 1")
    if manifest.output.kind != "labels":
        raise UsageError(
            "only labels and their scores can be moved",
            found=f"a bundle that gives a {manifest.output.kind}",
            hint="a schedule without flow plays it",
        )
    taken = {LABELS, KEEP} & {stage.name for stage in (*manifest.stages, manifest.head)}
    if taken:
        raise BundleError(
            "a stage has the name of an added part", found=f'"{taken.pop()}"', expected="another name"
        )
    if carried == "labels":
        name = _free("label_map", manifest)
        network = replace(manifest.head, outputs=(name,))
        values = {name: ValueSpec(manifest.reference_size, "uint8")}
        return _joined(manifest, (network,), (name,), values)
    scores = manifest.scores
    if scores is None:
        raise BundleError(
            f'the bundle of "{manifest.name}" does not say where its scores are',
            expected='"scores" in its manifest',
            hint="convert the net again with this release",
        )
    height, width = (-(-s * scale.numerator // scale.denominator) for s in manifest.reference_size)
    name = _free("scores", manifest)
    inputs = tuple(dict.fromkeys((*manifest.head.inputs, "frame")))
    network = replace(manifest.head, inputs=inputs, outputs=(name,), cut=scores.name)
    values = {name: ValueSpec((1, scores.channels, height, width))}
    if carried == "scores":
        labels = _free("label_map", manifest)
        network = replace(network, outputs=(labels, name))
        values[labels] = ValueSpec(manifest.reference_size, "uint8")
        values[name] = ValueSpec((height, width, scores.channels))
        return _joined(manifest, (network,), (labels,), values)
    kept = _free("kept_scores", manifest)
    copy = _weightless(KEEP, (name,), (kept,))
    values[kept] = ValueSpec((1, scores.channels + 1, height, width))
    return _joined(manifest, (network, copy), (name, "frame", kept), values)


def split_head(bundle: Bundle, carried: str = "scores", scale: Fraction = Fraction(1)) -> Bundle:
    """The bundle with its result as a carried value.

    Args:
        bundle: The bundle; no file of it changes.
        carried: What is carried, one of CARRIED (see the module).
        scale: Scores are handed out at this share of the frame's height and width, or at their own size where
            that is smaller; each axis is rounded up.

    Returns:
        A bundle with the graphs of the new parts in memory.

    Raises:
        BundleError: The bundle does not say where its scores are, or the head has no value of that name.
        UsageError: A bad scale.
    """
    manifest = bundle.manifest
    after = split_manifest(manifest, carried, scale)
    added = after.stages[len(manifest.stages) :]
    network = added[0]
    graphs = dict(bundle.graphs)
    if carried == "labels":
        graphs[network.name] = _head_to_labels(bundle, network)
        graphs[LABELS] = _hand_on(after.head)
    else:
        assert manifest.scores is not None
        graphs[network.name] = _head_to_scores(bundle, network, manifest.scores, scale)
        if carried == "scores":
            graphs[LABELS] = _hand_on(after.head)
        else:
            graphs[LABELS] = _labels(manifest.scores, after.head)
            graphs[KEEP] = _copy(manifest.scores, added[1])
    return Bundle(bundle.path, after, graphs)


def _free(name: str, manifest: Manifest) -> str:
    """The name, or one like it that no value has."""
    return next(n for i in count() if (n := name + "_" * i) not in manifest.values)


def _weightless(name: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> StageSpec:
    """A part that no file holds and that has no weights."""
    return StageSpec(
        name=name,
        model="",
        inputs=inputs,
        outputs=outputs,
        macs=0,
        parameters=0,
        layers=(),
        reads_pixels=False,
    )


def _joined(
    manifest: Manifest, added: tuple[StageSpec, ...], read: tuple[str, ...], values: Mapping[str, ValueSpec]
) -> Manifest:
    last = _weightless(LABELS, read, ("labels",))
    return replace(
        manifest, stages=(*manifest.stages, *added), head=last, values={**manifest.values, **values}
    )


def _open_head(bundle: Bundle, stage: StageSpec) -> OnnxGraph:
    """The head's graph, to go on with; its outputs are open."""
    file = str(bundle.model_path(stage))
    changed = bundle.graphs.get(stage.name)
    try:
        model = (
            onnx.load(file, load_external_data=False) if changed is None else onnx.load_from_string(changed)
        )
    except Exception as error:  # protobuf's error type depends on its back end
        raise BundleError("not an ONNX model", file=file, found=one_line(error)) from None
    g = OnnxGraph(model)
    if g.has(stage.outputs[0]):
        raise BundleError("a value's name is taken", file=file, found=f'"{stage.outputs[0]}"')
    return g


def _require(g: OnnxGraph, name: str, file: Path) -> str:
    if not g.has(name):
        raise BundleError(
            "the head has no such value", file=file, found=f'"{name}"', hint="convert the net again"
        )
    return name


def _head_to_labels(bundle: Bundle, stage: StageSpec) -> bytes:
    g = _open_head(bundle, stage)
    labels = _require(g, "labels", bundle.model_path(stage))
    g.output(labels, stage.outputs[0], ["height", "width"], TensorProto.UINT8)
    return g.model("head").SerializeToString()


def _head_to_scores(bundle: Bundle, stage: StageSpec, scores: OutputSpec, scale: Fraction) -> bytes:
    """The scores, resized bilinearly to min(own size, ceil(scale * frame)) on each axis; before them the
    label map, where the stage has it as an output.
    """
    g = _open_head(bundle, stage)
    found = _require(g, scores.name, bundle.model_path(stage))
    if "frame" not in g.inputs:
        g.input("frame", ["height", "width", 3], TensorProto.UINT8)
    scaled = g.node("Mul", g.sizes_of("frame", 0, 1), g.ints(scale.numerator))
    scaled = g.node("Div", g.node("Add", scaled, g.ints(scale.denominator - 1)), g.ints(scale.denominator))
    size = g.node("Min", scaled, g.sizes_of(found, 2, 3))
    resized = emit_resize(g, found, g.node("Concat", g.ints(1, scores.channels), size, axis=0))
    *labels, output = stage.outputs
    for name in labels:
        made = _require(g, "labels", bundle.model_path(stage))
        g.output(made, name, ["height", "width"], TensorProto.UINT8)
    if labels:
        rows = g.node("Squeeze", g.node("Transpose", resized, perm=[0, 2, 3, 1]), g.ints(0))
        g.output(rows, output, [f"{output}_d2", f"{output}_d3", scores.channels])
    else:
        g.output(resized, output, _map_dims(output, scores.channels, output))
    return g.model("head").SerializeToString()


def _map_dims(name: str, channels: int, grid: str) -> list[int | str]:
    return [1, channels, f"{grid}_d2", f"{grid}_d3"]


def _labels(scores: OutputSpec, last: StageSpec) -> bytes:
    """Scores to labels: those of the copy, but fresh ones where the copy's last channel is above a half."""
    g = OnnxGraph()
    grid = last.inputs[0]
    found = g.input(grid, _map_dims(grid, scores.channels, grid))
    frame = g.input("frame", ["height", "width", 3], TensorProto.UINT8)
    kept = g.input(last.inputs[2], _map_dims(last.inputs[2], scores.channels + 1, grid))
    sizes = g.const(np.array([scores.channels, 1], np.int64), np.int64)
    moved, hidden = g.nodes("Split", kept, sizes, outputs=2, axis=1)
    found = g.node("Where", g.node("Greater", hidden, g.const(np.float32(0.5))), found, moved)
    labels = emit_labels(g, found, scores.channels, frame)
    g.output(labels, "labels", ["height", "width"], TensorProto.UINT8)
    return g.model("labels").SerializeToString()


def _copy(scores: OutputSpec, stage: StageSpec) -> bytes:
    """Scores with a further channel: nothing is hidden on the frame that they were computed on."""
    g = OnnxGraph()
    grid = stage.inputs[0]
    found = g.input(grid, _map_dims(grid, scores.channels, grid))
    first = g.node("Slice", found, g.ints(0), g.ints(1), g.ints(1))
    seen = g.node("Mul", first, g.const(np.float32(0)))
    kept = g.node("Concat", found, seen, axis=1)
    g.output(kept, stage.outputs[0], _map_dims(stage.outputs[0], scores.channels + 1, grid))
    return g.model("keep").SerializeToString()


def _hand_on(last: StageSpec) -> bytes:
    g = OnnxGraph()
    found = g.input(last.inputs[0], ["height", "width"], TensorProto.UINT8)
    g.output(found, "labels", ["height", "width"], TensorProto.UINT8)
    return g.model("labels").SerializeToString()
