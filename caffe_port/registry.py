"""What the port knows of each layer type: one `LayerRule` per type, registered by the modules of `layers`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Literal

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Net, Shape
from caffe_port.proto.caffe_pb2 import FillerParameter
from caffe_port.refused_types import hint_for
from weights.errors import ShapeError, UnsupportedError

__all__ = ["Adapted", "Blob", "LayerRule", "all_rules", "is_known", "register", "rule_for", "unknown_type"]

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Blob:
    """One weight array of a layer: its shape, the filler the prototxt gives it, and what it is for.

    `filler` is a FillerParameter message or None; `role` ("weight", "bias", "mean", "variance", "factor",
    "scale", "slope", ...) chooses sensible values where random weights are wanted and no filler is given.
    """

    shape: Shape
    filler: FillerParameter | None = None
    role: str = "weight"


@dataclass(frozen=True)
class Adapted:
    """Weights as the rule's `blobs` states them.

    `how` says which of the layouts that the layer accepts the file has, where there are several; `note` what
    the user should know about it, because file and prototxt differ or the graph is not the prototxt's.
    """

    arrays: Arrays
    how: str = ""
    note: str = ""


def _no_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    return ()


def _no_macs(layer: Layer, bottoms: tuple[Shape, ...], tops: tuple[Shape, ...]) -> int:
    return 0


def _none_saved(layer: Layer, blobs: Arrays, bottoms: tuple[Shape, ...], tops: tuple[Shape, ...]) -> int:
    return 0


def _as_given(layer: Layer, blobs: Arrays, bottoms: tuple[Shape, ...]) -> Adapted:
    return Adapted(blobs)


@dataclass(frozen=True)
class LayerRule:
    """All that is known of one layer type.

    type: Caffe's name. `bottoms` and `tops`: least and greatest number (None: any).
    shape(layer, bottom_shapes) -> top shapes, by Caffe's formula; raises ShapeError.
    emit(g, layer, bottoms, blobs) -> names of the tops, writing ONNX nodes into the GraphBuilder `g`.
    blobs(layer, bottom_shapes) -> the weights the layer has, in Caffe's order.
    macs(layer, bottom_shapes, top_shapes) -> multiply-accumulates of one forward pass.
    adapt(layer, arrays, bottom_shapes) -> Adapted: accepts other layouts of the weights file, where a fork or
    an older version wrote them.
    saved(layer, arrays, bottom_shapes, top_shapes) -> how many of `macs` the layer does without, because of
    the form of its weights.
    fork: whose layer this is. status: "exact", or "approximated" with `note` saying how far.
    counted: the axis of its tops whose size is known only when it runs; `shape` gives the most it can be.
    """

    type: str
    shape: Callable[[Layer, tuple[Shape, ...]], tuple[Shape, ...]]
    emit: Callable[[GraphBuilder, Layer, tuple[str, ...], Arrays], tuple[str, ...]]
    blobs: Callable[[Layer, tuple[Shape, ...]], tuple[Blob, ...]] = _no_blobs
    macs: Callable[[Layer, tuple[Shape, ...], tuple[Shape, ...]], int] = _no_macs
    adapt: Callable[[Layer, Arrays, tuple[Shape, ...]], Adapted] = _as_given
    saved: Callable[[Layer, Arrays, tuple[Shape, ...], tuple[Shape, ...]], int] = _none_saved
    bottoms: tuple[int, int | None] = (1, 1)
    tops: tuple[int, int | None] = (1, 1)
    fork: str = "BVLC Caffe"
    status: Literal["exact", "approximated"] = "exact"
    note: str = ""
    module: str = ""
    counted: int | None = None


_RULES: dict[str, LayerRule] = {}


def register(*rules: LayerRule) -> None:
    """Add rules; a type that is there already is a programming error (ValueError)."""
    for rule in rules:
        if rule.type in _RULES:
            raise ValueError(f"layer type {rule.type} is registered twice")
        _RULES[rule.type] = rule


@cache
def _load() -> None:
    package = import_module("caffe_port.layers")
    for module in iter_modules(package.__path__):
        import_module(f"caffe_port.layers.{module.name}")


def all_rules() -> Iterator[LayerRule]:
    """Every rule, by type name."""
    _load()
    yield from (_RULES[name] for name in sorted(_RULES))


def is_known(kind: str) -> bool:
    """Whether there is a rule for the layer type `kind`."""
    _load()
    return kind in _RULES


def unknown_type(kind: str, where: Mapping[str, Any]) -> UnsupportedError:
    """The refusal of a layer type for which there is no rule.

    Args:
        kind: The type.
        where: The file and the layer, as `Net.where` gives them.

    Returns:
        The error, to be raised.
    """
    return UnsupportedError(
        "unsupported layer type",
        **where,
        found=f'type "{kind}"',
        expected="a type listed in docs/layers.md",
        hint=hint_for(kind),
    )


def rule_for(layer: Layer, net: Net) -> LayerRule:
    """The rule of a layer, with the number of its bottoms and tops checked.

    Args:
        layer: The layer.
        net: Its net.

    Returns:
        The rule that was registered for the layer's type.

    Raises:
        UnsupportedError: The type is not known.
        ShapeError: A wrong number of bottoms or tops.
        ClockworkError: The layer's own refusal, where it has one.
    """
    if layer.refusal is not None:
        raise layer.refusal
    _load()
    rule = _RULES.get(layer.type)
    if rule is None:
        raise unknown_type(layer.type, net.where(layer))
    for what, count, (least, most) in (
        ("bottoms", len(layer.bottoms), rule.bottoms),
        ("tops", len(layer.tops), rule.tops),
    ):
        if count < least or (most is not None and count > most):
            accepted = (
                str(least) if least == most else f"{least} or more" if most is None else f"{least} to {most}"
            )
            raise ShapeError(f"wrong number of {what}", **net.where(layer), found=count, expected=accepted)
    return rule
