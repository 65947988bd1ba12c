"""The player: frames in, steps out."""

from __future__ import annotations

import os
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from os import PathLike
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from runtime.engine.cache import FeatureCache
from runtime.engine.engine import Engine, Pending
from runtime.engine.executors import Inline, Lanes, Threads
from runtime.flow.estimators import FlowSource
from runtime.schedule.flow_schedules import played_bundle, played_manifest
from runtime.schedule.schedule import Schedule, check_schedule, parse_schedule
from runtime.sessions.device import Device, choose_device
from runtime.sessions.stage_sessions import Parts
from runtime.step import Step
from runtime.video.threads import prefetch
from staged_onnx import Bundle, Manifest, read_bundle
from weights.errors import ClockworkError, UsageError, VideoError

__all__ = ["Player", "open_player", "threads_a_stage"]

SIZES_KEPT = 2

T = TypeVar("T")
_Key = tuple[tuple[int, int], tuple[str, Fraction | None] | None]
"""A frame size; and where the head is in two parts, what it hands out on which grid."""


class Player:
    """Plays frames through the stages of a bundle by a schedule. Use it in a `with`, or close it.

    bundle, device, schedule: what it was opened with; `device.reason` says why this device. lanes: where
    the stages run; the default runs them one after another. parts: sessions opened already, which stay
    their owner's to close. Sessions and buffers are opened with the first frame of each size and kept for
    the SIZES_KEPT sizes last played.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: Device,
        schedule: Schedule,
        *,
        lanes: Lanes | None = None,
        parts: Parts | None = None,
    ) -> None:
        check_schedule(schedule, bundle.manifest)
        self.bundle = bundle
        self.device = device
        self.schedule = schedule
        self.lanes = lanes if lanes is not None else Inline()
        self._parts: OrderedDict[_Key, Parts] = OrderedDict()
        self._lent = parts
        if parts is not None:
            self._parts[parts.size, None] = parts
        self._engines: dict[_Key, Engine] = {}
        self._engine: Engine | None = None
        self._turn = 0
        self._closed = False

    def __enter__(self) -> Player:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back threads, sessions and buffers. A closed player plays no more."""
        self._closed = True
        self._turn += 1
        self.lanes.close()
        for engine in self._engines.values():
            engine.close()
        for parts in self._parts.values():
            if parts is not self._lent:
                parts.close()
        self._engine = None
        self._engines.clear()
        self._parts.clear()

    @property
    def manifest(self) -> Manifest:
        """The stages as they are played: the bundle's, with the head in two parts where scores are moved."""
        return played_manifest(self.bundle.manifest, self.schedule.moving)

    @property
    def cache(self) -> FeatureCache:
        """The feature cache at the current frame size; without entries before the first frame."""
        return self._engine.cache if self._engine is not None else FeatureCache()

    def reset(self, schedule: str | Schedule | None = None, *, signal: str | None = None) -> None:
        """Forget all values, and play another schedule from here on if one is given. Sessions stay open."""
        self._turn += 1
        self._engine = None
        if schedule is not None:
            self.schedule = _as_schedule(schedule, self.bundle, signal)
            self._engines.clear()

    def ahead(self, frames: Iterable[T]) -> Iterator[T]:
        """The frames, each handed on when what needs frames only is made of it: the schedule's optical flow.

        Read this in a thread of its own (`runtime.video.threads.prefetch`) to have the flow of the next frame
        made while the stages work on this one. Frames may not be written over after they were handed out.
        """
        moving = self.schedule.moving
        return moving.motion.ahead(frames) if moving is not None else iter(frames)

    def play(self, frames: Iterable[Any]) -> Iterator[Step]:
        """One step a frame, in order; a shot begins with the first.

        frames: uint8 arrays (height, width, 3) in RGB order, or objects with `.image` and, where they have
        them, `.index`, `.time`, `.name` and `.shot_start`. A frame of another size begins a shot too. Raises
        VideoError for a frame that is none, and BundleError or DeviceError where a stage cannot run on it.
        With lanes that run ahead, a step is handed out when the next frames have been asked for; where values
        follow the picture, those frames are then read by a thread that makes their flow.
        """
        if self._closed:
            raise UsageError("the player is closed")
        self._turn += 1
        if self.lanes.overlaps and self.schedule.moving is not None:
            return self._play_ahead(frames, self._turn)
        return self._play(frames, self._turn)

    def _play_ahead(self, frames: Iterable[Any], turn: int) -> Iterator[Step]:
        with closing(prefetch(self.ahead(frames), depth=1)) as read:
            yield from self._play(read, turn)

    def _play(self, frames: Iterable[Any], turn: int) -> Iterator[Step]:
        waiting: deque[tuple[Engine, Pending]] = deque()
        shot = -1
        self._engine = None
        try:
            for count, frame in enumerate(frames):
                if turn != self._turn:
                    raise UsageError("this play has ended: the player was closed, reset or played again")
                index = getattr(frame, "index", count)
                if not isinstance(index, int):  # a plain sequence has a method of this name
                    index = count
                image = _image_of(getattr(frame, "image", frame), index)
                began = time.perf_counter()
                with _at_frame(index):
                    engine = self._engine_for((image.shape[0], image.shape[1]))
                    if engine is not self._engine or getattr(frame, "shot_start", False):
                        engine.start_shot()
                        shot += 1
                    self._engine = engine
                    name = getattr(frame, "name", f"{index:06d}")
                    pending = Pending(frame, index, name, getattr(frame, "time", None), shot, began)
                    waiting.append((engine, pending))
                    engine.begin(pending, image)
                if len(waiting) > self.lanes.ahead:
                    yield _finish(*waiting.popleft())
                with _at_frame(index):
                    engine.begin_next()
            while waiting:
                yield _finish(*waiting.popleft())
        finally:
            for _, pending in waiting:
                pending.abandon()

    def _engine_for(self, size: tuple[int, int]) -> Engine:
        moving = self.schedule.moving
        scale = moving.motion.scale_for(size) if moving is not None else None
        key = size, (moving.carried, scale) if moving is not None and moving.carried else None
        if key not in self._parts:
            shared = next((parts for (other, _), parts in self._parts.items() if other == size), None)
            while len(self._parts) >= SIZES_KEPT:
                old, _ = self._parts.popitem(last=False)
                self._engines.pop(old, None)
            bundle = played_bundle(self.bundle, moving, size)
            self._parts[key] = Parts(bundle, self.device, size, shared=shared)
        self._parts.move_to_end(key)
        if key not in self._engines:
            self._engines[key] = Engine(self.manifest, self._parts[key], self.schedule, self.lanes)
        return self._engines[key]


def open_player(
    path: str | PathLike[str],
    device: str = "auto",
    schedule: str | Schedule | None = None,
    signal: str | None = None,
    *,
    flow: FlowSource | None = None,
    precision: str = "fp32",
    provider_options: Mapping[str, object] | None = None,
    threads: int = 0,
    spin: bool = False,
    overlap: bool = False,
    ahead: int = 1,
) -> Player:
    """Open the bundle at `path` for playing.

    device: "auto", "cpu", "cuda" or "cuda:N". schedule: text or a Schedule, by default the bundle's.
    signal: the value that adaptive clocks watch, by default the bundle's. flow: the optical flow estimator of
    a schedule given as text, see `runtime.flow`. precision: "fp32", "tf32" or "fp16". provider_options: over
    the defaults for CUDA. threads: of one operator on the CPU, 0 for automatic; spin: see `choose_device`.
    overlap: run stages in threads of their own, so that those that do not wait for each other run at the same
    time, and begin up to `ahead` frames before the labels of the one before are out; the steps stay the same.
    Raises BundleError, ScheduleError, DeviceError, FlowError or UsageError.
    """
    if not 0 <= ahead <= 8:
        raise UsageError("bad number of frames to run ahead", found=ahead, expected="0 to 8")
    bundle = read_bundle(path)
    chosen = _as_schedule(schedule, bundle, signal, flow)
    where = choose_device(
        device, precision=precision, provider_options=provider_options, threads=threads, spin=spin
    )
    if overlap:
        where = replace(where, threads=threads_a_stage(bundle, where))
    return Player(bundle, where, chosen, lanes=Threads(ahead) if overlap else Inline())


def threads_a_stage(bundle: Bundle, device: Device) -> int:
    """Threads of one operator where stages run side by side: those asked for, else a share of the cores."""
    if device.threads:
        return device.threads
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // len(bundle.manifest.stages))


def _as_schedule(
    schedule: str | Schedule | None,
    bundle: Bundle,
    signal: str | None,
    flow: FlowSource | None = None,
) -> Schedule:
    if isinstance(schedule, Schedule):
        check_schedule(schedule, bundle.manifest)
        return schedule
    if schedule is not None:
        return parse_schedule(schedule, bundle.manifest, signal=signal, flow=flow)
    return parse_schedule(bundle.manifest.schedule, bundle.manifest, signal=signal, files=False, flow=flow)


def _image_of(image: Any, index: int) -> np.ndarray:
    if not (isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3):
        found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    elif image.shape[2] != 3 or 0 in image.shape:
        found = f"uint8 {image.shape}"
    else:
        return np.ascontiguousarray(image)
    raise VideoError("not a frame", frame=index, found=found, expected="uint8 (height, width, 3), RGB")


class _at_frame:
    """Names the frame in errors that pass through."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ClockworkError) and error.frame is None:
            error.frame = self.index


def _finish(engine: Engine, pending: Pending) -> Step:
    with _at_frame(pending.index):
        step = pending.finish()
    engine.learn_costs(step)
    return step
