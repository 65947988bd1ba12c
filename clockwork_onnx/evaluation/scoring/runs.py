"""Play a bundle over a data set with one schedule after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import runtime
from clockwork_onnx.evaluation.datasets.base import DataSet
from clockwork_onnx.evaluation.scoring.scoring import (
    Clip,
    Costs,
    Result,
    StepSeen,
    Tally,
    clips_of,
    score_clips,
    warm_up,
)
from clockwork_onnx.evaluation.scoring.truncated import TruncatedPlayer
from runtime import Schedule
from staged_onnx import Bundle

__all__ = ["Run", "Watch", "run_schedule", "run_schedules", "run_truncated", "together"]

Watch = Callable[[StepSeen], None]

TURN = 30
"""Frames that one schedule plays before the next has its turn."""


@dataclass(frozen=True)
class Run:
    """What to play: the bundle, on a device, and how its labels are scored.

    `threads`: of one operator on the CPU, 0 for automatic.
    """

    bundle: Bundle
    data_set: DataSet
    device: str = "auto"
    signal: str | None = None
    boundary_radius: int | None = None
    threads: int = 0

    @property
    def costs(self) -> Costs:
        """What each stage costs, from the manifest."""
        return Costs.of(self.bundle.manifest)

    def player(self, schedule: str | Schedule) -> runtime.Player:
        """An open player with that schedule."""
        return runtime.open(
            self.bundle.path,
            device=self.device,
            schedule=schedule,
            signal=self.signal,
            threads=self.threads,
        )

    def tally(self, schedule: str) -> Tally:
        """An empty count for one schedule."""
        return Tally(
            schedule,
            len(self.data_set.classes),
            self.costs,
            prediction_map=self.data_set.prediction_map,
            boundary_radius=self.boundary_radius,
        )


def run_schedule(
    run: Run,
    schedule: str | Schedule,
    clips: Sequence[Clip],
    watch: Watch | None = None,
    name: str | None = None,
) -> Result:
    """Play `clips` with one schedule; the result is called `name`, or as the schedule."""
    tally = run.tally(name or str(schedule))
    with run.player(schedule) as player:
        warm_up(player, clips)
        return score_clips(player, tally, clips, watch=watch)


def run_truncated(
    run: Run, stages: int, clips: Sequence[Clip], watch: Watch | None = None, name: str = "truncated"
) -> Result:
    """Play `clips` with the bundle's first `stages` stages alone, on every frame."""
    player = TruncatedPlayer(run.bundle, stages, run.device)
    warm_up(player, clips)
    return score_clips(player, run.tally(name), clips, watch=watch)


def run_schedules(
    run: Run,
    schedules: Sequence[str],
    *,
    truncated: Sequence[int] = (),
    watch: Callable[[str], Watch] | None = None,
) -> list[Result]:
    """Play every shot of the data set with each schedule; `watch(schedule)` gives what sees its steps.

    `truncated`: also play the net cut off after so many stages, on every frame, as "truncated:N". The
    schedules take turns on a few shots at a time, so that whatever else slows the machine for a while
    slows all of them.
    """
    cut = {f"truncated:{stages}": TruncatedPlayer(run.bundle, stages, run.device) for stages in truncated}
    names = [*schedules, *cut]
    tallies = [run.tally(name) for name in names]
    watches = [watch(name) if watch is not None else None for name in names]
    with run.player(schedules[0]) as player:
        for batch in _batches(clips_of(run.data_set)):
            for name, tally, see in zip(names, tallies, watches, strict=True):
                if name not in cut:
                    player.reset(name, signal=run.signal)
                turn = cut.get(name, player)
                warm_up(turn, batch, frames=1)
                score_clips(turn, tally, batch, watch=see)
    return [tally.result() for tally in tallies]


def _batches(clips: Iterable[Clip]) -> Iterator[list[Clip]]:
    """Consecutive clips, together of at least `TURN` frames."""
    batch: list[Clip] = []
    for clip in clips:
        batch.append(clip)
        if sum(len(c.samples) for c in batch) >= TURN:
            yield batch
            batch = []
    if batch:
        yield batch


def together(watchers: Sequence[Watch]) -> Watch:
    """One watch that hands every step to several."""

    def see(seen: StepSeen) -> None:
        for watch in watchers:
            watch(seen)

    return see
