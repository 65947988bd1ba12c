"""Net surgery as FCN's surgery.py does it, on mappings of arrays: layer name -> arrays of that layer.

Each function returns new arrays beside a report and leaves what it was given alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from weights.errors import WeightsError
from weights.upsample import upsample_filt

__all__ = ["Blobs", "Move", "Report", "expand_score", "interp", "transplant"]

Blobs = Mapping[str, tuple[np.ndarray, ...]]


@dataclass(frozen=True)
class Move:
    """Blob `index` of layer `source`, of shape `found`, and where it went: layer `target`, shape `made`.

    `target` and `made` are None for a blob that was dropped.
    """

    source: str
    index: int
    found: tuple[int, ...]
    target: str | None = None
    made: tuple[int, ...] | None = None

    def __str__(self) -> str:
        found = "x".join(map(str, self.found))
        if self.target is None or self.made is None:
            return f"{self.source}[{self.index}] {found} dropped"
        return f"{self.source}[{self.index}] {found} -> {self.target} {'x'.join(map(str, self.made))}"


@dataclass(frozen=True)
class Report:
    """What surgery did: blobs copied in their shape, coerced into another one, dropped."""

    copied: tuple[Move, ...] = ()
    coerced: tuple[Move, ...] = ()
    dropped: tuple[Move, ...] = ()


def _layer(blobs: Blobs, name: str, of: str) -> tuple[np.ndarray, ...]:
    if name not in blobs or not blobs[name]:
        raise WeightsError(f"no weights for it in the {of}", layer=name)
    return blobs[name]


def transplant(
    new: Blobs, old: Blobs, suffix: str = "", rename: Mapping[str, str] | None = None
) -> tuple[dict[str, tuple[np.ndarray, ...]], Report]:
    """Fill a net's arrays with another net's, layer `p` of `old` going to layer `p + suffix`.

    Numbers are copied in the order of the elements, so that a fully connected weight (O, I) becomes a
    convolution (O, C, h, w) with C h w = I. Layers and blobs that `new` does not have are dropped.

    Args:
        new: The arrays to fill, by layer name; left as they are.
        old: The arrays to take, by layer name.
        suffix: What is added to the names of the old layers.
        rename: Old layer name -> new layer name, in place of the name with the suffix.

    Returns:
        `new` with the blobs of `old`, and which blobs were copied, given a new shape, or dropped.

    Raises:
        WeightsError: A blob does not have as many numbers as the one that it is to fill.
    """
    made = dict(new)
    copied: list[Move] = []
    coerced: list[Move] = []
    dropped: list[Move] = []
    for name, arrays in old.items():
        target = (rename or {}).get(name, name + suffix)
        kept = list(new.get(target, ()))
        for index, array in enumerate(arrays):
            if index >= len(kept):
                dropped.append(Move(name, index, array.shape))
                continue
            shape = kept[index].shape
            if array.size != kept[index].size:
                raise WeightsError(
                    f"blob {index} has another count of numbers than its new place",
                    layer=name,
                    found="x".join(map(str, array.shape)),
                    expected=f'{"x".join(map(str, shape))} in layer "{target}"',
                )
            (copied if array.shape == shape else coerced).append(
                Move(name, index, array.shape, target, shape)
            )
            kept[index] = np.array(array, np.float32).reshape(shape)
        if target in new:
            made[target] = tuple(kept)
    return made, Report(tuple(copied), tuple(coerced), tuple(dropped))


def interp(blobs: Blobs, layers: Iterable[str]) -> dict[str, tuple[np.ndarray, ...]]:
    """Put bilinear upsampling into the weights of layers.

    `upsample_filt(s)` goes into [i, i] of a dense weight (k = m) or [i, 0] of a grouped one (k = 1); what
    else is in the weight stays.

    Args:
        blobs: Arrays by layer name; left as they are.
        layers: The layers to fill, whose weights have the shape (m, k, s, s).

    Returns:
        `blobs` with the new weights.

    Raises:
        WeightsError: A layer has no weight, or a weight of another shape.
    """
    made = dict(blobs)
    for name in layers:
        first, *rest = _layer(blobs, name, "given weights")
        if first.ndim != 4 or first.shape[1] not in (1, first.shape[0]) or first.shape[2] != first.shape[3]:
            raise WeightsError(
                "no weight for upsampling",
                layer=name,
                found="x".join(map(str, first.shape)),
                expected="m x m x s x s, or m x 1 x s x s",
            )
        weight = np.array(first, np.float32)
        channels = np.arange(weight.shape[0])
        weight[channels, channels if weight.shape[1] > 1 else 0] = upsample_filt(weight.shape[2])
        made[name] = (weight, *rest)
    return made


def expand_score(
    new: Blobs, new_layer: str, old: Blobs, old_layer: str
) -> tuple[dict[str, tuple[np.ndarray, ...]], Report]:
    """Make the classes of one score layer the first classes of a larger one, weight and bias.

    The first n rows of the new weight and the first n numbers of the new bias become the n old ones; those of
    the further classes stay.

    Args:
        new: The larger net's arrays by layer name; left as they are.
        new_layer: Its score layer.
        old: The smaller net's arrays by layer name.
        old_layer: Its score layer.

    Returns:
        `new` with the old classes in it, and which blobs were copied or dropped.

    Raises:
        WeightsError: There are fewer classes than before, or the rows differ in length.
    """
    target = [np.array(array, np.float32) for array in _layer(new, new_layer, "new net")]
    source = _layer(old, old_layer, "old net")
    moves = []
    for index, (array, into) in enumerate(zip(source, target, strict=False)):
        # The bias of an old file is 1x1x1xN: classes are its last axis, not its first.
        rows, space = (array, into) if index == 0 else (array.reshape(-1), into.reshape(-1))
        if not rows.ndim or rows.shape[1:] != space.shape[1:] or len(rows) > len(space):
            raise WeightsError(
                f"blob {index} does not fit into the larger score layer",
                layer=new_layer,
                found="x".join(map(str, array.shape)),
                expected=f"rows as those of {'x'.join(map(str, into.shape))}, and no more of them",
            )
        space[: len(rows)] = rows
        moves.append(Move(old_layer, index, array.shape, new_layer, into.shape))
    dropped = tuple(Move(old_layer, index, source[index].shape) for index in range(len(target), len(source)))
    return {**new, new_layer: tuple(target)}, Report(copied=tuple(moves), dropped=dropped)
