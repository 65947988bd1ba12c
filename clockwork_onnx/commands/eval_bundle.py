"""`clockwork eval BUNDLE`: score schedules on labelled video."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from clockwork_onnx.commands.labelled_data import LabelledOptions, labelled_options
from clockwork_onnx.console import FrameBar, stdout_console
from clockwork_onnx.evaluation.datasets import shapes as shapes_data
from clockwork_onnx.evaluation.datasets.base import other_mean
from clockwork_onnx.evaluation.demo.demo import demo_classes, embedded_bundle
from clockwork_onnx.evaluation.results.page import Page, write_page
from clockwork_onnx.evaluation.results.summary import Summary, summarise, write_files
from clockwork_onnx.evaluation.results.watchers import Gallery, Strips
from clockwork_onnx.evaluation.scoring.runs import Run, Watch, run_schedules, together
from clockwork_onnx.evaluation.scoring.scoring import Result
from clockwork_onnx.options import (
    WholeNumber,
    check_folders,
    device_option,
    json_option,
    print_json,
    times_option,
)
from staged_onnx import Bundle, Classes, read_bundle
from weights.errors import UsageError

__all__ = ["command"]

MOST_SHOWN = 7
"""Schedules beside each frame of a page."""

DEFAULT_SCHEDULES = ("oracle", "skip:2", "alternating", "exponential", "pipeline:2", "adaptive:0.25")


@click.command("bundle")
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the data set.")
@labelled_options
@click.option(
    "--schedule",
    "schedules",
    multiple=True,
    help=f"Schedule to play; give it several times.  [default: {', '.join(DEFAULT_SCHEDULES)}]",
)
@click.option(
    "--truncated",
    type=WholeNumber(1),
    multiple=True,
    metavar="STAGES",
    help="Score the net cut off after so many stages, too.",
)
@click.option("--signal", help="Carried value that adaptive clocks watch.")
@click.option("--boundary", is_flag=True, help="Score the 10-pixel band around the foreground, too.")
@click.option("--report", type=click.Path(path_type=Path), help="Folder for an HTML page.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for CSV, markdown, JSON, plots.")
@device_option
@times_option
@json_option
def command(
    bundle: Path | None,
    report: Path | None,
    out: Path | None,
    schedules: tuple[str, ...],
    truncated: tuple[int, ...],
    signal: str | None,
    boundary: bool,
    device: str,
    no_times: bool,
    as_json: bool,
    data: Path | None,
    labelled: LabelledOptions,
) -> None:
    """Play BUNDLE over labelled video with each schedule and say what it earned and cost."""
    check_folders(out, report)
    timings = not no_times
    with ExitStack() as stack:
        if bundle is None:
            if labelled.named():
                raise UsageError("a data set without a bundle", hint="name the bundle to be scored")
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            opened = embedded_bundle(folder / "shapes-fcn8s.staged")
            chosen, table = shapes_data.read(), demo_classes()
        else:
            opened = read_bundle(bundle)
            chosen, table = labelled.read(opened, data)
        if note := other_mean(chosen, opened.manifest.name, opened.manifest.preprocessing):
            click.echo(f"clockwork: {note}", err=True)
        run = Run(opened, chosen, device, signal, boundary_radius=5 if boundary else None)
        stages = tuple(stage.name for stage in opened.manifest.stages)
        strips, gallery = Strips(stages[-1]), Gallery(chosen) if report is not None else None
        results = _play(run, schedules or DEFAULT_SCHEDULES, truncated, strips, gallery)
        title = f"{opened.manifest.name} on {chosen.name}, {chosen.labelled} labelled frames"
        summary = summarise(title, results, chosen.classes, stages, timings)
        if out is not None:
            write_files(out, _files(summary, strips, timings))
        if report is not None and gallery is not None:
            write_page(report / "index.html", _page(summary, strips, gallery, opened, table, timings))
        if as_json:
            print_json(summary.as_json(timings))
            return
        _print(summary, timings)
        for written in (out, report / "index.html" if report is not None else None):
            if written is not None:
                stdout_console().print(f"Written: {written}")


def _play(
    run: Run, wanted: Sequence[str], truncated: Sequence[int], strips: Strips, gallery: Gallery | None
) -> list[Result]:
    frames = sum(len(shot.samples) for shot in run.data_set.shots) * (len(wanted) + len(truncated))
    with FrameBar(frames) as bar:

        def watch(schedule: str) -> Watch:
            watchers = [bar.watch(schedule)]
            if schedule in wanted:
                watchers.append(strips.watch(schedule))
            if gallery is not None:
                watchers.append(gallery.watch(schedule))
            return together(watchers)

        return run_schedules(run, wanted, truncated=truncated, watch=watch)


def _files(summary: Summary, strips: Strips, timings: bool) -> dict[str, Any]:
    sentences = [f"- {sentence}" for sentence in summary.findings(timings)]
    texts = [summary.table(timings).markdown(), summary.front_table().markdown(), *sentences, ""]
    return {
        "schedules.csv": summary.table(timings).csv(),
        "schedules.md": "\n".join(texts),
        "classes.csv": summary.class_table().csv(),
        "results.json": json.dumps(summary.as_json(timings), indent=1, allow_nan=False) + "\n",
        **{name: figure for name, _, figure in summary.plots(strips, timings)},
    }


def _page(
    summary: Summary, strips: Strips, gallery: Gallery, bundle: Bundle, table: Classes, timings: bool
) -> Page:
    manifest = bundle.manifest
    names = [str(entry.get("name")) for entry in manifest.source.get("weights", [])]
    shares = (f"{part.name} {part.macs / manifest.macs:.0%}" for part in (*manifest.stages, manifest.head))
    return Page(
        title=summary.title,
        facts={
            "network": manifest.name,
            "weights": ", ".join(names) or "not stated",
            "stages, share of multiply-accumulates": ", ".join(shares),
            "classes": str(len(summary.classes)),
            "frames": str(max((result.frames for result in summary.results), default=0)),
        },
        findings=summary.findings(timings),
        tables=[summary.table(timings), summary.front_table(), summary.class_table()],
        plots=[(caption, figure) for _, caption, figure in summary.plots(strips, timings)],
        frames=gallery.frames(_shown(summary.results)),
        classes=table,
        frame_text=gallery.text,
    )


def _shown(results: Sequence[Result]) -> list[str]:
    """The schedules whose labels a page shows: all, or of many the first of each family."""
    first: dict[str, str] = {}
    for result in results:
        first.setdefault(result.played.family, result.schedule)
    return [r.schedule for r in results] if len(results) <= MOST_SHOWN else list(first.values())


def _print(summary: Summary, timings: bool) -> None:
    console = stdout_console()
    console.print(summary.table(timings).rich())
    if len(summary.front) > 1:
        console.print(summary.front_table().rich())
    for sentence in summary.findings(timings):
        console.print(sentence)
