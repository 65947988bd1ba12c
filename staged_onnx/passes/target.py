"""What a graph is prepared for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from staged_onnx.passes.fixed_graph import FixedGraph

__all__ = ["Evaluate", "Target"]

Evaluate = Callable[[FixedGraph, Sequence[str]], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Target:
    """Where a graph will run.

    evaluate: gives the values of the given names on an empty frame. threads: of one operator.
    """

    evaluate: Evaluate
    threads: int = 1
