"""Which methods of a table a bundle and a data set allow, and why not the others."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from clockwork_onnx.evaluation.paper.protocols import Method
from clockwork_onnx.evaluation.paper.sources import Experiment
from clockwork_onnx.evaluation.scoring.truncated import has_scores_of
from staged_onnx import Bundle
from weights.errors import ClockworkError

__all__ = ["fitting_methods"]


def fitting_methods(
    experiment: Experiment, methods: Sequence[Method], bundle: Bundle, baselines: Collection[int]
) -> tuple[list[Method], list[str]]:
    """Choose the methods that can be played.

    Args:
        experiment: What they are to be played on.
        methods: The rows of a table.
        bundle: The net.
        baselines: Numbers of stages for which there is a truncated net.

    Returns:
        The methods that can be played, and a sentence for each other one.
    """
    fitting, reasons = [], []
    for method in methods:
        if not _can_be_cut(method, bundle, baselines):
            reasons.append(
                f"no {method.name}, since {bundle.manifest.name} cannot be cut off after {method.stages} of "
                f"{len(bundle.manifest.stages)} stages; name a truncated net with "
                f"--baseline {method.stages}=BUNDLE."
            )
        elif method.lead >= (stages := len(bundle.manifest.stages)):
            name = bundle.manifest.name
            reasons.append(f"no {method.name}, since {name} has {stages} stages; cut the net at more blobs.")
        elif problem := _phase_problem(experiment, method):
            reasons.append(f"no {method.name}: {problem}.")
        else:
            fitting.append(method)
    return fitting, reasons


def _can_be_cut(method: Method, bundle: Bundle, baselines: Collection[int]) -> bool:
    if method.stages is None or method.stages in baselines:
        return True
    return method.stages < len(bundle.manifest.stages) and has_scores_of(bundle, method.stages)


def _phase_problem(experiment: Experiment, method: Method) -> str:
    """Why the phases that were asked for are not to be had of a fixed-rate method; "" where they are."""
    if method.period == 1:
        return ""
    try:
        for _ in experiment.clips(method):
            pass
    except ClockworkError as error:
        return str(error)
    return ""
