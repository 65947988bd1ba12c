"""The paper's Figures 6 and 7: a threshold sweep, and when clocks fire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from clockwork_onnx.evaluation.datasets.base import DataSet
from clockwork_onnx.evaluation.paper.experiments import run_experiment
from clockwork_onnx.evaluation.paper.protocols import Options, adaptive
from clockwork_onnx.evaluation.paper.sources import Experiment
from clockwork_onnx.evaluation.results.watchers import Strips
from clockwork_onnx.evaluation.scoring.runs import Run, Watch, run_schedule
from clockwork_onnx.evaluation.scoring.scoring import Clip, Result
from runtime import Schedule
from staged_onnx import Bundle

__all__ = ["sweep", "timeline"]


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
    """Figure 6: the adaptive clock at every threshold.

    Args:
        experiment: What is played and scored.
        bundle: The net.
        thresholds: The thresholds.
        options: How the paper's open points are settled.
        device: As for `runtime.open`.
        signal: The value that the clock watches, by default the bundle's.
        watch: Called with each method's name; gives what sees its steps.

    Returns:
        One result per threshold, in order.
    """
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
) -> tuple[Strips, list[Result]]:
    """Figure 7: on which frames of a video the deepest stage fires under each schedule.

    Args:
        video: The video.
        bundle: The net.
        schedules: The schedules.
        device: As for `runtime.open`.
        signal: The value that adaptive clocks watch, by default the bundle's.

    Returns:
        When the stage fired, and one result per schedule.
    """
    strips = Strips(bundle.manifest.stages[-1].name)
    run = Run(bundle, replace(video, shots=()), device, signal)
    clips = [Clip(shot.name, shot.samples, frozenset(), frozenset()) for shot in video.shots]
    results = [run_schedule(run, each, clips, strips.watch(str(each))) for each in schedules]
    return strips, results
