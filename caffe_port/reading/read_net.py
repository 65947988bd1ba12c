"""Reading a net definition of any generation: `read_net`.

The steps, each in a module of its own: template variables (`template`), text -> tree (`text_format`), V0/V1
-> V2 (`upgrade`), phase rules (`phase`), data and training layers (`data_layers`), layers that stay outside
the graph (`detached`), tree -> messages (`schema`), their modes (`modes`), what a fork means by them
(`dialect`), in-place layers -> values (`net`), blobs that share memory (`shared_memory`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path

from caffe_port.net import Input, Net, Shape, resolve
from caffe_port.proto.caffe_pb2 import LayerParameter
from caffe_port.reading import data_layers, detached
from caffe_port.reading.aliases import by_known_name
from caffe_port.reading.automatic_crop import with_offsets
from caffe_port.reading.dialect import apply_dialect
from caffe_port.reading.host_steps import host_steps
from caffe_port.reading.known_python import as_own_layer
from caffe_port.reading.modes import apply_mode
from caffe_port.reading.phase import NetState, keeps
from caffe_port.reading.schema import bare_message, layer_message
from caffe_port.reading.template import fill_template
from caffe_port.reading.text_format import Block, parse_text
from caffe_port.reading.transforms import find_transform
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
    # Intel: choice of implementation, machines to train on
    "engine", "compile_net_state", "bn_stats_batch_size", "multinode",
    # yjxiong/caffe and OpenCL forks: how memory and kernels are planned
    "mem_param", "autotune", "copyright",
})  # fmt: skip


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

    Args:
        path: The file.
        define: The values of the variables, by name.

    Returns:
        The text.

    Raises:
        PrototxtError: The file cannot be read or is not text, or a variable has no value.
    """
    return fill_template(_read_text(Path(path)), define, str(path))


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
    dialect: Collection[str] = (),
) -> Net:
    """Read a prototxt of any generation into a Net.

    Args:
        path: The file.
        phase: "TEST" or "TRAIN". It chooses layers by their include / exclude rules, as `level` and `stages`
            do.
        level: The NetState's level.
        stages: The NetState's stages, beside those that the file itself states.
        define: The values of template variables (`${NAME}`), by name.
        inputs: Shapes (N, C, H, W) by blob; they state or override the shapes of inputs, and make a blob that
            no layer makes an input.
        tolerant: Keep layers that cannot be ported in the net, with the reason, for `inspect_net` to report.
        postprocess: Keep layers that end in boxes in the net where there is a rule for them (DetectionOutput,
            ...), instead of cutting them off.
        dialect: Which forks' layers are meant where two forks give one name two meanings and nothing in the
            file tells; names of `caffe_port.reading.dialect.DIALECTS`.

    Returns:
        The net, with notes on what was left out or replaced.

    Raises:
        PrototxtError: Text that is not a net or that Caffe would refuse; the message names the file, the
            layer and the line.
        UnsupportedError: A field or a layer that cannot be ported; the message names the same.
        UsageError: A dialect that is not known, or two of one layer.
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
    if postprocess:
        layers = [as_own_layer(block) for block in layers]
    inside = frozenset(kind for kind in detached.OUTSIDE if postprocess and is_known(kind)) - {"Python"}
    return _build(root, raw, layers, given, file, tolerant, inside, dialect)


def _message(block: Block, file: str) -> tuple[LayerParameter, str]:
    """The message of a layer, and what its mode is worth a note."""
    kind, name = block.text("type"), block.text("name")
    where = {"file": file, "layer": name, "layer_type": kind}
    if not is_known(kind):
        raise unknown_type(kind, where)
    message = layer_message(block, file=file)
    try:
        note = apply_mode(message)
    except ClockworkError as error:
        raise error.located(**where) from None
    return message, f'layer "{name}" ({kind}): {note}' if note else ""


def _inputs(inputs: Sequence[Input]) -> str:
    return "input " + ", ".join(f"{i.name} {'x'.join(map(str, i.shape))}" for i in inputs)


@dataclass
class _Parts:
    """The layers of a file on their way to a net: its inputs, what runs, and what is left out."""

    inputs: list[Input]
    notes: list[str] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    running: list[Block] = field(default_factory=list)
    training: list[Block] = field(default_factory=list)


def _sorted(
    root: Block, raw: Sequence[Block], layers: Sequence[Block], given: Mapping[str, Shape], file: str
) -> _Parts:
    """Tell inputs, running layers and training layers apart.

    raw: every layer of the file, also those of other phases, which may state a size.
    """
    parts = _Parts(data_layers.legacy_inputs(root, given, file=file))
    for block in layers:
        if not block.text("type"):
            raise PrototxtError(
                f"line {block.line}: a layer without a type", file=file, layer=block.text("name")
            )
    runs = [b for b in layers if not data_layers.is_source(b) and not data_layers.is_training_only(b)]
    read = {bottom for block in runs for bottom in block.texts("bottom")}
    for block in layers:
        kind, name = block.text("type"), block.text("name")
        if kind == "Input":
            parts.inputs += data_layers.layer_inputs(block, given, file=file)
        elif data_layers.is_random(block):
            found = data_layers.random_inputs(block, given, file=file)
            parts.inputs += found
            parts.notes.append(f'{kind} layer "{name}" of random numbers became {_inputs(found)}')
        elif data_layers.is_source(block):
            found, extra = data_layers.data_input(block, raw, given, read, file=file)
            parts.inputs += found
            parts.labels.update(extra)
            how = data_layers.transformed(block)
            parts.notes.append(
                f'{kind} layer "{name}" '
                + (f"became {_inputs(found)}" if found else "left out: only layers that are left out read it")
                + (f"; a plain model is fed numbers as the layer makes them: {how}" if found and how else "")
            )
        elif data_layers.is_training_only(block):
            parts.notes.append(f'{kind} layer "{name}" left out: training only')
            parts.training.append(block)
        else:
            parts.running.append(block)
    return parts


def _build(
    root: Block,
    raw: Sequence[Block],
    layers: list[Block],
    given: dict[str, Shape],
    file: str,
    tolerant: bool,
    inside: frozenset[str],
    dialect: Collection[str],
) -> Net:
    parts = _sorted(root, raw, layers, given, file)
    running, gone = data_layers.drop_labels(parts.running, parts.labels, file=file)
    parts.notes += [f'layer "{name}" left out: made from labels alone' for name in gone]
    silenced = {b for block in running if block.text("type") == "Silence" for b in block.texts("bottom")}
    running = [block for block in running if block.text("type") != "Silence"]
    cut = detached.cut(running, parts.training, parts.inputs, given, file=file, inside=inside)
    parts.notes += cut.notes
    inputs = _net_inputs(parts, layers, cut, given, file)
    specs, refusals, modes = _messages(cut.kept, file, tolerant)
    types = {block.text("type") for block in raw}
    modes += apply_dialect(specs, types=types, v1_syntax=root.has("layers"), named=dialect)
    net = resolve(
        root.text("name"),
        file,
        inputs,
        specs,
        notes=[*parts.notes, *modes],
        hidden=frozenset(silenced),
        reads={at: [(b.text("name"), blob) for b, blob in blobs] for at, blobs in cut.reads.items()},
        refusals=refusals,
    )
    colour = [i.name for i in net.inputs if len(i.shape) == 4 and i.shape[1] == 3]
    picture = next(iter([*colour, *(i.name for i in net.inputs)]), "")
    known = find_transform(layers, raw, picture)
    net = replace(with_offsets(net), host_steps=host_steps(layers, file), transform=known)
    shared = check_shared_memory(net)
    if shared and not tolerant:
        raise next(iter(shared.values()))
    if not shared:
        return net
    return replace(net, layers=tuple(replace(x, refusal=x.refusal or shared.get(x.key)) for x in net.layers))


def _net_inputs(
    parts: _Parts, layers: Sequence[Block], cut: detached.Cut, given: Mapping[str, Shape], file: str
) -> list[Input]:
    """The inputs of the net, without those that only layers that are left out read."""
    inputs = [*parts.inputs, *cut.inputs]
    made = {i.name for i in inputs} | {top for block in cut.kept for top in block.texts("top")}
    read = {bottom for block in cut.kept for bottom in block.texts("bottom")}
    inputs += [Input(blob, shape) for blob, shape in given.items() if blob in read - made]
    mentioned = {bottom for block in layers for bottom in block.texts("bottom")}
    unused = [i.name for i in inputs if i.name not in read and i.name in mentioned]
    parts.notes += [f'input "{name}" left out: only layers that are left out read it' for name in unused]
    unknown = set(given) - {i.name for i in inputs} - mentioned
    if unknown:
        raise PrototxtError(
            "a shape is given for a blob that is no input",
            file=file,
            found=", ".join(sorted(unknown)),
            expected=", ".join(i.name for i in inputs) or "no input at all",
        )
    return [i for i in inputs if i.name not in unused]


def _messages(
    kept: Sequence[Block], file: str, tolerant: bool
) -> tuple[list[LayerParameter], dict[int, ClockworkError], list[str]]:
    """The messages of the layers, why some cannot be ported (by position), and notes on their modes."""
    specs: list[LayerParameter] = []
    refusals: dict[int, ClockworkError] = {}
    notes = []
    for position, block in enumerate(kept):
        try:
            message, note = _message(block, file)
        except ClockworkError as error:
            if not tolerant:
                raise
            refusals[position] = error
            message, note = bare_message(block), ""
        specs.append(message)
        notes += [note] if note else []
    return specs, refusals, notes
