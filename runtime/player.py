"""The player: frames in, steps out."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from threading import RLock
from types import TracebackType
from typing import Any, TypeVar

from runtime.engine.cache import FeatureCache
from runtime.engine.engine import Engine
from runtime.engine.executors import Executor, Inline
from runtime.engine.in_flight import InFlight
from runtime.engine.open_schedule import open_schedule
from runtime.flow.estimators import FlowSource
from runtime.flow.paths import FlowPaths
from runtime.schedule.flow_schedules import played_bundle, played_manifest
from runtime.schedule.grammar import parse_schedule
from runtime.schedule.schedule import Schedule, check_schedule
from runtime.sessions.device import Device
from runtime.sessions.stage_sessions import StageSessions
from runtime.step import Step
from runtime.video.pictures import checked_pictures
from runtime.video.threads import prefetch
from staged_onnx import FRAME, Bundle, Manifest
from weights.errors import ClockworkError, UsageError

__all__ = ["Player", "as_schedule"]

SIZES_KEPT = 2

_LOG = logging.getLogger("clockwork.runtime")

T = TypeVar("T")
_Key = tuple[tuple[int, int], tuple[str, Fraction] | None, frozenset[str]]
"""A frame size; where the head is in two parts, what it hands out on which grid; what values are moved."""


class Player:
    """Plays frames through the stages of a bundle by a schedule. Use it in a `with`, or close it.

    Sessions and buffers are opened with the first frame of each size and kept for the SIZES_KEPT sizes last
    played. A player may be closed from any thread, and is used by one at a time otherwise.

    Args:
        bundle: What is played.
        device: Where; `device.reason` says why this one.
        schedule: When each stage fires.
        executor: Who does the stages' work; by default the caller, one stage after another.
        sessions: Sessions opened already, which stay their owner's to close.
        flow: The optical flow estimator, instead of the one that the schedule names.

    Raises:
        ScheduleError: The schedule does not fit the bundle.
        FlowError: The flow estimator cannot be had.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: Device,
        schedule: Schedule,
        *,
        executor: Executor | None = None,
        sessions: StageSessions | None = None,
        flow: FlowSource | None = None,
    ) -> None:
        check_schedule(schedule, bundle.manifest)
        self.bundle = bundle
        self.device = device
        self.schedule = schedule
        self.executor: Executor = executor if executor is not None else Inline()
        self._flow = flow
        self._classes = bundle.manifest.classes
        self._paths = self._open_paths()
        self._lent = sessions
        self._sessions: OrderedDict[_Key, StageSessions] = OrderedDict()
        if sessions is not None:
            self._sessions[sessions.size, None, sessions.moved] = sessions
        self._engines: dict[_Key, Engine] = {}
        self._engine: Engine | None = None
        self._shot = -1
        self._count = 0
        self._turn = 0
        self._stepping = -1
        self._closed = False
        self._in_use = RLock()

    def __enter__(self) -> Player:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Player({self.bundle.manifest.name!r}, {str(self.schedule)!r}, {self.device})"

    def close(self) -> None:
        """Give back threads, sessions and buffers. A closed player plays no more.

        May be called more than once and from any thread; a frame that is under way there is done first.
        """
        self._closed = True
        self._turn += 1
        with self._in_use:
            self.executor.close()
            self._close_engines()
            for sessions in self._sessions.values():
                if sessions is not self._lent:
                    sessions.close()
            self._sessions.clear()

    @property
    def manifest(self) -> Manifest:
        """The stages as they are played: the bundle's, with the head in two parts where scores are moved."""
        return played_manifest(self.bundle.manifest, self.schedule.movement)

    @property
    def cache(self) -> FeatureCache:
        """The feature cache at the current frame size; without entries before the first frame."""
        return self._engine.cache if self._engine is not None else FeatureCache()

    @property
    def reads_motion(self) -> bool:
        """Whether the schedule takes motion vectors, which frames of `open_video(..., motion=True)` have."""
        return self._paths is not None and self._paths.reads_motion

    @property
    def flow_counts(self) -> dict[str, int]:
        """With `@flow=codec`, how many frames had their flow "from the stream" and how many not, and why."""
        return self._paths.counts if self._paths is not None else {}

    def reset(self, schedule: str | Schedule | None = None, *, signal: str | None = None) -> None:
        """Forget all values, and play another schedule from here on if one is given. Sessions stay open.

        Args:
            schedule: Text or a Schedule.
            signal: The value that adaptive clocks of a text watch, by default the bundle's.
        """
        with self._using():
            self._turn += 1
            self._engine = None
            if schedule is not None:
                self.schedule = as_schedule(schedule, self.bundle, signal)
                self._paths = self._open_paths()
                self._close_engines()

    def ahead(self, frames: Iterable[T]) -> Iterator[T]:
        """The frames, each handed on when what needs frames only is made of it: the schedule's optical flow.

        Args:
            frames: As for `play`; none may be written over after it was handed out.

        Returns:
            The same frames; read them in a thread of its own (`runtime.video.threads.prefetch`).
        """
        movement = self.schedule.movement
        if movement is None or self._paths is None:
            return iter(frames)
        return self._paths.ahead(frames, movement.is_key, 2 * movement.longest + 8)

    def step(self, frame: Any) -> Step:
        """One frame in, its step out. The first frame begins a shot, as does one after `end_shot`.

        Args:
            frame: As for `play`.

        Returns:
            The frame's step.

        Raises:
            UsageError: The schedule makes frames wait for later ones, or as `play` does.
            VideoError, BundleError, DeviceError: As `play` does.
        """
        if self.schedule.waits:
            raise UsageError(
                f'"{self.schedule}" labels a frame when the next key frame has come',
                hint="use play(), or a schedule that does not wait, such as warp:K",
            )
        with self._using():
            if self._stepping != self._turn:
                self._turn += 1
                self._begin_play()
                self._stepping = self._turn
            engine, pending = self._begin(frame)
            try:
                step = _finish(engine, pending)
            except BaseException:
                pending.abandon()
                self._engine = None
                raise
            with _at_frame(pending.index):
                engine.begin_next()
            return step

    def end_shot(self) -> None:
        """The next frame that is handed to `step` begins a shot: it is a full pass, whatever came before."""
        with self._using():
            self._engine = None

    def play(self, frames: Iterable[Any], *, first_shot: int = 0) -> Iterator[Step]:
        """One step per frame, in order; a shot begins with the first.

        An executor that runs ahead hands out a step when the next frames have been asked for; where values
        follow the picture, those frames are then read by a thread that makes their flow.

        Args:
            frames: uint8 arrays (height, width, 3) in RGB order, or objects with `.image` and, where they
                have them, `.index`, `.time`, `.name`, `.shot_start` and `.more`, the other pictures of the
                frame by name; or mappings {"frame": image, "hha": ...}. Depth is uint16, (height, width) or
                (height, width, 1). A frame of another size begins a shot too.
            first_shot: The number of the first shot, where this goes on with an earlier play.

        Returns:
            The steps, each made when it is asked for.

        Raises:
            UsageError: The player is closed, played again meanwhile, or in use by another thread.
            VideoError: Not a frame.
            BundleError, DeviceError: A stage cannot run on it.
        """
        if self._closed:
            raise UsageError("the player is closed")
        self._turn += 1
        if self.executor.overlaps and self.schedule.movement is not None:
            return self._play_ahead(frames, self._turn, first_shot)
        return self._play(frames, self._turn, first_shot)

    def _play_ahead(self, frames: Iterable[Any], turn: int, first_shot: int) -> Iterator[Step]:
        with closing(prefetch(self.ahead(frames), depth=1)) as read:
            yield from self._play(read, turn, first_shot)

    def _play(self, frames: Iterable[Any], turn: int, first_shot: int) -> Iterator[Step]:
        waiting: deque[tuple[Engine, InFlight]] = deque()
        with self._using(turn):
            self._begin_play(first_shot)
        try:
            for frame in frames:
                with self._using(turn):
                    waiting.append(self._begin(frame))
                index = waiting[-1][1].index
                while len(waiting) > self.executor.ahead and waiting[0][1].result is not None:
                    with self._using(turn):
                        step = _finish(*waiting[0])
                        waiting.popleft()
                    yield step
                with self._using(turn), _at_frame(index):
                    if self._engine is not None:
                        self._engine.begin_next()
            with self._using(turn):
                self._end_wait()
            while waiting:
                with self._using(turn):
                    step = _finish(*waiting[0])
                    waiting.popleft()
                yield step
        finally:
            for _, pending in waiting:
                pending.abandon()

    def _end_wait(self) -> None:
        """Label the frames that still wait for a key frame: the last of them becomes one."""
        if self._engine is not None:
            self._engine.end_wait()

    def _begin_play(self, first_shot: int = 0) -> None:
        self._engine = None
        self._shot = first_shot - 1
        self._count = 0

    def _begin(self, frame: Any) -> tuple[Engine, InFlight]:
        """Decide on a frame and hand its work to the executor."""
        index = getattr(frame, "index", self._count)
        if not isinstance(index, int):  # a plain sequence has a method of this name
            index = self._count
        self._count += 1
        with _at_frame(index):
            pictures = checked_pictures(frame, self.bundle.manifest)
            image = pictures[FRAME]
            began = time.perf_counter()
            engine = self._engine_for((image.shape[0], image.shape[1]))
            if engine is not self._engine or getattr(frame, "shot_start", False):
                self._end_wait()
                engine.start_shot()
                self._shot += 1
            self._engine = engine
            name = getattr(frame, "name", f"{index:06d}")
            time_of = getattr(frame, "time", None)
            pending = InFlight(frame, pictures, index, name, time_of, self._shot, began)
            pending.classes = self._classes
            try:
                engine.begin(pending)
            except BaseException:
                pending.abandon()
                raise
        return engine, pending

    @contextmanager
    def _using(self, turn: int | None = None) -> Iterator[None]:
        """Hold the player for a moment, in the play of this turn. Raises UsageError where that cannot be."""
        if not self._in_use.acquire(blocking=False):
            if not self._closed:
                raise UsageError(
                    "the player is in use by another thread", hint="use one player per thread, or a lock"
                )
            self._in_use.acquire()
        try:
            if turn is not None and turn != self._turn:
                raise UsageError("this play has ended: the player was closed, reset or played again")
            if self._closed:
                raise UsageError("the player is closed")
            yield
        finally:
            self._in_use.release()

    def _open_paths(self) -> FlowPaths | None:
        movement = self.schedule.movement
        if movement is None:
            return None
        both = movement.kind == "between"
        return FlowPaths(movement.options, both=both, flow=self._flow)

    def _engine_for(self, size: tuple[int, int]) -> Engine:
        """The engine at a frame size; opened with the first frame of this size."""
        movement = self.schedule.movement
        moved = self.schedule.moved_values
        if self._lent is not None and self._lent.size == size and moved <= self._lent.moved:
            moved = self._lent.moved
        key: _Key = (size, None, moved)
        if movement is not None and movement.carried:
            key = (size, (movement.carried, movement.scores_scale(size)), moved)
        if key not in self._sessions:
            shared = next((opened for (other, *_), opened in self._sessions.items() if other == size), None)
            while len(self._sessions) >= SIZES_KEPT:
                old, _ = self._sessions.popitem(last=False)
                self._engines.pop(old, None)
            bundle = played_bundle(self.bundle, movement, size)
            _LOG.info("opening %s for frames of %d x %d on %s", bundle.path, *size, self.device)
            self._sessions[key] = StageSessions(bundle, self.device, size, shared=shared, moved=moved)
        self._sessions.move_to_end(key)
        if key not in self._engines:
            opened = open_schedule(
                self.manifest,
                self._sessions[key],
                self.schedule,
                spare=self.executor.ahead,
                paths=self._paths,
            )
            self._engines[key] = Engine(opened, self.executor)
        return self._engines[key]

    def _close_engines(self) -> None:
        self._engine = None
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()


def as_schedule(
    schedule: str | Schedule | None,
    bundle: Bundle,
    signal: str | None,
) -> Schedule:
    """A schedule for a bundle: the one given, the text given, or the bundle's own; checked against it."""
    if isinstance(schedule, Schedule):
        check_schedule(schedule, bundle.manifest)
        return schedule
    if schedule is not None:
        return parse_schedule(schedule, bundle.manifest, signal=signal)
    return parse_schedule(bundle.manifest.schedule, bundle.manifest, signal=signal, files=False)


@contextmanager
def _at_frame(index: int) -> Iterator[None]:
    """Name the frame in errors that pass through."""
    try:
        yield
    except ClockworkError as error:
        if error.frame is None:
            error.frame = index
        raise


def _finish(engine: Engine, pending: InFlight) -> Step:
    with _at_frame(pending.index):
        step = pending.finish()
    engine.learn_costs(step)
    return step
