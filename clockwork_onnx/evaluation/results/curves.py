"""Accuracy against cost: curves, their Pareto front, and how far one lies above the other.

A clockwork schedule pays for its shallow stages on every frame, which frame skipping does not, so that
schedules are compared at equal cost and not at equal rate. The curve of a family runs through those of its
schedules that none of the family beats at the same or a lower cost. Between two of them it is taken to be
straight, which is what playing part of a video with the one and part with the other would give; beyond the
dearest one it is level, since nobody has to spend more.

Cost is counted in multiply-accumulates, as a share of the oracle's. Optical flow and warping have none; they
count by their time, as a share of the time of the oracle's frame in the same run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from clockwork_onnx.evaluation.scoring.played import TRUNCATED
from clockwork_onnx.evaluation.scoring.scoring import Result

__all__ = [
    "Advantage",
    "Curve",
    "Point",
    "advantage",
    "cost_of",
    "curves_of",
    "families_of",
    "pareto_front",
    "point_of",
]


@dataclass(frozen=True)
class Point:
    """One schedule of a family: `cost` as a share of the oracle's, `accuracy` as mean IU."""

    schedule: str
    cost: float
    accuracy: float
    family: str = ""


@dataclass(frozen=True)
class Curve:
    """One family of schedules: `points` are its Pareto front by rising cost, `beaten` the rest."""

    family: str
    points: tuple[Point, ...]
    beaten: tuple[Point, ...] = ()

    def at(self, cost: float) -> float:
        """Accuracy for a cost; NaN below the cheapest point."""
        costs = [point.cost for point in self.points]
        accuracies = [point.accuracy for point in self.points]
        return float(np.interp(cost, costs, accuracies, left=np.nan))


@dataclass(frozen=True)
class Advantage:
    """How far `curve` lies above `other`, from `start`, the lowest cost that both reach, to `end`.

    `area` is the integral of the difference of mean IU over cost, `mean` that area over the width: the
    average gain in mean IU at equal cost.
    """

    curve: str
    other: str
    start: float
    end: float
    area: float
    mean: float


def cost_of(result: Result, oracle: Result | None) -> float:
    """Multiply-accumulates per frame as a share of the oracle's; what has none counts by its time.

    Args:
        result: The result.
        oracle: The oracle's result, where there is one.

    Returns:
        The share.
    """
    moving = result.moving_ms / oracle.ms_per_frame if oracle is not None and result.moving_ms else 0.0
    return result.macs_of_oracle + moving


def families_of(results: Iterable[Result]) -> dict[str, str]:
    """The family of each schedule."""
    return {result.schedule: result.played.family for result in results}


def point_of(result: Result, oracle: Result | None) -> Point:
    """A result among others, by its counted cost.

    Args:
        result: The result.
        oracle: The oracle's result, where there is one.

    Returns:
        Its cost and mean IU.
    """
    return Point(result.schedule, cost_of(result, oracle), result.scores.mean_iu, result.played.family)


def curves_of(results: Iterable[Result], cost: str = "macs") -> list[Curve]:
    """One curve per family, the oracle being a member of each.

    Pipelines trade lag for latency, not accuracy for compute, and make no curve; nor do nets cut off early,
    which are nets of their own.

    Args:
        results: The results.
        cost: "macs", or "time" for the milliseconds per frame as a share of the oracle's.

    Returns:
        The curves, in the order in which the families first come.
    """
    results = list(results)
    oracle = next((r for r in results if r.played.family == "oracle"), None)

    def point(result: Result) -> Point:
        if cost == "time":
            share = result.ms_per_frame / oracle.ms_per_frame if oracle else float("nan")
            return Point(result.schedule, share, result.scores.mean_iu, result.played.family)
        return point_of(result, oracle)

    families: dict[str, list[Point]] = {}
    for result in results:
        family = result.played.family
        if family not in ("oracle", "pipeline", TRUNCATED):
            families.setdefault(family, []).append(point(result))
    curves = []
    for family, points in families.items():
        if oracle is not None:
            points = [*points, point(oracle)]
        front = pareto_front(points)
        curves.append(Curve(family, tuple(front), tuple(p for p in points if p not in front)))
    return curves


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in accuracy at the same or a lower cost, by rising cost."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.accuracy)):
        if not front or point.accuracy > front[-1].accuracy:
            front.append(point)
    return front


def advantage(curve: Curve, other: Curve) -> Advantage | None:
    """How far one curve lies above another.

    Args:
        curve: The curve.
        other: The one that it is compared with.

    Returns:
        The area between them and the mean height over their common range of cost; None where the one begins
        beyond the other's dearest point.
    """
    start = max(curve.points[0].cost, other.points[0].cost)
    end = max(curve.points[-1].cost, other.points[-1].cost)
    if not end > start:
        return None
    corners = {p.cost for c in (curve, other) for p in c.points if start < p.cost < end}
    costs = np.array([start, *sorted(corners), end])
    gain = np.array([curve.at(c) - other.at(c) for c in costs])
    area = float(np.sum((gain[1:] + gain[:-1]) / 2 * np.diff(costs)))
    return Advantage(curve.family, other.family, start, end, area, area / (end - start))
