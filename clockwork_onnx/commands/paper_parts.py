"""The parts of `clockwork eval paper`: each table and figure, run and put into one outcome."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from matplotlib.figure import Figure

from clockwork_onnx.console import FrameBar
from clockwork_onnx.evaluation.datasets.base import DataSet, other_mean
from clockwork_onnx.evaluation.paper import figures, protocols
from clockwork_onnx.evaluation.paper.experiments import (
    bundle_for,
    has_paper_weights,
    one_frame_late,
    result_table,
    rows_json,
    run_experiment,
    table_methods,
)
from clockwork_onnx.evaluation.paper.fitting import fitting_methods
from clockwork_onnx.evaluation.paper.layer_changes import difference_table, layer_changes
from clockwork_onnx.evaluation.paper.numbers import paper_thresholds
from clockwork_onnx.evaluation.paper.own_clocks import pixel_schedule
from clockwork_onnx.evaluation.paper.protocols import Options
from clockwork_onnx.evaluation.paper.sources import (
    SHAPES,
    Experiment,
    Source,
    experiments,
    not_there,
    video_for_figures,
)
from clockwork_onnx.evaluation.results import plots
from clockwork_onnx.evaluation.results.curves import families_of, pareto_front, point_of
from clockwork_onnx.evaluation.results.tables import TIMES, Table
from clockwork_onnx.evaluation.results.watchers import Strips
from staged_onnx import Bundle

__all__ = ["Outcome", "Request", "make"]

THRESHOLDS = (0.1, 0.25, 0.35)
"""Where the paper has none for the data."""
SWEEP = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
TIMELINE_SHOTS = 6


@dataclass
class Outcome:
    """What is printed, written and handed out as JSON."""

    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: dict[str, str | Figure] = field(default_factory=dict)
    table_values: list[dict[str, Any]] = field(default_factory=list)
    figure_values: list[dict[str, Any]] = field(default_factory=list)

    def add_table(self, name: str, table: Table) -> None:
        """Take a table in; it becomes two files of this name."""
        self.tables.append(table)
        self.files |= {f"{name}.csv": table.csv(), f"{name}.md": table.markdown()}


@dataclass(frozen=True)
class Request:
    """What is asked for: the data, the nets, and how the paper's open points are settled."""

    data: Source
    bundles: tuple[Bundle, ...]
    baselines: dict[int, Bundle]
    options: Options
    thresholds: tuple[float, ...]
    shifts: tuple[int, ...]
    with_paper: bool | None
    device: str
    signal: str | None
    timings: bool


def make(request: Request, tables: Sequence[int], pictures: Sequence[str]) -> Outcome:
    """Make tables and figures.

    Args:
        request: What is asked for.
        tables: The paper's numbers of the tables.
        pictures: Those of the figures, as text.

    Returns:
        All that was made.
    """
    outcome = Outcome()
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


def _frames(experiment: Experiment, methods: Sequence[protocols.Method]) -> int:
    return sum(len(clip.samples) for method in methods for clip in experiment.clips(method))


def _table(number: int, request: Request, outcome: Outcome) -> None:
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


def _video(request: Request) -> tuple[DataSet, Bundle, Experiment]:
    video = video_for_figures(request.data)
    bundle = bundle_for(video, request.bundles, request.options)
    number = 6 if request.data == SHAPES else 4
    found = [e for e in experiments(number, request.data, request.options) if e.key in ("", "youtube")]
    return video, bundle, found[-1]


def _table_1(request: Request, outcome: Outcome) -> None:
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


def _figure_6(request: Request, outcome: Outcome) -> None:
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


def _figure_7(request: Request, outcome: Outcome) -> None:
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
