"""The tables of the clockwork paper, on the paper's data sets or on the generated shapes video."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clockwork_onnx.evaluation.datasets.base import NO_CLASS, VOID, DataSet
from clockwork_onnx.evaluation.paper import protocols
from clockwork_onnx.evaluation.paper.numbers import PAPER_WEIGHTS, PaperRow, paper_row
from clockwork_onnx.evaluation.paper.own_clocks import visible_schedule
from clockwork_onnx.evaluation.paper.protocols import METHODS, Method, Options, schedule_text
from clockwork_onnx.evaluation.paper.sources import Experiment
from clockwork_onnx.evaluation.results.tables import Cell, Table
from clockwork_onnx.evaluation.scoring.metrics import Confusion, Scores
from clockwork_onnx.evaluation.scoring.runs import Run, Watch, run_schedule, run_truncated
from clockwork_onnx.evaluation.scoring.scoring import Result
from runtime import Schedule
from staged_onnx import Bundle
from weights.errors import UsageError

__all__ = [
    "TABLES",
    "Row",
    "bundle_for",
    "has_paper_weights",
    "one_frame_late",
    "result_table",
    "run_experiment",
    "table_methods",
]

TABLES = (1, 3, 4, 5, 6)
PIPELINES = ("frame oracle", "3-stage baseline", "3-stage pipeline", "2-stage baseline", "2-stage pipeline")
CLOCKS = ("frame oracle", "skip frame", "alternating")


@dataclass(frozen=True)
class Row:
    """One method on one experiment; `paper` is the paper's row where it is comparable."""

    method: Method
    result: Result
    paper: PaperRow | None
    note: str = ""


def table_methods(table: int, thresholds: Sequence[float]) -> list[Method]:
    """The rows of a table, in the paper's order; tables of clocks end with adaptive ones.

    Args:
        table: The paper's number of the table, 3 to 6.
        thresholds: Thresholds of table 6's adaptive clocks.

    Returns:
        One method per row.

    Raises:
        UsageError: There is no such table.
    """
    if table in (3, 4):
        return [METHODS[name] for name in PIPELINES]
    if table == 5:
        chosen = ["frame oracle", "2-stage pipeline", "skip frame", "exponential", "alternating"]
        return [METHODS[name] for name in chosen]
    if table == 6:
        return [METHODS[name] for name in CLOCKS] + [protocols.adaptive(t) for t in thresholds]
    raise UsageError("no such table", found=table, expected=", ".join(map(str, TABLES)))


def bundle_for(data_set: DataSet, bundles: Sequence[Bundle], options: Options) -> Bundle:
    """The first bundle that speaks a data set's classes.

    Args:
        data_set: The data set.
        bundles: The bundles, in order of preference.
        options: How the paper's open points are settled.

    Returns:
        One of `bundles`.

    Raises:
        UsageError: None has as many classes.
    """
    wanted = len(data_set.prediction_map or data_set.classes)
    for bundle in bundles:
        count = len(bundle.manifest.class_names)
        # The truncated Cityscapes nets have a twentieth output (A14).
        if count == wanted or (wanted == 19 and count == 20 and options.twentieth_class == "wrong"):
            return bundle
    raise UsageError(
        f"no bundle for {data_set.name}",
        found=", ".join(f"{b.manifest.name} ({len(b.manifest.class_names)} classes)" for b in bundles),
        expected=f"a net of {wanted} classes",
        hint="name it with --model",
    )


def has_paper_weights(bundle: Bundle) -> bool:
    """Whether the bundle was made, by the name of its weights, from the paper's own."""
    files = bundle.manifest.source.get("weights", [])
    return any(entry.get("name") in PAPER_WEIGHTS for entry in files if isinstance(entry, Mapping))


def run_experiment(
    experiment: Experiment,
    bundle: Bundle,
    methods: Sequence[Method],
    options: Options,
    *,
    device: str = "auto",
    signal: str | None = None,
    baselines: Mapping[int, Bundle] | None = None,
    with_paper: bool | None = None,
    watch: Callable[[str], Watch] | None = None,
) -> list[Row]:
    """Play every method on one experiment.

    Args:
        experiment: What is played and scored.
        bundle: The net.
        methods: The rows of the table.
        options: How the paper's open points are settled.
        device: As for `runtime.open`.
        signal: The value that adaptive clocks watch, by default the bundle's.
        baselines: Truncated nets by the number of stages that they are made of; where one is missing, the
            bundle itself is cut off there.
        with_paper: Show the paper's numbers; by default where its weights run.
        watch: Called with each method's name; gives what sees its steps.

    Returns:
        One row per method.
    """
    data_set = _scored_by(experiment.data_set, bundle)
    run = Run(bundle, data_set, device, signal, experiment.boundary_radius)
    show_paper = has_paper_weights(bundle) if with_paper is None else with_paper
    rows = []
    for method in methods:
        clips = list(experiment.clips(method))
        paper = paper_row(experiment.key, method.name, options.misprints) if show_paper else None
        see = watch(method.name) if watch is not None else None
        note = ""
        if method.stages is None:
            stages = len(bundle.manifest.stages)
            schedule: str | Schedule = schedule_text(method, options, stages, experiment.paper_fill)
            if method.is_adaptive and options.signal_area == "visible":
                schedule = visible_schedule(run, method, options)
            result = run_schedule(run, schedule, clips, see, name=method.name)
        elif baselines and method.stages in baselines:
            cut = replace(run, bundle=baselines[method.stages])
            cut = replace(cut, data_set=_scored_by(experiment.data_set, cut.bundle))
            result = _share_of(run_schedule(cut, "oracle", clips, see, name=method.name), run)
        else:
            result = run_truncated(run, method.stages, clips, see, name=method.name)
            note = "untrained"
        rows.append(Row(method, result, paper, note))
    return rows


def one_frame_late(experiment: Experiment) -> Scores:
    """How the true labels of a frame score as those of the next: what is left to a perfect net that is late.

    Taken over the experiment's scored frames whose predecessor has labels, too; pixels that were void there
    are left out. NaN where no two neighbouring frames have labels.
    """
    confusion = Confusion(len(experiment.data_set.classes))
    for clip in experiment.clips(METHODS["2-stage pipeline"]):
        for position in sorted(clip.scored):
            before, now = (clip.samples[i].read_label if i >= 0 else None for i in (position - 1, position))
            if before is not None and now is not None:
                late = before()
                confusion.add(now(), late, where=late != VOID)
    return confusion.scores()


def result_table(title: str, rows: Sequence[Row]) -> Table:
    """The paper's columns, ours and, where they are comparable, the paper's; then what it cost.

    Args:
        title: The table's title.
        rows: One per method.

    Returns:
        The table.
    """
    has_boundary = any(row.result.boundary is not None for row in rows)
    has_paper = any(row.paper is not None for row in rows)
    names = ["mean IU", "fwIU"] + (["mean IU-b", "fwIU-b"] if has_boundary else [])
    columns = ["method", *names]
    if has_paper:
        columns += [f"paper {name}" for name in names]
    columns += ["deepest fires", "MACs/oracle", "ms/frame"]
    cells: list[tuple[Cell, ...]] = []
    for row in rows:
        result = row.result
        line: list[Cell] = [row.method.name + (f" ({row.note})" if row.note else "")]
        line += [result.scores.mean_iu, result.scores.fw_iu]
        if has_boundary:
            bounds = result.boundary
            line += [bounds.mean_iu, bounds.fw_iu] if bounds is not None else [None, None]
        if has_paper:
            paper = row.paper or PaperRow()
            line += [paper.mean_iu, paper.fw_iu]
            line += [paper.boundary_mean_iu, paper.boundary_fw_iu] if has_boundary else []
        deepest = [name for name in result.fires if name != "head"][-1]
        line += [result.fires[deepest] / max(result.frames, 1), result.macs_of_oracle, result.ms_per_frame]
        cells.append(tuple(line))
    return Table(title, tuple(columns), tuple(cells))


def rows_json(rows: Sequence[Row], classes: Sequence[str], timings: bool) -> list[dict[str, Any]]:
    """The rows as plain values."""
    found = []
    for row in rows:
        values = {"method": row.method.name, **row.result.as_json(classes, timings)}
        values["schedule"] = row.method.schedule
        if row.note:
            values["note"] = row.note
        if row.paper is not None:
            values["paper"] = {k: v for k, v in vars(row.paper).items() if v is not None}
        found.append(values)
    return found


def _scored_by(data_set: DataSet, bundle: Bundle) -> DataSet:
    count, wanted = len(bundle.manifest.class_names), len(data_set.classes)
    if data_set.prediction_map is None and count == wanted + 1:
        return replace(data_set, prediction_map=(*range(wanted), NO_CLASS))
    return data_set


def _share_of(result: Result, whole: Run) -> Result:
    """A truncated net's cost as a share of the whole net's."""
    return replace(result, macs_of_oracle=result.macs_per_frame / whole.costs.oracle)
