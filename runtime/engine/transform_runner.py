"""Transforms at work: their sessions, the arrays that feed them, and which version each reads and writes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from runtime.engine.cache import Entry, FeatureCache
from runtime.engine.executors import Job
from runtime.flow.origin import fresh_origin, origin_of
from runtime.flow.paths import FlowPaths
from runtime.sessions.device import Device
from runtime.sessions.session import Session
from runtime.step import Origin
from runtime.transform import Feed, Moment, Seen, Transform
from weights.errors import ScheduleError

__all__ = ["Sight", "Slot", "TransformRunner"]

SMALL = 1 << 20
"""Elements up to which a value is moved by one thread."""

Slot = tuple[Entry, int]
"""An entry and the number of one of its buffers."""


@dataclass(frozen=True, eq=False)
class Sight(Seen):
    """A frame as transforms see it. The image is a copy, since its owner may reuse its memory."""

    previous: np.ndarray | None
    position: int
    index: int


class TransformRunner:
    """Transforms the values of one feature cache."""

    def __init__(
        self,
        transforms: tuple[Transform, ...],
        cache: FeatureCache,
        device: Device,
        own: Session | None = None,
        origins: FlowPaths | None = None,
    ) -> None:
        """own: the session of the bundle's own graph, which stays its owner's to close."""
        self._transforms = transforms
        self._moved = {transform.value for transform in transforms if transform.when == "kept"}
        self._cache = cache
        self._device = device
        self._feeds: dict[str, Entry] = {}
        self._made: dict[str, int | None] = {}
        self._own = own
        self._origins = origins
        self._sessions: dict[Transform, Session] = {}
        self._runs: dict[tuple[Transform, tuple[int, ...]], Job] = {}
        self._sources: dict[str, deque[Sight]] = {}
        self._waits = any(t.reads_version("earlier") and t.when == "kept" for t in transforms)
        self._seen: list[Sight] = []
        """The newest frame; where frames wait for a key frame, all since the key frame before that."""
        self._until: tuple[Sight, ...] = ()
        self.ms: dict[str, float] = {}
        """Milliseconds that feeds noted on this frame."""

    def see(self, frame: object, image: np.ndarray, position: int, index: int) -> Sight:
        """Take in a new frame; it is the one that is looked at from here on.

        Args:
            frame: What was played, as the caller handed it in.
            image: Its picture, uint8 height x width x 3, RGB; it is copied.
            position: Its place in its shot, from 0.
            index: Its number in the video.

        Returns:
            What is known of the frame from now on.
        """
        if position == 0:
            self._sources.clear()
            self._seen.clear()
        before = self._seen[-1] if self._seen else None
        if not self._waits:
            self._seen.clear()
        after, previous = (before.frame, before.image) if before is not None else (None, None)
        sight = Sight(frame, image.copy(), after, previous, position, index)
        self._seen.append(sight)
        self.look(sight)
        return sight

    def look(self, sight: Sight, until: tuple[Sight, ...] = ()) -> None:
        """Look at a frame that has come.

        Args:
            sight: The frame.
            until: The frames after it, up to the next one that is computed.
        """
        self._sight = sight
        self._until = until
        self._made.clear()
        self.ms = {}

    def moves(self, value: str) -> bool:
        """Whether the value is transformed on frames on which its stage does not fire."""
        return value in self._moved

    def computed(self, value: str) -> None:
        """The value has been computed from this frame: later frames move it from here."""
        self._sources.setdefault(value, deque(maxlen=2)).append(self._sight)

    def counts(self) -> dict[str, int]:
        """How often each value was moved since it was computed, where it was."""
        return {value: count for value in self._moved if (count := self._cache[value].read(0).transforms) > 0}

    def origin(self) -> Origin | None:
        """Where each pixel of the first value that is moved comes from on this frame, where that is asked."""
        if self._origins is None:
            return None
        value = next(transform.value for transform in self._transforms if transform.when == "kept")
        age = self._sight.position - self._cache[value].read(0).position
        if age == 0:
            height, width = self._sight.image.shape[:2]
            return fresh_origin(self._origins.grid_at((height, width)))
        return origin_of(self._origins, self.moment(value, earlier=self._waits), age)

    def moment(self, value: str, *, earlier: bool = False) -> Moment:
        """This frame, as a value that was computed before sees it.

        Args:
            value: The value.
            earlier: Take the computation before the last one.

        Returns:
            The pictures of this frame, of the one before it and of the one that the value was computed on.
        """
        sight, sources = self._sight, self._sources[value]
        assert sight.previous is not None
        source = sources[0] if earlier else sources[-1]
        while self._waits and self._seen[0].position < sources[0].position:
            self._seen.pop(0)
        since = (other for other in self._seen if source.position < other.position <= sight.position)
        return Moment(
            frame=sight.frame,
            image=sight.image,
            previous=sight.previous,
            source=source.image,
            position=sight.position,
            index=sight.index,
            since=tuple(since) if self._waits else (),
            until=self._until,
            ms=self.ms,
            after=sight.after,
        )

    def close(self) -> None:
        """Let go of bindings and sessions."""
        self._runs.clear()
        for session in self._sessions.values():
            if session is not self._own:
                session.close()
        self._sessions.clear()

    def work(self, values: tuple[str, ...], when: str) -> Iterator[tuple[Job, list[Slot], Slot]]:
        """What there is to do for the values of a stage, in the order of the transforms.

        Args:
            values: The stage's values.
            when: "fired" or "kept", whether the stage fired on this frame.

        Yields:
            The work, the buffers that it reads and the one that it writes.
        """
        if when == "fired" and self._sight.position == 0:
            return
        for transform in self._transforms:
            if transform.when == when and transform.value in values:
                work = self._prepare(transform)
                if work is not None:
                    yield work

    def _prepare(self, transform: Transform) -> tuple[Job, list[Slot], Slot] | None:
        """The work of one transform; None where a feed has nothing to do it with."""
        inputs: dict[str, Slot] = {}
        for feed in transform.feeds:
            filled = self._feed(feed, transform)
            if filled is None:
                return None
            inputs[feed.name] = filled
        entry = self._cache[transform.value]
        versions = {read: self._cache[read.value].version(read.version) for read in transform.reads}
        for read, version in versions.items():
            inputs[read.name] = (self._cache[read.value], version.buffer)
        if transform not in self._sessions:
            self._sessions[transform] = self._open(transform, entry)
        base = next(iter(versions.values()))
        own = [version for read, version in versions.items() if read.value == transform.value]
        written = entry.rewrite(base, own, computed=transform.when == "fired")
        key = (transform, (*(buffer for _, buffer in inputs.values()), written.buffer))
        run = self._runs.get(key)
        if run is None:
            session = self._sessions[transform]
            bound = {name: source.buffers[buffer] for name, (source, buffer) in inputs.items()}
            binding = session.bind(bound, {"moved": entry.buffers[written.buffer]})
            run = self._runs[key] = partial(session.run, binding)
        return run, list(inputs.values()), (entry, written.buffer)

    def _feed(self, feed: Feed, transform: Transform) -> Slot | None:
        """The buffer of a feed, filled for this frame; None where there is nothing to do."""
        if feed.name in self._made:
            buffer = self._made[feed.name]
            return (self._feeds[feed.name], buffer) if buffer is not None else None
        moved = next((read.value for read in transform.reads), transform.value)
        made = feed.make(self.moment(moved, earlier=transform.reads_version("earlier")))
        if made is None:
            self._made[feed.name] = None
            return None
        array = np.ascontiguousarray(made)
        entry = self._feeds.get(feed.name)
        if entry is None:
            entry = Entry(f"feed {feed.name}", array.shape, array.dtype.type, self._device, spare=1)
            self._feeds[feed.name] = self._cache.add(entry)
        if array.shape != entry.shape or array.dtype != entry.dtype:
            raise ScheduleError(
                f'feed "{feed.name}" has changed its shape or type',
                found=f"{array.dtype} {array.shape}",
                expected=f"{entry.dtype} {entry.shape}",
            )
        version = entry.write(self._sight.position, self._sight.index)
        for task in entry.readers[version.buffer]:
            task.wait()
        entry.upload(array, version.buffer)
        self._made[feed.name] = version.buffer
        return entry, version.buffer

    def _open(self, transform: Transform, entry: Entry) -> Session:
        if transform.graph is None:
            assert self._own is not None
            return self._own
        shapes = {feed.name: self._feeds[feed.name].shape for feed in transform.feeds}
        shapes |= {read.name: self._cache[read.value].shape for read in transform.reads}
        dtype = self._cache[transform.reads[0].value].dtype
        model = transform.graph(entry.shape, dtype, shapes).SerializeToString()
        name = f"transform of {entry.name}"
        # Waking threads for so little takes longer than the work, the more so while they estimate flow.
        small = self._device.kind == "cpu" and max(map(math.prod, shapes.values())) <= SMALL
        device = replace(self._device, threads=1) if small else self._device
        session = Session(model, device, shapes, name=name)
        port = session.outputs.get("moved")
        if port is None or port.dtype is not entry.dtype.type or port.shape not in (None, entry.shape):
            raise ScheduleError(
                f"the {name} does not fit",
                found=", ".join(f"{p.name} {p.dims}" for p in session.outputs.values()),
                expected=f'an output "moved", {entry.dtype} {entry.shape}',
            )
        return session
