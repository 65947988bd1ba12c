"""What a set of results says: tables, curves at equal cost, plots and plain sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from clockwork_onnx.evaluation.results import plots
from clockwork_onnx.evaluation.results.curves import (
    Advantage,
    Curve,
    Point,
    advantage,
    cost_of,
    curves_of,
    families_of,
    pareto_front,
    point_of,
)
from clockwork_onnx.evaluation.results.tables import TIMES, Cell, Table, schedule_table
from clockwork_onnx.evaluation.results.watchers import Strips
from clockwork_onnx.evaluation.scoring.played import TRUNCATED
from clockwork_onnx.evaluation.scoring.scoring import Result
from weights.whole_file import whole_file

__all__ = ["Summary", "summarise", "write_files"]

COMPARED = (
    ("clockwork", "skip"), ("adaptive", "clockwork"), ("adaptive", "skip"), ("warp", "skip"),
    ("warp", "clockwork"), ("warp adaptive", "warp"), ("correct", "clockwork"), ("warp-feature", "skip"),
)  # fmt: skip
"""Families of schedules that are compared at equal cost."""

NEAR = (0.01, 0.05)
"""Losses of mean IU for which the cheapest schedule is named."""


@dataclass(frozen=True)
class Summary:
    """Results of one bundle on one data set, compared.

    `compared`: the results that comparisons at equal cost are made of, `summarise` says which.
    `rate_gains`: (N, clockwork schedule, its mean IU above skip:N), for schedules whose deepest stage fires
    every N-th frame. `advantages` compare families at equal cost; `adaptive_gain` gives for each adaptive
    schedule the mean IU it has above the fixed clockwork curve at its own cost (NaN outside that curve).
    """

    title: str
    classes: tuple[str, ...]
    stages: tuple[str, ...]
    results: tuple[Result, ...]
    compared: tuple[Result, ...]
    curves: tuple[Curve, ...]
    front: tuple[Point, ...]
    advantages: tuple[Advantage, ...]
    rate_gains: tuple[tuple[int, str, float], ...]
    adaptive_gain: tuple[tuple[str, float], ...]

    def as_json(self, timings: bool = True) -> dict[str, Any]:
        """Plain values; without `timings` they are the same in every run."""
        oracle = self._oracle
        schedules = []
        for result in self.results:
            values = result.as_json(self.classes, timings)
            if timings and oracle is not None:
                values["time_of_oracle"] = result.ms_per_frame / oracle.ms_per_frame
            schedules.append(values)
        return {
            "title": self.title,
            "classes": list(self.classes),
            "stages": list(self.stages),
            "schedules": schedules,
            "curves": [asdict(curve) for curve in self.curves],
            "pareto_front": [asdict(point) for point in self.front],
            "advantages": [asdict(found) for found in self.advantages],
            **({"advantages_by_time": [asdict(a) for a in self.time_advantages()]} if timings else {}),
            "above_skip_at_equal_rate": [
                {"rate": rate, "schedule": name, "mean_iu": gain} for rate, name, gain in self.rate_gains
            ],
            "adaptive_above_fixed": {n: gain for n, gain in self.adaptive_gain if not math.isnan(gain)},
        }

    def table(self, timings: bool = True) -> Table:
        """One row per schedule."""
        table = schedule_table(self.title, self.results, self.stages)
        return table if timings else table.without(TIMES)

    def class_table(self) -> Table:
        """IU of every class, one column per schedule."""
        rows: list[tuple[Cell, ...]] = []
        for i, name in enumerate(self.classes):
            shown: list[Cell] = [result.scores.class_iu[i] for result in self.results]
            rows.append((name, *shown))
        return Table("IU of each class", ("class", *(r.schedule for r in self.results)), tuple(rows))

    def front_table(self) -> Table:
        """The Pareto front: no other schedule is as good at no more cost."""
        rows = tuple((p.schedule, p.cost, p.accuracy) for p in self.front)
        return Table("Pareto front", ("schedule", "cost/oracle", "mean IU"), rows)

    def time_advantages(self) -> list[Advantage]:
        """Families compared at equal measured time."""
        return _advantages(curves_of(self.results, cost="time")) if self._oracle is not None else []

    @property
    def _oracle(self) -> Result | None:
        return next((r for r in self.results if r.schedule == "oracle"), None)

    def headline(self) -> list[str]:
        """The oracle's accuracy, and the cheapest schedules that come near it."""
        oracle = self._oracle
        if oracle is None:
            return []
        best = oracle.scores.mean_iu
        sentences = [f"Everything on every frame (the oracle) has mean IU {best:.3f}."]
        points = [
            (r.schedule, cost_of(r, oracle), r.scores.mean_iu) for r in self.compared if r is not oracle
        ]
        for loss in NEAR:
            near = [point for point in points if point[2] >= best - loss and point[1] < 1]
            if near:
                name, cost, accuracy = min(near, key=lambda point: (point[1], -point[2]))
                sentences.append(
                    f"The cheapest that loses at most {loss:g} of it: {name}, {accuracy:.3f} for {cost:.0%} "
                    "of the oracle's cost."
                )
            elif points:
                sentences.append(f"No schedule that costs less comes within {loss:g} of it.")
        return sentences

    def findings(self, timings: bool = True) -> list[str]:
        """What the numbers say, in sentences."""
        sentences = self.headline()
        if self.rate_gains:
            gains = ", ".join(f"{name} {gain:+.4f}" for _, name, gain in self.rate_gains)
            sentences.append(f"Mean IU above skip at the same rate of the deepest stage: {gains}.")
        sentences += [_equal_cost(found, "cost", self._measure(found)) for found in self.advantages]
        if timings:
            sentences += [_equal_cost(found, "time", "time as measured") for found in self.time_advantages()]
        for name, gain in self.adaptive_gain:
            if not math.isnan(gain):
                word = "above" if gain >= 0 else "below"
                sentences.append(f"{name} lies {abs(gain):.4f} mean IU {word} fixed clocks of the same cost.")
        if len(self.front) > 1:
            names = ", ".join(point.schedule for point in self.front)
            sentences.append(f"Not beaten at their cost or a lower one: {names}.")
        return sentences

    def _measure(self, found: Advantage) -> str:
        """What the costs that two families are compared at are made of."""
        timed = {r.played.family for r in self.compared if r.moving_ms}
        if timed & {found.curve, found.other}:
            return "cost, multiply-accumulates and the time of flow and warp"
        return "multiply-accumulates"

    def plots(self, strips: Strips | None = None, timings: bool = False) -> list[tuple[str, str, Figure]]:
        """Every plot that these results allow.

        Args:
            strips: When the deepest stage fired, for the timeline.
            timings: Also plot accuracy against measured time.

        Returns:
            (file name, caption, figure) of each.
        """
        pictures = []
        # Nets cut off early are often far below, and would flatten the curves.
        shown = [r for r in self.compared if r.played.family != TRUNCATED]
        others = [r for r in shown if not _in_curves(r, self.curves)]
        points = [point_of(r, self._oracle) for r in others]
        compared = self.advantages[0] if self.advantages else None
        name = "fired multiply-accumulates / oracle"
        if any(r.moving_ms for r in self.compared):
            name = "fired multiply-accumulates, and time of flow and warp, / oracle"
        cost = plots.accuracy_cost(self.curves, points, self.front, name, compared)
        pictures.append(("accuracy-cost.png", "Accuracy against counted cost", cost))
        if timings and self._oracle is not None and self._oracle.ms_per_frame > 0:
            pictures.append(("accuracy-time.png", "Accuracy against measured time", self._time_plot(others)))
        deepest = self.stages[-1]
        sweep = sorted(
            (r.played.theta, r.fires[deepest] / r.frames, r.scores.mean_iu)
            for r in self.results
            if r.played.family == "adaptive" and r.played.theta is not None and r.frames
        )
        if len(sweep) > 1:
            figure = plots.threshold_sweep(*(list(column) for column in zip(*sweep, strict=True)))
            pictures.append(("threshold-sweep.png", "The adaptive clock's threshold", figure))
        if strips is not None and strips.fired:
            figure = plots.update_timeline(
                strips.fired, families_of(self.results), strips.shots, strips.stage
            )
            pictures.append(("timeline.png", f"Frames on which {strips.stage} fired", figure))
        return pictures

    def _time_plot(self, others: Sequence[Result]) -> Figure:
        assert self._oracle is not None
        whole = self._oracle.ms_per_frame
        by_time = [
            Point(r.schedule, r.ms_per_frame / whole, r.scores.mean_iu, r.played.family) for r in self.results
        ]
        compared, names = self.time_advantages(), {r.schedule for r in others}
        return plots.accuracy_cost(
            curves_of(self.results, cost="time"),
            [point for point in by_time if point.schedule in names],
            pareto_front(by_time),
            f"measured time / oracle's {whole:.1f} ms per frame",
            compared[0] if compared else None,
        )


def _in_curves(result: Result, curves: Sequence[Curve]) -> bool:
    return any(result.schedule == p.schedule for curve in curves for p in (*curve.points, *curve.beaten))


def _equal_cost(found: Advantage, what: str, measure: str) -> str:
    word = "above" if found.mean >= 0 else "below"
    return (
        f"At equal {what}, {found.curve} lies {abs(found.mean):.4f} mean IU {word} {found.other} on average, "
        f"over {found.start:.2f} to {found.end:.2f} of the oracle's {measure} (area {found.area:+.4f})."
    )


def summarise(
    title: str,
    results: Sequence[Result],
    classes: Sequence[str],
    stages: Sequence[str],
    timings: bool = True,
) -> Summary:
    """Compare results: curves, front, advantage of clockwork and adaptive clocks at equal cost.

    Args:
        title: What was played, for the heading.
        results: The results.
        classes: The classes' names.
        stages: The stages' names, in order.
        timings: Without it, schedules part of whose cost is a measured time (optical flow, warp) are left out
            of what is compared at equal cost, so that the comparison is the same in every run.

    Returns:
        The comparison.
    """
    compared = [r for r in results if timings or not r.moving_ms]
    curves = {curve.family: curve for curve in curves_of(compared)}
    oracle = next((r for r in results if r.schedule == "oracle"), None)
    points = [point_of(r, oracle) for r in compared]
    fixed = curves.get("clockwork")
    gains = [
        (p.schedule, p.accuracy - fixed.at(p.cost))
        for p in points
        if fixed is not None and p.family == "adaptive"
    ]
    return Summary(
        title=title,
        classes=tuple(classes),
        stages=tuple(stages),
        results=tuple(results),
        compared=tuple(compared),
        curves=tuple(curves.values()),
        front=tuple(pareto_front(points)),
        advantages=tuple(_advantages(curves.values())),
        rate_gains=tuple(_rate_gains(results)),
        adaptive_gain=tuple(gains),
    )


def _advantages(curves: Iterable[Curve]) -> list[Advantage]:
    named = {curve.family: curve for curve in curves}
    found = [advantage(named[a], named[b]) for a, b in COMPARED if a in named and b in named]
    return [one for one in found if one is not None]


def _rate_gains(results: Sequence[Result]) -> Iterator[tuple[int, str, float]]:
    skip = {r.played.interval: r.scores.mean_iu for r in results if r.played.family == "skip"}
    for result in results:
        rate = result.played.interval
        if rate is not None and rate in skip and result.played.family == "clockwork":
            yield rate, result.schedule, result.scores.mean_iu - skip[rate]


def write_files(folder: Path, files: dict[str, str | Figure]) -> list[Path]:
    """Write texts and figures, each under a temporary name first.

    Args:
        folder: Where they go; it is made where it is missing.
        files: Texts and figures by file name.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, content in files.items():
        path = folder / name
        if isinstance(content, Figure):
            plots.save(content, path)
        else:
            with whole_file(path) as part:
                part.write_text(content, encoding="utf-8")
        paths.append(path)
    return paths
