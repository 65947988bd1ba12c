"""The net: layers and the values between them, each value assigned once.

Caffe lets a layer write its top over its bottom ("in place"). Here every write makes a new value; the LAST
value of a blob carries the blob's own name, as `net.blobs` would show it, and earlier ones are called
`blob@layer` after the layer that made them. Only where an input is written over does the input keep the plain
name, since that is what is fed, and all later values are called `blob@layer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from weights.errors import PrototxtError

__all__ = ["Input", "Layer", "Net", "Shape", "resolve"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Input:
    """A value that comes from outside, with its shape in Caffe's order (N, C, H, W)."""

    name: str
    shape: Shape


@dataclass(frozen=True)
class Layer:
    """One layer: `bottoms` and `tops` are names of values, `spec` is its parsed LayerParameter.

    `key` is unique in the net and is what weights are matched by; it differs from `name` only in nets that
    give two layers one name (about 6 % of published ones do).
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    spec: Any = field(repr=False, compare=False)
    key: str = ""

    @property
    def param_names(self) -> tuple[str, ...]:
        """`param { name }` of each weight blob, "" where it is not shared."""
        return tuple(p.name for p in self.spec.param)


@dataclass(frozen=True)
class Net:
    """A parsed net, in the order in which Caffe runs its layers.

    `outputs` are the values that no layer reads; `notes` say what was left out and why.
    """

    name: str
    file: str
    inputs: tuple[Input, ...]
    layers: tuple[Layer, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def where(self, layer: Layer) -> dict[str, Any]:
        """The parts of an error message that say where `layer` is."""
        return {"file": self.file, "layer": layer.name, "layer_type": layer.type}

    def values(self) -> tuple[str, ...]:
        """Every value, inputs first, in the order in which they come to be."""
        return (*(i.name for i in self.inputs), *(top for layer in self.layers for top in layer.tops))


def resolve(
    name: str,
    file: str,
    inputs: Sequence[Input],
    specs: Iterable[Any],
    *,
    notes: Sequence[str] = (),
    hidden: Mapping[str, str] | None = None,
) -> Net:
    """Give every write of a blob its own value and check that every bottom exists.

    `specs` are LayerParameter messages in file order; `hidden` maps blobs that were read by layers that have
    been left out to the reason, so that they are not mistaken for outputs. Raises PrototxtError for a bottom
    that nothing makes and for a top that two layers make (Caffe: "produced by multiple sources").
    """
    specs = list(specs)
    given = {i.name for i in inputs}
    writes: dict[str, int] = {}
    for blob in [i.name for i in inputs] + [top for spec in specs for top in spec.top]:
        writes[blob] = writes.get(blob, 0) + 1
    current: dict[str, str] = {}
    done: dict[str, int] = {}
    taken: set[str] = set()

    def fresh(blob: str, maker: str) -> str:
        done[blob] = done.get(blob, 0) + 1
        plain = 1 if blob in given else writes[blob]
        value = blob if done[blob] == plain else f"{blob}@{maker}"
        number = 2
        base = value
        while value in taken:
            value, number = f"{base}#{number}", number + 1
        taken.add(value)
        current[blob] = value
        return value

    net_inputs = tuple(Input(fresh(i.name, "input"), i.shape) for i in inputs)
    layers: list[Layer] = []
    keys: set[str] = set()
    made: dict[str, str] = {i.name: "the net's input" for i in inputs}
    for spec in specs:
        where = {"file": file, "layer": spec.name, "layer_type": spec.type}
        bottoms = []
        for blob in spec.bottom:
            if blob not in current:
                known = ", ".join(list(current)[-8:]) or "none yet"
                raise PrototxtError(
                    "missing bottom",
                    **where,
                    found=f'"{blob}", which no earlier layer makes',
                    expected=f"a blob made before this layer (the latest: {known})",
                )
            bottoms.append(current[blob])
        tops = []
        for blob in spec.top:
            if blob in made and blob not in spec.bottom:
                raise PrototxtError(
                    "a top that is made twice",
                    **where,
                    found=f'"{blob}", already made by {made[blob]}',
                    expected="a new name, or one of the layer's own bottoms (in place)",
                )
            made[blob] = f'layer "{spec.name}"'
            tops.append(fresh(blob, spec.name or spec.type))
        key, number = spec.name, 2
        while key in keys:
            key, number = f"{spec.name}#{number}", number + 1
        keys.add(key)
        layers.append(Layer(spec.name, spec.type, tuple(bottoms), tuple(tops), spec, key))
    read = {bottom for layer in layers for bottom in layer.bottoms}
    gone = hidden or {}
    outputs = tuple(v for layer in layers for v in layer.tops if v not in read and v not in gone)
    return Net(name, file, net_inputs, tuple(layers), outputs, tuple(notes))
