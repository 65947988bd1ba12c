"""Pictures of an evaluation: accuracy against cost, a threshold sweep, update timelines, differences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import cycle, pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from clockwork_onnx.evaluation.results.curves import Advantage, Curve, Point
from clockwork_onnx.evaluation.scoring.differences import ARGMAX, Difference
from runtime.report.plots import (
    BLUE,
    CARD,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    SOFT,
    VERMILLION,
    png,
    style,
)
from weights.shown import shown
from weights.whole_file import whole_file

__all__ = [
    "accuracy_cost",
    "difference_bars",
    "difference_traces",
    "save",
    "threshold_sweep",
    "update_timeline",
]

FAMILIES = {
    "oracle": INK,
    "skip": VERMILLION,
    "clockwork": BLUE,
    "adaptive": ORANGE,
    "pixels": PURPLE,
    "pipeline": SOFT,
}
SPARE = (GREEN, SKY, PURPLE, ORANGE, VERMILLION, BLUE)
MARKERS = "osD^vP*X"
"""Families differ in shape, too: what is printed in grey stays readable."""
LABEL_SIZE = 8
"""Points, of the names beside the points of a plot."""

_Note = tuple[str, float, float, str]
"""A text, the point it belongs to, and the colour of the line to it."""


@style()
def accuracy_cost(
    curves: Sequence[Curve],
    others: Sequence[Point],
    front: Sequence[Point],
    cost_name: str = "fired multiply-accumulates / oracle",
    between: Advantage | None = None,
) -> Figure:
    """Draw mean IU against cost.

    Args:
        curves: A line each; the points beaten by others of their family are small.
        others: Single points.
        front: The Pareto front: a grey disc under each of its points.
        cost_name: Beside the cost's axis.
        between: Two of the curves, the area between which is shaded and named.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(10.4, 5.4), layout="constrained")
    axes = figure.add_subplot()
    if between is not None:
        _shade(axes, {curve.family: curve for curve in curves}, between)
    if front:
        costs, accuracies = [p.cost for p in front], [p.accuracy for p in front]
        axes.plot(
            costs,
            accuracies,
            "o",
            color=SOFT,
            alpha=0.35,
            markeredgewidth=0,
            markersize=14,
            label="Pareto front",
            zorder=1,
        )
    notes = _draw_curves(axes, curves)
    for point in others:
        axes.plot([point.cost], [point.accuracy], "D", color=SOFT, markersize=5, zorder=2)
        notes[point.schedule] = (point.schedule, point.cost, point.accuracy, SOFT)
    axes.margins(x=0.08, y=0.08)
    axes.set_xlabel(cost_name)
    axes.set_ylabel("mean IU")
    axes.grid()
    _legend_above(axes)
    _place_notes(axes, list(notes.values()))
    return figure


def _draw_curves(axes: Axes, curves: Sequence[Curve]) -> dict[str, _Note]:
    """Draw a line per curve; gives the name of each point, by schedule."""
    notes: dict[str, _Note] = {}
    looks = zip(curves, _family_colours([c.family for c in curves]), cycle(MARKERS))
    for curve, colour, marker in looks:
        axes.plot(
            [p.cost for p in curve.points],
            [p.accuracy for p in curve.points],
            marker=marker,
            markersize=5,
            color=colour,
            label=shown(curve.family),
            zorder=3,
        )
        for point in curve.beaten:
            axes.plot([point.cost], [point.accuracy], marker, color=colour, markersize=3, alpha=0.6)
        for p in (*curve.points, *curve.beaten):
            is_oracle = p.family == "oracle"
            text = p.schedule.partition(":")[2] or p.schedule
            notes[p.schedule] = (text, p.cost, p.accuracy, FAMILIES["oracle"] if is_oracle else colour)
    return notes


@style()
def threshold_sweep(
    thresholds: Sequence[float], fire_rates: Sequence[float], mean_iu: Sequence[float]
) -> Figure:
    """Draw mean IU and fire rate of the adaptive clock against its threshold (the paper's Figure 6)."""
    figure = Figure(figsize=(10.4, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(thresholds, mean_iu, marker="o", color=BLUE, label="mean IU")
    left.plot(thresholds, fire_rates, marker="s", color=VERMILLION, label="share of frames that fire")
    left.set_xlabel("threshold (share of labels that must change)")
    left.set_ylabel("mean IU; share of frames")
    left.set_ylim(-0.03, 1.03)
    _legend_above(left)
    right.plot(fire_rates, mean_iu, marker="o", color=BLUE)
    right.margins(x=0.1, y=0.1)
    right.set_title("each point: a threshold", fontsize=9, loc="left")
    right.set_xlabel("share of frames that fire")
    right.set_ylabel("mean IU")
    for axes in (left, right):
        axes.grid()
    _place_notes(
        right, [(f"{t:g}", x, y, BLUE) for t, x, y in zip(thresholds, fire_rates, mean_iu, strict=True)]
    )
    return figure


@style()
def update_timeline(
    fired: Mapping[str, Sequence[bool]],
    families: Mapping[str, str],
    shots: Mapping[int, str] | None = None,
    stage: str = "the deepest stage",
) -> Figure:
    """Draw a strip per schedule, with the frames on which a stage fired (the paper's Figure 7).

    Args:
        fired: For each schedule, frame by frame, whether the stage fired.
        families: The family of each schedule; those of one have one colour.
        shots: The name of each shot by its first frame; a line marks where one ends and the next begins.
        stage: The stage's name, for the title.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(10.4, 0.9 + 0.3 * max(len(fired), 1)), layout="constrained")
    axes = figure.add_subplot()
    names, shots = list(fired), shots or {}
    colours = _family_colours(families[name] for name in names)
    for row, (name, colour) in enumerate(zip(names, colours, strict=True)):
        frames = [i for i, on in enumerate(fired[name]) if on]
        axes.broken_barh([(i - 0.5, 0.9) for i in frames], (row - 0.4, 0.8), color=colour)
    for start in shots:
        if start:
            axes.axvline(start - 0.5, color=SOFT, linewidth=0.8)
    counts = [f"{shown(name, 40)}  {sum(fired[name])}/{len(fired[name])}" for name in names]
    axes.set_yticks(range(len(names)), counts, fontsize=8)
    axes.set_ylim(max(len(names), 1) - 0.4, -0.6)
    axes.set_xlim(-0.5, max([1, *(len(strip) for strip in fired.values())]) - 0.5)
    axes.set_title(
        f"frames on which {shown(stage)} fired", fontsize=9, loc="left", pad=16 if len(shots) > 1 else 6
    )
    axes.set_xlabel("frame")
    if len(shots) > 1:
        above = axes.secondary_xaxis("top")
        above.set_xticks(list(shots), [_short(name) for name in shots.values()], fontsize=7, ha="left")
        above.tick_params(length=0, pad=1)
    return figure


@style()
def difference_bars(differences: Mapping[str, Difference]) -> Figure:
    """Draw mean and deviation over shots of every difference (Table 1): deep layers change less."""
    figure = Figure(figsize=(10.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    layers = [name for name in differences if not name.endswith(ARGMAX)]
    # "output" and "label" are label maps: their difference is a share of changed labels.
    relative = {name: differences[name] for name in layers if name not in ("label", "output")}
    changed = {name: differences[name] for name in ("label", "output") if name in differences}
    changed |= {name: differences[name + ARGMAX] for name in layers if name + ARGMAX in differences}
    for found, shift, colour, text in (
        (relative, -0.2, ORANGE, "relative difference of the values"),
        (changed, 0.2, BLUE, "share of positions whose label changes"),
    ):
        axes.bar(
            [layers.index(name) + shift for name in found],
            [one.mean for one in found.values()],
            0.4,
            yerr=[one.std for one in found.values()],
            color=colour,
            ecolor=SOFT,
            capsize=3,
            label=text,
        )
    shown = {"data": "pixels", "label": "true label"}
    axes.set_xticks(range(len(layers)), [shown.get(name, name) for name in layers])
    axes.set_ylim(bottom=0)
    axes.set_ylabel("change from frame to frame\n(mean and deviation over shots)")
    axes.set_axisbelow(True)
    axes.grid(axis="y")
    _legend_above(axes)
    return figure


@style()
def difference_traces(traces: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw the relative difference of layers over the frames of shots (the paper's Figure 2).

    Args:
        traces: For each shot, by name, the differences of each layer, frame by frame from the second one on.

    Returns:
        The figure, a panel per shot with a line per layer; all panels have one scale.
    """
    figure = Figure(figsize=(10.4, 0.7 + 1.9 * max(len(traces), 1)), layout="constrained")
    panels = figure.subplots(max(len(traces), 1), 1, sharey=True, squeeze=False)[:, 0]
    for panel, (name, layers) in zip(panels, traces.items(), strict=False):
        for (layer, values), colour, marker in zip(
            layers.items(), cycle((BLUE, VERMILLION, GREEN, PURPLE)), cycle(MARKERS)
        ):
            frames = range(1, 1 + len(values))
            panel.plot(
                frames, values, color=colour, label=shown(layer), marker=marker, markersize=3, linewidth=1.2
            )
        panel.set_title(shown(name, 60), fontsize=9, loc="right")
        panel.grid(axis="y")
    highest = max((v for layers in traces.values() for line in layers.values() for v in line), default=0.0)
    panels[0].set_ylim(0, 1.08 * highest or 1.0)  # of all panels, which share the axis
    if traces:
        _legend_above(panels[0])
    panels[-1].set_xlabel("frame of the shot")
    figure.supylabel("relative difference to the frame before", fontsize=9)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG; the file appears whole."""
    with whole_file(path) as part:
        part.write_bytes(png(figure))


def _legend_above(axes: Axes) -> None:
    """The legend over the plot, where it covers nothing."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=4,
        frameon=False,
        borderaxespad=0.3,
        columnspacing=1.4,
        handlelength=1.6,
    )


def _shade(axes: Axes, curves: Mapping[str, Curve], found: Advantage) -> None:
    curve, other = curves[found.curve], curves[found.other]
    costs = np.linspace(found.start, found.end, 400)
    upper, lower = ([one.at(cost) for cost in costs] for one in (curve, other))
    colour = GREEN if found.area >= 0 else VERMILLION
    label = f"{found.curve} minus {found.other}: area {found.area:+.4f}"
    axes.fill_between(costs, upper, lower, color=colour, alpha=0.13, linewidth=0, label=label, zorder=0)


def _place_notes(axes: Axes, notes: Sequence[_Note]) -> None:
    """Write a name beside each point, where it hides neither another name nor a point.

    A name that is not clearly nearest to its own point, or is far from it, gets a line to it.
    """
    figure = axes.figure
    figure.draw_without_rendering()  # type: ignore[union-attr]  # settles the layout, from which pixels follow
    points = axes.transData.transform([(x, y) for _, x, y, _ in notes]) if notes else np.zeros((0, 2))
    per_point = figure.dpi / 72
    area = axes.get_window_extent()
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in points]
    taken += [_box(x, y, (3, 3)) for line in axes.get_lines() for x, y in _along(axes, line)]
    legend = axes.get_legend()
    if legend is not None:
        taken.append(legend.get_window_extent())
    for (text, x, y, colour), (left, bottom) in zip(notes, points, strict=True):
        size = (0.63 * len(text) + 0.4) * LABEL_SIZE * per_point, 1.15 * LABEL_SIZE * per_point
        reach = (size[0] / 2 + 6, size[1] / 2 + 6)
        offsets = [
            (sign_x * (reach[0] + 11 * ring), sign_y * (reach[1] + 11 * ring))
            for ring in range(5)
            for sign_x, sign_y in ((1, -1), (1, 0), (1, 1), (-1, 1), (-1, 0), (-1, -1), (0, 1), (0, -1))
        ]
        boxes = [_box(left + dx, bottom + dy, size) for dx, dy in offsets]
        # the least hidden, of those one that can be no other point's, and of those the nearest
        worth = [(_hidden(box, taken, area), _mistakable(box, (left, bottom), points)) for box in boxes]
        chosen = worth.index(min(worth))
        best = offsets[chosen]
        taken.append(boxes[chosen])
        far = max(abs(best[0]) - reach[0], abs(best[1]) - reach[1]) > 5
        note = axes.annotate(
            text,
            (x, y),
            (best[0] / per_point, best[1] / per_point),
            textcoords="offset points",
            fontsize=LABEL_SIZE,
            color=INK,
            ha="center",
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6}
            if far or worth[chosen][1]
            else None,
            zorder=5,
            path_effects=[withStroke(linewidth=2, foreground=CARD)],
        )
        note.set_in_layout(False)


def _along(axes: Axes, line: Line2D, step: float = 4.0) -> Iterator[tuple[float, float]]:
    """Points on a drawn line, `step` pixels apart."""
    if line.get_linestyle() == "None":
        return
    corners = axes.transData.transform(line.get_xydata())
    for start, end in pairwise(corners):
        count = max(int(np.hypot(*(end - start)) / step), 1)
        for share in np.arange(count) / count:
            x, y = start + share * (end - start)
            yield float(x), float(y)


def _box(x: float, y: float, size: tuple[float, float]) -> Bbox:
    return Bbox.from_bounds(x - size[0] / 2, y - size[1] / 2, *size)


def _hidden(box: Bbox, taken: Sequence[Bbox], area: Bbox) -> float:
    """How much of a box lies on others or outside of the plot, in square pixels."""
    return round(sum(_overlap(box, other) for other in taken) + _overlap(box, box) - _overlap(box, area), 3)


def _mistakable(box: Bbox, own: tuple[float, float], points: NDArray[np.float64]) -> bool:
    """Whether another point is less than twice as far from the box as its own point is."""
    own_gap = _gap(box, own)
    others = [(x, y) for x, y in points if (x, y) != own]
    return any(_gap(box, other) < 2 * own_gap for other in others)


def _gap(box: Bbox, point: tuple[float, float]) -> float:
    x, y = point
    return float(np.hypot(max(box.x0 - x, 0, x - box.x1), max(box.y0 - y, 0, y - box.y1)))


def _overlap(a: Bbox, b: Bbox) -> float:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(width, 0.0) * max(height, 0.0)


def _short(name: str, length: int = 18) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def _family_colours(families: Iterable[str]) -> list[str]:
    """A colour for each family; families without one of their own share the rest in turn."""
    spare: dict[str, str] = {}
    found = []
    for family in families:
        if family not in FAMILIES and family not in spare:
            spare[family] = SPARE[len(spare) % len(SPARE)]
        found.append(FAMILIES.get(family) or spare[family])
    return found
