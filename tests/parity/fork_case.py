"""What a fixture of a fork's layer is: a net, its inputs and weights, and what answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from tests.parity.cases import given, layer

LOOPS = "NumPy loops from the fork's source"
OPENCV = f"OpenCV {cv2.__version__}"

Blobs = dict[str, np.ndarray]


@dataclass(frozen=True)
class ForkCase:
    """A net, its inputs by (shape, feed), its weights, and what answers.

    `answer(inputs, weights)` gives the outputs; None lets OpenCV read the files and run `outputs`.
    """

    name: str
    text: str
    inputs: dict[str, tuple[tuple[int, ...], tuple[object, ...]]]
    answer: Callable[[Blobs, dict[str, tuple[np.ndarray, ...]]], Blobs] | None
    weights: dict[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    resized: dict[str, tuple[int, ...]] = field(default_factory=dict)


NORMAL = ("normal", 0.0, 2.0)
X = {"data": ((1, 4, 6, 7), NORMAL)}
X2 = {"data": ((2, 4, 6, 7), NORMAL)}
BIGGER = {"data": (1, 4, 9, 8)}


def net(inputs: dict[str, tuple[tuple[int, ...], tuple[object, ...]]], *layers: str) -> str:
    """The text of a net on these inputs."""
    return "".join(given(*shape, name=name) for name, (shape, _) in inputs.items()) + "".join(layers)


def own(kind: str, bottoms: str, tops: str, rest: str = "") -> str:
    """A layer of a fork; `rest` is its parameter message, written out."""
    return layer(kind, bottoms, tops, rest=rest)


def on_data(
    name: str,
    layers: str,
    answers: dict[str, Callable[..., np.ndarray]],
    *,
    inputs: dict[str, tuple[tuple[int, ...], tuple[object, ...]]] = X,
    blobs: dict[str, tuple[tuple[int, ...], ...]] | None = None,
    resized: dict[str, tuple[int, ...]] | None = None,
) -> ForkCase:
    """Outputs that are functions of the inputs, in order, and of the weights of the layer so named."""
    blobs = blobs or {}

    def answer(given: Blobs, weights: dict[str, tuple[np.ndarray, ...]]) -> Blobs:
        return {top: f(*given.values(), *weights.get(top, ())) for top, f in answers.items()}

    return ForkCase(name, net(inputs, layers), inputs, answer, blobs, resized=resized or {})
