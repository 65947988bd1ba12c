"""The two graphs of a net that moves its features -> a bundle on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from onnx import TensorProto

from caffe_port.convert import convert_layers
from caffe_port.graph import GraphBuilder
from caffe_port.match import match_weights
from caffe_port.net import Net, Shape
from caffe_port.onnx_graph import Draft, OnnxGraph
from caffe_port.save import Stored
from caffe_port.shapes import measure
from staged_onnx.bundle import Bundle, read_bundle
from staged_onnx.bundle_folder import bundle_folder, check_target, file_hashes, save_graph, write_manifest
from staged_onnx.export import checked_classes, write_stage
from staged_onnx.feature_flow import REFERENCE, FeatureFlowPlan
from staged_onnx.frame_graphs import FRAME, FrameSpec, Preprocessing
from staged_onnx.manifest import FeatureFlow, Manifest, StageSpec, ValueSpec
from staged_onnx.outputs import OutputSpec, choose_output
from staged_onnx.palettes import Classes
from staged_onnx.planning import Plan
from staged_onnx.stage_graphs import StageGraphs, frame_sized
from weights._version import __version__
from weights.errors import BundleError

__all__ = ["PIXEL_MEANS", "default_schedule", "export_feature_flow"]

REFERENCE_FRAME = "reference_frame"
PIXEL_MEANS = (123.15, 115.90, 103.06)
"""What Deep Feature Flow and Accel subtract from R, G and B."""


def default_schedule(plan: FeatureFlowPlan) -> str:
    """Key frames every fifth frame, as both papers have it; Accel where something corrects what is moved."""
    return "accel:5" if plan.corrects else "dff:5"


def export_feature_flow(
    blobs: Mapping[str, tuple[np.ndarray, ...]],
    plan: FeatureFlowPlan,
    path: str | PathLike[str],
    *,
    preprocessing: Preprocessing | None = None,
    classes: Classes | None = None,
    schedule: str | None = None,
    weights_files: Sequence[str | PathLike[str]] = (),
    whole: bool = True,
    force: bool = False,
    check: Callable[[Manifest], object] | None = None,
) -> Bundle:
    """Write the bundle `path` and return it; the folder appears whole or not at all.

    Args:
        blobs: Weights by layer name, of both nets.
        plan: The stages.
        path: The folder to write, NAME.staged.
        preprocessing: By default RGB with PIXEL_MEANS subtracted, at the frame's own size.
        classes: Names and colours, numbered ones by default.
        schedule: The default for whoever plays the bundle, else `default_schedule`'s.
        weights_files: Named in the manifest with their hashes.
        whole: Also keep the key net as `whole.onnx`, for comparison.
        force: Replace a bundle that is there.
        check: Called with the manifest before the bundle appears; what it raises stops the export.

    Returns:
        The bundle, opened.

    Raises:
        BundleError: The classes or the pre-processing do not fit, or the path is taken.
        WeightsError, ShapeError, UnsupportedError: The nets cannot be converted with these weights.
    """
    target = Path(path)
    check_target(target, force)
    how = preprocessing or Preprocessing(channels="rgb", mean=PIXEL_MEANS)
    key = _graphs(plan, plan.key_net, plan.key, blobs, how)
    between = _graphs(plan, plan.net, plan.between, blobs, how)
    if key.output.channels != between.output.channels:
        raise BundleError(
            "the heads of the two nets differ",
            file=plan.net.file,
            found=f"{key.output.channels} and {between.output.channels} channels",
            expected="as many classes on key frames as between them",
        )
    table = checked_classes(plan.net, between.output, classes)
    with bundle_folder(target, force) as folder:
        stored: Stored = {}
        stages, flow = _write_stages(plan, key, between, folder, stored)
        manifest = Manifest(
            name=plan.net.name or target.stem,
            stages=stages,
            head=write_stage(between, plan.between.head, folder, head=True, stored=stored),
            values=_values(plan, key, between),
            preprocessing=how,
            reference_size=(key.picture[2], key.picture[3]),
            class_names=table.names if table is not None else (),
            palette=table.palette if table is not None else (),
            schedule=schedule or default_schedule(plan),
            signal="",
            source={"prototxt": file_hashes([plan.net.file])[0], "weights": file_hashes(weights_files)},
            created_by=f"clockwork-onnx {__version__}",
            whole=save_graph(key.whole(), folder, "whole", stored) if whole else "",
            notes=tuple(dict.fromkeys((*plan.net.notes, *key.weights.notes, *between.weights.notes))),
            output=between.output,
            feature_flow=flow,
        )
        if check is not None:
            check(manifest)
        write_manifest(manifest, folder)
    return read_bundle(target)


def _graphs(
    plan: FeatureFlowPlan,
    net: Net,
    stages: Plan,
    blobs: Mapping[str, tuple[np.ndarray, ...]],
    how: Preprocessing,
) -> StageGraphs:
    """What the graphs of one of the two nets are made from."""
    shapes: dict[str, Shape] = {
        name: (1, stages.shapes[name][1], *(how.size or stages.shapes[name][2:]))
        for name in (plan.picture, plan.earlier_picture)
        if name in stages.shapes
    }
    if how.planes != shapes[plan.picture][1]:
        raise BundleError(
            "channels do not fit the net",
            file=net.file,
            found=f"{how.channels} ({how.planes} channels)",
            expected=f"{shapes[plan.picture][1]} channels",
        )
    sizes = measure(net, shapes, fixed=how.size is not None)
    if how.size is None and sizes.fixed:
        raise BundleError("this net runs at one frame size only", file=net.file, found=sizes.reason)
    layers = [layer.key for stage in (*stages.stages, stages.head) for layer in stage.layers]
    named = {layer.name for layer in net.layers}  # the other weights are the other net's
    own = {name: arrays for name, arrays in blobs.items() if name in named}
    matched = match_weights(net, sizes.shapes, own, needed=frozenset(layers))
    output, _ = choose_output(net, stages.scores, stages.asked, sizes.shapes[stages.scores], kind="labels")
    native = how.size is None and frame_sized(net, shapes, stages.scores, plan.picture)
    output = OutputSpec("labels", output.name, output.channels, native=native)
    frames = {plan.picture: FrameSpec(FRAME, how), plan.earlier_picture: FrameSpec(REFERENCE_FRAME, how)}
    return StageGraphs(net, stages, sizes, matched, frames, output)


def _write_stages(
    plan: FeatureFlowPlan, key: StageGraphs, between: StageGraphs, folder: Path, stored: Stored
) -> tuple[tuple[StageSpec, ...], FeatureFlow]:
    """The stages in the order in which a frame meets them, and how the features are moved."""
    stages = [
        _write_reference(folder),
        *(
            write_stage(between, stage, folder, head=False, between=True, stored=stored)
            for stage in plan.between.stages
        ),
        write_stage(key, plan.key.stages[0], folder, head=False, stored=stored),
    ]
    return tuple(stages), FeatureFlow(
        value=plan.value,
        model=save_graph(_transform_graph(plan, between), folder, "transform", stored),
        inputs=plan.transform.inputs,
        reference=REFERENCE_FRAME,
        head=write_stage(key, plan.key.head, folder, head=True, name="key_head", stored=stored),
    )


def _write_reference(folder: Path) -> StageSpec:
    """The stage that keeps a frame as it is."""
    g = OnnxGraph()
    frame = g.input(FRAME, ["height", "width", 3], TensorProto.UINT8)
    g.output(g.node("Identity", frame), REFERENCE_FRAME, ["height", "width", 3], TensorProto.UINT8)
    model = save_graph(g.draft(REFERENCE), folder, REFERENCE)
    return StageSpec(REFERENCE, model, (FRAME,), (REFERENCE_FRAME,), macs=0, parameters=0, layers=())


def _transform_graph(plan: FeatureFlowPlan, between: StageGraphs) -> Draft:
    """From `value` and what the flow stage made to `moved`."""
    g = GraphBuilder(plan.net, between.sizes)
    g.env[plan.earlier_value] = g.input("value", between.value_dims(plan.value))
    for name in plan.transform.inputs:
        g.value_input(name, between.value_dims(name))
    convert_layers(g, plan.transform.layers, between.weights.blobs)
    g.output(g.env[plan.value], "moved", between.value_dims(plan.value))
    return g.draft(f"{plan.net.name} transform")


def _values(plan: FeatureFlowPlan, key: StageGraphs, between: StageGraphs) -> dict[str, ValueSpec]:
    carried = [value for stage in plan.between.stages for value in stage.outputs]
    return {
        **key.values([plan.value]),
        REFERENCE_FRAME: ValueSpec((*key.picture[2:], 3), "uint8"),
        **{value: ValueSpec(between.sizes.shapes[value]) for value in carried},
    }
