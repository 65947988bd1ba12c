"""Weights by layer name -> weights checked against the net.

Caffe's rule (Net::CopyTrainedLayersFrom): layers are matched by name, layers of the file that the net does
not have are ignored (and listed), the number of blobs and their shapes must agree. A layer of the net that
the file lacks is an error here, because Caffe would run it on its filler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from caffe_port.net import Layer, Net, Shape
from caffe_port.registry import Blob, rule_for
from weights.errors import ClockworkError, WeightsError

__all__ = ["Matched", "match_weights", "wanted_blobs"]


@dataclass(frozen=True)
class Matched:
    """Weights as the net's rules state them, by layer key; what was adapted; what the file had besides."""

    blobs: Mapping[str, tuple[np.ndarray, ...]]
    notes: tuple[str, ...]
    left_over: tuple[str, ...]


def wanted_blobs(net: Net, shapes: Mapping[str, Shape]) -> dict[str, tuple[Blob, ...]]:
    """The weights each layer of the net has, by layer key, layers without weights left out."""
    wanted = {}
    for layer in net.layers:
        try:
            blobs = rule_for(layer, net).blobs(layer, tuple(shapes[b] for b in layer.bottoms))
        except ClockworkError as error:
            raise error.located(**net.where(layer)) from None
        if blobs:
            wanted[layer.key] = blobs
    return wanted


def _fit(array: np.ndarray, shape: Shape) -> np.ndarray | None:
    """The array in the wanted shape, or None.

    Files from before 2015 store four dimensions right-aligned and padded with 1 (bias 1 x 1 x 1 x N,
    InnerProduct 1 x 1 x M x N); BVLC's Blob::ShapeEquals compares them so.
    """
    if array.shape == shape:
        return array
    legacy = (1,) * (4 - len(shape)) + shape if len(shape) < 4 else shape
    if array.ndim == 4 and array.shape == legacy:
        return array.reshape(shape)
    strip = [d for d in array.shape if d != 1]
    return array.reshape(shape) if array.ndim != 4 and strip == [d for d in shape if d != 1] else None


def _match_layer(
    net: Net,
    layer: Layer,
    wanted: tuple[Blob, ...],
    arrays: tuple[np.ndarray, ...],
    bottoms: tuple[Shape, ...],
) -> tuple[tuple[np.ndarray, ...], str]:
    arrays, note = rule_for(layer, net).adapt(layer, arrays, bottoms)
    where = net.where(layer)
    if len(arrays) != len(wanted):
        raise WeightsError(
            "wrong number of weight blobs",
            **where,
            found=f"{len(arrays)} of shapes {[tuple(a.shape) for a in arrays]}",
            expected=f"{len(wanted)} of shapes {[b.shape for b in wanted]}",
            hint="do prototxt and weights belong together?",
        )
    fitted = []
    for position, (array, blob) in enumerate(zip(arrays, wanted, strict=True)):
        fit = _fit(array, blob.shape)
        if fit is None:
            raise WeightsError(
                f"blob {position} ({blob.role}) has the wrong shape",
                **where,
                found=tuple(array.shape),
                expected=blob.shape,
                hint="do prototxt and weights belong together?",
            )
        fitted.append(fit)
    return tuple(fitted), note


def match_weights(
    net: Net,
    shapes: Mapping[str, Shape],
    given: Mapping[str, tuple[np.ndarray, ...]],
    *,
    needed: frozenset[str] | None = None,
) -> Matched:
    """Match weights to the net's layers.

    `needed` limits the check to some layer keys. Weights shared by `param { name }` are taken from the layer
    that owns them (the first with that name) where the sharing layer has none of its own. Raises WeightsError
    naming the layer, what was found and what fits.
    """
    wanted = wanted_blobs(net, shapes)
    blobs: dict[str, tuple[np.ndarray, ...]] = {}
    notes: list[str] = []
    owners: dict[str, np.ndarray] = {}
    for layer in net.layers:
        if layer.key not in wanted or (needed is not None and layer.key not in needed):
            continue
        arrays = given.get(layer.key) if layer.key in given else given.get(layer.name)
        shared = [owners.get(n) if n else None for n in layer.param_names]
        if arrays is None and shared and all(s is not None for s in shared):
            arrays = tuple(s for s in shared if s is not None)
        if arrays is None:
            have = ", ".join(list(given)[:5]) or "none"
            raise WeightsError(
                "no weights for this layer",
                **net.where(layer),
                found=f"weights for {len(given)} layers ({have}, ...)",
                expected=f"{len(wanted[layer.key])} blobs of shapes {[b.shape for b in wanted[layer.key]]}",
                hint="do prototxt and weights belong together?",
            )
        bottoms = tuple(shapes[b] for b in layer.bottoms)
        try:
            fitted, note = _match_layer(net, layer, wanted[layer.key], arrays, bottoms)
        except ClockworkError as error:
            raise error.located(**net.where(layer)) from None
        # A shared blob is the owner's: Caffe keeps one array for all of them.
        fitted = tuple(
            owners.get(n, a) if n else a
            for n, a in zip((*layer.param_names, *([""] * len(fitted))), fitted, strict=False)
        )
        for name, array in zip(layer.param_names, fitted, strict=False):
            if name:
                owners.setdefault(name, array)
        if note:
            notes.append(f'layer "{layer.name}" ({layer.type}): {note}')
        blobs[layer.key] = fitted
    names = {layer.name for layer in net.layers}
    left_over = tuple(
        name
        for name in given
        if name not in names or not any(layer.key in wanted for layer in net.layers if layer.name == name)
    )
    return Matched(blobs, tuple(notes), left_over)
