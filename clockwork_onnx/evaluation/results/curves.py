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

from clockwork_onnx.evaluation.scoring.scoring import Result

__all__ = [
    "Advantage",
    "Curve",
    "Point",
    "advantage",
    "cost_of",
    "curves_of",
    "deepest_rate",
    "family_of",
    "pareto_front",
]


MOVING = ("warp", "between", "warp-feature", "correct")
FLAGS = ("fuse", "chained")
"""Options without a value that make another kind of schedule."""


@dataclass(frozen=True)
class Point:
    """One schedule: `cost` as a share of the oracle's, `accuracy` as mean IU."""

    schedule: str
    cost: float
    accuracy: float


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


def family_of(schedule: str) -> str:
    """The family a schedule belongs to: skip, clockwork (some stage fires always), pipeline, adaptive, ...

    Schedules that move values are told apart by what decides and by how they move, the rate aside: warp,
    "warp adaptive", "warp @flow=dis:fast". The oracle belongs to every family that thins out its fires.
    """
    kind = schedule.split(":")[0].split()[0].rstrip(",")
    if kind in MOVING:
        clock, *options = schedule.partition(":")[2].split("@")
        how = [] if clock.isdigit() else [clock.split(":")[0]]
        bounds = ("min=", "max=")
        given = [f"@{o}" for o in options if o in FLAGS or ("=" in o and not o.startswith(bounds))]
        return " ".join([kind, *how, *given])
    if kind in ("rates", "alternating", "exponential"):
        rates = schedule.partition(":")[2].split(",")
        if kind == "rates" and len(set(rates)) == 1:
            return "skip"
        return "clockwork"
    return kind


def deepest_rate(schedule: str, stages: int) -> int | None:
    """Every how many frames the deepest stage fires under a fixed-rate schedule; None for others."""
    kind, _, value = schedule.partition(":")
    last = value.partition("@")[0].split(",")[-1]
    if kind == "oracle":
        return 1
    if kind in ("skip", "rates") and last.isdigit():
        return int(last)
    return {"alternating": 2, "exponential": 2 ** (stages - 1)}.get(kind)


def cost_of(result: Result, oracle: Result | None) -> float:
    """Multiply-accumulates per frame as a share of the oracle's; what has none counts by its time."""
    moving = result.moving_ms / oracle.ms_per_frame if oracle is not None and result.moving_ms else 0.0
    return result.macs_of_oracle + moving


def curves_of(results: Iterable[Result], cost: str = "macs") -> list[Curve]:
    """One curve per family, the oracle being a member of each; cost by "macs" or "time".

    Cost by time is the milliseconds per frame as a share of the oracle's. Pipelines trade lag for latency,
    not accuracy for compute, and make no curve; nor do nets cut off early, which are nets of their own.
    """
    results = list(results)
    oracle = next((r for r in results if family_of(r.schedule) == "oracle"), None)

    def point(result: Result) -> Point:
        if cost == "time":
            share = result.ms_per_frame / oracle.ms_per_frame if oracle else float("nan")
            return Point(result.schedule, share, result.scores.mean_iu)
        return Point(result.schedule, cost_of(result, oracle), result.scores.mean_iu)

    families: dict[str, list[Point]] = {}
    for result in results:
        family = family_of(result.schedule)
        if family not in ("oracle", "pipeline", "truncated"):
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
    """How far `curve` lies above `other`; None where the one begins beyond the other's dearest point."""
    start = max(curve.points[0].cost, other.points[0].cost)
    end = max(curve.points[-1].cost, other.points[-1].cost)
    if not end > start:
        return None
    corners = {p.cost for c in (curve, other) for p in c.points if start < p.cost < end}
    costs = np.array([start, *sorted(corners), end])
    gain = np.array([curve.at(c) - other.at(c) for c in costs])
    area = float(np.sum((gain[1:] + gain[:-1]) / 2 * np.diff(costs)))
    return Advantage(curve.family, other.family, start, end, area, area / (end - start))
