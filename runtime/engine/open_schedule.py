"""Opening: everything that playing a schedule at one frame size needs, made once and before any frame.

`open_schedule` returns plain data: for each stage its session, what it reads and with which lag, what it
writes, its clock and its probes. From then on a frame only flows: nothing is opened or parsed on its way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort

from runtime.engine.cache import Entry, FeatureCache
from runtime.engine.flow_transforms import flow_transforms
from runtime.engine.probes import Probe, open_probe
from runtime.engine.transform_runner import TransformRunner
from runtime.flow.paths import FlowPaths
from runtime.schedule.clocks import Clock, Learned, Measured, by_position, sensors_of
from runtime.schedule.schedule import Schedule
from runtime.sessions.device import Device
from runtime.sessions.memory import allocate
from runtime.sessions.session import Session
from runtime.sessions.stage_sessions import StageSession, StageSessions
from runtime.transform import Transform
from staged_onnx import FRAME, Manifest

__all__ = ["OpenHead", "OpenSchedule", "OpenStage", "open_schedule"]


@dataclass(frozen=True, eq=False)
class OpenStage:
    """What a frame needs to know of one stage.

    reads, writes: values of the cache, in the order in which the graph has them. past: those it reads that do
    not make what comes of them old: of which itself or a later stage is the maker, and an earlier frame that
    this one is compared with. between: it does not run on a shot's first frame. lagged:
    by the frame's position in its shot, the last entry for all later ones, the values that it reads as they
    were before the frame. early: likewise, whether it needs nothing of the frame, not even its picture, so
    that it can run before the frame has come.
    """

    number: int
    name: str
    session: Session
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    past: frozenset[str]
    between: bool
    lagged: tuple[frozenset[str], ...]
    early: tuple[bool, ...]
    clock: Clock
    probes: Mapping[Measured, Probe]

    def lagged_at(self, position: int) -> frozenset[str]:
        """The values that it reads as they were before the frame, at this position of a shot."""
        return self.lagged[min(position, len(self.lagged) - 1)]

    def early_at(self, position: int) -> bool:
        """Whether it can run before the frame at this position of a shot has come."""
        return self.early[min(position, len(self.early) - 1)]


@dataclass(frozen=True, eq=False)
class OpenHead:
    """What a frame needs to know of the head.

    writes: the name of its output. result: the buffer that it writes, and dtype: the type of its elements.
    """

    name: str
    session: Session
    reads: tuple[str, ...]
    reads_pixels: bool
    writes: str
    result: ort.OrtValue
    dtype: type[np.generic]


@dataclass(frozen=True, eq=False)
class OpenSchedule:
    """A schedule opened at one frame size.

    frame_names: of the values that are pictures of the frame. key_head: the head of frames on which the stage
    of this number fires, where they have one of their own. transforms: what makes versions of values from
    others; None where nothing does.
    """

    schedule: Schedule
    device: Device
    size: tuple[int, int]
    frame_names: tuple[str, ...]
    stages: tuple[OpenStage, ...]
    head: OpenHead
    key_head: tuple[int, OpenHead] | None
    cache: FeatureCache
    transforms: TransformRunner | None

    @property
    def asks_functions(self) -> bool:
        """Whether some clock asks a function on the host, which sees the frame before too."""
        measured = (what for stage in self.stages for what in stage.probes)
        return any(isinstance(what, Learned) and callable(what.model) for what in measured)

    def close(self) -> None:
        """Let go of buffers and bindings, also where somebody still holds this object (a traceback, say)."""
        for stage in self.stages:
            for probe in stage.probes.values():
                probe.close()
        if self.transforms is not None:
            self.transforms.close()
        self.cache.entries.clear()


def open_schedule(
    manifest: Manifest,
    sessions: StageSessions,
    schedule: Schedule,
    *,
    spare: int = 0,
    paths: FlowPaths | None = None,
) -> OpenSchedule:
    """Open a schedule on the sessions of one frame size.

    Args:
        manifest: The stages as they are played (`played_manifest`).
        sessions: The stages' sessions, which stay their owner's to close.
        schedule: One that was checked against the bundle.
        spare: Frames that may be under way at a time besides the one; each value has as many more buffers.
        paths: The flow paths that a schedule with a movement follows.

    Returns:
        The schedule with its cache, its clocks' probes and its transforms.

    Raises:
        ScheduleError: A clock cannot measure what it wants to, or a transform does not fit its value.
        BundleError, DeviceError: A session cannot be opened.
    """
    transforms = schedule.transforms
    if schedule.movement is not None:
        assert paths is not None
        transforms = (*transforms, *flow_transforms(schedule.movement, manifest, paths))
    cache = _cache_of(sessions, schedule, transforms, spare)
    runner = None
    if transforms:
        tells = schedule.movement is not None and schedule.movement.options.origin
        origins = paths if tells else None
        runner = TransformRunner(transforms, cache, sessions.device, sessions.transform, origins)
    recurrent = _recurrent_values(sessions)
    reference = {manifest.feature_flow.reference} if manifest.feature_flow is not None else set()
    stages = []
    for number, (opened, clock) in enumerate(zip(sessions.stages, schedule.clocks, strict=True)):
        lagged = _lagged_values(schedule, opened, recurrent[number])
        early = (runner is None and _runs_early(opened, each, recurrent[number], clock) for each in lagged)
        probes = {
            what: open_probe(what, opened.spec.name, manifest, cache, sessions.device, runner, paths)
            for what in sensors_of(clock)
        }
        stages.append(
            OpenStage(
                number=number,
                name=opened.spec.name,
                session=opened.session,
                reads=opened.spec.inputs,
                writes=opened.spec.outputs,
                past=recurrent[number] | reference,
                between=opened.spec.between,
                lagged=lagged,
                early=tuple(early),
                clock=clock,
                probes=probes,
            )
        )
    result = allocate(sessions.result.shape, sessions.result.dtype, sessions.device)
    return OpenSchedule(
        schedule=schedule,
        device=sessions.device,
        size=sessions.size,
        frame_names=manifest.frame_names,
        stages=tuple(stages),
        head=_open_head(sessions.head, result),
        key_head=_open_key_head(manifest, sessions, stages, result),
        cache=cache,
        transforms=runner,
    )


def _open_head(head: StageSession, result: ort.OrtValue) -> OpenHead:
    return OpenHead(
        name=head.spec.name,
        session=head.session,
        reads=head.spec.inputs,
        reads_pixels=head.spec.reads_pixels,
        writes=head.spec.outputs[0],
        result=result,
        dtype=head.session.outputs[head.spec.outputs[0]].dtype,
    )


def _open_key_head(
    manifest: Manifest, sessions: StageSessions, stages: Sequence[OpenStage], result: ort.OrtValue
) -> tuple[int, OpenHead] | None:
    """The head of key frames, where they have one of their own, and the stage that makes them key frames."""
    if sessions.key_head is None or manifest.feature_flow is None:
        return None
    moved = manifest.feature_flow.value
    maker = next(stage.number for stage in stages if moved in stage.writes)
    return maker, _open_head(sessions.key_head, result)


def _cache_of(
    sessions: StageSessions, schedule: Schedule, transforms: tuple[Transform, ...], spare: int
) -> FeatureCache:
    """The cache with an entry per value, each with the buffers that the schedule takes."""
    moved = {transform.value for transform in transforms}
    earlier = {read.value for t in transforms for read in t.reads if read.version == "earlier"}
    lagged = set(schedule.lagged_values)
    if any(isinstance(s, Learned) and not callable(s.model) for c in schedule.clocks for s in sensors_of(c)):
        lagged.add(FRAME)  # a model sees the frame before too
    cache = FeatureCache()
    for name, value in sessions.values.items():
        cache.add(
            Entry(
                name,
                value.shape,
                value.dtype,
                sessions.device,
                lagged=name in lagged,
                moved=name in moved,
                keeps_earlier=name in earlier,
                spare=spare,
            )
        )
    return cache


def _recurrent_values(sessions: StageSessions) -> list[frozenset[str]]:
    """For each stage, the values it reads that itself or a later stage makes."""
    made_by = {name: i for i, stage in enumerate(sessions.stages) for name in stage.spec.outputs}
    return [
        frozenset(name for name in stage.spec.inputs if made_by.get(name, -1) >= i)
        for i, stage in enumerate(sessions.stages)
    ]


def _lagged_values(
    schedule: Schedule, stage: StageSession, recurrent: frozenset[str]
) -> tuple[frozenset[str], ...]:
    """By the frame's position in its shot, the values that a stage reads as they were before the frame."""
    positions = range(len(schedule.fill) + 2)
    return tuple(
        recurrent | {value for name, value in schedule.lags_at(position) if name == stage.spec.name}
        for position in positions
    )


def _runs_early(stage: StageSession, lagged: frozenset[str], recurrent: frozenset[str], clock: Clock) -> bool:
    """Whether a stage needs nothing of a frame: all that it reads is from before, and so is its clock."""
    reads = set(stage.spec.inputs)
    return reads <= lagged and not reads <= recurrent and by_position(clock)
