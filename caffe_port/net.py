"""The net: layers and the values between them, each value assigned once.

Caffe lets a layer write its top over its bottom ("in place"). Here every write makes a new value; the LAST
value of a blob carries the blob's own name, as `net.blobs` would show it, and earlier ones are called
`blob@layer` after the layer that made them. Only where an input is written over does the input keep the plain
name, since that is what is fed, and all later values are called `blob@layer`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from caffe_port.proto.caffe_pb2 import LayerParameter
from weights.errors import ClockworkError, PrototxtError
from weights.notebook import html_table
from weights.shown import shown

__all__ = ["Dims", "HostStep", "Input", "Layer", "Net", "Shape", "Sizes", "Transform", "resolve"]

LONGEST_REPR = 300
Shape = tuple[int, ...]

Dims = tuple[int | None, ...]
"""A shape in which None stands for a dimension that follows the frame size."""


@dataclass(frozen=True)
class Input:
    """A value that comes from outside, with its shape in Caffe's order (N, C, H, W)."""

    name: str
    shape: Shape


@dataclass(frozen=True)
class Layer:
    """One layer: `bottoms` and `tops` are names of values, `spec` is its parsed LayerParameter.

    `key` is unique in the net and is what weights are matched by; it differs from `name` only in nets that
    give two layers one name (about 6 % of published ones do). `refusal` is why the layer cannot be ported, in
    a net that was read all the same (`read_net(..., tolerant=True)`).
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    spec: LayerParameter = field(repr=False, compare=False)
    key: str = ""
    refusal: ClockworkError | None = field(default=None, repr=False, compare=False)

    @property
    def param_names(self) -> tuple[str, ...]:
        """`param { name }` of each weight blob, "" where it is not shared."""
        return tuple(p.name for p in self.spec.param)


@dataclass(frozen=True)
class HostStep:
    """A layer that a host carries out around the graph (see `reading.host_steps`).

    reads, makes: the blobs' names. parameters: the layer's, as JSON data.
    """

    name: str
    type: str
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Transform:
    """What a prototxt says of how its picture is made: (x - mean) * scale on B, G, R or grey, 0 to 255.

    source: the layer that says so. mean: one value or one for each channel, () for none. mean_file: the name
    of a file of means, as it is written; it is never opened. pads: pictures are padded to the input's size
    and not resized (DeepLab's ImageSegData).
    """

    source: str
    mean: tuple[float, ...] = ()
    mean_file: str = ""
    scale: float = 1.0
    pads: bool = False


@dataclass(frozen=True, repr=False)
class Net:
    """A parsed net, in the order in which Caffe runs its layers.

    `outputs` are the values that no layer reads, and those that a layer outside the graph would read; `notes`
    say what was left out and why; `host_steps` are those of the layers left out that a host can carry out;
    `transform` is what the file says of how the picture is made.
    """

    name: str
    file: str
    inputs: tuple[Input, ...]
    layers: tuple[Layer, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()
    host_steps: tuple[HostStep, ...] = ()
    transform: Transform | None = None

    def __repr__(self) -> str:
        given = ", ".join(f"{i.name} {'x'.join(map(str, i.shape))}" for i in self.inputs)
        return shown(
            f"Net({self.name!r}, {len(self.layers)} layers, {given} -> {', '.join(self.outputs)})",
            LONGEST_REPR,
        )

    def _repr_html_(self) -> str:
        rows = [
            (layer.name, layer.type, ", ".join(layer.bottoms), ", ".join(layer.tops)) for layer in self.layers
        ]
        return html_table(repr(self), ("layer", "type", "reads", "makes"), rows)

    def where(self, layer: Layer) -> dict[str, Any]:
        """The parts of an error message that say where a layer is.

        Args:
            layer: A layer of this net.

        Returns:
            Keyword arguments of a `ClockworkError`: file, layer and layer_type.
        """
        return {"file": self.file, "layer": layer.name, "layer_type": layer.type}

    def values(self) -> tuple[str, ...]:
        """Every value, inputs first, in the order in which they come to be."""
        return (*(i.name for i in self.inputs), *(top for layer in self.layers for top in layer.tops))


@dataclass(frozen=True)
class Sizes:
    """Shapes at the net's own input size, and which dimensions follow the frame size.

    `dims[value]` has None where the dimension changes with the frame's height or width; with `fixed` no
    dimension does, and `reason` says why if nobody asked for it. A number of items that is counted only when
    the net runs is None in both.
    """

    shapes: Mapping[str, Shape]
    dims: Mapping[str, Dims]
    fixed: bool
    reason: str = ""


class _Names:
    """Names already given; the next of a name that is taken has a number behind it."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}

    def free(self, name: str) -> str:
        """`name` itself the first time, then `name#2`, `name#3`, ..."""
        given = name
        while given in self._taken:
            # The count goes on where it stopped, so that thousands of layers of one name stay quick.
            self._numbers[name] = self._numbers.get(name, 1) + 1
            given = f"{name}#{self._numbers[name]}"
        self._taken.add(given)
        return given


class _Values:
    """The value that each blob has while the layers are read one after the other.

    `made` says of every blob who made it.
    """

    def __init__(self, file: str, inputs: Sequence[Input], specs: Sequence[LayerParameter]) -> None:
        self.file = file
        self.made = {i.name: "the net's input" for i in inputs}
        self._given = frozenset(self.made)
        self._writes = Counter([i.name for i in inputs] + [top for spec in specs for top in spec.top])
        self._done: Counter[str] = Counter()
        self._current: dict[str, str] = {}
        self._taken = _Names()

    def write(self, blob: str, maker: str) -> str:
        """A new value of the blob: its own name for the last one, or for the one that is fed."""
        self._done[blob] += 1
        plain = 1 if blob in self._given else self._writes[blob]
        value = self._taken.free(blob if self._done[blob] == plain else f"{blob}@{maker}")
        self._current[blob] = value
        return value

    def write_top(self, blob: str, spec: LayerParameter) -> str:
        """A new value of a layer's top; raises PrototxtError for a second source that is not in place."""
        if blob in self.made and blob not in spec.bottom:
            raise PrototxtError(
                "a top that is made twice",
                file=self.file,
                layer=spec.name,
                layer_type=spec.type,
                found=f'"{blob}", already made by {self.made[blob]}',
                expected="a new name, or one of the layer's own bottoms (in place)",
            )
        self.made[blob] = f'layer "{spec.name}"'
        return self.write(blob, spec.name or spec.type)

    def read(self, blob: str, where: dict[str, Any]) -> str:
        """The value that the blob has now; raises PrototxtError, which says where, if it has none."""
        if blob not in self._current:
            known = ", ".join(list(self._current)[-8:]) or "none yet"
            raise PrototxtError(
                "missing bottom",
                file=self.file,
                **where,
                found=f'"{blob}", which no earlier layer makes',
                expected=f"a blob made before this layer (the latest: {known})",
                hint=f"if it is to be an input, state its shape: --shape {blob}=N,C,H,W",
            )
        return self._current[blob]


def resolve(
    name: str,
    file: str,
    inputs: Sequence[Input],
    specs: Iterable[LayerParameter],
    *,
    notes: Sequence[str] = (),
    hidden: Collection[str] = (),
    reads: Mapping[int, Sequence[tuple[str, str]]] | None = None,
    refusals: Mapping[int, ClockworkError] | None = None,
) -> Net:
    """Give every write of a blob its own value and check that every bottom exists.

    Args:
        name: The net's name.
        file: The prototxt, for messages.
        inputs: The net's inputs.
        specs: LayerParameter messages in file order.
        notes: What is to be told about the net.
        hidden: Blobs that are not outputs though nothing reads them (Silence), unless there are no others.
        reads: (layer, blob) for layers that have been taken out just before the layer at that position: what
            they read are outputs too.
        refusals: By position, why a layer cannot be ported.

    Returns:
        The net.

    Raises:
        PrototxtError: Nothing makes a bottom, two layers make one top (Caffe: "produced by multiple
            sources"), or the net has no outputs.
    """
    specs = list(specs)
    values, keys = _Values(file, inputs, specs), _Names()
    net_inputs = tuple(Input(values.write(i.name, "input"), i.shape) for i in inputs)
    layers: list[Layer] = []
    cut: set[str] = set()
    for position, spec in enumerate((*specs, None)):
        for reader, blob in (reads or {}).get(position, ()):
            cut.add(values.read(blob, {"layer": reader}))
        if spec is None:
            break
        where = {"layer": spec.name, "layer_type": spec.type}
        bottoms = tuple(values.read(blob, where) for blob in spec.bottom)
        tops = tuple(values.write_top(blob, spec) for blob in spec.top)
        refusal = (refusals or {}).get(position)
        layers.append(Layer(spec.name, spec.type, bottoms, tops, spec, keys.free(spec.name), refusal))
    read = {bottom for layer in layers for bottom in layer.bottoms}
    unread = [v for layer in layers for v in layer.tops if v in cut or v not in read]
    outputs = [v for v in unread if v in cut or v not in hidden] or unread
    if not outputs:
        raise PrototxtError("a net without outputs", file=file, found="no layer that makes anything")
    return Net(name, file, net_inputs, tuple(layers), tuple(outputs), tuple(notes))
