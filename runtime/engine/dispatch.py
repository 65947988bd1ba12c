"""Dispatch: which versions and buffers a piece of work reads and writes, and in which lane it is done.

All of it is decided in program order, the order of the sequential reference. What must be done before a piece
of work follows from the buffers: whoever makes what it reads, and whoever still reads or writes what it
overwrites.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial

import onnxruntime as ort

from runtime.engine.cache import Entry, Version
from runtime.engine.executors import Executor, Job, Task
from runtime.engine.in_flight import InFlight, Result, Work
from runtime.engine.open_schedule import OpenHead, OpenSchedule, OpenStage
from runtime.engine.transform_runner import Slot
from runtime.sessions.cuda_stream import Stopwatch
from runtime.sessions.memory import download
from staged_onnx import FRAME

__all__ = ["Dispatch"]


class Dispatch:
    """Hands the work of one opened schedule's frames to an executor."""

    def __init__(self, opened: OpenSchedule, executor: Executor) -> None:
        self._head = opened.head
        self._key_head = opened.key_head
        self._cache = opened.cache
        self._device = opened.device
        self._transforms = opened.transforms
        self._repeats = opened.schedule.repeat
        self._waits = opened.schedule.waits
        self._executor = executor
        self._pictures = {name: opened.cache[name] for name in opened.frame_names}
        self.bindings: dict[tuple[OpenStage | OpenHead, tuple[int, ...]], Job] = {}
        """A run per stage and combination of buffers, made when it first occurs."""
        self.start_shot()

    def start_shot(self) -> None:
        """Forget every value and the last result."""
        self._cache.clear()
        self._head_read: dict[str, Version] = {}
        self._last: Result | None = None

    def arrive(self, frame: InFlight) -> None:
        """Open a frame that has just come; a picture goes to the device when the first stage reads it."""
        if self._transforms is not None:
            frame.sight = self._transforms.see(frame.frame, frame.image, frame.position, frame.index)
            if self._waits:  # its owner may use the memory again
                copies = {name: picture.copy() for name, picture in frame.pictures.items() if name != FRAME}
                frame.pictures = {FRAME: frame.sight.image, **copies}
        self._open(frame)
        for name, entry in self._pictures.items():
            if entry.lagged:
                self.upload(name)

    def look(self, frame: InFlight, until: Sequence[InFlight] = ()) -> None:
        """Open a frame that has come before.

        Args:
            frame: The frame in flight.
            until: The frames after it, up to the next one that is computed.
        """
        assert self._transforms is not None and frame.sight is not None
        self._transforms.look(frame.sight, tuple(other.sight for other in until if other.sight is not None))
        self._open(frame)

    def _open(self, frame: InFlight) -> None:
        self._frame, self._position = frame, frame.position
        self._uploaded: set[str] = set()

    def end_frame(self, stages: tuple[OpenStage, ...]) -> None:
        """Write the ages of the stages' values, and what was moved, into the frame's record."""
        frame = self._frame
        for stage in stages:
            newest = self._cache[stage.writes[0]].current
            if newest is not None:  # a stage may not have run yet in this shot
                frame.ages[stage.name] = self._position - newest.position
        if self._transforms is not None:
            frame.moved.update(self._transforms.counts())
            frame.origin = self._transforms.origin()
            self.note_ms()

    def note_ms(self) -> None:
        """Take into the frame's record what feeds and probes have noted since it was opened."""
        if self._transforms is not None:
            for name, ms in self._transforms.ms.items():
                self._frame.host_ms[name] = self._frame.host_ms.get(name, 0.0) + ms
            self._transforms.ms = {}

    def upload(self, name: str) -> None:
        """Bring a picture of the frame to the device, once, when its first reader asks for it."""
        if name in self._uploaded:
            return
        entry = self._pictures[name]
        version = entry.write(self._position, self._frame.index)
        for task in entry.readers[version.buffer]:
            task.wait()
        entry.readers[version.buffer] = []
        entry.upload(self._frame.pictures[name], version.buffer)
        self._uploaded.add(name)

    def wait(self) -> None:
        """Return when all that was handed over to a GPU is done."""
        if self._device.stream is not None:
            self._device.stream.wait()

    def complete(self, entry: Entry) -> None:
        """Return when the newest version of an entry is written."""
        if entry.name in self._pictures:
            self.upload(entry.name)
        elif self._executor.overlaps:
            for writer in entry.writers[entry.read(0).buffer]:
                writer.wait()

    def run(self, stage: OpenStage, position: int) -> Work:
        """Have a stage run on a frame: versions and buffers are chosen now, the work itself is done in its
        lane.

        Args:
            stage: The stage.
            position: The frame's place in its shot.

        Returns:
            The work, and which frames the values come from that it reads.
        """
        versions = self._read(stage.reads, stage.lagged_at(position))
        read = self._slots(versions)
        present = (version for name, version in versions.items() if name not in stage.past)
        oldest = min(present, key=lambda version: version.position, default=None)
        since = oldest.position if oldest is not None else position
        index = oldest.index if oldest is not None else self._frame.index
        written: list[Slot] = []
        for name in stage.writes:
            entry = self._cache[name]
            written.append((entry, entry.write(since, index).buffer))
            if self._transforms is not None:
                self._transforms.computed(name)
        outputs = {name: entry.buffers[b] for name, (entry, b) in zip(stage.writes, written, strict=True)}
        work = self._bound(stage, read, [b for _, b in written], outputs)
        return Work(stage.name, self._submit(stage.name, work, read, written), _came_from(versions))

    def run_head(self, fired: Collection[int]) -> None:
        """Run the head if it has something new to work on, else let its last result stand.

        fired: the numbers of the stages that have fired on this frame.
        """
        head = self._head
        if self._key_head is not None and self._key_head[0] in fired:
            head = self._key_head[1]
        if self._repeats and not fired and self._position > 0:
            self.stand()
            return
        # the frame is not looked at here: to read it is to upload it
        versions = self._read([name for name in head.reads if name not in self._pictures])
        # by identity: a stage may write an equal version with other content
        changed = any(self._head_read.get(name) is not version for name, version in versions.items())
        if not (changed or head.reads_pixels or self._repeats or self._position == 0):
            self.stand()
            return
        self._head_read = versions
        versions = self._read(head.reads)
        read = self._slots(versions)
        run = self._bound(head, read, [], {head.writes: head.result})
        result = self._last = self._frame.result = Result(head.writes)

        def work() -> Stopwatch | None:
            watch = run()
            result.array = download(head.result, head.dtype, self._device)
            result.array.setflags(write=False)
            return watch

        self._frame.add(Work(head.name, self._submit(head.name, work, read, []), _came_from(versions)))

    def _read(self, names: Iterable[str], lagged: Collection[str] = frozenset()) -> dict[str, Version]:
        """The versions that are read now: those of `lagged` as before the frame, pictures once uploaded."""
        versions = {}
        for name in names:
            if name in self._pictures:
                self.upload(name)
            versions[name] = self._cache[name].read(1 if name in lagged else 0)
        return versions

    def _slots(self, versions: Mapping[str, Version]) -> list[Slot]:
        """Where versions lie."""
        return [(self._cache[name], version.buffer) for name, version in versions.items()]

    def stand(self) -> None:
        """Let the result of the frame before be this frame's too."""
        self._frame.result = self._last

    def transform(self, stage: OpenStage, when: str) -> bool:
        """Transform those values of a stage for which there is a transform.

        Args:
            stage: The stage.
            when: "fired" or "kept", whether the stage fired on this frame.

        Returns:
            Whether there was anything to do.
        """
        if self._transforms is None:
            return False
        found = False
        for work, read, written in self._transforms.work(stage.writes, when):
            self._frame.tasks.append(("transform", self._submit("transform", work, read, [written])))
            found = True
        return found

    def restore(self, stage: OpenStage) -> None:
        """What a stage last computed is the newest version of its values again."""
        for name in stage.writes:
            self._cache[name].restore()

    def _bound(
        self,
        part: OpenStage | OpenHead,
        read: list[Slot],
        written: list[int],
        outputs: dict[str, ort.OrtValue],
    ) -> Job:
        """A run of a stage between these buffers."""
        key = (part, (*(buffer for _, buffer in read), *written))
        run = self.bindings.get(key)
        if run is None:
            inputs = {name: entry.buffers[b] for name, (entry, b) in zip(part.reads, read, strict=True)}
            binding = part.session.bind(inputs, outputs)
            run = self.bindings[key] = partial(part.session.run, binding)
        return run

    def _submit(self, lane: str, work: Job, read: list[Slot], written: list[Slot]) -> Task:
        """Hand over work with what must be done before it."""
        executor = self._executor
        if not executor.overlaps:
            return executor.submit(lane, work)
        after: list[Task] = []
        for entry, buffer in read:
            after += entry.writers[buffer]
        for entry, buffer in written:
            after += entry.readers[buffer] + entry.writers[buffer]
        task = executor.submit(lane, work, [other for other in after if not other.done])
        for entry, buffer in read:
            entry.readers[buffer] = [*(t for t in entry.readers[buffer] if not t.done), task]
        for entry, buffer in written:
            entry.readers[buffer], entry.writers[buffer] = [], [task]
        return task


def _came_from(versions: Mapping[str, Version]) -> dict[str, int]:
    """The index of the frame that each value read was computed on."""
    return {name: version.index for name, version in versions.items()}
