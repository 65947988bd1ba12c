"""Transforms at work: their sessions, the arrays that feed them, and which version each moves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from runtime.engine.cache import Entry, FeatureCache
from runtime.sessions.device import Device
from runtime.sessions.session import Session
from runtime.transform import Feed, Moment, Transform
from weights.errors import ScheduleError

__all__ = ["Slot", "TransformRunner"]

SMALL = 1 << 20
"""Elements up to which a value is moved by one thread."""

Slot = tuple[Entry, int]
"""An entry and the number of one of its buffers."""


class TransformRunner:
    """Moves the values of one feature cache by the transforms of one schedule."""

    def __init__(self, transforms: tuple[Transform, ...], cache: FeatureCache, device: Device) -> None:
        self.transforms = {transform.value: transform for transform in transforms}
        self.cache = cache
        self.device = device
        self._feeds: dict[str, Entry] = {}
        self._made: dict[str, int | None] = {}
        self._sessions: dict[str, Session] = {}
        self._runs: dict[tuple[str, tuple[int, ...]], Callable[[], None]] = {}
        self._sources: dict[str, np.ndarray] = {}
        self._image: np.ndarray | None = None
        self.ms: dict[str, float] = {}
        """Milliseconds that feeds noted on this frame."""

    def begin_frame(self, frame: object, image: np.ndarray, position: int, index: int) -> None:
        """Open a frame. The image is copied, since its owner may reuse its memory for the next one."""
        self._previous = self._image if self._image is not None and position > 0 else None
        self._image = image.copy()
        self._frame, self._position, self._index = frame, position, index
        self._made.clear()
        self.ms = {}

    def moves(self, value: str) -> bool:
        """Whether there is a transform for this value."""
        return value in self.transforms

    def computed(self, value: str) -> None:
        """The value has been computed from this frame: later frames move it from here."""
        if value in self.transforms:
            assert self._image is not None
            self._sources[value] = self._image

    def counts(self) -> dict[str, int]:
        """How often each value was moved since it was computed, where it was."""
        return {
            value: count for value in self.transforms if (count := self.cache[value].read(0).transforms) > 0
        }

    def moment(self, value: str) -> Moment:
        """This frame, as a value that was computed on an earlier one sees it."""
        assert self._image is not None and self._previous is not None
        return Moment(
            frame=self._frame,
            image=self._image,
            previous=self._previous,
            source=self._sources[value],
            position=self._position,
            index=self._index,
            ms=self.ms,
        )

    def close(self) -> None:
        """Let go of bindings and sessions."""
        self._runs.clear()
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    def move(self, value: str) -> tuple[Callable[[], None], list[Slot], Slot] | None:
        """The work of moving a value, the buffers that it reads and the one that it writes.

        None where a feed has nothing to move it by.
        """
        transform = self.transforms[value]
        entry = self.cache[value]
        feeds = []
        for feed in transform.feeds:
            filled = self._feed(feed, value)
            if filled is None:
                return None
            feeds.append((filled, feed.name))
        if value not in self._sessions:
            self._sessions[value] = self._open(transform, entry)
        start, moved = entry.move(chained=transform.chained)
        buffers = [self._made[name] or 0 for _, name in feeds]
        key = (value, (start.buffer, moved.buffer, *buffers))
        run = self._runs.get(key)
        if run is None:
            session = self._sessions[value]
            inputs = {name: feed.buffers[b] for (feed, name), b in zip(feeds, buffers, strict=True)}
            binding = session.bind(
                {"value": entry.buffers[start.buffer], **inputs}, {"moved": entry.buffers[moved.buffer]}
            )
            run = self._runs[key] = partial(session.run, binding)
        read = [(entry, start.buffer), *((feed, b) for (feed, _), b in zip(feeds, buffers, strict=True))]
        return run, read, (entry, moved.buffer)

    def _feed(self, feed: Feed, value: str) -> Entry | None:
        """The entry of a feed, filled for this frame; None where there is nothing to move by."""
        if feed.name in self._made:
            return self._feeds[feed.name] if self._made[feed.name] is not None else None
        made = feed.make(self.moment(value))
        if made is None:
            self._made[feed.name] = None
            return None
        array = np.ascontiguousarray(made)
        entry = self._feeds.get(feed.name)
        if entry is None:
            entry = Entry(f"feed {feed.name}", array.shape, array.dtype.type, self.device, spare=1)
            self._feeds[feed.name] = self.cache.add(entry)
        if array.shape != entry.shape or array.dtype != entry.dtype:
            raise ScheduleError(
                f'feed "{feed.name}" has changed its shape or type',
                found=f"{array.dtype} {array.shape}",
                expected=f"{entry.dtype} {entry.shape}",
            )
        version = entry.write(self._position, self._index)
        for task in entry.readers[version.buffer]:
            task.wait()
        entry.buffers[version.buffer].update_inplace(array)
        self._made[feed.name] = version.buffer
        return entry

    def _open(self, transform: Transform, entry: Entry) -> Session:
        shapes = {feed.name: self._feeds[feed.name].shape for feed in transform.feeds}
        model = transform.graph(entry.shape, entry.dtype, shapes).SerializeToString()
        name = f"transform of {entry.name}"
        # Waking threads for so little takes longer than the work, the more so while they estimate flow.
        small = self.device.kind == "cpu" and math.prod(entry.shape) <= SMALL
        device = replace(self.device, threads=1) if small else self.device
        session = Session(model, device, {"value": entry.shape, **shapes}, name=name)
        port = session.outputs.get("moved")
        if port is None or port.dtype is not entry.dtype.type or port.shape not in (None, entry.shape):
            raise ScheduleError(
                f"the {name} does not fit",
                found=", ".join(f"{p.name} {p.dims}" for p in session.outputs.values()),
                expected=f'an output "moved", {entry.dtype} {entry.shape}',
            )
        return session
