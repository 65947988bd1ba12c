"""Schedules as data: one clock per stage, and for every edge between stages which version it reads.

A schedule compares, hashes and pickles; its text, `str(schedule)`, is what `parse_schedule` reads back to an
equal one (see `runtime.schedule.grammar`). What lives while one is played (sessions, probes, flow) belongs to
the player.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.schedule.clocks import Always, Clock, Every, Learned, Sensor, Watch, sensors_of, single_clocks
from runtime.schedule.flow_schedules import Movement, played_manifest
from runtime.transform import Transform
from staged_onnx import Manifest
from weights.errors import ScheduleError

__all__ = ["Edge", "Schedule", "check_schedule", "edges_of", "expect_stages"]


@dataclass(frozen=True)
class Edge:
    """A stage reads a value: lag 0, as it stands when the stage runs; lag 1, as it was before this frame."""

    stage: str
    value: str
    lag: int = 0


@dataclass(frozen=True)
class Schedule:
    """When each stage runs and what it reads.

    text: how it is written; not part of the comparison. clocks: one per stage, in order. edges: every edge
    from a stage to a stage, with its lag; the head reads with lag 0. The first frame of a shot is a full pass
    without lags, whatever the clocks say; `fill` holds the edges of the frames that follow it, where they
    differ from `edges`. repeat: on a frame on which no stage fires the whole previous output stands, and the
    head does not run even if it reads pixels (frame skipping). transforms: how values are moved on frames on
    which their stage does not fire. movement: that values follow the picture; the stages are then those of
    `played_manifest(manifest, movement)`. family: the name that the text begins with ("skip", "warp",
    "adaptive", ...), "clocks" where it gives one clock per stage.
    """

    text: str = field(compare=False)
    clocks: tuple[Clock, ...]
    edges: tuple[Edge, ...]
    fill: tuple[tuple[Edge, ...], ...] = ()
    repeat: bool = False
    transforms: tuple[Transform, ...] = ()
    movement: Movement | None = None
    family: str = "clocks"

    def __str__(self) -> str:
        return self.text

    @property
    def waits(self) -> bool:
        """Whether frames wait for the next key frame before they are labelled."""
        return self.movement is not None and self.movement.kind == "between"

    @property
    def rates(self) -> tuple[int, ...] | None:
        """Frames from one firing of each stage to the next; None where a clock goes by something else."""
        clocks = self.clocks
        if not all(isinstance(clock, Always | Every) for clock in clocks):
            return None
        return tuple(clock.rate if isinstance(clock, Every) else 1 for clock in clocks)

    @property
    def interval(self) -> int | None:
        """Frames from one firing of the deepest stage to the next; None where that varies."""
        if self.movement is not None:
            return self.movement.key.rate if isinstance(self.movement.key, Every) else None
        deepest = self.clocks[-1]
        if isinstance(deepest, Every) and any(transform.graph is None for transform in self.transforms):
            return deepest.rate
        rates = self.rates
        return rates[-1] if rates is not None else None

    @property
    def theta(self) -> float | None:
        """The threshold of the deepest clock that has one."""
        for clock in reversed(self.clocks):
            for single in single_clocks(clock):
                if isinstance(single, Watch | Learned):
                    return single.theta
        return None

    @property
    def lagged_values(self) -> frozenset[str]:
        """Values of which some edge reads the version from before the frame."""
        edges = [edge for edges in (*self.fill, self.edges) for edge in edges]
        return frozenset(edge.value for edge in edges if edge.lag)

    @property
    def moved_values(self) -> frozenset[str]:
        """Values that are written by more than their stage: moved along the flow, or transformed."""
        following = self.movement.values if self.movement is not None else ()
        return frozenset((*following, *(transform.value for transform in self.transforms)))

    def lags_at(self, position: int) -> frozenset[tuple[str, str]]:
        """Which values are read with lag on a frame.

        Args:
            position: The frame's place in its shot, from 0.

        Returns:
            (stage, value) pairs; none on the first frame.
        """
        if position == 0:
            return frozenset()
        edges = self.fill[position - 1] if position <= len(self.fill) else self.edges
        return frozenset((edge.stage, edge.value) for edge in edges if edge.lag)


def edges_of(manifest: Manifest, groups: int = 1) -> tuple[Edge, ...]:
    """All edges between stages, with lag 1 where they lead from one group of stages to another.

    Args:
        manifest: The bundle's.
        groups: How many groups there are: the last groups - 1 stages are groups of their own, the stages
            before them are one.

    Returns:
        The edges, in the order of the stages that read.
    """
    made_by = {value: i for i, stage in enumerate(manifest.stages) for value in stage.outputs}
    first_alone = len(manifest.stages) - groups + 1
    edges = []
    for i, stage in enumerate(manifest.stages):
        for value in stage.inputs:
            if value in made_by:
                maker = made_by[value]
                # a value that its reader or a later stage makes can only be read from before the frame
                lag = 1 if maker >= i else int(max(maker, first_alone - 1) != max(i, first_alone - 1))
                edges.append(Edge(stage.name, value, lag))
    return tuple(edges)


def check_schedule(schedule: Schedule, manifest: Manifest) -> None:
    """Refuse a schedule that does not fit the stages of a bundle.

    Args:
        schedule: The schedule.
        manifest: The bundle's.

    Raises:
        ScheduleError: Its clocks, edges or transforms do not fit.
    """
    manifest = played_manifest(manifest, schedule.movement)
    stages = manifest.stages
    expect_stages(schedule.text, len(schedule.clocks), len(stages))
    made_by = {value: i for i, stage in enumerate(stages) for value in stage.outputs}
    known = {(stage.name, value) for stage in stages for value in stage.inputs if value in made_by}
    for edges in (*schedule.fill, schedule.edges):
        given = [(edge.stage, edge.value) for edge in edges]
        if set(given) != known or len(given) != len(known):
            raise ScheduleError(
                f'the edges of "{schedule}" are not those of the bundle', found=given, expected=sorted(known)
            )
        for edge in edges:
            later = made_by[edge.value] >= [s.name for s in stages].index(edge.stage)
            if edge.lag not in (0, 1) or (later and edge.lag == 0):
                raise ScheduleError(
                    f'bad lag of {edge.value} into {edge.stage} in "{schedule}"',
                    found=edge.lag,
                    expected="1, its maker comes later" if later else "0 or 1",
                )
    for i, clock in enumerate(schedule.clocks):
        ready = [*manifest.frame_names, *(value for stage in stages[:i] for value in stage.outputs)]
        for sensor in sensors_of(clock):
            if isinstance(sensor, Sensor) and sensor.value not in ready:
                raise ScheduleError(
                    f'the clock of {stages[i].name} in "{schedule}" cannot watch this value',
                    found=f'"{sensor.value}"' if sensor.value else "none",
                    expected=", ".join(ready[1:]) or "a stage before the one it decides on",
                    hint="name a blob that an earlier stage makes: --signal BLOB",
                )
    moved = [transform.value for transform in schedule.transforms]
    if not set(moved) <= made_by.keys() or len(set(moved)) != len(moved):
        raise ScheduleError("bad transforms", found=", ".join(moved), expected="carried values, each once")


def expect_stages(text: str, found: int, stages: int) -> None:
    """Refuse a schedule's text that does not give one clock per stage.

    Args:
        text: The text.
        found: How many clocks it gives.
        stages: How many stages there are, the head not counted.

    Raises:
        ScheduleError: The two numbers differ.
    """
    if found != stages:
        raise ScheduleError(
            f'"{text}" does not fit the bundle',
            found=f"clocks for {found} stages",
            expected=f"{stages}, one per stage (the head is not counted)",
        )
