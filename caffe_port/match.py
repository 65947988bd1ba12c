"""Weights by layer name -> weights checked against the net.

Caffe's rule (Net::CopyTrainedLayersFrom): layers are matched by name, layers of the file that the net does
not have are ignored (and listed), the number of blobs and their shapes must agree. A layer of the net that
the file lacks is an error here, because Caffe would run it on its filler.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from caffe_port.net import Layer, Net, Shape
from caffe_port.registry import Adapted, Blob, rule_for
from weights.errors import ClockworkError, WeightsError
from weights.mapped import release

__all__ = ["Matched", "match_weights", "survey_weights", "wanted_blobs"]

_PIECE = 1 << 20


SHOWN = 5
"""Names that a note lists."""


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
    """The weights that each layer of a net has.

    Args:
        net: The net.
        shapes: The shapes of its values.

    Returns:
        Layer key -> its blobs; layers without weights are left out.

    Raises:
        ClockworkError: A layer cannot be ported; the message names it.
    """
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
        if fit is None and not layer.spec.strict_dim and array.size == math.prod(blob.shape):
            fit = array.reshape(blob.shape)
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


class _Shared:
    """The arrays that several layers have in common by `param { name }`.

    Caffe keeps one array for all and writes every copy in the file over it, so the last in the file counts.
    """

    def __init__(self, given: Mapping[str, tuple[np.ndarray, ...]]) -> None:
        self.given = given
        self.place = {name: place for place, name in enumerate(given)}
        self.arrays: dict[str, tuple[int, np.ndarray]] = {}
        self.different: set[str] = set()

    def of_file(self, layer: Layer) -> tuple[int, tuple[np.ndarray, ...]] | None:
        """What the file has for a layer and where, or what it shares with layers before; None for neither."""
        for name in (layer.key, layer.name):
            if name in self.given:
                return self.place[name], self.given[name]
        names = layer.param_names
        if names and all(name in self.arrays for name in names):
            return -1, tuple(self.arrays[name][1] for name in names)
        return None

    def add(self, layer: Layer, place: int, arrays: tuple[np.ndarray, ...]) -> None:
        """Take in a layer's arrays; raises WeightsError where one does not fit the others of its name."""
        for position, (name, array) in enumerate(zip(layer.param_names, arrays, strict=False)):
            if not name:
                continue
            last, other = self.arrays.setdefault(name, (place, array))
            if other.size != array.size:
                raise WeightsError(
                    f'blob {position} cannot be shared as "{name}"',
                    found=f"shape {array.shape}, the owner's is {other.shape}",
                    expected="as many numbers in both",
                )
            if other is not array and not np.array_equal(other.ravel(), array.ravel()):
                self.different.add(name)
            if place > last:
                self.arrays[name] = (place, array)

    def in_place_of(self, layer: Layer, arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        """The arrays of a layer, those that it shares in the place of its own."""
        placed = list(arrays)
        for position, (name, array) in enumerate(zip(layer.param_names, arrays, strict=False)):
            common = self.arrays[name][1] if name else array
            # The very array where that will do: a graph stores it once.
            placed[position] = common if common.shape == array.shape else common.reshape(array.shape)
        return tuple(placed)


def _not_finite(arrays: tuple[np.ndarray, ...]) -> int:
    """How many numbers are NaN or infinite; looks at a piece at a time and lets go of mapped memory."""
    found = 0
    for array in arrays:
        flat = array.reshape(-1)
        for start in range(0, flat.size, _PIECE):
            piece = flat[start : start + _PIECE]
            found += piece.size - int(np.isfinite(piece).sum())
        release(array)
    return found


def survey_weights(
    net: Net,
    shapes: Mapping[str, Shape],
    given: Mapping[str, tuple[np.ndarray, ...]],
    *,
    needed: frozenset[str] | None = None,
) -> Matched:
    """As `match_weights`, with what does not fit listed in `errors` instead of raised.

    Args:
        net: As in `match_weights`.
        shapes: As in `match_weights`.
        given: As in `match_weights`.
        needed: As in `match_weights`.

    Returns:
        What fits, what does not and why, and what is left over.

    Raises:
        ClockworkError: As `wanted_blobs` does.
    """
    wanted = wanted_blobs(net, shapes)
    fitted: dict[str, tuple[np.ndarray, ...]] = {}
    errors: dict[str, ClockworkError] = {}
    notes: list[str] = []
    layouts: dict[str, str] = {}
    shared = _Shared(given)
    for layer in net.layers:
        wasted = needed is not None and layer.key not in needed
        # What is not needed may own an array that is.
        if layer.key not in wanted or (wasted and not any(layer.param_names)):
            continue
        try:
            found = shared.of_file(layer)
            if found is None:
                have = ", ".join(list(given)[:5]) or "none"
                sizes = [b.shape for b in wanted[layer.key]]
                raise WeightsError(
                    "no weights for this layer",
                    found=f"weights for {len(given)} layers ({have}, ...)",
                    expected=f"{len(sizes)} blobs of shapes {sizes}",
                    hint="do prototxt and weights belong together?",
                )
            place, arrays = found
            bottoms = tuple(shapes[b] for b in layer.bottoms)
            adapted = _match_layer(net, layer, wanted[layer.key], arrays, bottoms)
            shared.add(layer, place, adapted.arrays)
        except ClockworkError as error:
            if not wasted:
                errors[layer.key] = error.located(**net.where(layer))
            continue
        if wasted:
            continue
        fitted[layer.key] = adapted.arrays
        if adapted.how:
            layouts[layer.key] = adapted.how
        count = _not_finite(adapted.arrays)
        if count:
            notes.append(f'layer "{layer.name}" ({layer.type}): {count} weights are NaN or infinite')
        if adapted.note:
            notes.append(f'layer "{layer.name}" ({layer.type}): {adapted.note}')
    by_key = {layer.key: layer for layer in net.layers}
    blobs = {key: shared.in_place_of(by_key[key], arrays) for key, arrays in fitted.items()}
    notes += [
        f'weights shared as "{name}" are not the same everywhere in the file: the last are taken, as in Caffe'
        for name in sorted(shared.different)
    ]
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

    Weights shared by `param { name }` are one array; where the file has different copies the last one counts,
    and there is a note.

    Args:
        net: The net.
        shapes: The shapes of its values.
        given: Weights by layer name, as `weights.read` gives them.
        needed: Limits the check to these layer keys.

    Returns:
        The weights by layer key, and notes on what was adapted or left over.

    Raises:
        WeightsError: Weights are missing or do not fit; the message names the layer, what was found and what
            fits.
    """
    matched = survey_weights(net, shapes, given, needed=needed)
    for error in matched.errors.values():
        raise error
    return replace(matched, notes=(*matched.notes, *_left_over(matched.left_over)))


def _left_over(names: tuple[str, ...]) -> list[str]:
    """One line for the layers that only the weights file has."""
    if not names:
        return []
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"the weights file has layers that the net has not: {', '.join(names[:SHOWN])}{more}"]
