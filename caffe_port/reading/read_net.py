"""Reading a net definition of any generation: `read_net`.

The steps, each in a module of its own: template variables, text -> tree (`text_format`), V0/V1 -> V2
(`upgrade`), phase rules (`phase`), data and training layers (`boundary`), layers that stay outside the graph
(`postprocessing`), tree -> messages (`schema`), in-place layers -> values (`net`), blobs that share memory
(`shared_memory`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from caffe_port.net import Input, Net, Shape, resolve
from caffe_port.reading import data_layers as boundary
from caffe_port.reading import detached as postprocessing
from caffe_port.reading.aliases import by_known_name
from caffe_port.reading.automatic_crop import with_offsets
from caffe_port.reading.phase import NetState, keeps
from caffe_port.reading.schema import bare_message, layer_message
from caffe_port.reading.text_format import Block, parse_text
from caffe_port.reading.upgrade import merge_v0_padding, upgrade_layer
from caffe_port.registry import is_known, unknown_type
from caffe_port.shared_memory import check_shared_memory
from weights import limits
from weights.errors import ClockworkError, PrototxtError
from weights.regular_file import read_regular

__all__ = ["prototxt_text", "read_net"]

_NET_FIELDS = frozenset({
    "name", "layer", "layers", "input", "input_dim", "input_shape", "state", "force_backward", "debug_info",
    # NVIDIA: precision and memory of training
    "default_forward_type", "default_backward_type", "default_forward_math", "default_backward_math",
    "global_grad_scale", "eltwise_mem_sharing", "default_conv_algos_override", "reduce_buckets",
    # Intel: choice of implementation
    "engine", "compile_net_state", "bn_stats_batch_size",
})  # fmt: skip

_TEMPLATE = re.compile(r"\$\{(\w+)\}|\$#(\w+)#\$")
# Blanks of this line only: a pattern that spans lines would look at every run of empty lines over and over.
_COMMENT = re.compile(r"(?m)^[ \t\r\f\v]*#[^\n]*$")


def _substitute(text: str, define: Mapping[str, str], file: str) -> str:
    """`${NAME}` (DeepLab) and `$#NAME#$` (Collective Knowledge) -> the values given."""

    def one(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        if name not in define:
            line = text.count("\n", 0, match.start()) + 1
            raise PrototxtError(
                f"line {line}: template variable without a value",
                file=file,
                found=match.group(),
                hint=f"give it: --define {name}=VALUE",
            )
        return str(define[name])

    return _TEMPLATE.sub(one, _COMMENT.sub("", text))


def _read_text(path: Path) -> str:
    data = read_regular(path, limits.PROTOTXT_BYTES, expected="a prototxt file", error=PrototxtError)
    if b"\0" in data[:4096]:
        is_onnx = path.suffix.lower() == ".onnx"
        raise PrototxtError(
            "not a net definition",
            file=path,
            found="an ONNX model" if is_onnx else "binary data",
            expected="a prototxt text file",
            hint=None if is_onnx else "is this the caffemodel?",
        )
    if data[:512].lstrip()[:1] == b"<" and b"html" in data[:512].lower():
        raise PrototxtError(
            "not a net definition",
            file=path,
            found="an HTML page",
            expected="a prototxt text file",
            hint="download the raw file",
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")  # comments in other encodings


def prototxt_text(path: str | PathLike[str], define: Mapping[str, str]) -> str:
    """The text of a prototxt with its template variables filled in; as it stands where it has none.

    Raises PrototxtError for a file that cannot be read or is no text, and for a variable without a value.
    """
    text = _read_text(Path(path))
    return _substitute(text, define, str(path)) if _TEMPLATE.search(text) else text


def read_net(
    path: str | PathLike[str],
    phase: str = "TEST",
    *,
    level: int = 0,
    stages: Sequence[str] = (),
    define: Mapping[str, str] | None = None,
    inputs: Mapping[str, Shape] | None = None,
    tolerant: bool = False,
    postprocess: bool = False,
) -> Net:
    """Read a prototxt of any generation into a Net.

    `phase`, `level` and `stages` choose layers by their include / exclude rules; `define` gives the values of
    template variables (`${NAME}`); `inputs` states or overrides the shapes of inputs (N, C, H, W); a blob
    that no layer makes becomes an input that way. With `tolerant`, layers that cannot be ported stay in the
    net with the reason, for `inspect_net` to report. With `postprocess`, layers that end in boxes stay in the
    net where there is a rule for them (DetectionOutput, ...) instead of being cut off.

    Raises PrototxtError for text that is not a net or that Caffe would refuse, UnsupportedError for fields
    and layers that cannot be ported; both name the file, the layer and the line.
    """
    file = str(path)
    if phase not in ("TEST", "TRAIN"):
        raise PrototxtError("unknown phase", file=file, found=phase, expected="TEST or TRAIN")
    given = dict(inputs or {})
    root = parse_text(prototxt_text(path, define or {}), file)
    for entry in root.entries:
        if entry.name not in _NET_FIELDS:
            raise PrototxtError(
                f'line {entry.line}: unknown field "{entry.name}" in NetParameter',
                file=file,
                expected="a net definition (name, input, layer, ...)",
                hint="is this a solver or another kind of prototxt?",
            )
    # Caffe's Net takes phase and level from its caller, and adds the caller's stages to the file's.
    own = [stage for block in root.blocks("state") for stage in block.texts("stage")]
    state = NetState(phase, level, frozenset((*stages, *own)))
    if len(root.all("layer", "layers")) > limits.LAYERS:
        raise PrototxtError(
            "too many layers",
            file=file,
            found=len(root.all("layer", "layers")),
            expected=f"at most {limits.LAYERS}",
        )
    raw = [
        by_known_name(upgrade_layer(entry, file))
        for entry in merge_v0_padding(root.all("layer", "layers"), file)
    ]
    layers = [block for block in raw if keeps(state, block, file=file)]
    if not layers:
        raise PrototxtError(
            "no layers",
            file=file,
            found=f"{len(raw)} layers in all, none for {phase}",
            expected="a net definition with at least one layer for this phase",
        )
    inside = frozenset(kind for kind in postprocessing.OUTSIDE if postprocess and is_known(kind)) - {"Python"}
    return _build(root, layers, given, file, tolerant, inside)


def _message(block: Block, file: str) -> Any:
    kind = block.text("type")
    if not is_known(kind):
        raise unknown_type(kind, {"file": file, "layer": block.text("name"), "layer_type": kind})
    return layer_message(block, file=file)


def _inputs(inputs: Sequence[Input]) -> str:
    return "input " + ", ".join(f"{i.name} {'x'.join(map(str, i.shape))}" for i in inputs)


def _build(
    root: Block,
    layers: list[Block],
    given: dict[str, Shape],
    file: str,
    tolerant: bool,
    inside: frozenset[str],
) -> Net:
    net_inputs: list[Input] = boundary.legacy_inputs(root, given, file=file)
    notes: list[str] = []
    labels: set[str] = set()
    running: list[Block] = []
    training: list[Block] = []
    for block in layers:
        kind = block.text("type")
        name = block.text("name")
        if not kind:
            raise PrototxtError(f"line {block.line}: a layer without a type", file=file, layer=name)
        if kind == "Input":
            net_inputs += boundary.layer_inputs(block, given, file=file)
        elif boundary.is_random(block):
            found = boundary.random_inputs(block, given, file=file)
            net_inputs += found
            notes.append(f'{kind} layer "{name}" of random numbers became {_inputs(found)}')
        elif boundary.is_source(block):
            found, extra = boundary.data_input(block, given, file=file)
            net_inputs += found
            labels.update(extra)
            how = boundary.transformed(block)
            notes.append(
                f'{kind} layer "{name}" became {_inputs(found)}'
                + (f"; feed numbers as the layer makes them: {how}" if how else "")
            )
        elif boundary.is_training_only(block):
            notes.append(f'{kind} layer "{name}" left out: training only')
            training.append(block)
        else:
            running.append(block)
    running, gone = boundary.drop_labels(running, labels, file=file)
    notes += [f'layer "{name}" left out: made from labels alone' for name in gone]
    silenced = {b for block in running if block.text("type") == "Silence" for b in block.texts("bottom")}
    running = [block for block in running if block.text("type") != "Silence"]
    cut = postprocessing.cut(running, training, net_inputs, given, file=file, inside=inside)
    net_inputs += cut.inputs
    notes += cut.notes
    made = {i.name for i in net_inputs} | {top for block in cut.kept for top in block.texts("top")}
    read = {bottom for block in cut.kept for bottom in block.texts("bottom")}
    net_inputs += [Input(blob, shape) for blob, shape in given.items() if blob in read - made]
    unknown = set(given) - {i.name for i in net_inputs}
    if unknown:
        raise PrototxtError(
            "a shape is given for a blob that is no input",
            file=file,
            found=", ".join(sorted(unknown)),
            expected=", ".join(i.name for i in net_inputs) or "no input at all",
        )
    specs: list[Any] = []
    refusals: dict[int, ClockworkError] = {}
    for position, block in enumerate(cut.kept):
        try:
            specs.append(_message(block, file))
        except ClockworkError as error:
            if not tolerant:
                raise
            refusals[position] = error
            specs.append(bare_message(block))
    reads = {at: [(b.text("name"), blob) for b, blob in blobs] for at, blobs in cut.reads.items()}
    net = resolve(
        root.text("name"),
        file,
        net_inputs,
        specs,
        notes=notes,
        hidden=frozenset(silenced),
        reads=reads,
        refusals=refusals,
    )
    net = with_offsets(net)
    shared = check_shared_memory(net)
    if shared and not tolerant:
        raise next(iter(shared.values()))
    return (
        replace(net, layers=tuple(replace(x, refusal=x.refusal or shared.get(x.key)) for x in net.layers))
        if shared
        else net
    )
