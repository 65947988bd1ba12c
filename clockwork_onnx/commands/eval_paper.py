"""`clockwork eval paper`: the clockwork paper's tables and figures."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import click
from matplotlib.figure import Figure

from clockwork_onnx.console import FrameBar, stdout_console
from clockwork_onnx.evaluation.datasets.base import DataSet, other_mean
from clockwork_onnx.evaluation.demo.demo import embedded_bundle
from clockwork_onnx.evaluation.paper import figures, protocols
from clockwork_onnx.evaluation.paper.experiments import (
    SHAPES,
    SHIFTS,
    TABLES,
    Experiment,
    bundle_for,
    experiments,
    has_paper_weights,
    not_there,
    one_frame_late,
    result_table,
    rows_json,
    run_experiment,
    table_methods,
    video_for_figures,
)
from clockwork_onnx.evaluation.paper.fitting import fitting_methods
from clockwork_onnx.evaluation.paper.layer_changes import difference_table, layer_changes
from clockwork_onnx.evaluation.paper.numbers import paper_thresholds
from clockwork_onnx.evaluation.paper.own_clocks import pixel_schedule
from clockwork_onnx.evaluation.paper.protocols import Options, options_json, parse_options
from clockwork_onnx.evaluation.results import plots
from clockwork_onnx.evaluation.results.curves import families_of, pareto_front, point_of
from clockwork_onnx.evaluation.results.summary import write_files
from clockwork_onnx.evaluation.results.tables import TIMES, Table
from clockwork_onnx.evaluation.results.watchers import Strips
from clockwork_onnx.options import (
    WholeNumber,
    check_folders,
    device_option,
    json_option,
    print_json,
    times_option,
)
from staged_onnx import Bundle, read_bundle
from weights.errors import UsageError

__all__ = ["command"]

THRESHOLDS = (0.1, 0.25, 0.35)
"""Where the paper has none for the data."""
SWEEP = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
TIMELINE_SHOTS = 6


@dataclass
class _Outcome:
    """What is printed, written and handed out as JSON."""

    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: dict[str, str | Figure] = field(default_factory=dict)
    table_values: list[dict[str, Any]] = field(default_factory=list)
    figure_values: list[dict[str, Any]] = field(default_factory=list)

    def add_table(self, name: str, table: Table) -> None:
        self.tables.append(table)
        self.files |= {f"{name}.csv": table.csv(), f"{name}.md": table.markdown()}


@dataclass(frozen=True)
class _Request:
    data: Path
    bundles: tuple[Bundle, ...]
    baselines: dict[int, Bundle]
    options: Options
    thresholds: tuple[float, ...]
    shifts: tuple[int, ...]
    with_paper: bool | None
    device: str
    signal: str | None
    timings: bool


@click.command("paper")
@click.option(
    "--table",
    "tables",
    type=click.Choice([str(n) for n in TABLES]),
    multiple=True,
    help="1 differences, 3 and 5 translated pictures, 4 and 6 video.",
)
@click.option(
    "--figure",
    "pictures",
    type=click.Choice(["2", "6", "7"]),
    multiple=True,
    help="2 differences over time (comes with table 1), 6 threshold sweep, 7 when clocks fire.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=SHAPES,
    show_default=True,
    help="Folder with the data sets, or the word shapes for generated video.",
)
@click.option(
    "--model",
    "models",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Bundle; one per set of classes.",
)
@click.option(
    "--baseline", "cut", multiple=True, metavar="STAGES=BUNDLE", help="A net truncated after so many stages."
)
@click.option(
    "--threshold",
    "thresholds",
    type=float,
    multiple=True,
    help="Thresholds of the adaptive clock.  [default: the paper's for the data]",
)
@click.option(
    "--shift",
    "shifts",
    type=WholeNumber(1),
    multiple=True,
    help="Pixels per frame that the pictures of tables 3 and 5 move.  [default: 16 and 32]",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="What the paper leaves open, e.g. fill=library (docs/paper.md): "
    f"{', '.join(options_json(Options()))}.",
)
@click.option("--paper-numbers", is_flag=True, help="Show the paper's numbers with any weights.")
@click.option("--signal", help="Carried value that adaptive clocks watch.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for CSV, markdown, JSON, plots.")
@device_option
@times_option
@json_option
def command(
    tables: tuple[str, ...],
    pictures: tuple[str, ...],
    data: Path,
    models: tuple[Path, ...],
    cut: tuple[str, ...],
    thresholds: tuple[float, ...],
    shifts: tuple[int, ...],
    settings: tuple[str, ...],
    paper_numbers: bool,
    signal: str | None,
    out: Path | None,
    device: str,
    no_times: bool,
    as_json: bool,
) -> None:
    """The tables and figures of the clockwork paper, for any bundle.

    Without --data and --model: a miniature, the embedded net on generated pictures and video.
    """
    if not tables and not pictures:
        raise UsageError("nothing to do", expected="--table 1|3|4|5|6 or --figure 2|6|7")
    options = parse_options(settings)
    check_folders(out)
    with ExitStack() as stack:
        request = _Request(
            data=data,
            bundles=_bundles(models, data, stack),
            baselines=_baselines(cut),
            options=options,
            thresholds=thresholds,
            shifts=shifts or SHIFTS,
            with_paper=True if paper_numbers else None,
            device=device,
            signal=signal,
            timings=not no_times,
        )
        outcome = _run(request, [int(text) for text in tables], pictures)
    document = _document(request, outcome)
    if out is not None:
        outcome.files["results.json"] = json.dumps(document, indent=1, allow_nan=False) + "\n"
        write_files(out, outcome.files)
    if as_json:
        print_json(document)
        return
    console = stdout_console()
    for table in outcome.tables:
        console.print(table.rich())
    for note in document["notes"]:
        console.print(note)
    if out is not None:
        console.print(f"Written: {out}")


def _bundles(models: Sequence[Path], data: Path, stack: ExitStack) -> tuple[Bundle, ...]:
    """The bundles named, or else the embedded one, which lasts as long as `stack`."""
    if models:
        return tuple(read_bundle(path) for path in models)
    if data != SHAPES:
        raise UsageError("no bundle for this data", file=data, hint="name one with --model")
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    return (embedded_bundle(folder / "shapes-fcn8s.staged"),)


def _run(request: _Request, tables: Sequence[int], pictures: Sequence[str]) -> _Outcome:
    outcome = _Outcome()
    for number in tables:
        if number == 1:
            _table_1(request, outcome)
        else:
            _table(number, request, outcome)
    if "2" in pictures and 1 not in tables:
        _table_1(request, outcome)
    if "6" in pictures:
        _figure_6(request, outcome)
    if "7" in pictures:
        _figure_7(request, outcome)
    return outcome


def _document(request: _Request, outcome: _Outcome) -> dict[str, Any]:
    return {
        "data": str(request.data),
        "models": [bundle.manifest.name for bundle in request.bundles],
        "options": options_json(request.options),
        "tables": outcome.table_values,
        "figures": outcome.figure_values,
        "notes": list(dict.fromkeys(outcome.notes)),  # what holds for several tables is said once
    }


def _baselines(settings: Sequence[str]) -> dict[int, Bundle]:
    found = {}
    for setting in settings:
        stages, equals, path = setting.partition("=")
        if not equals or not stages.isdigit() or int(stages) < 1:
            raise UsageError(
                "not a truncated net", found=setting, expected="STAGES=BUNDLE, e.g. 1=pool3.staged"
            )
        found[int(stages)] = read_bundle(path)
    return found


def _frames(experiment: Experiment, methods: Sequence[protocols.Method]) -> int:
    return sum(len(clip.samples) for method in methods for clip in experiment.clips(method))


def _table(number: int, request: _Request, outcome: _Outcome) -> None:
    for experiment in experiments(number, request.data, request.options, request.shifts):
        thresholds = request.thresholds or paper_thresholds(experiment.key) or THRESHOLDS
        methods = table_methods(number, thresholds)
        bundle = bundle_for(experiment.data_set, request.bundles, request.options)
        fitting, reasons = fitting_methods(experiment, methods, bundle, request.baselines)
        outcome.notes += [f"Table {number}: {reason}" for reason in reasons]
        with FrameBar(_frames(experiment, fitting)) as bar:
            rows = run_experiment(
                experiment,
                bundle,
                fitting,
                request.options,
                device=request.device,
                signal=request.signal,
                baselines=request.baselines,
                with_paper=request.with_paper,
                watch=bar.watch,
            )
        title = f"Table {number}: {bundle.manifest.name} on {experiment.data_set.name}"
        table = result_table(title, rows)
        shown = table if request.timings else table.without(TIMES)
        outcome.add_table(f"table-{number}-{experiment.name}", shown)
        if number in (5, 6):
            points = [point_of(row.result, None) for row in rows]
            figure = plots.accuracy_cost((), points, pareto_front(points))
            outcome.files[f"table-{number}-{experiment.name}.png"] = figure
        classes = experiment.data_set.classes
        late = one_frame_late(experiment).mean_iu
        outcome.table_values.append(
            {
                "table": number,
                "data": experiment.data_set.name,
                "model": bundle.manifest.name,
                "rows": rows_json(rows, classes, request.timings),
                "one_frame_late_mean_iu": None if math.isnan(late) else late,
            }
        )
        if not math.isnan(late):
            outcome.notes.append(
                f"Table {number}, {experiment.name}: the true labels of the frame before, taken for this "
                f"frame's, have mean IU {late:.3f}; so much a perfect net could repeat."
            )
        other = other_mean(experiment.data_set, bundle.manifest.name, bundle.manifest.preprocessing)
        outcome.notes += [note for note in (experiment.note, other) if note]
        if not has_paper_weights(bundle) and request.with_paper is None and experiment.key:
            outcome.notes.append(
                f"{bundle.manifest.name} does not have the paper's weights: its numbers are not shown."
            )
    for name in not_there(number, request.data):
        outcome.notes.append(f"Table {number}: {name} is not in {request.data} and left out.")


def _video(request: _Request) -> tuple[DataSet, Bundle, Experiment]:
    video = video_for_figures(request.data)
    bundle = bundle_for(video, request.bundles, request.options)
    number = 6 if request.data == SHAPES else 4
    found = [e for e in experiments(number, request.data, request.options) if e.key in ("", "youtube")]
    return video, bundle, found[-1]


def _table_1(request: _Request, outcome: _Outcome) -> None:
    """Table 1, and Figure 2, which is made of the same differences."""
    video, bundle, experiment = _video(request)
    found = layer_changes(experiment, video, bundle, request.options, request.device)
    with_paper = has_paper_weights(bundle) if request.with_paper is None else request.with_paper
    title = f"Table 1: changes from frame to frame, {bundle.manifest.name} on {video.name}"
    outcome.add_table("table-1", difference_table(title, found.rows, with_paper))
    outcome.files["differences.png"] = plots.difference_bars(found.differences)
    outcome.files["figure-2.png"] = plots.difference_traces(found.traces)
    depths = {row.name: row.depth for row in found.rows}
    outcome.table_values.append(
        {
            "table": 1,
            "data": video.name,
            "model": bundle.manifest.name,
            "rows": [
                {"name": name, "depth": depths.get(name), **asdict(one)}
                for name, one in found.differences.items()
            ],
        }
    )
    outcome.figure_values.append({"figure": 2, "shots": found.traces})


def _figure_6(request: _Request, outcome: _Outcome) -> None:
    _, bundle, experiment = _video(request)
    thresholds = request.thresholds or SWEEP
    with FrameBar(_frames(experiment, [protocols.adaptive(t) for t in thresholds])) as bar:
        results = figures.sweep(
            experiment,
            bundle,
            thresholds,
            request.options,
            device=request.device,
            signal=request.signal,
            watch=bar.watch,
        )
    deepest = bundle.manifest.stages[-1].name
    rates = [result.fires[deepest] / max(result.frames, 1) for result in results]
    accuracies = [result.scores.mean_iu for result in results]
    outcome.files["figure-6.png"] = plots.threshold_sweep(thresholds, rates, accuracies)
    title = f"Figure 6: threshold sweep, {bundle.manifest.name} on {experiment.data_set.name}"
    rows = tuple(zip(thresholds, rates, accuracies, (r.macs_of_oracle for r in results), strict=True))
    outcome.add_table("figure-6", Table(title, ("threshold", "fire rate", "mean IU", "MACs/oracle"), rows))
    outcome.figure_values.append(
        {
            "figure": 6,
            "points": [
                {"threshold": t, "fire_rate": rate, "mean_iu": iu, "macs_of_oracle": cost}
                for t, rate, iu, cost in rows
            ],
        }
    )


def _figure_7(request: _Request, outcome: _Outcome) -> None:
    video, bundle, _ = _video(request)
    options, stages = request.options, len(bundle.manifest.stages)
    thresholds = request.thresholds or THRESHOLDS
    schedules = [
        "alternating",
        *(protocols.schedule_text(protocols.adaptive(t), options, stages) for t in thresholds),
        *(pixel_schedule(bundle, t, options) for t in thresholds),
    ]
    shown = replace(video, shots=video.shots[:TIMELINE_SHOTS])
    strips, results = figures.timeline(shown, bundle, schedules, device=request.device, signal=request.signal)
    outcome.files["figure-7.png"] = plots.update_timeline(
        strips.fired, families_of(results), strips.shots, strips.stage
    )
    outcome.figure_values.append({"figure": 7, **_strips_json(strips)})
    for name, fired in strips.fired.items():
        outcome.notes.append(f"Figure 7: {name} fires on {sum(fired)} of {len(fired)} frames.")


def _strips_json(strips: Strips) -> dict[str, Any]:
    return {
        "stage": strips.stage,
        "shots": {name: start for start, name in strips.shots.items()},
        "fired": {name: [i for i, on in enumerate(fired) if on] for name, fired in strips.fired.items()},
    }
