"""Reading a manifest: JSON from strangers, every field checked before anything is made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from caffe_port.net import HostStep
from staged_onnx.frame_graphs import FRAME, PLANES, FrameSpec, Preprocessing
from staged_onnx.manifest import (
    FORMAT,
    FORMAT_VERSION,
    FORMAT_VERSION_MORE_FRAMES,
    FeatureFlow,
    FileSpec,
    Manifest,
    StageSpec,
    ValueSpec,
)
from staged_onnx.outputs import KINDS, OutputSpec
from weights import limits
from weights.errors import BundleError

__all__ = ["from_json"]

LARGEST_REAL = 1e30
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,150}\.onnx")
_LISTED_NAME = re.compile(r"(weights/)?[A-Za-z0-9_][A-Za-z0-9_.\-]{0,150}")


def _short(value: Any) -> str:
    """What was found, as far as a message has room for it; Python writes no whole number of 5,000 digits."""
    try:
        return repr(value)[:80]
    except ValueError:
        return f"a {type(value).__name__} with a very long number"


class _Reader:
    """Picks typed fields out of JSON data and says where one is wrong."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def fail(self, what: str, found: Any, expected: str) -> BundleError:
        return BundleError(
            f"bad {what} in the manifest",
            file=self.file,
            found=_short(found),
            expected=expected,
            hint="convert the net again",
        )

    def get(self, data: Any, key: str, kind: type | tuple[type, ...], what: str, default: Any = None) -> Any:
        value = data.get(key, default) if isinstance(data, dict) else None
        if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
            names = kind.__name__ if isinstance(kind, type) else " or ".join(k.__name__ for k in kind)
            raise self.fail(f'"{key}" of {what}', value, names)
        return value

    def strings(self, data: Any, key: str, what: str) -> tuple[str, ...]:
        values = self.get(data, key, list, what, [])
        if not all(isinstance(v, str) for v in values):
            raise self.fail(f'"{key}" of {what}', values, "a list of strings")
        return tuple(values)

    def sizes(self, values: Any, what: str) -> tuple[int, ...]:
        if not (isinstance(values, list) and all(type(v) is int and 0 < v < 1 << 31 for v in values)):
            raise self.fail(what, values, "a list of whole numbers above 0")
        if len(values) > limits.AXES or prod(values) > limits.ELEMENTS:
            raise self.fail(what, values, f"at most {limits.AXES} and {limits.ELEMENTS}")
        return tuple(values)

    def real(self, value: Any, what: str) -> float:
        """A finite number that float32 can hold; JSON has room for 10^400, NaN and Infinity."""
        if type(value) not in (int, float) or not abs(value) <= LARGEST_REAL:
            raise self.fail(what, value, "a finite number")
        return float(value)

    def model(self, data: Any, what: str) -> str:
        name = self.get(data, "model", str, what)
        if not _FILE_NAME.fullmatch(name):
            raise self.fail(f'"model" of {what}', name, "the name of an .onnx file in the bundle's folder")
        return str(name)

    def stage(self, data: Any, what: str) -> StageSpec:
        macs, parameters = self.get(data, "macs", int, what), self.get(data, "parameters", int, what)
        if not (0 <= macs < 1 << 63 and 0 <= parameters < 1 << 63):
            raise self.fail(f"cost of {what}", (macs, parameters), "0 or more, in 63 bits")
        return StageSpec(
            name=self.get(data, "name", str, what),
            model=self.model(data, what),
            inputs=self.strings(data, "inputs", what),
            outputs=self.strings(data, "outputs", what),
            macs=macs,
            parameters=parameters,
            layers=self.strings(data, "layers", what),
            cut=self.get(data, "cut", str, what, ""),
            reads_pixels=self.get(data, "reads_pixels", bool, what, True),
            between=self.get(data, "between", bool, what, False),
        )


def _value(r: _Reader, name: str, data: Any) -> ValueSpec:
    what = f'value "{name}"'
    shape = r.sizes(data.get("shape") if isinstance(data, dict) else None, f'shape of "{name}"')
    stride = data.get("stride")
    if stride is not None and not (
        isinstance(stride, list)
        and len(stride) == 2
        and all(type(s) in (int, float) and 0 < s < 1 << 15 for s in stride)
    ):
        raise r.fail(f'"stride" of {what}', stride, "two numbers above 0")
    return ValueSpec(
        shape,
        r.get(data, "dtype", str, what, "float32"),
        (float(stride[0]), float(stride[1])) if stride is not None else None,
    )


def _output(r: _Reader, data: Any) -> OutputSpec:
    """What comes out: the entry "output"; bundles of earlier releases have "scores" or neither."""
    entry, what = data.get("output"), "output"
    if entry is None:
        entry, what = data.get("scores"), "scores"
    if entry is None:
        return OutputSpec()
    kind = r.get(entry, "kind", str, what, "labels")
    if kind not in KINDS:
        raise r.fail('"kind" of output', kind, ", ".join(KINDS))
    channels = r.get(entry, "channels", int, what)
    most = 256 if kind == "labels" else 1 << 20
    if not 0 < channels <= most:
        raise r.fail(f'"channels" of {what}', channels, f"1 to {most}")
    return OutputSpec(
        kind=kind,
        name=r.get(entry, "name", str, what),
        channels=channels,
        native=r.get(entry, "native", bool, what),
        resized=r.get(entry, "resized", bool, what, True),
    )


def _files(r: _Reader, data: Any) -> dict[str, FileSpec]:
    """Sizes and hashes of the bundle's files; bundles of earlier releases have none."""
    if not isinstance(data, dict):
        raise r.fail("files", data, "the bundle's files by name")
    found = {}
    for name, entry in data.items():
        what = f'file "{name[:80]}"'
        if not _LISTED_NAME.fullmatch(name):
            raise r.fail("name of a file", name, "a path inside the bundle's folder")
        digest, size = r.get(entry, "sha256", str, what), r.get(entry, "size", int, what)
        if not re.fullmatch(r"[0-9a-f]{64}", digest) or not 0 <= size <= limits.WEIGHTS_BYTES:
            raise r.fail(what, entry, "its size and SHA-256")
        found[name] = FileSpec(size, digest)
    return found


def _feature_flow(r: _Reader, data: Any, stages: tuple[StageSpec, ...]) -> FeatureFlow | None:
    """The entry "feature_flow"; its head must do without what only frames between key frames have."""
    if data is None:
        return None
    what = "feature_flow"
    flow = FeatureFlow(
        value=r.get(data, "value", str, what),
        model=r.model(data, what),
        inputs=r.strings(data, "inputs", what),
        reference=r.get(data, "reference", str, what),
        head=r.stage(data.get("head"), "the head of key frames"),
    )
    always = {value for stage in stages if not stage.between for value in stage.outputs}
    between = {value for stage in stages if stage.between for value in stage.outputs}
    for name, names, accepted in (
        ("value", [flow.value], always),
        ("reference", [flow.reference], always),
        ("inputs", flow.inputs, between),
        ("inputs of the head", [n for n in flow.head.inputs if n != FRAME], always),
    ):
        if not set(names) <= accepted:
            raise r.fail(f'"{name}" of {what}', list(names), f"of {', '.join(sorted(accepted))}")
    return flow


def _preprocessing(r: _Reader, data: Any) -> Preprocessing:
    what = "preprocessing"
    size = data.get("size") if isinstance(data, dict) else None
    mean = tuple(r.real(m, "mean") for m in r.get(data, "mean", list, what))
    sizes = r.sizes(size, "preprocessing size") if size is not None else None
    if sizes is not None and len(sizes) != 2:
        raise r.fail("preprocessing size", size, "[height, width]")
    channels = r.get(data, "channels", str, what)
    if channels not in PLANES:
        raise r.fail('"channels" of preprocessing', channels, ", ".join(PLANES))
    return Preprocessing(
        (sizes[0], sizes[1]) if sizes else None,
        channels,
        mean,
        r.real(r.get(data, "scale", (int, float), what), "scale"),
        r.get(data, "fit", str, what, "resize"),
        _pair(r, data, "multiple", 1),
        _pair(r, data, "remainder", 0),
    )


def _pair(r: _Reader, data: Any, name: str, default: int) -> tuple[int, int]:
    """Two whole numbers, down and across."""
    found = data.get(name, [default, default])
    if not (isinstance(found, list) and len(found) == 2 and all(type(n) is int for n in found)):
        raise r.fail(f"preprocessing {name}", found, "two whole numbers")
    return found[0], found[1]


def _host_step(r: _Reader, data: Any) -> HostStep:
    what = "a host step"
    parameters = r.get(data, "parameters", dict, what, {})
    for name, value in parameters.items():
        plain = value if isinstance(value, list) else [value]
        if not all(isinstance(v, (int, float, str)) for v in plain):
            raise r.fail(f'"{name}" of {what}', value, "numbers or text")
    return HostStep(
        name=r.get(data, "name", str, what),
        type=r.get(data, "type", str, what),
        reads=r.strings(data, "reads", what),
        makes=r.strings(data, "makes", what),
        parameters=parameters,
    )


def _more_frames(r: _Reader, data: Any, how: Preprocessing) -> tuple[FrameSpec, ...]:
    """The entry "more_frames" of format version 2."""
    if data["format_version"] != FORMAT_VERSION_MORE_FRAMES:
        return ()
    frames = []
    for entry in r.get(data, "more_frames", list, "the bundle"):
        own = _preprocessing(r, entry.get("preprocessing") if isinstance(entry, dict) else None)
        frame = FrameSpec(r.get(entry, "name", str, "more_frames"), own)
        stated = {key: entry.get(key) for key in frame.to_json()}
        if stated != frame.to_json() or own != own.placed_as(how):
            raise r.fail(f'more_frames "{frame.name[:80]}"', entry, f"{frame.to_json()}, size as the first's")
        frames.append(frame)
    names = [FRAME, *(frame.name for frame in frames)]
    if len(set(names)) != len(names) or not 1 < len(names) <= limits.AXES or "" in names:
        raise r.fail("more_frames", names, f"1 to {limits.AXES - 1} pictures, each with a name of its own")
    return tuple(frames)


def _check_wiring(
    r: _Reader,
    stages: tuple[StageSpec, ...],
    head: StageSpec,
    values: Mapping[str, ValueSpec],
    frames: tuple[str, ...],
) -> None:
    """Every value read is made by exactly one earlier stage, and none is called as a picture is."""
    names = [stage.name for stage in (*stages, head)]
    if len(set(names)) != len(names) or not stages:
        raise r.fail("stages", names, "at least one stage, each with a name of its own")
    made: dict[str, str] = {}
    for stage in (*stages, head):
        for name in stage.inputs:
            if name not in frames and name not in made:
                accepted = f"{', '.join(frames)}, or a value that an earlier stage makes"
                raise r.fail(f"input of {stage.name}", name, accepted)
        for name in stage.outputs if stage is not head else ():
            if name in made or name not in values or name in frames:
                raise r.fail(f"output of {stage.name}", name, "a value listed under values, made once")
            made[name] = stage.name


def from_json(data: Any, file: Path) -> Manifest:
    """A manifest from JSON data.

    Args:
        data: What the file holds.
        file: Its path, for messages.

    Returns:
        The manifest, every field of which has been checked.

    Raises:
        BundleError: Something is missing or wrong; the message names the file and the field.
    """
    r = _Reader(file)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise BundleError("not a bundle's manifest", file=file, expected=f'"format": "{FORMAT}"')
    if data.get("format_version") not in (FORMAT_VERSION, FORMAT_VERSION_MORE_FRAMES):
        raise BundleError(
            "unknown bundle version",
            file=file,
            found=_short(data.get("format_version")),
            expected=f"{FORMAT_VERSION} or {FORMAT_VERSION_MORE_FRAMES}",
            hint="convert the net again with this release",
        )
    stages = tuple(
        r.stage(s, f"stage {i + 1}") for i, s in enumerate(r.get(data, "stages", list, "the bundle"))
    )
    if len(stages) > limits.STAGES:
        raise r.fail("number of stages", len(stages), f"at most {limits.STAGES}")
    head = r.stage(data.get("head"), "the head")
    values = {name: _value(r, name, v) for name, v in r.get(data, "values", dict, "the bundle").items()}
    how = _preprocessing(r, data.get("preprocessing"))
    more_frames = _more_frames(r, data, how)
    _check_wiring(r, stages, head, values, (FRAME, *(frame.name for frame in more_frames)))
    output = _output(r, data)
    if head.outputs != (output.output,):
        raise r.fail("outputs of the head", list(head.outputs), f'["{output.output}"]')
    classes = r.get(data, "classes", dict, "the bundle")
    palette = [_colour(r, c) for c in r.get(classes, "palette", list, "classes")]
    size = r.sizes(data.get("reference_size"), "reference_size")
    if len(size) != 2:
        raise r.fail("reference_size", size, "[height, width]")
    signal = r.get(data, "signal", str, "the bundle", "")
    if signal and signal not in values:
        raise r.fail("signal", signal, "the name of a carried value")
    whole = r.get(data, "whole", str, "the bundle", "")
    if whole and not _FILE_NAME.fullmatch(whole):
        raise r.fail("whole", whole, "the name of an .onnx file in the bundle's folder")
    return Manifest(
        name=r.get(data, "name", str, "the bundle"),
        stages=stages,
        head=head,
        values=values,
        preprocessing=how,
        more_frames=more_frames,
        reference_size=(size[0], size[1]),
        class_names=r.strings(classes, "names", "classes"),
        palette=tuple(palette),
        schedule=r.get(data, "schedule", str, "the bundle", "oracle"),
        signal=signal,
        source=r.get(data, "source", dict, "the bundle", {}),
        created_by=r.get(data, "created_by", str, "the bundle", ""),
        whole=whole,
        why=r.strings(data, "why", "the bundle"),
        notes=r.strings(data, "notes", "the bundle"),
        output=output,
        files=_files(r, data.get("files", {})),
        feature_flow=_feature_flow(r, data.get("feature_flow"), stages),
        host_steps=tuple(_host_step(r, s) for s in r.get(data, "host_steps", list, "the bundle", [])),
    )


def _colour(r: _Reader, colour: Any) -> tuple[int, int, int]:
    """A palette entry: three whole numbers 0 to 255."""
    if not (
        isinstance(colour, list) and len(colour) == 3 and all(type(c) is int and 0 <= c < 256 for c in colour)
    ):
        raise r.fail("palette", colour, "[r, g, b], each 0 to 255")
    return (colour[0], colour[1], colour[2])
