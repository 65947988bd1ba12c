"""Weights by layer name -> weights checked against the net.

Caffe's rule (Net::CopyTrainedLayersFrom): layers are matched by name, layers of the file that the net does
not have are ignored (and listed), the number of blobs and their shapes must agree. A layer of the net that
the file lacks is an error here, because Caffe would run it on its filler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from caffe_port.net import Layer, Net, Shape
from caffe_port.registry import Adapted, Blob, rule_for
from weights.errors import ClockworkError, WeightsError

__all__ = ["Matched", "match_weights", "survey_weights", "wanted_blobs"]


@dataclass(frozen=True)
class Matched:
    """Weights as the net's rules state them, by layer key; what to know of them; what the file had besides.

    `layouts` says, by key, which layout the file has where the layer accepts several; `errors` has the layers
    whose weights are missing or do not fit.
    """

    blobs: Mapping[str, tuple[np.ndarray, ...]]
    notes: tuple[str, ...]
    left_over: tuple[str, ...]
    errors: Mapping[str, ClockworkError]
    layouts: Mapping[str, str]


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
) -> Adapted:
    adapted = rule_for(layer, net).adapt(layer, arrays, bottoms)
    arrays = adapted.arrays
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
    return replace(adapted, arrays=tuple(fitted))


def _arrays(
    layer: Layer, given: Mapping[str, tuple[np.ndarray, ...]], owners: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, ...] | None:
    """What the file has for a layer, or what the layers that own its shared blobs have; None for neither."""
    for name in (layer.key, layer.name):
        if name in given:
            return given[name]
    names = layer.param_names
    return tuple(owners[n] for n in names) if names and all(n in owners for n in names) else None


def _share(
    layer: Layer, fitted: tuple[np.ndarray, ...], owners: dict[str, np.ndarray]
) -> tuple[np.ndarray, ...]:
    """Put the owner's array in the place of every blob that is shared: Caffe keeps one array for all."""
    shared = list(fitted)
    for position, (name, array) in enumerate(zip(layer.param_names, fitted, strict=False)):
        owner = owners.setdefault(name, array) if name else array
        if owner.size != array.size:
            raise WeightsError(
                f'blob {position} cannot be shared as "{name}"',
                found=f"shape {array.shape}, the owner's is {owner.shape}",
                expected="as many numbers in both",
            )
        shared[position] = owner if owner.shape == array.shape else owner.reshape(array.shape)
    return tuple(shared)


def survey_weights(
    net: Net,
    shapes: Mapping[str, Shape],
    given: Mapping[str, tuple[np.ndarray, ...]],
    *,
    needed: frozenset[str] | None = None,
) -> Matched:
    """As `match_weights`, with what does not fit listed in `errors` instead of raised."""
    wanted = wanted_blobs(net, shapes)
    blobs: dict[str, tuple[np.ndarray, ...]] = {}
    errors: dict[str, ClockworkError] = {}
    notes: list[str] = []
    layouts: dict[str, str] = {}
    owners: dict[str, np.ndarray] = {}
    for layer in net.layers:
        if layer.key not in wanted or (needed is not None and layer.key not in needed):
            continue
        try:
            arrays = _arrays(layer, given, owners)
            if arrays is None:
                have = ", ".join(list(given)[:5]) or "none"
                sizes = [b.shape for b in wanted[layer.key]]
                raise WeightsError(
                    "no weights for this layer",
                    found=f"weights for {len(given)} layers ({have}, ...)",
                    expected=f"{len(sizes)} blobs of shapes {sizes}",
                    hint="do prototxt and weights belong together?",
                )
            bottoms = tuple(shapes[b] for b in layer.bottoms)
            adapted = _match_layer(net, layer, wanted[layer.key], arrays, bottoms)
            blobs[layer.key] = _share(layer, adapted.arrays, owners)
        except ClockworkError as error:
            errors[layer.key] = error.located(**net.where(layer))
            continue
        if adapted.how:
            layouts[layer.key] = adapted.how
        if adapted.note:
            notes.append(f'layer "{layer.name}" ({layer.type}): {adapted.note}')
    with_blobs = {name for layer in net.layers if layer.key in wanted for name in (layer.key, layer.name)}
    left_over = tuple(name for name in given if name not in with_blobs)
    return Matched(blobs, tuple(notes), left_over, errors, layouts)


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
    matched = survey_weights(net, shapes, given, needed=needed)
    for error in matched.errors.values():
        raise error
    return matched
