"""`cw.convert`: a prototxt and its weights become one ONNX model or a bundle of stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np

import caffe_port
import staged_onnx
import weights
from caffe_port.convert import ancestors, draft_onnx
from caffe_port.net import Net
from clockwork_onnx.default_schedule import default_schedule
from clockwork_onnx.preprocessing import Asked, check_size, choose_preprocessing
from runtime.schedule.grammar import parse_schedule
from staged_onnx.export import check_target
from staged_onnx.outputs import choose_output
from staged_onnx.stage_graphs import input_shapes
from weights.errors import BundleError, UsageError
from weights.whole_file import check_folder

__all__ = ["Conversion", "convert"]

Weights = Mapping[str, tuple[np.ndarray, ...]]
"""Arrays by layer name."""

Dims = Sequence[int | str]
"""A shape; a word where a dimension is open."""


@dataclass(frozen=True)
class Conversion:
    """What `convert` wrote.

    path: the file or folder. bundle: the bundle, or None for a plain model. inputs, outputs: the plain
    model's values and their shapes, open dimensions as words. left_out: name and type of each layer of the
    net that the model does without. chosen: what was decided because it was not given, one line each.
    notes: what a user should know. fixed_size: why the plain model takes one size only, or "". origins:
    where the size, the channels, the mean and the scale of a bundle come from.
    """

    path: Path
    bundle: staged_onnx.Bundle | None
    left_out: tuple[tuple[str, str], ...]
    inputs: Mapping[str, Dims]
    outputs: Mapping[str, Dims]
    chosen: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    fixed_size: str = ""
    origins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _BundleOptions:
    """The arguments of `convert` that belong to a bundle; None or empty: to be chosen from the net."""

    cuts: Sequence[str]
    stages: int | None
    size: tuple[int, int] | Literal["native"] | None
    channels: str | None
    mean: Sequence[float] | str | PathLike[str] | None
    scale: float | None
    fit: str | None
    more: Mapping[str, staged_onnx.Preprocessing] | None
    classes: str | None
    schedule: str | None
    signal: str | None
    kind: str | None

    def given(self) -> list[str]:
        """Names of the arguments that were given."""
        return [f.name for f in fields(self) if getattr(self, f.name) not in (None, ())]


def convert(
    prototxt: str | PathLike[str] | Net,
    caffemodel: str | PathLike[str] | Weights | None,
    target: str | PathLike[str],
    *,
    random_weights: int | None = None,
    outputs: Sequence[str] = (),
    fixed: bool = False,
    force: bool = False,
    cuts: Sequence[str] = (),
    stages: int | None = None,
    size: tuple[int, int] | Literal["native"] | None = None,
    channels: str | None = None,
    mean: Sequence[float] | str | PathLike[str] | None = None,
    scale: float | None = None,
    fit: str | None = None,
    more: Mapping[str, staged_onnx.Preprocessing] | None = None,
    classes: str | None = None,
    schedule: str | None = None,
    signal: str | None = None,
    kind: str | None = None,
    whole: bool = True,
) -> Conversion:
    """Port a Caffe net to ONNX: what `clockwork convert` does. What is not given is chosen and said.

    Args:
        prototxt: Path of the prototxt, or a net from `read_net`.
        caffemodel: Path of the .caffemodel or .h5 (several, separated by commas, are overlaid), or arrays
            from `read_weights`; None with `random_weights`.
        target: NAME.onnx for one plain model, NAME.staged for a bundle.
        random_weights: The seed for weights made from the fillers, in place of `caffemodel`.
        outputs: Blobs that the model gives out (.onnx), or the one that holds the scores (.staged).
        fixed: .onnx only: freeze the input size.
        force: Replace what exists.
        cuts: .staged only, as all that follow: blobs to cut at.
        stages: Instead of `cuts`, a number of stages.
        size: (height, width) to which frames are brought, or "native" for their own size; by default the
            prototxt's, or the frame's own where the net crops to it or makes pictures.
        channels: "bgr", "rgb" or "gray", the net's order; like `mean` and `scale` by default what the
            prototxt's data layers say.
        mean: The net sees (x - mean) * scale in its order of channels; numbers, or a file (.binaryproto,
            .npy).
        scale: See `mean`.
        fit: "resize" or "pad": what is done with frames of a size that the net does not take.
        more: For a net of several pictures: what becomes of each further one, by the input's name.
        classes: A set of classes, a file of names, or a number.
        schedule: The default schedule.
        signal: The blob that adaptive clocks watch.
        kind: What the bundle gives for a frame: "labels", "scores", "picture", "map" or "vector"; by default
            it follows from the net.
        whole: Also keep the un-staged model, with which `bench` compares.

    Returns:
        What was written, and what was chosen on the way.

    Raises:
        ClockworkError: UsageError, PrototxtError, UnsupportedError, WeightsError or BundleError.
    """
    path = Path(target)
    options = _BundleOptions(
        cuts, stages, size, channels, mean, scale, fit, more or None, classes, schedule, signal, kind
    )
    _check(path, caffemodel, random_weights, options)
    net = prototxt if isinstance(prototxt, Net) else caffe_port.read_net(prototxt)
    blobs, files = _weights(net, caffemodel, random_weights)
    if path.suffix.lower() == ".onnx":
        return _plain(net, blobs, path, outputs, fixed, force)
    return _bundle(net, blobs, path, outputs, options, files=files, whole=whole, force=force)


def _check(path: Path, caffemodel: object, random_weights: int | None, options: _BundleOptions) -> None:
    """Refuse arguments that contradict each other before any file is read."""
    if path.suffix.lower() not in (".onnx", ".staged"):
        raise UsageError(
            "what should be written?", found=str(path), expected="-o NAME.onnx or -o NAME.staged"
        )
    check_folder(path.parent)
    if (caffemodel is None) == (random_weights is None):
        raise UsageError(
            "where do the weights come from?",
            found="both" if caffemodel is not None else "neither",
            expected="WEIGHTS, or --random-weights SEED",
        )
    given = options.given()
    if path.suffix.lower() == ".onnx" and given:
        raise UsageError(
            "cuts, pre-processing and classes belong to a bundle",
            file=path,
            found=", ".join(given),
            expected="-o NAME.staged with them, or -o NAME.onnx without",
            hint="a plain model takes the net's own input; --shape sets its size",
        )


def _weights(
    net: Net, caffemodel: str | PathLike[str] | Weights | None, random_weights: int | None
) -> tuple[Weights, list[str]]:
    """The weights, and the files that they were read from."""
    if caffemodel is None:
        return caffe_port.random_weights(net, seed=random_weights or 0), []
    if isinstance(caffemodel, Mapping):
        return caffemodel, []
    return weights.read(caffemodel), [str(path) for path in weights.split_paths(caffemodel)]


def _plain(
    net: Net,
    blobs: Weights,
    target: Path,
    outputs: Sequence[str],
    fixed: bool,
    force: bool,
) -> Conversion:
    if target.exists() and not force:
        raise UsageError("the file exists", file=target, hint="--force (force=True) replaces it")
    draft = draft_onnx(net, blobs, outputs=list(outputs) or None, fixed=fixed)
    facts = {p.key: p.value for p in draft.model.metadata_props}
    caffe_port.save_model(draft, target)
    graph = draft.model.graph
    return Conversion(
        path=target,
        bundle=None,
        left_out=_left_out(net, (layer.key for layer in ancestors(net, outputs or net.outputs))),
        inputs={value.name: _dims(value) for value in graph.input},
        outputs={value.name: _dims(value) for value in graph.output},
        notes=tuple(line for line in facts.get("caffe.notes", "").split("\n") if line),
        fixed_size=facts.get("caffe.fixed_size", ""),
    )


def _dims(value: Any) -> list[int | str]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def _left_out(net: Net, used: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """The layers of the net that the model does without, given the keys of those it has."""
    keys = frozenset(used)
    return tuple((layer.name, layer.type) for layer in net.layers if layer.key not in keys)


def _bundle(
    net: Net,
    blobs: Weights,
    target: Path,
    outputs: Sequence[str],
    options: _BundleOptions,
    *,
    files: Sequence[str],
    whole: bool,
    force: bool,
) -> Conversion:
    check_target(target, force)
    if len(outputs) > 1:
        raise UsageError("a bundle has one score map", found=", ".join(outputs), expected="one --blob")
    asked = Asked(options.size, options.channels, options.mean, options.scale, options.fit)
    size = None if options.size == "native" else options.size
    if size is not None:
        check_size(net, size)
    plan, chosen = _plan(net, options, size, outputs[0] if outputs else None)
    picture = _makes_pictures(net, plan, bool(options.classes))
    found = choose_preprocessing(net, asked, plan.scores, picture=picture)
    bundle = staged_onnx.export(
        net,
        blobs,
        plan,
        target,
        preprocessing=found.how,
        more=options.more,
        classes=_classes(plan, options.classes),
        schedule=options.schedule or (lambda manifest: default_schedule(manifest)[0]),
        signal=options.signal,
        weights_files=files,
        whole=whole,
        force=force,
        check=lambda manifest: parse_schedule(manifest.schedule, manifest, files=False),
    )
    manifest = bundle.manifest
    if not options.schedule:
        name, why = default_schedule(manifest)
        chosen = (*chosen, f"schedule {name}: {why}")
    used = (key for stage in (*manifest.stages, manifest.head) for key in stage.layers)
    return Conversion(
        path=bundle.path,
        bundle=bundle,
        left_out=_left_out(net, used),
        inputs={},
        outputs={},
        chosen=chosen,
        notes=(*([found.warning] if found.warning else []), *manifest.notes),
        origins=found.origins,
    )


def _makes_pictures(net: Net, plan: staged_onnx.Plan, named: bool) -> bool:
    """Whether what comes out is a picture."""
    scores = plan.scores
    spec, _ = choose_output(
        net, scores, plan.asked or scores, plan.shapes[scores], kind=plan.kind, named=named
    )
    return spec.kind == "picture"


MOST_STAGES = 3
"""Stages that are chosen where the user names none: as many as the paper's nets have."""


def _classes(plan: staged_onnx.Plan, given: str | None) -> staged_onnx.Classes | None:
    """The classes that the user names; a file of names may go on after as many as the output has."""
    if not given:
        return None
    channels = plan.shapes[plan.scores][1] if len(plan.shapes[plan.scores]) > 1 else 1
    return staged_onnx.classes(given, 2 if channels == 1 else channels)


def _plan(
    net: Net, options: _BundleOptions, size: tuple[int, int] | None, output: str | None
) -> tuple[staged_onnx.Plan, tuple[str, ...]]:
    """The plan, and what was chosen because it was not given."""
    if options.cuts and options.stages is not None:
        raise UsageError(
            "where should the net be cut?", found="both", expected="--cut BLOB (repeat) or --stages N"
        )
    inputs = input_shapes(net, size)
    if options.cuts:
        return staged_onnx.plan(
            net, cuts=list(options.cuts), output=output, inputs=inputs, kind=options.kind
        ), ()
    if options.stages is not None:
        return staged_onnx.plan(
            net, stages=options.stages, output=output, inputs=inputs, kind=options.kind
        ), ()
    for stages in range(MOST_STAGES, 0, -1):
        try:
            plan = staged_onnx.plan(net, stages=stages, output=output, inputs=inputs, kind=options.kind)
        except BundleError:
            if stages == 1:
                raise
            continue
        places = ", ".join(stage.cut for stage in plan.stages)
        return plan, (f"{stages} stages, cut at {places}: --cut BLOB or --stages N choose others",)
    raise AssertionError("unreachable")
