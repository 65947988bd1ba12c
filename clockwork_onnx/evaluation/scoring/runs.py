"""Play a bundle over a data set with one schedule after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import runtime
from clockwork_onnx.evaluation.datasets.base import DataSet
from clockwork_onnx.evaluation.scoring.played import TRUNCATED, Played, played_schedule
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

    def schedule(self, schedule: str | Schedule) -> Schedule:
        """That schedule for the stages of the bundle."""
        if isinstance(schedule, Schedule):
            return schedule
        return runtime.parse_schedule(schedule, self.bundle.manifest, signal=self.signal)

    def tally(self, played: Played) -> Tally:
        """An empty count of what is played."""
        return Tally(
            played,
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
    """Play clips with one schedule.

    Args:
        run: The bundle, the data set and the device.
        schedule: The schedule, or its text.
        clips: What is played.
        watch: Sees every step.
        name: What the result is called, by default as the schedule.

    Returns:
        What the schedule scored and cost.
    """
    parsed = run.schedule(schedule)
    tally = run.tally(played_schedule(parsed, name or str(schedule)))
    with run.player(parsed) as player:
        warm_up(player, clips)
        return score_clips(player, tally, clips, watch=watch)


def run_truncated(
    run: Run, stages: int, clips: Sequence[Clip], watch: Watch | None = None, name: str = "truncated"
) -> Result:
    """Play clips with the bundle's first stages alone, on every frame.

    Args:
        run: The bundle, the data set and the device.
        stages: How many stages.
        clips: What is played.
        watch: Sees every step.
        name: What the result is called.

    Returns:
        What the truncated net scored and cost.
    """
    player = TruncatedPlayer(run.bundle, stages, run.device)
    warm_up(player, clips)
    return score_clips(player, run.tally(Played(name, TRUNCATED)), clips, watch=watch)


def run_schedules(
    run: Run,
    schedules: Sequence[str],
    *,
    truncated: Sequence[int] = (),
    watch: Callable[[str], Watch] | None = None,
) -> list[Result]:
    """Play every shot of the data set with each schedule.

    The schedules take turns on a few shots at a time, so that whatever else slows the machine for a while
    slows all of them.

    Args:
        run: The bundle, the data set and the device.
        schedules: The schedules, as text.
        truncated: Also play the net cut off after so many stages, on every frame, as "truncated:N".
        watch: Called with each name; gives what sees its steps.

    Returns:
        One result per schedule, then one per truncated net.
    """
    parsed = [run.schedule(schedule) for schedule in schedules]
    cut = {f"{TRUNCATED}:{stages}": TruncatedPlayer(run.bundle, stages, run.device) for stages in truncated}
    played = [*map(played_schedule, parsed, schedules), *(Played(name, TRUNCATED) for name in cut)]
    tallies = [run.tally(each) for each in played]
    watches = [watch(each.name) if watch is not None else None for each in played]
    with run.player(parsed[0]) as player:
        turns: list[Schedule | TruncatedPlayer] = [*parsed, *cut.values()]
        for batch in _batches(clips_of(run.data_set)):
            for each, tally, see in zip(turns, tallies, watches, strict=True):
                if isinstance(each, Schedule):
                    player.reset(each)
                turn = player if isinstance(each, Schedule) else each
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
