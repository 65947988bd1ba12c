"""The firing picture: a row a stage over the frames, in the manner of Figure 7 of the Clockwork paper."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any, BinaryIO

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import blended_transform_factory

from runtime.report.step_log import StepLike
from weights.errors import UsageError, VideoError
from weights.whole_file import whole_file

__all__ = ["draw_timeline", "stage_names"]

_FIRED = np.array(to_rgb("#1d4f91"))
_FRESH = np.array(to_rgb("#a9c7ec"))  # one frame old
_OLD = np.array(to_rgb("#f2eee6"))  # the greatest age of the run
_MOVED = np.array(to_rgb("#2f9e8f"))
_SIGNAL = "#c8501e"
_SHOT = "#222222"
_WIDTH = 12.0  # inches
_RIGHT = 0.875  # where the rows end, as a share of the width
_DPI = 120
_COLUMNS = 1000  # frames that can be told apart at that width; more are averaged
_FEW = 160  # up to so many frames, cells are set apart
_STYLE = {"font.family": "DejaVu Sans", "font.size": 9.0, "axes.linewidth": 0.7}


def stage_names(steps: Sequence[StepLike]) -> tuple[str, ...]:
    """The stages that occur in `steps`, in order of appearance; the head after them, then what follows it."""
    seen: dict[str, None] = {}
    for step in steps:
        seen.update(dict.fromkeys((*step.ages, *step.fired)))
    return tuple(sorted(seen, key=lambda name: {"head": 1, "labels": 2}.get(name, 0)))


def draw_timeline(
    steps: Sequence[StepLike],
    path: str | PathLike[str] | BinaryIO,
    *,
    stages: Sequence[str] | None = None,
    theta: float | None = None,
    title: str | None = None,
) -> None:
    """Draws `steps` as a PNG picture into `path`, a file name or an open binary file.

    A row for each of `stages` (default: all that occur, the head last): dark where the stage fired, in
    another colour where it had only values to read that were moved, else the paler the older its output is;
    fire rate and mean age stand at the right. Below, where steps have
    a signal, its curve with the threshold `theta`. Vertical lines are the first frames of shots. Where
    there are more frames than the picture can show, neighbours are averaged. Raises UsageError where
    there is no step.
    """
    if not steps:
        raise UsageError("no step to draw a timeline of")
    names = tuple(stages) if stages is not None else stage_names(steps)
    signal = np.array([np.nan if step.signal is None else step.signal for step in steps])
    with matplotlib.rc_context(_STYLE):
        figure = _figure(steps, names, signal, theta, title)
        if not isinstance(path, str | PathLike):
            figure.savefig(path, format="png")
            return
        try:
            with whole_file(path) as partial:
                figure.savefig(partial, format="png")
        except OSError as error:
            raise VideoError("cannot be written", file=path, found=error.strerror) from error


def _figure(
    steps: Sequence[StepLike],
    names: Sequence[str],
    signal: np.ndarray,
    theta: float | None,
    title: str | None,
) -> Figure:
    count = len(steps)
    with_signal = bool(np.isfinite(signal).any())
    rows, curve, bottom, gap = 0.34 * len(names), 1.3 if with_signal else 0.0, 0.52, 0.12
    top = 0.72 if title else 0.42
    height = top + rows + (gap + curve if with_signal else 0) + bottom
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    left, right = min(0.3, 0.035 + 0.0075 * max(map(len, names))), _RIGHT
    upper = figure.add_axes((left, 1 - (top + rows) / height, right - left, rows / height))
    _draw_rows(upper, steps, names)
    lowest = upper
    if with_signal:
        lowest = figure.add_axes((left, bottom / height, right - left, curve / height), sharex=upper)
        _draw_signal(lowest, signal, theta)
        upper.tick_params(labelbottom=False, bottom=False)
    starts = [i for i in range(1, count) if steps[i].shot != steps[i - 1].shot]
    for axes in {upper, lowest}:
        for i in starts:
            axes.axvline(i - 0.5, color=_SHOT, linewidth=1.3 if count < 400 else 0.8)
    lowest.set_xlim(-0.5, count - 0.5)
    lowest.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    lowest.xaxis.set_major_formatter(
        FuncFormatter(lambda x, _: str(steps[int(x)].index) if 0 <= x < count else "")
    )
    lowest.set_xlabel("frame", labelpad=2)
    figure.text(left, 1 - 0.2 / height, title or "", fontsize=11, weight="bold", va="center")
    oldest = max((age for step in steps for age in step.ages.values()), default=0)
    keys = [Patch(facecolor=_FIRED, label="computed on this frame")]
    if oldest > 0:
        keys.append(Patch(facecolor=_FRESH, label="from the cache, 1 frame old"))
    if oldest > 1:
        keys.append(Patch(facecolor=_OLD, edgecolor="#b5b0a6", linewidth=0.5, label=f"{oldest} frames old"))
    if _moved(steps, names).any():
        keys.append(Patch(facecolor=_MOVED, label="made of moved values"))
    if starts:
        keys.append(Patch(facecolor=_SHOT, label="new shot"))
    figure.legend(
        handles=keys, loc="center left", bbox_to_anchor=(left, 1 - (top - 0.18) / height), ncols=len(keys),
        frameon=False, handlelength=1.0, handleheight=1.0, columnspacing=1.4, borderaxespad=0,
    )  # fmt: skip
    return figure


def _moved(steps: Sequence[StepLike], names: Sequence[str]) -> np.ndarray:
    """Where the head, or what makes labels of moved scores, ran on values that follow the picture."""
    ends = {"head", "labels"}
    return np.array(
        [[name in ends and name in step.fired and bool(step.moved) for step in steps] for name in names]
    )


def _draw_rows(axes: Any, steps: Sequence[StepLike], names: Sequence[str]) -> None:
    count = len(steps)
    fired = np.array([[name in step.fired for step in steps] for name in names])
    ages = np.array([[step.ages.get(name, 0) for step in steps] for name in names], float)
    means = [f"{age:.2f}" for age in ages.mean(axis=1)]
    shown = [
        mean if any(name in step.ages for step in steps) else ""
        for name, mean in zip(names, means, strict=True)
    ]
    faded = np.clip((ages - 1) / max(1.0, ages.max() - 1), 0, 1)[:, :, None]
    colours = np.where(fired[:, :, None], _FIRED, _FRESH + (_OLD - _FRESH) * faded)
    colours = np.where(_moved(steps, names)[:, :, None], _MOVED, colours)
    if count > _COLUMNS:
        edges = _column_edges(count)
        sizes = np.diff(np.append(edges, count))[None, :, None]
        colours = np.add.reduceat(colours, edges, axis=1) / sizes
    axes.imshow(
        colours, aspect="auto", interpolation="nearest", extent=(-0.5, count - 0.5, len(names) - 0.5, -0.5)
    )
    for row in range(1, len(names)):
        axes.axhline(row - 0.5, color="white", linewidth=3)
    if count <= _FEW:
        for i in range(1, count):
            axes.axvline(i - 0.5, color="white", linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(left=False)
    for side in axes.spines.values():
        side.set_visible(False)
    beside = blended_transform_factory(axes.figure.transFigure, axes.transData)
    for x, heading, values in (
        (_RIGHT + 0.044, "fires", [f"{share:.0%}" for share in fired.mean(axis=1)]),
        (_RIGHT + 0.112, "mean age", shown),
    ):
        axes.text(x, -0.62, heading, transform=beside, ha="right", va="bottom", color="#666666")
        for row, value in enumerate(values):
            axes.text(x, row, value, transform=beside, ha="right", va="center_baseline")


def _column_edges(count: int) -> np.ndarray:
    """First frame of each column of a picture that cannot give every frame a column."""
    return np.linspace(0, count, _COLUMNS, endpoint=False).astype(int)


def _draw_signal(axes: Any, signal: np.ndarray, theta: float | None) -> None:
    count = len(signal)
    if count > _COLUMNS:
        edges = _column_edges(count)
        low = np.fmin.reduceat(signal, edges)  # fmin and fmax pass over frames without a signal
        high = np.fmax.reduceat(signal, edges)
        present = np.isfinite(signal)
        weights = np.maximum(np.add.reduceat(present.astype(int), edges), 1)
        mean = np.add.reduceat(np.where(present, signal, 0.0), edges) / weights
        axes.fill_between(edges, low, high, color=_SIGNAL, alpha=0.3, linewidth=0)
        axes.plot(edges, np.where(np.isfinite(low), mean, np.nan), color=_SIGNAL, linewidth=1.0)
    else:
        marker = "o" if count <= _FEW else None
        axes.plot(np.arange(count), signal, color=_SIGNAL, linewidth=1.0, marker=marker, markersize=2.5)
    axes.set_ylabel("signal")
    axes.set_ylim(0, max(float(np.nanmax(signal)), theta or 0.0) * 1.12 or 1.0)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="y", color="#e6e3dd", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if theta is not None:
        axes.axhline(theta, color="#555555", linewidth=0.9, linestyle=(0, (5, 3)))
        axes.text(
            1.008, theta, f"θ = {theta:g}", transform=axes.get_yaxis_transform(), va="center", color="#555555"
        )
