"""A layer of a random net of forks' layers, and how its settings are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """A layer: its type and message, what it gives for its bottom, more inputs, weights, and its weights."""

    kind: str
    setting: str
    answer: Callable[..., Array]
    more: tuple[Array, ...] = ()
    weights: tuple[Shape, ...] = ()


Maker = Callable[[np.random.Generator, Shape], Step | None]
"""Draws a layer for a bottom of this shape; None where it does not fit."""


def drawn(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def real(rng: np.random.Generator, low: float, high: float) -> float:
    return round(float(rng.uniform(low, high)), 3)


def pick(rng: np.random.Generator, *options: object) -> object:
    return options[drawn(rng, 0, len(options) - 1)]
