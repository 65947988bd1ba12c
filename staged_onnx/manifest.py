"""The manifest of a bundle: what its stages are, as data. `manifest_reader` reads one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from caffe_port.net import HostStep
from staged_onnx.frame_graphs import FRAME, FrameSpec, Preprocessing
from staged_onnx.outputs import OutputSpec
from staged_onnx.palettes import Classes

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "FORMAT_VERSION_MORE_FRAMES",
    "FeatureFlow",
    "FileSpec",
    "Manifest",
    "StageSpec",
    "ValueSpec",
]

FORMAT = "clockwork-bundle"
FORMAT_VERSION = 1
FORMAT_VERSION_MORE_FRAMES = 2
"""Of bundles that take several pictures per frame; a reader of version 1 would not know where to get them."""


@dataclass(frozen=True)
class StageSpec:
    """One stage, or the head: its file, the values in and out, and what a pass costs.

    inputs: "frame", other pictures of the frame, or names of carried values; `reads_pixels`: whether the
    pictures' values matter or only their size. macs are multiply-accumulates of one pass at the bundle's
    reference size. between: it serves the frames between key frames alone (see FeatureFlow), so that a shot's
    first frame does without it.
    """

    name: str
    model: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    macs: int
    parameters: int
    layers: tuple[str, ...]
    cut: str = ""
    reads_pixels: bool = True
    between: bool = False


@dataclass(frozen=True)
class ValueSpec:
    """A carried value: its shape at the reference size and its type.

    stride: how many of the net's input pixels lie between two neighbours of the value, down and across; None
    where that is not known, or the value is not a map.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    stride: tuple[float, float] | None = None


@dataclass(frozen=True)
class FileSpec:
    """What a file of the bundle had in it when it was written.

    Attributes:
        size: Bytes.
        sha256: The SHA-256 of its content, in hexadecimal.
    """

    size: int
    sha256: str


@dataclass(frozen=True)
class FeatureFlow:
    """That a bundle moves its features between key frames by flow that a stage of its own makes.

    value: the carried value that is moved; its maker fires on key frames. model: the graph that moves it,
    with the inputs `value` and, by their own names, the carried values `inputs`, and the output `moved`.
    reference: the carried value that is an earlier frame, from which the flow leads to this one. head: the
    head of key frames; it reads nothing that only frames between them have.
    """

    value: str
    model: str
    inputs: tuple[str, ...]
    reference: str
    head: StageSpec


@dataclass(frozen=True)
class Manifest:
    """Everything a player needs to know of a bundle. `to_json` and `from_json` are inverses.

    preprocessing: of the picture that is played, labelled and shown. more_frames: further pictures that come
    with each frame, such as depth, of the same height and width.
    """

    name: str
    stages: tuple[StageSpec, ...]
    head: StageSpec
    values: Mapping[str, ValueSpec]
    preprocessing: Preprocessing
    reference_size: tuple[int, int]
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    schedule: str
    signal: str
    source: Mapping[str, Any] = field(default_factory=dict)
    created_by: str = ""
    whole: str = ""
    why: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    output: OutputSpec = field(default_factory=OutputSpec)
    files: Mapping[str, FileSpec] = field(default_factory=dict)
    feature_flow: FeatureFlow | None = None
    host_steps: tuple[HostStep, ...] = ()
    more_frames: tuple[FrameSpec, ...] = ()

    @property
    def frames(self) -> tuple[FrameSpec, ...]:
        """Every picture of a frame, the one that is shown first."""
        return (FrameSpec(FRAME, self.preprocessing), *self.more_frames)

    @property
    def frame_names(self) -> tuple[str, ...]:
        """The names under which stages read the pictures of a frame."""
        return tuple(frame.name for frame in self.frames)

    @property
    def scores(self) -> OutputSpec | None:
        """The map that the head takes the labels from; None where there are no labels, or it is not known."""
        return self.output if self.output.kind == "labels" and self.output.channels else None

    @property
    def classes(self) -> Classes | None:
        """Names and colours of what comes out; None where it has no classes."""
        return Classes(self.class_names, self.palette) if self.class_names else None

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a full pass."""
        if self.feature_flow is not None:
            stages = (stage for stage in self.stages if not stage.between)
            return sum(stage.macs for stage in (*stages, self.feature_flow.head))
        return sum(stage.macs for stage in (*self.stages, self.head))

    @property
    def parts(self) -> tuple[StageSpec, ...]:
        """All stages and the head; before it the head of key frames, where they have one of their own."""
        key_head = (
            (replace(self.feature_flow.head, name="key head"),) if self.feature_flow is not None else ()
        )
        return (*self.stages, *key_head, self.head)

    @property
    def models(self) -> tuple[str, ...]:
        """The files of all graphs that are played."""
        moved = (self.feature_flow.model,) if self.feature_flow is not None else ()
        return (*(part.model for part in self.parts), *moved)

    def to_json(self) -> dict[str, Any]:
        """The manifest as JSON data."""
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION_MORE_FRAMES if self.more_frames else FORMAT_VERSION,
            "created_by": self.created_by,
            "name": self.name,
            "source": dict(self.source),
            "frame": self.frames[0].to_json(),
            "preprocessing": self.preprocessing.to_json(),
            **({"more_frames": [_frame_json(f) for f in self.more_frames]} if self.more_frames else {}),
            "reference_size": list(self.reference_size),
            "stages": [_stage_json(stage) for stage in self.stages],
            "head": _stage_json(self.head),
            "values": {name: _value_json(v) for name, v in self.values.items()},
            **({"output": asdict(self.output)} if self.output.channels else {}),
            "classes": {"names": list(self.class_names), "palette": [list(c) for c in self.palette]},
            "schedule": self.schedule,
            "signal": self.signal,
            "whole": self.whole,
            "why": list(self.why),
            "notes": list(self.notes),
            "files": {name: asdict(spec) for name, spec in self.files.items()},
            **({"feature_flow": _flow_json(self.feature_flow)} if self.feature_flow is not None else {}),
            **({"host_steps": [asdict(step) for step in self.host_steps]} if self.host_steps else {}),
        }


def _frame_json(frame: FrameSpec) -> dict[str, Any]:
    return {**frame.to_json(), "preprocessing": frame.preprocessing.to_json()}


def _value_json(value: ValueSpec) -> dict[str, Any]:
    stride = {"stride": list(value.stride)} if value.stride is not None else {}
    return {"shape": list(value.shape), "dtype": value.dtype, **stride}


def _stage_json(stage: StageSpec) -> dict[str, Any]:
    data = asdict(stage)
    if not stage.between:
        del data["between"]
    return {k: list(v) if isinstance(v, tuple) else v for k, v in data.items()}


def _flow_json(flow: FeatureFlow) -> dict[str, Any]:
    return {
        "value": flow.value,
        "model": flow.model,
        "inputs": list(flow.inputs),
        "reference": flow.reference,
        "head": _stage_json(flow.head),
    }
