"""One HTML page about a run, complete in itself: figures, timeline, stages and sample pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from runtime.report import plots
from runtime.report.html import Section, inline_picture, write_page
from runtime.report.overlay import blend
from runtime.report.run_record import RunRecord
from runtime.report.samples import Sample
from runtime.report.timeline import timeline_figure
from staged_onnx.palettes import Classes
from weights.errors import UsageError

__all__ = ["difference_from", "write_report"]

_TEMPLATE = Path(__file__).with_name("run.html")
_TIMELINE_WIDTH = 11.2  # inches
_PICTURE_WIDTH = 520  # pixels
_MAX_SAMPLES = 12
_MAX_PROBLEMS = 50
_DIFFERS = np.array((213, 94, 0), np.uint8)


def write_report(
    path: str | PathLike[str],
    record: RunRecord,
    summary: Mapping[str, Any],
    samples: Sequence[Sample] = (),
    *,
    classes: Classes | None = None,
    title: str | None = None,
    stages: Sequence[str] | None = None,
    theta: float | None = None,
    alpha: float = 0.5,
    sections: Sequence[Section] = (),
) -> None:
    """Write the page of a run; pictures are inside it, nothing is loaded from elsewhere.

    Args:
        path: The page; it appears whole or not at all.
        record: What the run amounts to.
        summary: JSON-like values, shown in full at the end; `source`, `schedule`, `device`,
            `frames_per_second`, `macs_of_oracle`, `oracle_samples` and `problems` have their places.
        samples: Frames to show, at most twelve; with the oracle's labels, where they differ is shown, too.
        classes: Names and colours of the labels; needed where there are samples.
        title: By default the source.
        stages: As for `draw_timeline`.
        theta: As for `draw_timeline`.
        alpha: Share of the label colour in the samples, 0 to 1.
        sections: Further parts, before the run in full.

    Raises:
        UsageError: The run has no frames.
        VideoError: The page cannot be written.
    """
    if not record.frames:
        raise UsageError("no step to report", file=path)
    names = tuple(stages) if stages is not None else record.stages
    with plots.style():
        timeline = timeline_figure(record, stages=names, theta=theta, width=_TIMELINE_WIDTH)
    drawn = plots.svg(timeline, "A row for each stage, full on the frames where it ran", kind="long")
    shown = samples[:_MAX_SAMPLES]
    values = {
        "title": title or str(summary.get("source") or "A run"),
        "subtitle": " · ".join(str(summary[key]) for key in ("schedule", "device") if summary.get(key)),
        "figures": _figures(record, summary),
        "problems": _problems(summary.get("problems") or ()),
        "timeline": drawn,
        "stages": _stage_rows(record, names),
        "samples": [_sample(sample, classes, alpha, str(summary.get("schedule", ""))) for sample in shown],
        "sample_text": _sample_text(shown, summary.get("oracle_samples")),
        "legend": _legend(shown, classes),
        "sections": sections,
        "details": _flat({k: v for k, v in summary.items() if k != "problems"}),
    }
    write_page(path, _TEMPLATE, values)


def difference_from(image: np.ndarray, labels: np.ndarray, oracle: np.ndarray) -> tuple[np.ndarray, float]:
    """Show where labels differ from the oracle's.

    Args:
        image: The frame, uint8, height x width x 3, RGB.
        labels: A label map of the frame's size.
        oracle: The oracle's.

    Returns:
        The frame in faint grey with the pixels that differ in one strong colour, and their share, 0 to 1.
    """
    differs = labels != oracle
    grey = np.asarray(Image.fromarray(image).convert("L"))
    faint = (96 + grey // 2).astype(np.uint8)[:, :, None].repeat(3, axis=2)
    return np.where(differs[:, :, None], _DIFFERS, faint), float(np.mean(differs))


def _figures(record: RunRecord, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    figures = [(f"{record.frames}", f"frames in {record.shots} shot{'s' if record.shots != 1 else ''}")]
    rate = summary.get("frames_per_second")
    if isinstance(rate, int | float):
        figures.append((f"{rate:.1f}", "frames per second"))
    totals = record.ms.get("total")
    if totals is not None:
        figures.append((f"{totals.quantile(0.5):.1f} ms", "median time of a frame"))
        figures.append((f"{totals.quantile(0.95):.1f} ms", "at most, for 95% of frames"))
    macs = summary.get("macs_of_oracle")
    if isinstance(macs, int | float):
        figures.append((f"{macs:.0%}", "of the multiply-accumulates of running everything"))
    return figures


def _stage_rows(record: RunRecord, names: Sequence[str]) -> list[dict[str, Any]]:
    # optical flow, warps and the like are no stages, but take their time
    others = sorted(record.ms.keys() - {*names, "total"})
    times = {name: record.ms[name] for name in (*names, *others) if name in record.ms}
    spent = sum(ms.sum for ms in times.values())
    rows = []
    for name in (*names, *others):
        ms, age = times.get(name), record.mean_age(name)
        fires = record.fires[name] or (ms.count if ms else 0)
        share = ms.sum / spent if ms and spent > 0 else 0.0
        cells = [
            name,
            f"{fires}",
            f"{fires / record.frames:.0%}",
            "" if age is None else f"{age:.2f}",
            "" if age is None else f"{record.oldest[name]}",
            f"{ms.quantile(0.5):.2f}" if ms else "",
            f"{ms.quantile(0.95):.2f}" if ms else "",
            f"{share:.0%}" if ms else "",
        ]
        rows.append({"cells": cells, "width": f"{share:.1%}"})
    return rows


def _sample(sample: Sample, classes: Classes | None, alpha: float, schedule: str) -> dict[str, Any]:
    assert classes is not None, "samples are drawn with the classes' colours"
    step = sample.step
    moment = "" if step.time is None else f" · {float(step.time):.2f} s"
    oldest = [stage for stage, age in step.ages.items() if age == sample.age]
    who = "every stage" if len(oldest) == len(step.ages) > 1 else ", ".join(oldest)
    age = "every stage ran" if sample.age == 0 else f"{who} {_frames(sample.age)} old"
    ran = ", ".join(step.fired) or "nothing"

    def mixed(labels: np.ndarray) -> str:
        return inline_picture(blend(sample.image, labels, classes.palette, alpha), _PICTURE_WIDTH)

    pictures = [(mixed(sample.labels), f"{schedule or 'as played'} · ran: {ran}")]
    if sample.oracle is not None:
        picture, share = difference_from(sample.image, sample.labels, sample.oracle)
        pictures += [
            (mixed(sample.oracle), "oracle: every stage on this frame"),
            (inline_picture(picture, _PICTURE_WIDTH, quality=70), f"{share:.1%} of the labels differ"),
        ]
    return {
        "heading": f"frame {step.index}{moment}",
        "age": age,
        "is_stale": sample.age > 0,
        "pictures": pictures,
    }


def _frames(count: int) -> str:
    return f"{count} frame{'s' if count != 1 else ''}"


def _sample_text(samples: Sequence[Sample], cost: object) -> str:
    stale = sum(sample.age > 0 for sample in samples)
    text = f"{stale} of {_frames(len(samples))} shown are the stalest of their part of the run."
    if stale == 0:
        text = "Every stage ran on each of these frames."
    if isinstance(cost, Mapping):
        text += (
            f" Beside them, what running every stage gives: done for these {_frames(cost['frames'])} after "
            f"the run, in {cost['seconds']:.1f} s. Orange: the labels differ."
        )
    return text


def _legend(samples: Sequence[Sample], classes: Classes | None) -> list[tuple[str, str]]:
    """The classes that occur in the samples."""
    if classes is None:
        return []
    maps = [labels for s in samples for labels in (s.labels, s.oracle) if labels is not None]
    met = sorted({int(label) for labels in maps for label in np.unique(labels)})
    return [
        (classes.names[label], "rgb({}, {}, {})".format(*classes.palette[label]))
        for label in met
        if label < len(classes.names)
    ]


def _problems(problems: Sequence[object]) -> list[str]:
    lines = [str(problem) for problem in problems[:_MAX_PROBLEMS]]
    if len(problems) > _MAX_PROBLEMS:
        lines.append(f"and {len(problems) - _MAX_PROBLEMS} more")
    return lines


def _flat(summary: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """The summary's values as text, those of mappings in it named "outer · inner"."""
    rows: list[tuple[str, str]] = []
    for key, value in summary.items():
        name = f"{prefix}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            rows += _flat(value, f"{name} · ")
        elif isinstance(value, bool):
            rows.append((name, "yes" if value else "no"))
        elif isinstance(value, float):
            rows.append((name, f"{value:.4g}"))
        elif value is not None:
            rows.append((name, ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)))
    return rows
