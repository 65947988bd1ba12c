"""The firing picture: a row per stage over the frames, in the manner of Figure 7 of the Clockwork paper."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import blended_transform_factory

from runtime.report import plots
from runtime.report.run_record import RunRecord
from weights.errors import UsageError, VideoError
from weights.shown import shown
from weights.whole_file import whole_file

__all__ = ["draw_timeline", "timeline_figure"]

WIDTH = 12.0
"""Inches."""
_FIRED = "#1f7fc4"  # cells are the same on a light and a dark ground, unlike the colours of `plots`
_MOVED = "#dc8f10"
_FRESH, _OLD = 0.42, 0.08
"""How opaque a cell is: one frame old, and as old as the oldest of the run. On any ground, paler is older."""
_FEW = 160  # up to so many frames, cells are set apart


def draw_timeline(
    record: RunRecord,
    path: str | PathLike[str],
    *,
    stages: Sequence[str] | None = None,
    theta: float | None = None,
    title: str | None = None,
) -> None:
    """Draw the timeline of a run into a PNG file.

    Args:
        record: The run.
        path: The file; it appears whole or not at all.
        stages: The rows; by default all stages that occurred, the head last.
        theta: The threshold of the clock, drawn as a line over the signal.
        title: What stands above.

    Raises:
        UsageError: The run has no frames.
        VideoError: The file cannot be written.
    """
    figure = timeline_figure(record, stages=stages, theta=theta, title=title)
    try:
        with whole_file(path) as partial:
            partial.write_bytes(plots.png(figure))
    except OSError as error:
        raise VideoError("cannot be written", file=path, found=error.strerror) from error


def timeline_figure(
    record: RunRecord,
    *,
    stages: Sequence[str] | None = None,
    theta: float | None = None,
    title: str | None = None,
    width: float = WIDTH,
) -> Figure:
    """Draw the timeline of a run.

    A row per stage: full where the stage fired, in another colour where it had only moved values to read,
    else the paler the older its output is; the share of frames on which it fired and the mean age stand at
    the right. Below, where frames have a signal, its curve with the threshold. Vertical lines are the first
    frames of shots. Where a column stands for several frames, their colours are averaged, and the signal's
    range is shaded around its mean.

    Args:
        record: The run.
        stages: As for `draw_timeline`.
        theta: As for `draw_timeline`.
        title: As for `draw_timeline`.
        width: The figure's width, in inches.

    Returns:
        The figure.

    Raises:
        UsageError: The run has no frames.
    """
    if not record.frames:
        raise UsageError("no step to draw a timeline of")
    names = tuple(stages) if stages is not None else record.stages
    with plots.style():
        return _figure(record, names, theta, shown(title or ""), width)


def _figure(record: RunRecord, names: Sequence[str], theta: float | None, title: str, width: float) -> Figure:
    rows, curve, bottom, gap = 0.34 * len(names), 1.3 if record.signals else 0.0, 0.52, 0.12
    top = 0.72 if title else 0.42
    height = top + rows + (gap + curve if record.signals else 0) + bottom
    figure = Figure(figsize=(width, height), dpi=120)
    FigureCanvasAgg(figure)
    labels = [shown(name, 24) for name in names]
    left, right = min(0.3, (0.35 + 0.09 * max(map(len, labels))) / width), 1 - 1.5 / width
    upper = figure.add_axes((left, 1 - (top + rows) / height, right - left, rows / height))
    _draw_rows(upper, record, names, labels)
    lowest = upper
    if record.signals:
        lowest = figure.add_axes((left, bottom / height, right - left, curve / height), sharex=upper)
        _draw_signal(lowest, record, theta)
        upper.tick_params(labelbottom=False, bottom=False)
    starts = [x for x, column in zip(_places(record), record.columns, strict=True) if x and column.starts]
    for axes in {upper, lowest}:
        for x in starts:
            axes.axvline(x - 0.5, color=plots.INK, linewidth=1.3 if record.frames < 400 else 0.8)
    _number_frames(lowest, record)
    figure.text(left, 1 - 0.2 / height, title, fontsize=11, weight="bold", va="center")
    figure.legend(
        handles=_keys(record, bool(starts)),
        loc="center left",
        bbox_to_anchor=(left, 1 - (top - 0.18) / height),
        ncols=5,
        frameon=False,
        handlelength=1.0,
        handleheight=1.0,
        columnspacing=1.4,
        borderaxespad=0,
    )
    return figure


def _places(record: RunRecord) -> np.ndarray:
    """How many frames came before each column."""
    return np.cumsum([0, *(column.frames for column in record.columns[:-1])])


def _number_frames(axes: Any, record: RunRecord) -> None:
    """Frames are counted as the source does, whatever the stride and the frames left out."""
    places = _places(record)
    last = record.columns[-1]
    steps = np.append(places, record.frames)
    firsts = np.append([column.first for column in record.columns], last.first + last.frames)
    axes.set_xlim(-0.5, record.frames - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda x, _: str(round(np.interp(x, steps, firsts))) if 0 <= x < record.frames else "")
    )
    axes.set_xlabel("frame", labelpad=2)


def _keys(record: RunRecord, has_shots: bool) -> list[Patch]:
    oldest = max(record.oldest.values(), default=0)
    keys: list[tuple[Any, str]] = [(_FIRED, "computed on this frame")]
    if oldest > 0:
        keys.append((to_rgba(_FIRED, _FRESH), "from the cache, 1 frame old"))
    if oldest > 1:
        keys.append((to_rgba(_FIRED, _OLD), f"{oldest} frames old"))
    if any(column.moved for column in record.columns):
        keys.append((_MOVED, "made of moved values"))
    if has_shots:
        keys.append((plots.INK, "new shot"))
    return [Patch(facecolor=c, edgecolor=plots.SOFT, linewidth=0.4, label=text) for c, text in keys]


def _cells(record: RunRecord, names: Sequence[str]) -> np.ndarray:
    """Colour and opacity of every cell: rows x columns x RGBA.

    A cell is a mix of what its frames are: computed (blue), made of moved values (orange), or some age old
    (blue, the fainter the older).
    """

    def table(of: str) -> np.ndarray:
        return np.array([[getattr(column, of)[name] for column in record.columns] for name in names], float)

    frames = np.array([column.frames for column in record.columns], float)
    fired, moved = table("fired") / frames, table("moved") / frames
    old = 1 - fired
    # What fired is of age 0, except in a pipeline, whose cells are all full.
    age = np.divide(table("ages") / frames, old, out=np.zeros_like(old), where=old > 0)
    oldest = max(record.oldest.values(), default=0)
    faded = np.clip((age - 1) / max(1, oldest - 1), 0, 1)
    blue = fired - moved + old * (_FRESH + (_OLD - _FRESH) * faded)
    opacity = np.clip(blue + moved, 1e-6, 1)[:, :, None]
    mixed = blue[:, :, None] * np.array(to_rgb(_FIRED)) + moved[:, :, None] * np.array(to_rgb(_MOVED))
    return np.clip(np.concatenate([mixed / opacity, opacity], axis=2), 0, 1)


def _draw_rows(axes: Any, record: RunRecord, names: Sequence[str], labels: Sequence[str]) -> None:
    count = record.frames
    drawn = len(record.columns) * record.columns[0].frames  # the last column may stand for fewer
    axes.imshow(
        _cells(record, names),
        aspect="auto",
        interpolation="none",
        extent=(-0.5, drawn - 0.5, len(names) - 0.5, -0.5),
    )
    for row in range(1, len(names)):
        axes.axhline(row - 0.5, color=plots.CARD, linewidth=3)
    if count <= _FEW:
        for i in range(1, count):
            axes.axvline(i - 0.5, color=plots.CARD, linewidth=0.8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), labels)
    axes.tick_params(left=False)
    for side in axes.spines.values():
        side.set_visible(False)
    means = [record.mean_age(name) for name in names]
    width = axes.figure.get_size_inches()[0]
    beside = blended_transform_factory(axes.figure.transFigure, axes.transData)
    for inches, heading, values in (
        (0.97, "fires", [f"{record.fires[name] / count:.0%}" for name in names]),
        (0.15, "mean age", ["" if mean is None else f"{mean:.2f}" for mean in means]),
    ):
        x = 1 - inches / width
        axes.text(x, -0.62, heading, transform=beside, ha="right", va="bottom", color=plots.SOFT)
        for row, value in enumerate(values):
            axes.text(x, row, value, transform=beside, ha="right", va="center_baseline")


def _draw_signal(axes: Any, record: RunRecord, theta: float | None) -> None:
    columns, places = record.columns, _places(record)
    mean = np.array([c.signal_sum / c.signals if c.signals else np.nan for c in columns])
    if columns[0].frames > 1:
        places = places + (columns[0].frames - 1) / 2
        bounds = ([getattr(c, of) if c.signals else np.nan for c in columns] for of in ("low", "high"))
        axes.fill_between(places, *bounds, color=plots.VERMILLION, alpha=0.3, linewidth=0)
    marker = "o" if record.frames <= _FEW else None
    axes.plot(places, mean, color=plots.VERMILLION, linewidth=1.0, marker=marker, markersize=2.5)
    axes.set_ylabel("signal")
    highest = max(c.high for c in columns if c.signals)
    axes.set_ylim(0, max(highest, theta or 0.0) * 1.12 or 1.0)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if theta is not None:
        axes.axhline(theta, color=plots.INK, linewidth=0.9, linestyle=(0, (5, 3)))
        axes.text(1.008, theta, f"θ = {theta:g}", transform=axes.get_yaxis_transform(), va="center")
