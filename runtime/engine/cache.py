"""The feature cache: every value that lives between frames, with the frame it was computed on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort

from runtime.engine.executors import Task
from runtime.sessions.device import Device
from runtime.sessions.memory import allocate, upload

__all__ = ["Entry", "EntryState", "FeatureCache", "Version"]


@dataclass(frozen=True, slots=True)
class Version:
    """What one buffer of an entry holds.

    position: frames since the shot's start, and index: the index, of the frame that the value was computed
    on. transforms: how often it was moved since.
    """

    buffer: int
    position: int
    index: int
    transforms: int = 0


@dataclass(frozen=True)
class EntryState:
    """One line of `FeatureCache.describe()`. index and age are None before the first frame."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    device: str
    index: int | None
    age: int | None
    transforms: int
    buffers: int
    bytes: int


class Entry:
    """One value of the cache: its buffers, and which version lies in which.

    `current` is the newest version, `before` the one from before this frame's update (what a lagged edge
    reads), `source` the last one that was computed, `earlier` the one computed before that. There are as many
    buffers as it takes that nothing is written where it may still be read: one more if some edge is `lagged`,
    one more if the value is `moved` (a transform reads one version while it writes another) or its `earlier`
    version is read, one more for both. `spare` more let frames overlap.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: type[np.generic],
        device: Device,
        *,
        lagged: bool = False,
        moved: bool = False,
        keeps_earlier: bool = False,
        spare: int = 0,
    ) -> None:
        count = 1 + lagged + moved + keeps_earlier + spare
        self.name = name
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.device = device
        self.buffers: list[ort.OrtValue] = [allocate(shape, dtype, device) for _ in range(count)]
        self.lagged = lagged
        self.keeps_earlier = keeps_earlier
        self.current: Version | None = None
        self.before: Version | None = None
        self.source: Version | None = None
        self.earlier: Version | None = None
        self._last = count - 1
        self.writers: list[list[Task]] = [[] for _ in range(count)]
        self.readers: list[list[Task]] = [[] for _ in range(count)]

    def upload(self, array: np.ndarray, buffer: int) -> None:
        """Fill one of the buffers with an array of its shape and type."""
        upload(array, self.buffers[buffer], self.device)

    def clear(self) -> None:
        """Forget every version; the buffers stay."""
        self.current = self.before = self.source = self.earlier = None

    def begin_frame(self) -> None:
        """From now on `before` is what was newest until now."""
        self.before = self.current

    def read(self, lag: int) -> Version:
        """The version that an edge of this lag reads; zeros where a recurrent value has none yet."""
        version = self.before if lag else self.current
        if version is not None:
            return version
        assert lag, f"{self.name} is read before it is made"
        buffer = self._free()
        for task in self.readers[buffer]:
            task.wait()
        self.upload(np.zeros(self.shape, self.dtype), buffer)
        self.before = Version(buffer, -1, -1)
        return self.before

    def version(self, name: str) -> Version:
        """The version that a transform reads: one of `runtime.transform.VERSIONS`."""
        version = {"newest": self.current, "source": self.source, "earlier": self.earlier}[name]
        assert version is not None, f"{self.name} is transformed before it is made"
        return version

    def draft(self, position: int, index: int, *, reading: Version | None = None) -> Version:
        """A version to fill that nobody reads yet.

        Args:
            position: The frame of the shot that it is computed on.
            index: That frame's number in the video.
            reading: A version that the writer reads meanwhile, so that its buffer is not taken.

        Returns:
            The version, with a buffer of its own.
        """
        return Version(self._free(reading), position, index)

    def adopt(self, version: Version) -> None:
        """Make a filled, or soon to be filled, draft the newest version."""
        self.current = self.source = version

    def write(self, position: int, index: int) -> Version:
        """Space for a newly computed value, at once the newest version.

        Args:
            position: The frame of the shot that it is computed on.
            index: That frame's number in the video.

        Returns:
            The version, to be filled.
        """
        version = self.draft(position, index, reading=self.source if self.keeps_earlier else None)
        self.earlier = self.source
        self.adopt(version)
        return version

    def rewrite(self, base: Version, own: Iterable[Version], *, computed: bool) -> Version:
        """Space for what a transform makes of versions, at once the newest version.

        Args:
            base: The version whose frame it counts as computed on.
            own: Versions of this value that the transform reads.
            computed: Whether it takes the place of what was last computed.

        Returns:
            The version, to be filled.
        """
        assert self.current is not None, f"{self.name} is transformed before it is made"
        reading = list(own)
        # what is moved on from frame to frame needs its source no more; all else is made of it again
        chained = bool(reading) and all(version is self.current for version in reading)
        buffer = self._free(*reading, None if chained else self.source)
        if computed:
            self.adopt(Version(buffer, self.current.position, self.current.index))
        else:
            self.current = Version(buffer, base.position, base.index, self.current.transforms + 1)
        return self.current

    def restore(self) -> None:
        """What was last computed is the newest version again."""
        self.current = self.source

    def _free(self, *reading: Version | None) -> int:
        """The buffer, written longest ago, that nobody may read any more; `reading`: versions still read."""
        held = {v.buffer for v in (self.before if self.lagged else None, *reading) if v is not None}
        count = len(self.buffers)
        for step in range(1, count + 1):
            buffer = (self._last + step) % count
            if buffer not in held:
                self._last = buffer
                return buffer
        raise AssertionError(f"{self.name} has too few buffers")


class FeatureCache:
    """All entries of one frame size, by name."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.position = 0

    def add(self, entry: Entry) -> Entry:
        """Take an entry in.

        Args:
            entry: The entry, whose name must be new.

        Returns:
            The entry.
        """
        assert entry.name not in self.entries
        self.entries[entry.name] = entry
        return entry

    def __getitem__(self, name: str) -> Entry:
        return self.entries[name]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    def clear(self) -> None:
        """Forget all versions: a new shot begins."""
        for entry in self:
            entry.clear()

    def begin_frame(self, position: int) -> None:
        """Open a frame: lagged reads now see what was newest until here.

        Args:
            position: The frame's place in its shot, from 0.
        """
        self.position = position
        for entry in self:
            entry.begin_frame()

    def describe(self) -> tuple[EntryState, ...]:
        """What lies in the cache now, one line per entry."""
        states = []
        for e in self:
            v = e.current
            states.append(
                EntryState(
                    name=e.name,
                    shape=e.shape,
                    dtype=e.dtype.name,
                    device=str(e.device),
                    index=v.index if v else None,
                    age=self.position - v.position if v else None,
                    transforms=v.transforms if v else 0,
                    buffers=len(e.buffers),
                    bytes=len(e.buffers) * int(np.prod(e.shape, dtype=np.int64)) * e.dtype.itemsize,
                )
            )
        return tuple(states)
