"""Net + weights + plan -> a bundle on disk, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np
from onnx import TensorProto

from caffe_port.convert import convert_layers
from caffe_port.graph import GraphBuilder, NeedsFixedSize
from caffe_port.match import Matched, match_weights
from caffe_port.net import Dims, Input, Net, Shape, Sizes
from caffe_port.onnx_graph import Draft
from caffe_port.save import save_model
from caffe_port.shapes import measure
from staged_onnx.bundle import MANIFEST, Bundle, hash_files, read_bundle, stored_files
from staged_onnx.frame_graphs import Preprocessing, emit_labels, emit_preprocessing
from staged_onnx.manifest import Manifest, ScoresSpec, StageSpec, ValueSpec
from staged_onnx.palettes import Classes, classes
from staged_onnx.planning import Plan, StagePlan, index_values
from weights._version import __version__
from weights.errors import BundleError, ClockworkError
from weights.whole_file import check_folder, exchange, sync_folder, whole_file

__all__ = ["choose_signal", "export", "picture_input"]


def picture_input(net: Net) -> Input:
    """The input that takes the frame: the net's only one, 1 x 1 or 3 x H x W.

    Raises BundleError for a net that cannot be fed from a video frame alone.
    """
    if len(net.inputs) != 1 or len(net.inputs[0].shape) != 4 or net.inputs[0].shape[1] not in (1, 3):
        found = ", ".join(f"{i.name} {'x'.join(map(str, i.shape))}" for i in net.inputs) or "no input"
        raise BundleError(
            "this net cannot be fed from video frames",
            file=net.file,
            found=found,
            expected="one input N x 3 x H x W or N x 1 x H x W",
            hint="convert it to one plain model instead: -o NAME.onnx",
        )
    return net.inputs[0]


def input_shape(net: Net, size: tuple[int, int] | None) -> dict[str, Shape]:
    """The picture's shape for one frame at `size`, or at the prototxt's own size."""
    picture = picture_input(net)
    height, width = size or (picture.shape[2], picture.shape[3])
    return {picture.name: (1, picture.shape[1], height, width)}


def choose_signal(plan: Plan) -> str:
    """The blob an adaptive clock watches by default.

    A score map with one channel a class that a stage before the last hands to the head (the deepest such),
    else the cut before the last stage or, where that is a map of indices or not handed out, the last other
    map that its stage hands out; "" for a bundle of one stage, and where there is no such map.
    """
    if len(plan.stages) < 2:
        return ""
    classes_count = plan.shapes[plan.scores][1]
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


def _notes(plan: Plan, signal: str) -> tuple[str, ...]:
    """What whoever plays the bundle should know of its stages."""
    notes = []
    share = plan.head.macs / max(1, plan.head.macs + sum(stage.macs for stage in plan.stages))
    if share > 0.5:
        notes.append(f"the head does {share:.0%} of the work on every frame: clocks save little here")
    if not signal and len(plan.stages) > 1:
        notes.append("no map that an adaptive clock could watch by default: choose one with --signal BLOB")
    return tuple(notes)


def _frame_sized(sizes: Sizes, other: Sizes, picture: str, scores: str) -> bool:
    """Whether the scores have the picture's height and width, whatever they are."""
    return all(s.shapes[scores][2:] == s.shapes[picture][2:] for s in (sizes, other))


@dataclass(frozen=True)
class _Exporter:
    net: Net
    plan: Plan
    sizes: Sizes
    weights: Matched
    preprocessing: Preprocessing
    native_scores: bool

    def _value_dims(self, value: str) -> list[int | str]:
        dims: Dims = self.sizes.dims[value]
        return [d if d is not None else f"{value}_d{i}" for i, d in enumerate(dims)]

    def build(self, stage: StagePlan, *, head: bool) -> tuple[Draft, tuple[str, ...]]:
        """The graph of one stage and the names of its inputs."""
        g = GraphBuilder(self.net, self.sizes)
        resize = head and not self.native_scores
        frame = bool(stage.net_inputs) or resize
        if frame:
            g.input("frame", ["height", "width", 3], TensorProto.UINT8)
        for name in stage.net_inputs:
            g.env[name] = emit_preprocessing(g, "frame", self.preprocessing)
        for value in stage.inputs:
            g.value_input(value, self._value_dims(value))
        convert_layers(g, stage.layers, self.weights.blobs)
        if head:
            channels = self.sizes.shapes[self.plan.scores][1]
            labels = emit_labels(g, g.env[self.plan.scores], channels, "frame" if resize else None)
            g.output(labels, "labels", ["height", "width"], TensorProto.UINT8)
        for value in () if head else stage.outputs:
            g.output(g.env[value], value, self._value_dims(value))
        return g.draft(f"{self.net.name} {stage.name}".strip()), (
            *stage.inputs,
            *(("frame",) if frame else ()),
        )

    def values(self, carried: Sequence[str]) -> dict[str, ValueSpec]:
        """What the manifest says of the carried values."""
        picture = picture_input(self.net).name
        larger = _larger({picture: self.sizes.shapes[picture]})
        try:
            shapes = dict(measure(self.net, larger, fixed=True).shapes)
        except ClockworkError:  # a net of one size only
            shapes = {}
        extra = tuple(larger[picture][i] - self.sizes.shapes[picture][i] for i in (2, 3))
        specs = {}
        for value in carried:
            shape = self.sizes.shapes[value]
            gained = (
                [shapes[value][i] - shape[i] for i in (2, 3)] if value in shapes and len(shape) == 4 else []
            )
            known = len(gained) == 2 and min(gained) > 0
            stride = (extra[0] / gained[0], extra[1] / gained[1]) if known else None
            specs[value] = ValueSpec(shape, stride=stride)
        return specs

    def whole(self) -> Draft:
        """The un-staged net with the same pre- and post-processing, for comparison."""
        layers = [layer for stage in (*self.plan.stages, self.plan.head) for layer in stage.layers]
        order = {layer.key: i for i, layer in enumerate(self.net.layers)}
        everything = StagePlan(
            "whole",
            "",
            tuple(sorted(layers, key=lambda x: order[x.key])),
            (),
            (picture_input(self.net).name,),
            (),
            0,
            0,
        )
        return self.build(everything, head=True)[0]


def _reads_pixels(net: Net, stage: StagePlan) -> bool:
    """Whether the stage uses the picture's values: Crop's second bottom lends only its size."""
    return any(
        b in stage.net_inputs and not (layer.type == "Crop" and position == 1)
        for layer in stage.layers
        for position, b in enumerate(layer.bottoms)
    )


def _save(model: Draft, folder: Path, name: str) -> str:
    file = f"{name}.onnx"
    save_model(model, folder / file, weights_file=f"weights/{name}.bin")
    return file


def _hashes(files: Sequence[str | PathLike[str]]) -> list[dict[str, str]]:
    found = []
    for file in files:
        with open(file, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        found.append({"name": Path(file).name, "sha256": digest})
    return found


def export(
    net: Net,
    blobs: Mapping[str, tuple[np.ndarray, ...]],
    plan: Plan,
    path: str | PathLike[str],
    *,
    preprocessing: Preprocessing | None = None,
    classes: Classes | None = None,
    schedule: str = "alternating",
    signal: str | None = None,
    weights_files: Sequence[str | PathLike[str]] = (),
    whole: bool = True,
    force: bool = False,
    check: Callable[[Manifest], object] | None = None,
) -> Bundle:
    """Write the bundle `path` and return it.

    blobs: weights by layer name. classes: names and colours, one for each channel of the scores (two for one
    channel), numbered ones by default. schedule and signal:
    defaults for whoever plays it. weights_files: named in the manifest with their hashes, as the prototxt is.
    whole: also keep the un-staged net as `whole.onnx`, for comparison. check: called with the manifest before
    the bundle appears; what it raises stops the export (does the schedule fit the stages?).

    The folder appears whole or not at all, and never over an existing one without `force` (which replaces
    nothing but a bundle). Raises BundleError, WeightsError, ShapeError or UnsupportedError.
    """
    target = Path(path)
    check_target(target, force)
    how = preprocessing or Preprocessing()
    exporter = _prepare(net, blobs, plan, how)
    signal = choose_signal(plan) if signal is None else signal
    carried = [value for stage in plan.stages for value in stage.outputs]
    if signal and signal not in carried:
        raise BundleError(
            "the signal is no carried value", file=net.file, found=f'"{signal}"', expected=", ".join(carried)
        )
    channels = plan.shapes[plan.scores][1]
    wanted = 2 if channels == 1 else channels
    table = classes or numbered(wanted)
    if len(table.names) != wanted:
        raise BundleError(
            "class names do not fit the scores",
            file=net.file,
            found=f"{len(table.names)} names",
            expected=f'{wanted}, for the {channels} channel{"s" * (channels > 1)} of "{plan.scores}"',
            hint="a set, a names file or the number itself: --classes SET|FILE|N",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        (folder / "weights").mkdir()
        specs = []
        for stage in (*plan.stages, plan.head):
            model, names = exporter.build(stage, head=stage is plan.head)
            outputs = ("labels",) if stage is plan.head else stage.outputs
            specs.append(
                StageSpec(
                    stage.name,
                    _save(model, folder, stage.name),
                    names,
                    outputs,
                    stage.macs,
                    stage.parameters,
                    tuple(layer.key for layer in stage.layers),
                    stage.cut,
                    _reads_pixels(net, stage),
                )
            )
        manifest = Manifest(
            net.name or target.stem, tuple(specs[:-1]), specs[-1],
            exporter.values(carried), how,
            exporter.sizes.shapes[picture_input(net).name][2:], table.names[:256], table.palette,  # type: ignore[arg-type]
            schedule, signal, {"prototxt": _hashes([net.file])[0], "weights": _hashes(weights_files)},
            f"clockwork-onnx {__version__}", _save(exporter.whole(), folder, "whole") if whole else "",
            plan.why, (*_notes(plan, signal), *net.notes, *exporter.weights.notes),
            ScoresSpec(plan.scores, channels, exporter.native_scores),
        )  # fmt: skip
        if check is not None:
            check(manifest)
        manifest = replace(manifest, files=hash_files(folder, stored_files(folder)))
        with whole_file(folder / MANIFEST) as partial:
            partial.write_text(json.dumps(manifest.to_json(), indent=1) + "\n", "utf-8")
        folder.chmod(0o755)
        _put(folder, target, force)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return read_bundle(target)


def numbered(count: int) -> Classes:
    """Names and colours for classes that nobody named."""
    return classes(str(count))


def check_target(target: Path, force: bool) -> None:
    """Raise BundleError where writing `target` would destroy something that was not asked for.

    And UsageError where its folder cannot be made.
    """
    check_folder(target.parent)
    if not target.exists() and not target.is_symlink():
        return
    if not force:
        raise BundleError(
            "the bundle exists", file=target, expected="a new path", hint="--force (force=True) replaces it"
        )
    if not target.is_dir() or not (target / MANIFEST).is_file():
        raise BundleError(
            "--force replaces bundles only",
            file=target,
            found="something else",
            expected="a bundle, or a new path",
        )


def _put(folder: Path, target: Path, force: bool) -> None:
    """Give a finished bundle its name: at every moment the old bundle has it, or the whole new one."""
    if not force or not target.exists():
        os.rename(folder, target)
        sync_folder(target.parent)
        return
    exchange(folder, target)
    sync_folder(target.parent)
    # What was the new folder's name is now the old bundle's, or that of a link to it.
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(
    net: Net, blobs: Mapping[str, tuple[np.ndarray, ...]], plan: Plan, how: Preprocessing
) -> _Exporter:
    picture = picture_input(net)
    if picture.shape[1] != how.planes:
        raise BundleError(
            "channels do not fit the net",
            file=net.file,
            found=f"{how.channels} ({how.planes} channels)",
            expected=f"{picture.shape[1]} channels",
            hint="--channels gray for one channel, bgr or rgb for three",
        )
    shapes = input_shape(net, how.size)
    sizes = measure(net, shapes, fixed=how.size is not None)
    scores = sizes.shapes[plan.scores]
    if len(scores) != 4 or scores[1] > 256:
        raise BundleError(
            "the output is no score map",
            file=net.file,
            found=f'"{plan.scores}" of shape {scores}',
            expected="1 x classes x height x width, at most 256 classes",
            hint="name the blob that holds the scores: --blob BLOB (output=BLOB of plan()); a classifier "
            "without a score map can only become one plain model: -o NAME.onnx",
        )
    if how.size is None and sizes.fixed:
        raise _fixed_size(net, sizes.reason)
    keys = frozenset(layer.key for stage in (*plan.stages, plan.head) for layer in stage.layers)
    matched = match_weights(net, sizes.shapes, blobs, needed=keys)
    native = False
    if how.size is None:
        native = _frame_sized(sizes, measure(net, _larger(shapes)), picture.name, plan.scores)
    exporter = _Exporter(net, plan, sizes, matched, how, native)
    try:
        for stage in (*plan.stages, plan.head):
            exporter.build(stage, head=stage is plan.head)
    except NeedsFixedSize as needs:
        raise _fixed_size(net, str(needs)) from None
    return exporter


def _larger(shapes: dict[str, Shape]) -> dict[str, Shape]:
    return {name: (*shape[:2], shape[2] + 64, shape[3] + 128) for name, shape in shapes.items()}


def _fixed_size(net: Net, reason: str) -> ClockworkError:
    picture = picture_input(net)
    own = f"{picture.shape[2]}x{picture.shape[3]}"
    return BundleError(
        "this net runs at one frame size only",
        file=net.file,
        found=reason,
        hint=f"give the size frames are resized to, e.g. --size {own}",
    )
