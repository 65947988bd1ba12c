"""Which schedule for this video? Schedules measured by how well their labels agree with the oracle's.

The oracle runs the whole net on every frame, so agreement with it needs no labelled video. What a schedule
loses against the oracle it mostly loses against the truth, too; fusion over time (`between`, `@fuse`) can
even gain there, which agreement does not show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import runtime
from clockwork_onnx.evaluation.datasets.base import DataSet, Sample, Shot
from clockwork_onnx.evaluation.scoring.runs import Run, Watch, run_schedules
from clockwork_onnx.evaluation.scoring.scoring import Result
from runtime.player import Player
from runtime.schedule.grammar import parse_schedule
from staged_onnx import Bundle, Manifest
from weights.errors import UsageError

__all__ = ["Advice", "advise", "candidates", "has_skips", "recommended"]

MOST_BYTES = 2 << 30
"""Frames and labels that are kept in memory at once."""
NEAR = 1.25
"""How much more than the oracle's own flicker a recommended schedule may differ from it."""


@dataclass(frozen=True)
class Advice:
    """What was measured: one result per schedule, the oracle's first, and the names of the best ones.

    best: for a file, whose frames may be labelled late. live: labels every frame when it comes.
    """

    results: tuple[Result, ...]
    waits: frozenset[str]
    best: str
    live: str


def has_skips(manifest: Manifest) -> bool:
    """Whether the head reads more than the last stage, so that shallow stages bring something fresh to it."""
    early = {value for stage in manifest.stages[:-1] for value in stage.outputs}
    return bool(early.intersection(manifest.head.inputs))


def candidates(manifest: Manifest) -> list[str]:
    """The schedules worth trying on a bundle that gives labels, the oracle first."""
    clocks = ["alternating"] if has_skips(manifest) and len(manifest.stages) > 1 else []
    flow = ["warp:2", "warp:4", "warp:8", "between:4", "between:4@fuse", "between:8"]
    return ["oracle", "skip:2", *clocks, "skip:4", *flow]


def _data_set(player: Player, frames: Iterable[Any]) -> DataSet:
    """The frames with the oracle's labels as the true ones."""
    samples: list[Sample] = []
    used = 0

    def kept() -> Iterable[Any]:
        for frame in frames:
            images.append(np.array(frame.image))
            yield frame

    images: list[np.ndarray] = []
    for step, image in zip(player.play(kept()), images, strict=False):
        labels = np.array(step.labels)
        used += image.nbytes + labels.nbytes
        if used > MOST_BYTES:
            raise UsageError(
                "too many frames to compare schedules on",
                found=f"{len(images)} of {image.shape[0]} x {image.shape[1]}",
                expected=f"at most {MOST_BYTES >> 30} GiB of frames and labels",
                hint="--max-frames takes fewer, --stride every Nth",
            )
        samples.append(Sample(step.name, lambda i=image: i, lambda found=labels: found))  # type: ignore[misc]
    if len(samples) < 2:
        raise UsageError("a video is needed", found=f"{len(samples)} frames", expected="2 or more")
    classes = player.bundle.manifest.class_names
    return DataSet("the oracle's labels", classes, (Shot("video", tuple(samples)),))


def advise(
    bundle: Bundle,
    frames: Iterable[Any],
    schedules: Sequence[str],
    *,
    device: str = "auto",
    watch: Callable[[str], Watch] | None = None,
) -> Advice:
    """Measure schedules on a video.

    Args:
        bundle: What is played; it gives labels.
        frames: The video's, as for `Player.play`.
        schedules: Beside the oracle.
        device: Where it is played.
        watch: Called with each schedule; gives what sees its steps.

    Returns:
        The comparison, and the schedule that is advised.

    Raises:
        UsageError: A bundle that gives no labels, or frames beyond the limit of memory.
        ScheduleError: A schedule does not fit the bundle.
    """
    manifest = bundle.manifest
    if manifest.output.kind != "labels":
        raise UsageError(
            "only labels can be compared",
            file=bundle.path,
            found=f"a bundle that gives a {manifest.output.kind}",
        )
    names = list(dict.fromkeys(["oracle", *schedules]))
    waits = frozenset(name for name in names if parse_schedule(name, manifest).waits)
    with runtime.open(bundle.path, device=device, schedule="oracle") as player:
        data_set = _data_set(player, frames)
    results = tuple(run_schedules(Run(bundle, data_set, device), names, watch=watch))
    prompt = [result for result in results if result.schedule not in waits]
    return Advice(results, waits, recommended(results), recommended(prompt))


def recommended(results: Sequence[Result]) -> str:
    """The cheapest schedule whose labels are as near to the oracle's as the oracle's own are to themselves.

    A net's labels flicker: moved along the flow by a single frame they already differ from those computed
    anew, and that is nobody's error. So what counts is the disagreement with the oracle for the work that was
    saved, that is, on a frame that was not computed anew. The least that any schedule has is taken for the
    flicker, and up to `NEAR` times as much is accepted.
    """
    stale = {
        r.schedule: (1 - r.scores.pixel_accuracy) / (1 - r.macs_of_oracle)
        for r in results
        if r.macs_of_oracle < 1
    }
    if not stale:
        return "oracle"
    least = min(stale.values())
    good = [r for r in results if r.schedule in stale and stale[r.schedule] <= NEAR * least]
    return min(good, key=lambda r: r.macs_of_oracle).schedule
