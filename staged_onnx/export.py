"""Net + weights + plan -> a bundle on disk, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

import numpy as np

from caffe_port.graph import NeedsFixedSize
from caffe_port.match import match_weights
from caffe_port.net import Input, Net, Shape, Sizes
from caffe_port.save import Stored
from caffe_port.shapes import measure
from staged_onnx.bundle import Bundle, read_bundle
from staged_onnx.bundle_folder import bundle_folder, check_target, file_hashes, save_graph, write_manifest
from staged_onnx.frame_graphs import FRAME, FrameSpec, Preprocessing
from staged_onnx.manifest import Manifest, StageSpec
from staged_onnx.outputs import OutputSpec, choose_output
from staged_onnx.palettes import MAX_CLASSES, Classes
from staged_onnx.palettes import classes as class_table
from staged_onnx.planning import Plan, StagePlan, index_values
from staged_onnx.stage_graphs import (
    StageGraphs,
    frame_sized,
    input_shapes,
    picture_input,
    picture_inputs,
    reads_pixels,
)
from weights._version import __version__
from weights.errors import BundleError, ClockworkError

__all__ = ["checked_classes", "choose_signal", "export", "write_stage"]


def choose_signal(plan: Plan) -> str:
    """The blob an adaptive clock watches by default.

    A score map with one channel per class that a stage before the last hands to the head (the deepest such),
    else the cut before the last stage or, where that is a map of indices or not handed out, the last other
    map that its stage hands out; "" for a bundle of one stage, and where there is no such map.
    """
    if len(plan.stages) < 2:
        return ""
    classes_count = plan.shapes[plan.scores][-1 if len(plan.shapes[plan.scores]) < 2 else 1]
    for stage in reversed(plan.stages[:-1]):
        for value in stage.outputs:
            shape = plan.shapes[value]
            if value in plan.head.inputs and len(shape) == 4 and shape[1] == classes_count:
                return value
    stage = plan.stages[-2]
    indices = index_values([layer for each in plan.stages for layer in each.layers])
    maps = [v for v in stage.outputs if v not in indices and len(plan.shapes[v]) == 4]
    if stage.cut in maps:
        return stage.cut
    return maps[-1] if maps else ""


def _notes(plan: Plan, signal: str, how: Preprocessing) -> tuple[str, ...]:
    """What whoever plays the bundle should know of its stages."""
    notes = []
    if how.pads and how.size is not None:
        notes.append(
            f"frames are padded with the mean or cropped to {how.size[0]} x {how.size[1]}, as ImageSegData "
            "does, not resized; of a larger frame only the middle is labelled"
        )
    share = plan.head.macs / max(1, plan.head.macs + sum(stage.macs for stage in plan.stages))
    if share > 0.5:
        notes.append(f"the head does {share:.0%} of the work on every frame: clocks save little here")
    if not signal and len(plan.stages) > 1:
        notes.append("no map that an adaptive clock could watch by default: choose one with --signal BLOB")
    return tuple(notes)


def export(
    net: Net,
    blobs: Mapping[str, tuple[np.ndarray, ...]],
    plan: Plan,
    path: str | PathLike[str],
    *,
    preprocessing: Preprocessing | None = None,
    more: Mapping[str, Preprocessing] | None = None,
    classes: Classes | None = None,
    schedule: str | Callable[[Manifest], str] = "alternating",
    signal: str | None = None,
    weights_files: Sequence[str | PathLike[str]] = (),
    whole: bool = True,
    force: bool = False,
    check: Callable[[Manifest], object] | None = None,
) -> Bundle:
    """Write the bundle `path` and return it.

    The folder appears whole or not at all, and never over an existing one without `force` (which replaces
    nothing but a bundle).

    Args:
        net: The net.
        blobs: Its weights by layer name.
        plan: How it is cut, and what is to come out.
        path: The folder to write, NAME.staged.
        preprocessing: How a frame becomes the net's input; by default it is only turned into BGR.
        more: For a net of several pictures, the same by the name of each further input; the size is the
            first one's.
        classes: Names and colours, one for each channel of the scores (two for one channel), numbered ones
            by default.
        schedule: The default for whoever plays the bundle, or what chooses it, given the manifest.
        signal: The blob that adaptive clocks watch, by default `choose_signal`'s.
        weights_files: Named in the manifest with their hashes, as the prototxt is.
        whole: Also keep the un-staged net as `whole.onnx`, for comparison.
        force: Replace a bundle that is there.
        check: Called with the manifest before the bundle appears; what it raises stops the export (does the
            schedule fit the stages?).

    Returns:
        The bundle, opened.

    Raises:
        BundleError: The net, the classes or the signal do not fit a bundle, or the path is taken.
        WeightsError, ShapeError, UnsupportedError: The net cannot be converted with these weights.
    """
    target = Path(path)
    check_target(target, force)
    frames = _frames(net, preprocessing or Preprocessing(), more or {})
    graphs, notes = _prepare(net, blobs, plan, frames, named=classes is not None)
    signal = _checked_signal(net, plan, signal)
    table = checked_classes(net, graphs.output, classes)
    stored: Stored = {}
    with bundle_folder(target, force) as folder:
        stages = [write_stage(graphs, stage, folder, head=False, stored=stored) for stage in plan.stages]
        manifest = Manifest(
            name=net.name or target.stem,
            stages=tuple(stages),
            head=write_stage(graphs, plan.head, folder, head=True, stored=stored),
            values=graphs.values([value for stage in plan.stages for value in stage.outputs]),
            preprocessing=graphs.preprocessing,
            more_frames=tuple(frame for frame in frames.values() if frame.name != FRAME),
            reference_size=(graphs.picture[2], graphs.picture[3]),
            class_names=table.names if table is not None else (),
            palette=table.palette if table is not None else (),
            schedule=schedule if isinstance(schedule, str) else "",
            signal=signal,
            source={"prototxt": file_hashes([net.file])[0], "weights": file_hashes(weights_files)},
            created_by=f"clockwork-onnx {__version__}",
            whole=save_graph(graphs.whole(), folder, "whole", stored) if whole else "",
            why=plan.why,
            notes=(*notes, *_notes(plan, signal, graphs.preprocessing), *net.notes, *graphs.weights.notes),
            output=graphs.output,
            host_steps=net.host_steps,
        )
        if not isinstance(schedule, str):
            manifest = replace(manifest, schedule=schedule(manifest))
        if check is not None:
            check(manifest)
        write_manifest(manifest, folder)
    return read_bundle(target)


def _checked_signal(net: Net, plan: Plan, signal: str | None) -> str:
    signal = choose_signal(plan) if signal is None else signal
    carried = [value for stage in plan.stages for value in stage.outputs]
    if signal and signal not in carried:
        raise BundleError(
            "the signal is no carried value", file=net.file, found=f'"{signal}"', expected=", ".join(carried)
        )
    return signal


def checked_classes(net: Net, output: OutputSpec, given: Classes | None) -> Classes | None:
    """The class names of a bundle: as many as its output has classes, none where it has none.

    Args:
        net: The net, for messages.
        output: What comes out.
        given: The names that were asked for; None for numbered ones.

    Returns:
        Names and colours, or None.

    Raises:
        BundleError: The number of names is another.
    """
    wanted = output.classes()
    if given is None:
        return class_table(str(wanted)) if 0 < wanted <= MAX_CLASSES else None
    if len(given.names) != wanted:
        channels = output.channels
        expected = f'{wanted}, for the {channels} channel{"s" * (channels > 1)} of "{output.name}"'
        raise BundleError(
            "class names do not fit the scores",
            file=net.file,
            found=f"{len(given.names)} names",
            expected=expected if wanted else f"none: a {output.kind} has no classes",
            hint="a set, a names file or the number itself: --classes SET|FILE|N",
        )
    return given


def write_stage(
    graphs: StageGraphs,
    stage: StagePlan,
    folder: Path,
    *,
    head: bool,
    name: str = "",
    between: bool = False,
    stored: Stored | None = None,
) -> StageSpec:
    """Write a stage's graph and return what the manifest says of it.

    Args:
        graphs: What it is made from.
        stage: The stage.
        folder: Where its file goes.
        head: Whether it is the head.
        name: The file's name without its ending, by default the stage's.
        between: Whether it serves the frames between key frames alone.
        stored: The weights that other stages have written, which are shared.

    Returns:
        The stage as it stands in the manifest.
    """
    model, inputs = graphs.build(stage, head=head)
    return StageSpec(
        name=stage.name,
        model=save_graph(model, folder, name or stage.name, stored),
        inputs=inputs,
        outputs=(graphs.output.output,) if head else stage.outputs,
        macs=graphs.macs(stage),
        parameters=stage.parameters,
        layers=tuple(layer.key for layer in stage.layers),
        cut=stage.cut,
        reads_pixels=reads_pixels(graphs.net, stage),
        between=between,
    )


def _frames(net: Net, how: Preprocessing, more: Mapping[str, Preprocessing]) -> dict[str, FrameSpec]:
    """The picture of each of the net's inputs; the one that is shown is called FRAME, others as the input."""
    first, *others = picture_inputs(net)
    _check_channels(net, first, how, "--channels gray for one channel, bgr or rgb for three")
    if how.is_depth:
        raise BundleError(
            "the picture that is labelled and shown cannot be depth",
            file=net.file,
            found=how.channels,
            expected="bgr, rgb or gray",
        )
    if {i.name for i in others} != set(more):
        raise BundleError(
            "the further pictures of this net and what becomes of them do not fit"
            if more
            else "this net takes several pictures per frame",
            file=net.file,
            found=f"{first.name} is the first; stated: {', '.join(more) or 'none'}",
            expected=", ".join(f"{i.name} ({i.shape[1]} channel{'s' * (i.shape[1] > 1)})" for i in others)
            or "one picture alone",
            hint="--input BLOB=CHANNELS:MEAN per further picture, e.g. NYUDv2's "
            "--input hha=rgb:132.431,94.076,118.477 or --input depth=log-depth:7.844",
        )
    frames = {first.name: FrameSpec(FRAME, how)}
    for i in others:
        _check_channels(net, i, more[i.name], f"--input {i.name}=CHANNELS:MEAN states them")
        name = i.name if i.name != FRAME else f"{FRAME}_"
        frames[i.name] = FrameSpec(name, more[i.name].placed_as(how))
    return frames


def _check_channels(net: Net, picture: Input, how: Preprocessing, hint: str) -> None:
    if picture.shape[1] != how.planes:
        raise BundleError(
            f'channels do not fit the net\'s input "{picture.name}"',
            file=net.file,
            found=f"{how.channels} ({how.planes} channels)",
            expected=f"{picture.shape[1]} channels",
            hint=hint,
        )


def _prepare(
    net: Net,
    blobs: Mapping[str, tuple[np.ndarray, ...]],
    plan: Plan,
    frames: Mapping[str, FrameSpec],
    *,
    named: bool,
) -> tuple[StageGraphs, tuple[str, ...]]:
    """What the graphs are made from, tried once, and notes on what comes out."""
    how = frames[picture_input(net).name].preprocessing
    shapes = input_shapes(net, how.size)
    sizes = measure(net, shapes)
    output, note = choose_output(
        net, plan.scores, plan.asked or plan.scores, sizes.shapes[plan.scores], kind=plan.kind, named=named
    )
    if how.size is None and sizes.fixed:
        raise _fixed_size(net, sizes.reason)
    keys = frozenset(layer.key for stage in (*plan.stages, plan.head) for layer in stage.layers)
    matched = match_weights(net, sizes.shapes, blobs, needed=keys)
    output, input_sized = _placed(net, plan, how, output, shapes, sizes)
    graphs = StageGraphs(net, plan, sizes, matched, frames, output, input_sized=input_sized)
    try:
        for stage in (*plan.stages, plan.head):
            graphs.build(stage, head=stage is plan.head)
    except NeedsFixedSize as needs:
        if how.size is None:
            raise _fixed_size(net, str(needs)) from None
        graphs = replace(graphs, sizes=measure(net, shapes, fixed=True))
    return graphs, (note,) if note else ()


def _placed(
    net: Net, plan: Plan, how: Preprocessing, output: OutputSpec, shapes: dict[str, Shape], sizes: Sizes
) -> tuple[OutputSpec, bool]:
    """The output with how it comes to lie on the frame, and whether it has the size of the net's input."""
    found = sizes.shapes[plan.scores]
    if len(found) != 4:
        return output, False
    taken = sizes.shapes[picture_input(net).name][2:]
    input_sized = found[2:] == taken if how.size is not None else frame_sized(net, shapes, plan.scores)
    resized = output.kind != "picture" or found[2:] == taken
    if how.pads and resized:
        output = replace(output, name=f"{plan.scores}@frame", native=True)
    else:
        output = replace(output, native=input_sized and not how.changes_size)
    return replace(output, resized=resized), input_sized


def _fixed_size(net: Net, reason: str) -> ClockworkError:
    picture = picture_input(net)
    own = f"{picture.shape[2]}x{picture.shape[3]}"
    return BundleError(
        "this net runs at one frame size only",
        file=net.file,
        found=reason,
        hint=f"give the size frames are resized to, e.g. --size {own}",
    )
