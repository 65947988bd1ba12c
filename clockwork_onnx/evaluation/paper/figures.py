"""The paper's Table 1 and Figures 6 and 7: how fast layers change, a threshold sweep, when clocks fire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clockwork_onnx.evaluation.datasets.base import DataSet, Sample, mean_of, preprocess
from clockwork_onnx.evaluation.paper.experiments import Experiment, run_experiment
from clockwork_onnx.evaluation.paper.numbers import TABLE_1
from clockwork_onnx.evaluation.paper.protocols import METHODS, Method, Options, adaptive
from clockwork_onnx.evaluation.results.tables import Cell, Table
from clockwork_onnx.evaluation.results.watchers import Strips
from clockwork_onnx.evaluation.scoring.differences import ARGMAX, Difference, ShotDifferences, over_shots
from clockwork_onnx.evaluation.scoring.runs import Run, Watch, run_schedule
from clockwork_onnx.evaluation.scoring.scoring import Clip, Result
from clockwork_onnx.evaluation.scoring.truncated import StageRunner, has_scores_of
from runtime import Schedule
from staged_onnx import Bundle

__all__ = [
    "LayerChange",
    "difference_table",
    "layer_changes",
    "score_values",
    "sweep",
    "timeline",
]


@dataclass(frozen=True)
class LayerChange:
    """A row of Table 1: how much something changes a frame, and how good a net cut off there is."""

    name: str
    relative: Difference | None
    change: Difference | None
    mean_iu: float | None
    stage: int
    """After how many stages; 0 for the pixels."""


def score_values(bundle: Bundle) -> dict[str, int]:
    """Carried values with one channel a class, and the stage (from 1) that makes each."""
    manifest = bundle.manifest
    found = {}
    for number, stage in enumerate(manifest.stages, start=1):
        for name in stage.outputs:
            shape = manifest.values[name].shape
            if len(shape) == 4 and shape[1] == len(manifest.class_names):
                found[name] = number
    return found


def layer_changes(
    experiment: Experiment, video: DataSet, bundle: Bundle, options: Options, device: str = "auto"
) -> tuple[list[LayerChange], dict[str, Difference]]:
    """Table 1 on a video: rows from pixels to the output, and all differences by name.

    Every frame from the first labelled one of a shot on is run in full. The pixels are the net's input with
    the data set's mean subtracted, or raw, as `options.pixel_values` says.
    """
    runner = StageRunner(bundle, device)
    values = score_values(bundle)
    manifest = bundle.manifest
    mean = video.mean or mean_of(manifest.preprocessing)
    shots = []
    for shot in video.shots:
        first = next((i for i, s in enumerate(shot.samples) if s.read_label is not None), None)
        if first is None:
            continue
        gathered = ShotDifferences(options.label_change)
        for sample in shot.samples[first:]:
            image = sample.read_image()
            labels, _ = runner.run(image)
            pixels = preprocess(image, mean if options.pixel_values == "mean subtracted" else (0.0,) * 3)
            layers = {name: runner.value(name)[0] for name in values}
            gathered.add(pixels, layers, _truth(sample), labels)
        shots.append(gathered.mean())
    summary = over_shots(shots)
    depths = [n for n in range(1, len(manifest.stages)) if has_scores_of(bundle, n)]
    cut = [Method("", "oracle", stages=n) for n in depths]
    methods = [*cut, METHODS["frame oracle"]]
    accuracy = {
        row.method.stages or len(manifest.stages): row.result.scores.mean_iu
        for row in run_experiment(experiment, bundle, methods, options, device=device)
    }
    rows = [LayerChange("pixels", summary["data"], None, None, 0)]
    for name, stage in values.items():
        rows.append(LayerChange(name, summary[name], summary[name + ARGMAX], accuracy.get(stage), stage))
    rows.append(
        LayerChange("output", None, summary["output"], accuracy[len(manifest.stages)], len(manifest.stages))
    )
    rows.append(LayerChange("true label", None, summary["label"], None, 0))
    return rows, summary


def difference_table(title: str, rows: Sequence[LayerChange], with_paper: bool) -> Table:
    """Table 1: the paper's columns, with the paper's numbers where they are comparable."""
    columns = ["", "relative difference", "std", "labels changed", "std", "mean IU"]
    if with_paper:
        columns += ["paper difference", "std", "paper mean IU"]
    paper_names = dict(zip((0, 1, 2, 3), TABLE_1, strict=True))
    cells: list[tuple[Cell, ...]] = []
    for row in rows:
        line: list[Cell] = [row.name]
        for difference in (row.relative, row.change):
            line += [difference.mean, difference.std] if difference is not None else [None, None]
        line.append(row.mean_iu)
        if with_paper:
            is_layer = row.name not in ("output", "true label")
            mean, std, _, percent = TABLE_1[paper_names[row.stage]] if is_layer else (None, None, 0, None)
            line += [mean, std, None if percent is None else percent / 100]
        cells.append(tuple(line))
    return Table(title, tuple(columns), tuple(cells))


def sweep(
    experiment: Experiment,
    bundle: Bundle,
    thresholds: Sequence[float],
    options: Options,
    *,
    device: str = "auto",
    signal: str | None = None,
    watch: Callable[[str], Watch] | None = None,
) -> list[Result]:
    """Figure 6: the adaptive clock at every threshold."""
    methods = [adaptive(threshold) for threshold in thresholds]
    rows = run_experiment(experiment, bundle, methods, options, device=device, signal=signal, watch=watch)
    return [row.result for row in rows]


def timeline(
    video: DataSet,
    bundle: Bundle,
    schedules: Sequence[str | Schedule],
    *,
    device: str = "auto",
    signal: str | None = None,
) -> Strips:
    """Figure 7: on which frames of the video the deepest stage fires under each schedule."""
    strips = Strips(bundle.manifest.stages[-1].name)
    run = Run(bundle, replace(video, shots=()), device, signal)
    clips = [Clip(shot.name, shot.samples, frozenset(), frozenset()) for shot in video.shots]
    for schedule in schedules:
        run_schedule(run, schedule, clips, strips.watch(str(schedule)))
    return strips


def _truth(sample: Sample) -> NDArray[np.uint8] | None:
    return sample.read_label() if sample.read_label is not None else None
