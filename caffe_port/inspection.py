"""What the port makes of a net, layer by layer, without converting it: `inspect_net`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from caffe_port.graph import GraphBuilder, NeedsFixedSize
from caffe_port.match import survey_weights
from caffe_port.net import Layer, Net, Shape, Sizes
from caffe_port.registry import Blob, LayerRule, rule_for
from caffe_port.shapes import count, layer_shapes, measure
from weights import limits
from weights.errors import ClockworkError

__all__ = ["Inspection", "LayerReport", "WeightsReport", "inspect_net"]

Verdict = Literal["exact", "approximated", "unsupported"]


@dataclass(frozen=True)
class LayerReport:
    """One layer. A shape is None where it cannot be known, because an earlier layer is unsupported.

    `parameters` counts its weights and `macs` the multiply-accumulates of one pass at the net's own input
    size; both are None where they cannot be known. `why` gives the reason of any verdict but "exact", `notes`
    what its conversion remarks. `weights` says what the weights file has for it: "" where it needs none or no
    file was given.
    """

    name: str
    type: str
    fork: str
    bottoms: tuple[str, ...]
    bottom_shapes: tuple[Shape | None, ...]
    tops: tuple[str, ...]
    top_shapes: tuple[Shape | None, ...]
    parameters: int | None
    macs: int | None
    verdict: Verdict
    why: str
    notes: tuple[str, ...]
    weights: Literal["", "found", "missing", "wrong"]


@dataclass(frozen=True)
class WeightsReport:
    """The weights file against the net, by layer name: `wrong` has the reason, `notes` what was adapted.

    `layouts` says which layout the file has where a layer accepts several (grouped and dense Deconvolution).
    """

    found: tuple[str, ...]
    missing: tuple[str, ...]
    wrong: Mapping[str, str]
    left_over: tuple[str, ...]
    notes: tuple[str, ...]
    layouts: Mapping[str, str]


@dataclass(frozen=True)
class Inspection:
    """A whole net. `parameters` and `macs` are the sums of what is known, weights that layers share once.

    `fixed_size` says why the model will have one input size, "" where height and width stay open. `notes` say
    what was left out of the net. `weights` is None where no weights were given.
    """

    name: str
    file: str
    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape | None]
    layers: tuple[LayerReport, ...]
    parameters: int
    macs: int
    fixed_size: str
    notes: tuple[str, ...]
    weights: WeightsReport | None

    @property
    def unsupported(self) -> tuple[LayerReport, ...]:
        """The layers that keep the net from being converted."""
        return tuple(layer for layer in self.layers if layer.verdict == "unsupported")

    @property
    def converts(self) -> bool:
        """Whether `to_onnx` will make a model of it, with the weights that were given if any were."""
        complete = self.weights is None or not (self.weights.missing or self.weights.wrong)
        return not self.unsupported and complete

    def to_json(self) -> dict[str, Any]:
        """All of it as one JSON document."""
        return {**asdict(self), "converts": self.converts}


class _Trial(GraphBuilder):
    """A graph that is thrown away, so that constants need not be kept."""

    def const(self, array: Any, dtype: DTypeLike = np.float32) -> str:
        return self._fresh("const")


@dataclass
class _Known:
    """What has been found out of one layer so far."""

    rule: LayerRule | None = None
    blobs: tuple[Blob, ...] = ()
    macs: int | None = None
    refusal: str = ""
    notes: tuple[str, ...] = ()


def _reason(error: ClockworkError) -> str:
    """The message without the place, which the report has anyhow."""
    bare = ClockworkError(error.problem, found=error.found, expected=error.expected, hint=error.hint)
    return str(bare)


def _measure_layers(net: Net) -> tuple[dict[str, Shape], dict[str, _Known]]:
    """Shapes of all values that can be known, and rule, blobs, macs or refusal of every layer by key."""
    shapes: dict[str, Shape] = {i.name: i.shape for i in net.inputs}
    known: dict[str, _Known] = {}
    for layer in net.layers:
        found = known[layer.key] = _Known()
        try:
            found.rule = rule_for(layer, net)
            if not all(b in shapes for b in layer.bottoms):
                continue
            bottoms = tuple(shapes[b] for b in layer.bottoms)
            tops = layer_shapes(net, layer, bottoms)
            found.blobs = found.rule.blobs(layer, bottoms)
            found.macs = found.rule.macs(layer, bottoms, tops)
        except ClockworkError as error:
            found.refusal = _reason(error)
        else:
            shapes.update(zip(layer.tops, tops, strict=True))
    return shapes, known


def _try_emit(net: Net, shapes: dict[str, Shape], known: dict[str, _Known], given: Any) -> str:
    """Emit every layer that can be, one by one, to find what only its emission refuses or remarks.

    Returns the reason why the model will have one size, "" where there is none.
    """
    frozen = Sizes(shapes, dict(shapes), True)
    reason = ""
    sizes = frozen
    if not any(found.refusal for found in known.values()):
        sizes = measure(net)
        reason = sizes.reason
    for layer in net.layers:
        found = known[layer.key]
        if found.rule is None or found.refusal or not all(v in shapes for v in (*layer.bottoms, *layer.tops)):
            continue
        if layer.key not in given and sum(count(b.shape) for b in found.blobs) > limits.RANDOM_NUMBERS:
            continue
        # An array of one number that looks like a large one stands for weights that were not given.
        arrays = given.get(layer.key) or tuple(np.broadcast_to(np.float32(0), b.shape) for b in found.blobs)
        for attempt in (sizes, frozen):
            trial = _Trial(net, attempt)
            try:
                found.rule.emit(trial, layer, layer.bottoms, arrays)
            except NeedsFixedSize as needs:
                reason = reason or str(needs)
                continue
            except ClockworkError as error:
                found.refusal = _reason(error)
            found.notes = tuple(trial.notes)
            break
    return reason


def _report(layer: Layer, found: _Known, shapes: Mapping[str, Shape], weights: Any) -> LayerReport:
    rule = found.rule
    verdict: Verdict = "unsupported" if rule is None or found.refusal else rule.status
    measured = found.macs is not None
    return LayerReport(
        layer.name,
        layer.type,
        rule.fork if rule else "",
        layer.bottoms,
        tuple(shapes.get(b) for b in layer.bottoms),
        layer.tops,
        tuple(shapes.get(t) for t in layer.tops),
        sum(count(b.shape) for b in found.blobs) if measured else None,
        found.macs,
        verdict,
        found.refusal or (rule.note if rule and verdict == "approximated" else ""),
        found.notes,
        weights,
    )


def inspect_net(net: Net, blobs: Mapping[str, tuple[np.ndarray, ...]] | None = None) -> Inspection:
    """Find out what converting a net would give: shapes, parameters, cost and a verdict for every layer.

    Unsupported layers do not raise: the shapes of what depends on them are unknown (None).

    Args:
        net: The net, as a rule read with `tolerant`.
        blobs: Weights by layer name, as `weights.read` gives them; they are matched to the net, and what is
            missing, wrong or left over is listed.

    Returns:
        A report on each layer, on the whole, and on the weights where there are any.
    """
    shapes, known = _measure_layers(net)
    measured = {layer.key for layer in net.layers if known[layer.key].macs is not None}
    surveyed = survey_weights(
        replace(net, layers=tuple(layer for layer in net.layers if layer.key in measured)),
        shapes,
        blobs or {},
    )
    reason = _try_emit(net, shapes, known, surveyed.blobs if blobs is not None else {})
    names = {layer.key: layer.name for layer in net.layers}
    report = None
    status: dict[str, str] = {}
    if blobs is not None:
        present = {name for layer in net.layers for name in (layer.key, layer.name) if name in blobs}
        missing = [key for key in surveyed.errors if key not in present and names[key] not in present]
        status = dict.fromkeys(surveyed.blobs, "found") | dict.fromkeys(surveyed.errors, "wrong")
        status |= dict.fromkeys(missing, "missing")
        unmeasured = {layer.name for layer in net.layers if layer.key not in measured}
        report = WeightsReport(
            tuple(names[key] for key in surveyed.blobs),
            tuple(names[key] for key in missing),
            {names[key]: _reason(e) for key, e in surveyed.errors.items() if key not in missing},
            tuple(name for name in surveyed.left_over if name not in unmeasured),
            surveyed.notes,
            {names[key]: layout for key, layout in surveyed.layouts.items()},
        )
    layers = tuple(
        _report(layer, known[layer.key], shapes, status.get(layer.key, "")) for layer in net.layers
    )
    shared: set[str] = set()
    parameters = 0
    for layer in net.layers:
        names_of = (*layer.param_names, *[""] * len(known[layer.key].blobs))
        for blob, name in zip(known[layer.key].blobs, names_of, strict=False):
            if name not in shared:
                parameters += count(blob.shape)
            shared.update({name} - {""})
    return Inspection(
        net.name,
        net.file,
        {i.name: i.shape for i in net.inputs},
        {name: shapes.get(name) for name in net.outputs},
        layers,
        parameters,
        sum(layer.macs or 0 for layer in layers),
        reason,
        net.notes,
        report,
    )
