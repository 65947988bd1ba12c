"""A bundle whose result is a carried value: the head in two parts, its network and the step to labels.

What is to be moved from frame to frame (see `staged_onnx.warp`) must be in the feature cache. So the head
becomes one more stage, which hands out what is carried, and a last part without weights makes labels of that:

- "scores": the scores, on a grid that suits the warp; the last part resizes them and takes the argmax.
- "labels": the label map itself; the last part hands it on.
- "fresh": the scores, computed on every frame, and a copy of those of key frames, which is moved; where
  something has come into view since, as one more channel of the copy says, the last part takes fresh ones.

No file changes: the network part is the head's own graph, ended where it has what is carried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import count

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from staged_onnx.frame_graphs import emit_labels
from staged_onnx.manifest import Bundle, Manifest, ScoresSpec, StageSpec, ValueSpec
from staged_onnx.warp import bare_builder
from weights.errors import BundleError, UsageError

__all__ = ["CARRIED", "KEEP", "LABELS", "split_head", "split_manifest"]

CARRIED = ("scores", "labels", "fresh")
LABELS = "labels"
"""Name of the part that makes labels."""
KEEP = "keep"
"""Name of the stage that copies the scores of key frames."""

FINEST_SCALE = Fraction(1, 64)
_PREFIX = "clockwork/grid/"


def split_manifest(manifest: Manifest, carried: str = "scores", scale: Fraction = Fraction(1)) -> Manifest:
    """The manifest of a bundle after `split_head`: its stages, the head as one more, and what goes with that.

    The last value of the last stage is the one to be moved. Raises BundleError where the bundle does not say
    where its scores are, though they are to be carried.
    """
    if carried not in CARRIED:
        raise UsageError("what is to be carried?", found=f'"{carried}"', expected=", ".join(CARRIED))
    if not FINEST_SCALE <= scale <= 1:
        raise UsageError("bad scale of the scores", found=scale, expected=f"{FINEST_SCALE} to 1")
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
        return _joined(manifest, (network,), (name, "frame"), values)
    kept = _free("kept_scores", manifest)
    copy = StageSpec(KEEP, "", (name,), (kept,), 0, 0, (), reads_pixels=False)
    values[kept] = ValueSpec((1, scores.channels + 1, height, width))
    return _joined(manifest, (network, copy), (name, "frame", kept), values)


def split_head(bundle: Bundle, carried: str = "scores", scale: Fraction = Fraction(1)) -> Bundle:
    """The bundle with its result as a carried value, one of CARRIED.

    scale: scores are handed out at this share of the frame's height and width, or at their own size where
    that is smaller; each axis rounded up. Raises BundleError where the bundle does not say where its scores
    are or the head has no value of that name, UsageError for a bad scale.
    """
    manifest = bundle.manifest
    after = split_manifest(manifest, carried, scale)
    added = after.stages[len(manifest.stages) :]
    head = _Head.of(bundle, after.stages[len(manifest.stages)])
    graphs = dict(bundle.graphs)
    if carried == "labels":
        graphs[head.stage.name] = head.with_labels()
        graphs[LABELS] = _hand_on(after.head)
    else:
        assert manifest.scores is not None
        graphs[head.stage.name] = head.with_scores(manifest.scores, scale)
        graphs[LABELS] = _labels(manifest.scores, after.head, fresh=carried == "fresh")
        if carried == "fresh":
            graphs[KEEP] = _copy(manifest.scores, added[1])
    return Bundle(bundle.path, after, graphs)


def _free(name: str, manifest: Manifest) -> str:
    """The name, or one like it that no value has."""
    return next(n for i in count() if (n := name + "_" * i) not in manifest.values)


def _joined(
    manifest: Manifest, added: tuple[StageSpec, ...], read: tuple[str, ...], values: Mapping[str, ValueSpec]
) -> Manifest:
    last = StageSpec(LABELS, "", read, ("labels",), 0, 0, (), reads_pixels=False)
    return replace(
        manifest, stages=(*manifest.stages, *added), head=last, values={**manifest.values, **values}
    )


@dataclass(frozen=True)
class _Head:
    """The head's graph on its way to becoming a stage."""

    model: onnx.ModelProto
    stage: StageSpec
    file: str

    @classmethod
    def of(cls, bundle: Bundle, stage: StageSpec) -> _Head:
        file = str(bundle.model_path(stage))
        try:
            model = onnx.load(file, load_external_data=False)
        except Exception as error:  # protobuf's error type depends on its back end
            found = " ".join(str(error).split())[:200]
            raise BundleError("not an ONNX model", file=file, found=found) from None
        head = cls(model, stage, file)
        if stage.outputs[0] in head.made or any(name.startswith(_PREFIX) for name in head.made):
            raise BundleError("a value's name is taken", file=file, found=f'"{stage.outputs[0]}"')
        return head

    @property
    def made(self) -> set[str]:
        graph = self.model.graph
        return {name for node in graph.node for name in node.output} | {value.name for value in graph.input}

    def require(self, name: str) -> None:
        if name not in self.made:
            raise BundleError(
                "the head has no such value", file=self.file, found=f'"{name}"', hint="convert the net again"
            )

    def with_labels(self) -> bytes:
        self.require("labels")
        self.model.graph.node.append(helper.make_node("Identity", ["labels"], [self.stage.outputs[0]]))
        return self.ended(TensorProto.UINT8, ["height", "width"])

    def with_scores(self, scores: ScoresSpec, scale: Fraction) -> bytes:
        """The scores, resized bilinearly to min(own size, ceil(scale * frame)) on each axis."""
        self.require(scores.name)
        graph, output = self.model.graph, self.stage.outputs[0]
        if "frame" not in {value.name for value in graph.input}:
            dims = ["height", "width", 3]
            graph.input.append(helper.make_tensor_value_info("frame", TensorProto.UINT8, dims))

        def node(op: str, *inputs: str, name: str = "", **attributes: object) -> str:
            result = name or f"{_PREFIX}{op}{len(graph.node)}"
            graph.node.append(helper.make_node(op, list(inputs), [result], **attributes))
            return result

        def ints(*values: int) -> str:
            result = f"{_PREFIX}const{len(graph.initializer)}"
            graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), result))
            return result

        size = node("Gather", node("Shape", "frame"), ints(0, 1), axis=0)
        size = node("Add", node("Mul", size, ints(scale.numerator)), ints(scale.denominator - 1))
        own = node("Gather", node("Shape", scores.name), ints(2, 3), axis=0)
        size = node("Min", node("Div", size, ints(scale.denominator)), own)
        sizes = node("Concat", ints(1, scores.channels), size, axis=0)
        node(
            "Resize", scores.name, "", "", sizes, name=output, mode="linear",
            coordinate_transformation_mode="half_pixel",
        )  # fmt: skip
        return self.ended(TensorProto.FLOAT, [1, scores.channels, f"{output}_d2", f"{output}_d3"])

    def ended(self, kind: int, dims: list[int | str]) -> bytes:
        """The graph with the stage's output as its only one, and without what that does not need."""
        graph, output = self.model.graph, self.stage.outputs[0]
        needed, nodes = {output}, []
        for node in reversed(graph.node):
            if needed.intersection(node.output):
                needed.update(node.input)
                nodes.append(node)
        weights = [tensor for tensor in graph.initializer if tensor.name in needed]
        nodes.reverse()
        del graph.node[:], graph.initializer[:], graph.output[:]
        graph.node.extend(nodes)
        graph.initializer.extend(weights)
        graph.output.append(helper.make_tensor_value_info(output, kind, dims))
        return bytes(self.model.SerializeToString())


def _map_dims(name: str, channels: int, grid: str) -> list[int | str]:
    return [1, channels, f"{grid}_d2", f"{grid}_d3"]


def _labels(scores: ScoresSpec, last: StageSpec, *, fresh: bool) -> bytes:
    """Scores to labels; with `fresh`, fresh scores where the copy's last channel is above a half."""
    g = bare_builder()
    grid = last.inputs[0]
    found = g.input(grid, _map_dims(grid, scores.channels, grid))
    frame = g.input("frame", ["height", "width", 3], TensorProto.UINT8)
    if fresh:
        kept = g.input(last.inputs[2], _map_dims(last.inputs[2], scores.channels + 1, grid))
        sizes = g.const(np.array([scores.channels, 1], np.int64), np.int64)
        moved, hidden = g.node("Split", kept, sizes, outputs=2, axis=1)
        found = g.node("Where", g.node("Greater", hidden, g.const(np.float32(0.5))), found, moved)
    labels = emit_labels(g, found, scores.channels, frame)
    g.output(labels, "labels", ["height", "width"], TensorProto.UINT8)
    return bytes(g.model("labels").SerializeToString())


def _copy(scores: ScoresSpec, stage: StageSpec) -> bytes:
    """Scores with a further channel: nothing is hidden on the frame that they were computed on."""
    g = bare_builder()
    grid = stage.inputs[0]
    found = g.input(grid, _map_dims(grid, scores.channels, grid))
    first = g.node("Slice", found, g.ints(0), g.ints(1), g.ints(1))
    seen = g.node("Mul", first, g.const(np.float32(0)))
    kept = g.node("Concat", found, seen, axis=1)
    g.output(kept, stage.outputs[0], _map_dims(stage.outputs[0], scores.channels + 1, grid))
    return bytes(g.model("keep").SerializeToString())


def _hand_on(last: StageSpec) -> bytes:
    g = bare_builder()
    found = g.input(last.inputs[0], ["height", "width"], TensorProto.UINT8)
    g.output(found, "labels", ["height", "width"], TensorProto.UINT8)
    return bytes(g.model("labels").SerializeToString())
