"""`clockwork eval BUNDLE`: score schedules on labelled video."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from clockwork_onnx.console import FrameBar, stdout_console
from clockwork_onnx.evaluation.datasets import catalogue, folders
from clockwork_onnx.evaluation.datasets import shapes as shapes_data
from clockwork_onnx.evaluation.datasets.base import NO_CLASS, DataSet, classes_met, excerpt, other_mean
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
from staged_onnx import Bundle, Classes, classes, read_bundle
from weights.errors import UsageError
from weights.numbers import BadNumber, whole

__all__ = ["command"]

MOST_SHOWN = 7
"""Schedules beside each frame of a page."""

DEFAULT_SCHEDULES = ("oracle", "skip:2", "alternating", "exponential", "pipeline:2", "adaptive:0.25")


@click.command("bundle")
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option("--frames", type=click.Path(path_type=Path), help="Folder of frames.")
@click.option("--labels", type=click.Path(path_type=Path), help="Folder of label images named as the frames.")
@click.option(
    "--data-set",
    type=click.Choice(catalogue.NAMES),
    help="A data set in its original layout under --data, instead of --frames and --labels.",
)
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the data set.")
@click.option("--map", "class_map", help="Label class of each net class, e.g. 0,1,1,2 (255: none).")
@click.option("--ignore", type=click.IntRange(0, 255), multiple=True, help="Label class that is not scored.")
@click.option("--classes", "class_names", help="Names of the label classes: camvid, voc, ... or a file.")
@click.option("--start", type=WholeNumber(0), default=0, help="First frame of --frames.")
@click.option("--stride", type=WholeNumber(1), default=1, help="Every Nth frame of --frames.")
@click.option("--max-frames", type=WholeNumber(1), help="Stop after this many frames of --frames.")
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
    **scored: Any,
) -> None:
    """Play BUNDLE over labelled video with each schedule and say what it earned and cost."""
    check_folders(out, report)
    what, timings = _Scored(**scored), not no_times
    with ExitStack() as stack:
        if bundle is None:
            if what.named():
                raise UsageError("a data set without a bundle", hint="name the bundle to be scored")
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            opened = embedded_bundle(folder / "shapes-fcn8s.staged")
            chosen, table = shapes_data.read(), demo_classes()
        else:
            opened = read_bundle(bundle)
            chosen, table = _chosen(opened, what)
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


@dataclass(frozen=True)
class _Scored:
    """The options that say which frames are scored against which labels."""

    frames: Path | None
    labels: Path | None
    data_set: str | None
    data: Path | None
    class_map: str | None
    ignore: tuple[int, ...]
    class_names: str | None
    start: int
    stride: int
    max_frames: int | None

    def __post_init__(self) -> None:
        excerpt_wanted = (self.start, self.stride, self.max_frames) != (0, 1, None)
        if excerpt_wanted and (self.frames is None or self.labels is None):
            raise UsageError("--start, --stride and --max-frames go with --frames and --labels")

    def named(self) -> bool:
        """Whether the user named data of their own."""
        return bool(self.frames or self.labels or self.data_set or self.class_map)


def _chosen(opened: Bundle, what: _Scored) -> tuple[DataSet, Classes]:
    """The data to score a bundle on, and the label classes; checked against each other."""
    table_map = _class_map(what.class_map, len(opened.manifest.class_names))
    table = _label_classes(opened, table_map, what.class_names)
    chosen = _data(what.frames, what.labels, what.data_set, what.data, table, what.ignore, table_map)
    if what.data_set is not None and what.class_names is None:
        table = _label_classes(opened, table_map, None, chosen)
    label_classes = len(chosen.classes)
    if what.labels is not None:
        met = classes_met(chosen)  # of all labels: an excerpt may be without a class
        chosen = excerpt(chosen, what.start, what.stride, what.max_frames)
        if what.class_names is None and table_map is not None:
            label_classes = met[-1] + 1
        elif what.class_names is None and len(met) < label_classes:
            click.echo(_fewer_classes(len(met), label_classes), err=True)
    if table_map is not None:
        _check_map(table_map, label_classes)
    return chosen, table


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


def _class_map(text: str | None, net_classes: int) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        table = tuple(whole(part, least=-1) for part in text.split(","))
    except BadNumber:
        raise UsageError("--map takes whole numbers", found=text, expected="e.g. 0,1,1,2") from None
    if not all(0 <= value <= 255 for value in table):
        raise UsageError("--map names an impossible label class", found=text, expected="0 to 255")
    if len(table) != net_classes:
        raise UsageError(
            "--map has one entry per class of the net", found=f"{len(table)} entries", expected=net_classes
        )
    return table


def _check_map(class_map: Sequence[int], label_classes: int) -> None:
    """Refuse a map that leads to a class which no label can have: it would silently count as wrong."""
    for net_class, label_class in enumerate(class_map):
        if label_classes <= label_class != NO_CLASS:
            raise UsageError(
                "--map leads to a class that no label has",
                found=f"class {label_class} for class {net_class} of the net",
                expected=f"0 to {label_classes - 1}, or 255 for none of them",
                hint="if there are label classes that occur in no label, name all with --classes",
            )


def _fewer_classes(label_classes: int, net_classes: int) -> str:
    return (
        f"clockwork: the labels have {label_classes} classes, the net {net_classes}: what it gives of the "
        "others counts as wrong; if the two are numbered differently, give --map"
    )


def _label_classes(
    bundle: Bundle, class_map: tuple[int, ...] | None, names: str | None, data_set: DataSet | None = None
) -> Classes:
    """Names and colours of the label classes: as asked for, as the data set's, or as the net's."""
    if names is not None:
        return classes(names)
    manifest = bundle.manifest
    if data_set is not None:
        numbered = classes(len(data_set.classes))
        same = data_set.classes == manifest.class_names
        return Classes(data_set.classes, manifest.palette if same else numbered.palette)
    if class_map is None:
        return Classes(manifest.class_names, manifest.palette)
    return classes(1 + max((value for value in class_map if value != 255), default=0))


def _data(
    frames: Path | None,
    labels: Path | None,
    name: str | None,
    root: Path | None,
    table: Classes,
    ignore: tuple[int, ...],
    class_map: tuple[int, ...] | None,
) -> DataSet:
    if name is not None:
        if root is None or frames is not None or labels is not None:
            raise UsageError("--data-set goes with --data, not with --frames and --labels")
        return catalogue.read(name, root, class_map)
    if frames is None or labels is None:
        raise UsageError(
            "nothing to score", expected="--frames and --labels, or --data-set and --data", hint="see --help"
        )
    return folders.read(
        frames,
        labels,
        classes=table.names,
        ignored=ignore,
        prediction_map=class_map,
        name=f"{frames.parent.name}/{frames.name}" if frames.parent.name else frames.name,
    )


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
