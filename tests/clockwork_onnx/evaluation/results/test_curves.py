"""Curves of accuracy against cost, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from clockwork_onnx.evaluation.results.curves import (
    Curve,
    Point,
    advantage,
    cost_of,
    curves_of,
    pareto_front,
)
from tests.support.results import result


def curve(family: str, *points: tuple[float, float]) -> Curve:
    return Curve(family, tuple(Point(f"{family}:{i}", *p) for i, p in enumerate(points)))


def test_flow_counts_by_its_time() -> None:
    oracle, warp = result("oracle", 1.0, 0.9, ms_per_frame=100), result("warp:4", 0.25, 0.88, ms_per_frame=40)
    warp = replace(warp, moving_ms=15)
    assert cost_of(warp, oracle) == pytest.approx(0.4)
    assert cost_of(oracle, oracle) == 1 and cost_of(warp, None) == 0.25
    (curve,) = curves_of([oracle, warp])
    assert [(p.schedule, p.cost) for p in curve.points] == [("warp:4", pytest.approx(0.4)), ("oracle", 1.0)]


def test_curves_hold_the_front_of_their_family_and_the_oracle() -> None:
    results = [
        result("oracle", 1.0, 0.9, ms_per_frame=10),
        result("skip:2", 0.5, 0.7, ms_per_frame=6),
        result("skip:4", 0.25, 0.5, ms_per_frame=4),
        result("rates:1,2", 0.7, 0.85, ms_per_frame=8),
        result("alternating", 0.7, 0.84, ms_per_frame=8),
        result("rates:1,4", 0.75, 0.6, ms_per_frame=8),
        result("pipeline:2", 1.0, 0.8),
    ]
    by_family = {c.family: c for c in curves_of(results)}
    assert set(by_family) == {"skip", "clockwork"}
    assert [(p.cost, p.accuracy) for p in by_family["skip"].points] == [(0.25, 0.5), (0.5, 0.7), (1.0, 0.9)]
    assert [p.schedule for p in by_family["clockwork"].points] == ["rates:1,2", "oracle"]
    assert [p.schedule for p in by_family["clockwork"].beaten] == ["alternating", "rates:1,4"]
    by_time = {c.family: c for c in curves_of(results, cost="time")}
    assert [p.cost for p in by_time["skip"].points] == [0.4, 0.6, 1.0]


def test_an_oracle_that_its_family_beats_is_off_the_curve() -> None:
    results = [result("oracle", 1.0, 0.9), result("adaptive:0.1", 0.8, 0.95)]
    (found,) = curves_of(results)
    assert [p.schedule for p in found.points] == ["adaptive:0.1"]
    assert [p.schedule for p in found.beaten] == ["oracle"]


def test_a_curve_is_straight_between_points_and_level_after_the_last() -> None:
    c = curve("skip", (0.2, 0.4), (0.8, 0.8))
    assert c.at(0.5) == pytest.approx(0.6)
    assert math.isnan(c.at(0.1)) and c.at(1.0) == 0.8


def test_advantage_is_the_area_between_over_the_shared_costs() -> None:
    upper = curve("clockwork", (0.5, 0.7), (1.0, 0.8))
    lower = curve("skip", (0.25, 0.3), (0.75, 0.5), (1.0, 0.8))
    # On 0.5..1: gains 0.3 at 0.5, 0.25 at 0.75, 0 at 1.
    found = advantage(upper, lower)
    assert found is not None and (found.start, found.end) == (0.5, 1.0)
    assert found.area == pytest.approx(0.25 * (0.3 + 0.25) / 2 + 0.25 * (0.25 + 0.0) / 2)
    assert found.mean == pytest.approx(found.area / 0.5)
    opposite = advantage(lower, upper)
    assert opposite is not None and opposite.area == pytest.approx(-found.area)


def test_a_curve_that_ends_early_stays_level() -> None:
    early, late = curve("adaptive", (0.4, 0.5), (0.6, 0.9)), curve("skip", (0.5, 0.6), (1.0, 0.8))
    # Gains: 0.1 at 0.5, 0.9 - 0.64 at 0.6, 0.1 at 1.
    found = advantage(early, late)
    assert found is not None and (found.start, found.end) == (0.5, 1.0)
    assert found.area == pytest.approx(0.1 * (0.1 + 0.26) / 2 + 0.4 * (0.26 + 0.1) / 2)


def test_single_points_at_one_cost_make_no_area() -> None:
    assert advantage(curve("a", (0.5, 0.1)), curve("b", (0.5, 0.2))) is None


def test_pareto_front() -> None:
    points = [
        Point(n, *p) for n, p in {"a": (0.5, 0.5), "b": (0.6, 0.4), "c": (0.5, 0.6), "d": (1, 0.9)}.items()
    ]
    assert [p.schedule for p in pareto_front(points)] == ["c", "d"]
    assert pareto_front([]) == []
