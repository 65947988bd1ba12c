"""Pictures of an evaluation: accuracy against cost, a threshold sweep, update timelines, differences."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.curves import Curve, Point
from evaluation.differences import ARGMAX, Difference

__all__ = ["accuracy_cost", "difference_bars", "png", "save", "threshold_sweep", "update_timeline"]

COLOURS = ("#d1495b", "#00798c", "#edae49", "#30638e", "#6a994e", "#8d5a97")
GREY = "#5c6370"


def accuracy_cost(
    curves: Sequence[Curve],
    others: Sequence[Point],
    front: Sequence[Point],
    cost_name: str = "fired multiply-accumulates / oracle",
) -> Figure:
    """Mean IU against cost: a line a family, single points for the rest, grey under the Pareto front."""
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    if front:
        costs, accuracies = [p.cost for p in front], [p.accuracy for p in front]
        axes.plot(costs, accuracies, "o", color="#c9ced6", markersize=13, label="Pareto front", zorder=1)
    for curve, colour in zip(curves, _colours(len(curves)), strict=True):
        axes.plot(
            [p.cost for p in curve.points],
            [p.accuracy for p in curve.points],
            marker="o",
            markersize=5,
            color=colour,
            label=curve.family,
            zorder=3,
        )
        for point in curve.beaten:
            axes.plot([point.cost], [point.accuracy], "o", color=colour, markersize=3, alpha=0.6)
        for point in curve.points:
            if point.schedule != "oracle":
                _note(axes, point.schedule.partition(":")[2] or point.schedule, point, (4, -10))
    for point in others:
        axes.plot([point.cost], [point.accuracy], "D", color=GREY, markersize=5, zorder=2)
        _note(axes, point.schedule, point, (5, 3))
    axes.margins(x=0.1)
    axes.set_xlabel(cost_name)
    axes.set_ylabel("mean IU")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    return figure


def threshold_sweep(
    thresholds: Sequence[float], fire_rates: Sequence[float], mean_iu: Sequence[float]
) -> Figure:
    """Mean IU and fire rate of the adaptive clock against its threshold (the paper's Figure 6)."""
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(thresholds, mean_iu, marker="o", color=COLOURS[0], label="mean IU")
    left.plot(thresholds, fire_rates, marker="s", color=COLOURS[1], label="share of frames that fire")
    left.set_xlabel("threshold")
    left.set_ylim(-0.03, 1.03)
    left.legend(frameon=False)
    right.plot(fire_rates, mean_iu, marker="o", color=COLOURS[0])
    for threshold, rate, accuracy in zip(thresholds, fire_rates, mean_iu, strict=True):
        right.annotate(f"{threshold:g}", (rate, accuracy), (4, -10), textcoords="offset points", fontsize=8)
    right.set_xlabel("share of frames that fire")
    right.set_ylabel("mean IU")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    return figure


def update_timeline(
    fired: Mapping[str, Sequence[bool]], starts: Sequence[int] = (), stage: str = "the deepest stage"
) -> Figure:
    """A strip a schedule: the frames on which `stage` fired (the paper's Figure 7).

    `starts`: the first frames of shots, marked by a line.
    """
    figure = Figure(figsize=(9, 0.7 + 0.42 * max(len(fired), 1)), layout="constrained")
    axes = figure.add_subplot()
    names = list(fired)
    for row, (name, colour) in enumerate(zip(names, _colours(len(names)), strict=True)):
        frames = [i for i, on in enumerate(fired[name]) if on]
        axes.broken_barh([(i - 0.5, 0.9) for i in frames], (row - 0.4, 0.8), color=colour)
    for start in starts:
        axes.axvline(start - 0.5, color=GREY, linewidth=0.8)
    counts = [f"{name}  {sum(fired[name])}/{len(fired[name])}" for name in names]
    axes.set_yticks(range(len(names)), counts)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(-0.5, max([1, *(len(strip) for strip in fired.values())]) - 0.5)
    axes.set_title(f"frames on which {stage} fired", fontsize=9, loc="left")
    axes.set_xlabel("frame")
    return figure


def difference_bars(differences: Mapping[str, Difference]) -> Figure:
    """Mean and deviation over shots of every difference: how much slower the deep layers change."""
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.add_subplot()
    names = list(differences)
    colours = [
        COLOURS[1] if name.endswith(ARGMAX) or name in ("label", "output") else COLOURS[2] for name in names
    ]
    axes.bar(
        range(len(names)),
        [differences[name].mean for name in names],
        yerr=[differences[name].std for name in names],
        color=colours,
        capsize=3,
    )
    axes.set_xticks(range(len(names)), names, rotation=25, ha="right", fontsize=8)
    axes.set_ylabel("change from frame to frame")
    axes.grid(alpha=0.3, axis="y")
    return figure


def png(figure: Figure, dpi: int = 110) -> bytes:
    """The figure as a PNG file's bytes; the same bytes for the same figure."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=dpi, metadata={"Software": None})
    return out.getvalue()


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG; the file appears whole."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(png(figure))
    os.replace(part, path)


def _note(axes: Axes, text: str, point: Point, offset: tuple[int, int]) -> None:
    axes.annotate(text, (point.cost, point.accuracy), offset, textcoords="offset points", fontsize=7)


def _colours(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]
