"""The commands `clockwork demo` and `clockwork eval`."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from evaluation import catalogue
from evaluation.datasets import folders
from evaluation.datasets import shapes as shapes_data
from evaluation.datasets.base import DataSet
from evaluation.demo import demo_classes, embedded_bundle, run_demo
from evaluation.report import Page, write_page
from evaluation.runs import Gallery, Run, Strips, Watch, run_schedules, together
from evaluation.scoring import StepSeen
from evaluation.summary import Summary, summarise, write_files
from runtime.options import json_option, print_json
from staged_onnx import Bundle, Classes, classes, read_bundle
from weights.errors import UsageError

__all__ = ["demo", "evaluate"]

DEFAULT_SCHEDULES = ("oracle", "skip:2", "alternating", "exponential", "pipeline:2", "adaptive:0.25")


class _DefaultCommand(click.Group):
    """A group whose first sub-command is meant where no sub-command is named."""

    default = "bundle"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


def _device_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:N or auto.")(
        command
    )


@click.command()
@click.option(
    "-o",
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("clockwork-demo"),
    show_default=True,
    help="Folder for the bundle, the overlay video, the plots and the JSON report.",
)
@_device_option
@json_option
def demo(out: Path, device: str, as_json: bool) -> None:
    """Convert the embedded shapes net and play generated video with every schedule."""
    console = Console(stderr=True)
    with console.status("converting shapes-fcn8s") as status:
        result = run_demo(out, device=device, progress=lambda schedule: status.update(f"playing {schedule}"))
    if as_json:
        print_json(result.as_json())
        return
    terminal = _terminal()
    terminal.print(result.summary.table().rich())
    pairs = ((name, found.scores.mean_iu) for name, found in result.moving.items())
    terminal.print("Mean IU on the moving shots: " + ", ".join(f"{n} {iu:.3f}" for n, iu in pairs))
    for sentence in result.summary.findings():
        terminal.print(sentence)
    terminal.print("Written: " + ", ".join(str(path) for path in result.files))


@click.group("eval", cls=_DefaultCommand, invoke_without_command=False)
def evaluate() -> None:
    """Score schedules on labelled video: `eval BUNDLE ...`, or the paper's tables: `eval paper ...`.

    Without a bundle the embedded shapes net is scored on generated video.
    """


@evaluate.command("bundle")
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
@click.option("--schedule", "schedules", multiple=True, help="Schedule to play; give it several times.")
@click.option("--signal", help="Carried value that adaptive clocks watch.")
@click.option("--boundary", is_flag=True, help="Score the 10-pixel band around the foreground, too.")
@click.option("--report", type=click.Path(path_type=Path), help="Folder for an HTML page.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for CSV, markdown, JSON, plots.")
@_device_option
@json_option
def bundle_command(
    bundle: Path | None,
    frames: Path | None,
    labels: Path | None,
    data_set: str | None,
    data: Path | None,
    class_map: str | None,
    ignore: tuple[int, ...],
    class_names: str | None,
    schedules: tuple[str, ...],
    signal: str | None,
    boundary: bool,
    report: Path | None,
    out: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Play BUNDLE over labelled video with each schedule and say what it earned and cost."""
    with ExitStack() as stack:
        if bundle is None:
            if frames or labels or data_set or class_map:
                raise UsageError("a data set without a bundle", hint="name the bundle to be scored")
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            opened = embedded_bundle(folder / "shapes-fcn8s.staged")
            chosen, table = shapes_data.read(), demo_classes()
        else:
            opened = read_bundle(bundle)
            table_map = _class_map(class_map, len(opened.manifest.class_names))
            table = _label_classes(opened, table_map, class_names)
            chosen = _data(frames, labels, data_set, data, table, ignore, table_map)
            if data_set is not None and class_names is None:
                table = _label_classes(opened, table_map, None, chosen)
        run = Run(opened, chosen, device, signal, boundary_radius=5 if boundary else None)
        wanted = schedules or DEFAULT_SCHEDULES
        stages = tuple(stage.name for stage in opened.manifest.stages)
        strips, gallery = Strips(stages[-1]), Gallery(chosen)
        with _Bar(sum(len(shot.samples) for shot in chosen.shots) * len(wanted)) as bar:

            def watch(schedule: str) -> Watch:
                watchers = [strips.watch(schedule), bar.watch(schedule)]
                if report is not None:
                    watchers.append(gallery.watch(schedule))
                return together(watchers)

            results = run_schedules(run, wanted, watch=watch)
        title = f"{opened.manifest.name} on {chosen.name}, {chosen.labelled} labelled frames"
        summary = summarise(title, results, chosen.classes, stages)
        if out is not None:
            write_files(out, _files(summary, strips))
        if report is not None:
            write_page(report / "index.html", _page(summary, strips, gallery, opened, table))
        if as_json:
            print_json(summary.as_json())
            return
        _print(summary)
        for folder_written in (out, report / "index.html" if report is not None else None):
            if folder_written is not None:
                _terminal().print(f"Written: {folder_written}")


def _class_map(text: str | None, net_classes: int) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        table = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError("--map takes whole numbers", found=text, expected="e.g. 0,1,1,2") from None
    if not all(0 <= value <= 255 for value in table):
        raise UsageError("--map names an impossible label class", found=text, expected="0 to 255")
    if len(table) != net_classes:
        raise UsageError(
            "--map has one entry a class of the net", found=f"{len(table)} entries", expected=net_classes
        )
    return table


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


def _files(summary: Summary, strips: Strips) -> dict[str, Any]:
    sentences = [f"- {sentence}" for sentence in summary.findings()]
    texts = [summary.table().markdown(), summary.front_table().markdown(), *sentences, ""]
    return {
        "schedules.csv": summary.table().csv(),
        "schedules.md": "\n".join(texts),
        "classes.csv": summary.class_table().csv(),
        "results.json": json.dumps(summary.as_json(), indent=1, allow_nan=False) + "\n",
        **{name: figure for name, _, figure in summary.plots(strips)},
    }


def _page(summary: Summary, strips: Strips, gallery: Gallery, bundle: Bundle, table: Classes) -> Page:
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
        findings=summary.findings(),
        tables=[summary.table(), summary.front_table(), summary.class_table()],
        plots=[(caption, figure) for _, caption, figure in summary.plots(strips)],
        frames=gallery.frames(),
        classes=table,
    )


def _print(summary: Summary) -> None:
    terminal = _terminal()
    terminal.print(summary.table().rich())
    for sentence in summary.findings():
        terminal.print(sentence)


def _terminal() -> Console:
    # A table that is piped into a file must not be cut at 80 columns.
    return Console() if sys.stdout.isatty() else Console(width=160)


class _Bar:
    """A progress bar on stderr, where that is a terminal."""

    def __init__(self, total: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._progress.add_task("", total=total)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def watch(self, schedule: str) -> Watch:
        def advance(seen: StepSeen) -> None:
            del seen
            self._progress.update(self._task, advance=1, description=schedule)

        return advance
