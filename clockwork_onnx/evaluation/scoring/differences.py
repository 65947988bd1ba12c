"""How fast each depth of a net changes from frame to frame (the clockwork paper's Table 1 and Figure 2).

Between neighbouring frames, with a the new value and b the one before:

    relative difference   mean |a - b| / ((|a| + |b|) / 2), where 0/0 counts as 0
    argmax change         share of positions whose highest channel is another one

The first frame of a shot is compared with itself, so that its 0 is part of the mean, as in the original
experiment. A shot's difference is the mean over its frames; reported are mean and standard deviation over
shots (of the shots themselves, not an estimate for more).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from weights.errors import UsageError

__all__ = [
    "ARGMAX",
    "ChangeMeasure",
    "Difference",
    "ShotDifferences",
    "argmax_change",
    "over_shots",
    "relative_difference",
]

ChangeMeasure = Literal["proportion", "hamming"]
ARGMAX = "-argmax"
"""Ending of the name under which a layer's argmax change is kept beside its relative difference."""


def relative_difference(new: NDArray[np.float32], old: NDArray[np.float32]) -> float:
    """mean |new - old| / ((|new| + |old|) / 2) over all elements.

    Args:
        new: Numbers of any shape.
        old: Numbers of the same shape.

    Returns:
        From 0 to 2; where both are 0, an element counts as 0.
    """
    size = (np.abs(new) + np.abs(old)) / 2
    change = np.abs(new - old)
    return float(np.divide(change, size, out=np.zeros_like(change), where=size > 0).mean())


def argmax_change(
    new: NDArray[np.float32], old: NDArray[np.float32], measure: ChangeMeasure = "proportion"
) -> float:
    """Share of the positions of a map whose argmax over the channels differs.

    Args:
        new: C x H x W.
        old: C x H x W.
        measure: "proportion", or "hamming" for the distance of the one-hot maps, in which every change counts
            twice.

    Returns:
        From 0 to 1, with "hamming" to 2.
    """
    share = float(np.mean(new.argmax(axis=0) != old.argmax(axis=0)))
    return 2 * share if measure == "hamming" else share


@dataclass(frozen=True)
class Difference:
    """Mean and standard deviation over shots, and how many shots there were."""

    mean: float
    std: float
    shots: int


class ShotDifferences:
    """The mean differences of one shot, gathered frame by frame; only the last frame is kept."""

    def __init__(self, measure: ChangeMeasure = "proportion") -> None:
        self._measure = measure
        self._pixels: NDArray[np.float32] | None = None
        self._layers: dict[str, NDArray[np.float32]] = {}
        self._label: NDArray[np.uint8] | None = None
        self._output: NDArray[np.uint8] | None = None
        self._sums: dict[str, float] = {}
        self._frames = 0
        self.trace: list[dict[str, float]] = []

    def add(
        self,
        pixels: NDArray[np.float32],
        layers: Mapping[str, NDArray[np.float32]],
        label: NDArray[np.uint8] | None = None,
        output: NDArray[np.uint8] | None = None,
    ) -> None:
        """Take the next frame.

        Args:
            pixels: The net's input, mean subtracted.
            layers: C x H x W maps by name.
            label: The true labels of this frame; None keeps those of the frame before, so that an unlabelled
                frame is a frame without change.
            output: The net's final labels, whose change is called "output".

        Raises:
            UsageError: The layers are not those of the frame before.
        """
        layers = {name: np.array(values) for name, values in layers.items()}
        if self._pixels is None:
            self._pixels, self._layers, self._label = pixels, layers, label
            self._output = None if output is None else output.copy()
        if layers.keys() != self._layers.keys():
            raise UsageError(
                "the layers changed within a shot", found=sorted(layers), expected=sorted(self._layers)
            )
        if label is None:
            label = self._label
        values = {"data": relative_difference(pixels, self._pixels)}
        for name, new in layers.items():
            values[name] = relative_difference(new, self._layers[name])
            values[name + ARGMAX] = argmax_change(new, self._layers[name], self._measure)
        no_label = label is None or self._label is None
        values["label"] = 0.0 if no_label else float(np.mean(label != self._label))
        if output is not None and self._output is not None:
            values["output"] = float(np.mean(output != self._output))
            self._output = output.copy()
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self.trace.append(values)
        self._frames += 1
        self._pixels, self._layers, self._label = pixels.copy(), layers, label

    def mean(self) -> dict[str, float]:
        """The shot's mean of each difference."""
        return {name: total / self._frames for name, total in self._sums.items()}


def over_shots(shots: Iterable[Mapping[str, float]]) -> dict[str, Difference]:
    """Mean and standard deviation of the shots' means, by name."""
    means = list(shots)
    if not means:
        raise UsageError("no shots to compare")
    result = {}
    for name in means[0]:
        values = np.array([shot[name] for shot in means])
        result[name] = Difference(float(values.mean()), float(values.std()), len(means))
    return result
