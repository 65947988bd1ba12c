"""Passes over the graph of a stage at one frame size: the same numbers in less time.

A pass is a function from graph to graph with a name. Which ones are taken is decided when a session is
opened, for its device; `apply_passes` is the one place where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from staged_onnx.passes.batch_statistics import batch_statistics
from staged_onnx.passes.bilinear import bilinear
from staged_onnx.passes.fixed_graph import Border, FixedGraph, fix_sizes
from staged_onnx.passes.live_region import borders_of, live_region, partly_live_outputs
from staged_onnx.passes.target import Target
from staged_onnx.passes.winograd import winograd
from weights.errors import UsageError

__all__ = [
    "DEFAULT",
    "PASSES",
    "Border",
    "FixedGraph",
    "Saving",
    "Target",
    "apply_passes",
    "borders_of",
    "fix_sizes",
    "parse_passes",
    "partly_live_outputs",
]

Pass = Callable[[FixedGraph, Target], FixedGraph]

PASSES: Mapping[str, Pass] = {
    "batch-statistics": batch_statistics,
    "live-region": live_region,
    "winograd": winograd,
    "bilinear": bilinear,
}
"""Every pass by its name, in the order in which they are taken."""

DEFAULT: Mapping[str, tuple[str, ...]] = {"cpu": tuple(PASSES), "cuda": ()}
"""The passes that are taken where nobody says which, by kind of device. None was measured on a GPU yet."""


@dataclass(frozen=True)
class Saving:
    """What a pass did to a graph: its multiply-accumulates and its nodes before and after."""

    name: str
    macs: tuple[int, int]
    nodes: tuple[int, int]


def parse_passes(text: str, device: str) -> tuple[str, ...]:
    """The passes that a text lists.

    Args:
        text: Names with commas between them, "none", or "auto" for those that pay on the device.
        device: "cpu" or "cuda".

    Returns:
        Their names, in the order in which they are taken.

    Raises:
        UsageError: An unknown name.
    """
    if text == "auto":
        return DEFAULT[device]
    given = [] if text == "none" else [name.strip() for name in text.split(",")]
    unknown = [name for name in given if name not in PASSES]
    if unknown:
        raise UsageError(
            "unknown pass", found=f'"{unknown[0]}"', expected=f"auto, none, or of {', '.join(PASSES)}"
        )
    return tuple(name for name in PASSES if name in given)


def apply_passes(
    graph: FixedGraph, names: Sequence[str], target: Target
) -> tuple[FixedGraph, tuple[Saving, ...]]:
    """Take passes, one after the other.

    Args:
        graph: The graph.
        names: The passes' names, keys of PASSES.
        target: What it is prepared for.

    Returns:
        The graph after these passes, and what each has saved.
    """
    savings = []
    for name in names:
        after = PASSES[name](graph, target)
        macs, nodes = (graph.macs(), after.macs()), (len(graph.nodes), len(after.nodes))
        savings.append(Saving(name, macs, nodes))
        graph = after
    return graph, tuple(savings)
