"""A bundle whose scores are a carried value: the head in two parts, its network and the step to labels.

What is to be moved from frame to frame (the scores, see `staged_onnx.warp`) must be in the feature cache. So
the head becomes one more stage, which hands out the scores on a grid that suits the warp, and a last part
without weights makes labels of them. No file changes: the network part is the head's own graph, ended at the
scores.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import count

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from staged_onnx.manifest import Bundle, Manifest, ScoresSpec, StageSpec, ValueSpec
from staged_onnx.processing import emit_labels
from staged_onnx.warp import bare_builder
from weights.errors import BundleError, UsageError

__all__ = ["LABELS", "split_head", "split_manifest"]

LABELS = "labels"
"""Name of the part that turns scores into labels."""

FINEST_SCALE = Fraction(1, 64)
_PREFIX = "clockwork/grid/"


def split_manifest(manifest: Manifest, scale: Fraction = Fraction(1)) -> Manifest:
    """The manifest of a bundle after `split_head`: one stage more, called as the head was.

    The scores are the only output of that stage. Raises BundleError where the bundle does not name its
    scores.
    """
    scores = manifest.scores
    if scores is None:
        raise BundleError(
            f'the bundle of "{manifest.name}" does not say where its scores are',
            expected='"scores" in its manifest',
            hint="convert the net again with this release",
        )
    if not FINEST_SCALE <= scale <= 1:
        raise UsageError("bad scale of the scores", found=scale, expected=f"{FINEST_SCALE} to 1")
    name = next(n for i in count() if (n := f"scores{'_' * i}") not in manifest.values)
    frame = ("frame",) if _sized_by_frame(scores, scale) else ()
    inputs = tuple(dict.fromkeys((*manifest.head.inputs, *frame)))
    network = replace(manifest.head, inputs=inputs, outputs=(name,), cut=scores.name)
    last = StageSpec(LABELS, "", (name, *frame), ("labels",), 0, 0, (), reads_pixels=False)
    grid = tuple(-(-size * scale.numerator // scale.denominator) for size in manifest.reference_size)
    values = {**manifest.values, name: ValueSpec((1, scores.channels, *grid))}
    if LABELS in (stage.name for stage in (*manifest.stages, manifest.head)):
        raise BundleError(
            "a stage has the name of the last part", found=f'"{LABELS}"', expected="another name"
        )
    return replace(manifest, stages=(*manifest.stages, network), head=last, values=values)


def split_head(bundle: Bundle, scale: Fraction = Fraction(1)) -> Bundle:
    """The bundle with its scores as a carried value.

    scale: the scores are handed out at this share of the frame's height and width, or at their own size
    where that is smaller; each axis rounded up. Raises BundleError where the bundle does not name its scores
    or the head has no value of that name, UsageError for a bad scale.
    """
    manifest = bundle.manifest
    after = split_manifest(manifest, scale)
    assert manifest.scores is not None
    network, last = after.stages[-1], after.head
    graphs = {
        **bundle.graphs,
        network.name: _network(bundle, manifest.scores, network, scale),
        last.name: _labels(manifest.scores, last),
    }
    return Bundle(bundle.path, after, graphs)


def _sized_by_frame(scores: ScoresSpec, scale: Fraction) -> bool:
    return not scores.native or scale != 1


def _network(bundle: Bundle, scores: ScoresSpec, stage: StageSpec, scale: Fraction) -> bytes:
    """The head's graph up to the scores, and their way to the grid of the warp."""
    file = bundle.model_path(stage)
    try:
        model = onnx.load(str(file), load_external_data=False)
    except Exception as error:  # protobuf's error type depends on its back end
        raise BundleError("not an ONNX model", file=file, found=" ".join(str(error).split())[:200]) from None
    graph = model.graph
    made = {name for node in graph.node for name in node.output} | {value.name for value in graph.input}
    if scores.name not in made:
        raise BundleError(
            "the head has no value of the scores' name",
            file=file,
            found=f'"{scores.name}"',
            hint="convert the net again",
        )
    if any(name.startswith(_PREFIX) or name == stage.outputs[0] for name in made):
        raise BundleError("a value's name is taken", file=file, found=f'"{stage.outputs[0]}"')
    if "frame" in stage.inputs and "frame" not in {value.name for value in graph.input}:
        dims = ["height", "width", 3]
        graph.input.append(helper.make_tensor_value_info("frame", TensorProto.UINT8, dims))
    if _sized_by_frame(scores, scale):
        _add_resize(graph, scores, stage.outputs[0], scale)
    else:
        graph.node.append(helper.make_node("Identity", [scores.name], [stage.outputs[0]]))
    _keep_what_makes(graph, stage.outputs[0])
    del graph.output[:]
    name = stage.outputs[0]
    dims = [1, scores.channels, f"{name}_d2", f"{name}_d3"]
    graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
    return bytes(model.SerializeToString())


def _keep_what_makes(graph: onnx.GraphProto, output: str) -> None:
    """Drop the nodes and weights that `output` does not need."""
    needed, nodes = {output}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    nodes.reverse()
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)


def _add_resize(graph: onnx.GraphProto, scores: ScoresSpec, output: str, scale: Fraction) -> None:
    """Bilinear, pixel centres at half; the size is min(own, ceil(scale * frame)) on each axis."""

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


def _labels(scores: ScoresSpec, last: StageSpec) -> bytes:
    g = bare_builder()
    name = g.input(last.inputs[0], [1, scores.channels, f"{last.inputs[0]}_d2", f"{last.inputs[0]}_d3"])
    frame = None
    if "frame" in last.inputs:
        frame = g.input("frame", ["height", "width", 3], TensorProto.UINT8)
    labels = emit_labels(g, name, scores.channels, frame)
    g.output(labels, "labels", ["height", "width"], TensorProto.UINT8)
    return bytes(g.model("labels").SerializeToString())
