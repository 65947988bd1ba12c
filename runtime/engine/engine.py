"""One frame through the stages: which fire, what each reads and writes, in the order of the reference.

The engine decides everything in program order (versions, buffers, provenance) and hands the work to lanes.
Lanes that run at once make it the sequential reference; threads only change when the same work is done. So
does starting a stage before its frame has come, where it reads what earlier frames left only.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from statistics import median

import numpy as np
import onnxruntime as ort

from runtime.engine.cache import Entry, FeatureCache, Version
from runtime.engine.executors import Lanes, Task
from runtime.engine.probes import Probe, open_probe
from runtime.engine.transform_runner import Mover, Slot
from runtime.schedule.clocks import Clock, Drift, Learned, Sensor, by_position, has_budget, sensors_of
from runtime.schedule.schedule import Schedule
from runtime.sessions.session import allocate
from runtime.sessions.stage_sessions import Part, Parts
from runtime.step import Step
from staged_onnx import Manifest

__all__ = ["Engine", "Pending"]

_COSTS_KEPT = 9


class Pending:
    """A frame under way: `finish` waits for its labels and makes the step."""

    __slots__ = (
        "ages", "began", "decided", "frame", "host_ms", "index", "labels", "moved", "name", "provenance",
        "shot", "signal", "tasks", "time",
    )  # fmt: skip

    def __init__(
        self, frame: object, index: int, name: str, time: Fraction | None, shot: int, began: float
    ) -> None:
        self.frame = frame
        self.index = index
        self.name = name
        self.time = time
        self.shot = shot
        self.began = self.decided = began
        self.tasks: list[tuple[str, Task]] = []
        self.provenance: dict[str, dict[str, int]] = {}
        self.ages: dict[str, int] = {}
        self.moved: dict[str, int] = {}
        self.signal: float | None = None
        self.host_ms: dict[str, float] = {}
        self.labels: Labels | None = None

    def add(self, work: _Work) -> None:
        """Take a stage's or the head's work into the record."""
        self.tasks.append((work.name, work.task))
        self.provenance[work.name] = work.came_from

    def finish(self) -> Step:
        """Wait for the frame's work; raises what a part of it raised."""
        for _, task in self.tasks:
            task.wait()
        assert self.labels is not None
        labels = self.labels.array
        ms = dict(self.host_ms)
        for name, task in self.tasks:
            ms[name] = ms.get(name, 0.0) + task.ms
        ended = max((task.ended for _, task in self.tasks), default=self.decided)
        ms["total"] = (max(ended, self.decided) - self.began) * 1e3
        return Step(
            self.index, self.name, self.time, self.shot, labels, tuple(self.provenance), self.ages,
            self.signal, ms, self.provenance, self.moved,
        )  # fmt: skip

    def abandon(self) -> None:
        """Wait until nothing works on the frame any more, whatever comes of it."""
        for _, task in self.tasks:
            with contextlib.suppress(BaseException):
                task.wait()


class Labels:
    """The labels of one run of the head, copied out of its buffer as soon as it has run."""

    __slots__ = ("array",)

    array: np.ndarray


@dataclass(frozen=True)
class _Work:
    """One run of a stage or of the head; came_from: index of the frame of every value that it reads."""

    name: str
    task: Task
    came_from: dict[str, int]


class _Tick:
    """What a stage's clock sees; one object for all, pointed at one stage after another."""

    position: int
    since: int
    before: Sequence[bool]
    stage: int

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def measure(self, sensor: Sensor | Learned | Drift) -> float:
        return self.engine._measure(self.stage, sensor)

    def fits(self, budget_ms: float) -> bool:
        return self.engine._fits(self.stage, budget_ms)


class Engine:
    """Plays one schedule at one frame size. It owns the feature cache, the clocks' probes, and the order of a
    frame's work.
    """

    def __init__(self, manifest: Manifest, parts: Parts, schedule: Schedule, lanes: Lanes) -> None:
        self.manifest = manifest
        self.parts = parts
        self.schedule = schedule
        self.lanes = lanes
        self.cache = FeatureCache()
        device = parts.device
        moved = {transform.value for transform in schedule.transforms}
        lagged = schedule.lagged_values
        sensors = [list(dict.fromkeys(sensors_of(clock))) for clock in schedule.clocks]
        models = any(isinstance(s, Learned) and not callable(s.model) for part in sensors for s in part)
        for name, value in parts.values.items():
            self.cache.add(
                Entry(
                    name, value.shape, value.dtype, device, moved=name in moved, spare=lanes.ahead,
                    lagged=name in lagged or (name == "frame" and models),
                )
            )  # fmt: skip
        self._frame = self.cache["frame"]
        self._labels = allocate(parts.size, np.uint8, device)
        self._bindings: dict[tuple[str, tuple[int, ...]], Callable[[], None]] = {}
        self._mover = Mover(schedule.transforms, self.cache, device) if schedule.transforms else None
        self._probes: list[dict[Sensor | Learned | Drift, Probe]] = [
            {s: open_probe(s, part.spec.name, manifest, self.cache, device, self._mover) for s in found}
            for part, found in zip(parts.stages, sensors, strict=True)
        ]
        self._hears = any(isinstance(s, Learned) and callable(s.model) for part in sensors for s in part)
        self._costs: dict[str, deque[float]] = {
            part.spec.name: deque(maxlen=_COSTS_KEPT) for part in (*parts.stages, parts.head)
        }
        fills = range(len(schedule.fill) + 2)
        made_by = {name: i for i, part in enumerate(parts.stages) for name in part.spec.outputs}
        self._recurrent = frozenset(
            (part.spec.name, name)
            for i, part in enumerate(parts.stages)
            for name in part.spec.inputs
            if made_by.get(name, -1) >= i
        )
        self._lags = [schedule.lags_at(position) | self._recurrent for position in fills]
        self._early = [self._ahead_of_a_frame(lags) for lags in self._lags]
        self._begun: dict[int, _Work] | None = None
        self._tick = _Tick(self)
        self._previous: np.ndarray | None = None
        self._heard: dict[Sensor | Learned | Drift, float] = {}
        if any(has_budget(clock) for clock in schedule.clocks):
            self._warm_up()
        self.start_shot()

    def start_shot(self) -> None:
        """Forget everything; the next frame is a full pass."""
        self._begun = None
        self.cache.clear()
        self.position = 0
        self._fired_at = [0] * len(self.parts.stages)
        self._seen: dict[str, Version] = {}
        self._last: Labels | None = None
        self._previous = None

    def begin(self, pending: Pending, image: np.ndarray) -> None:
        """Decide on the frame, and hand its work to the lanes. image: uint8 of the engine's size."""
        position, schedule = self.position, self.schedule
        self._pending = pending
        self._image = image
        self._uploaded = False
        if self._begun is None:
            self.cache.begin_frame(position)
        begun, self._begun = self._begun or {}, None
        if self._frame.lagged:
            self._upload()
        if self._mover is not None:
            self._mover.begin_frame(pending.frame, image, position, pending.index)
        lags = self._lags[min(position, len(self._lags) - 1)]
        fired_any = False
        for number, part in enumerate(self.parts.stages):
            fires = self._decide(number, schedule.clocks[number])
            if fires:
                pending.add(begun.get(number) or self._run(part, lags))
                self._fired_at[number] = position
                fired_any = True
            elif self._mover is not None:
                self._move(part)
        self._run_head(fired_any)
        for part in self.parts.stages:
            pending.ages[part.spec.name] = position - self.cache[part.spec.outputs[0]].read(0).position
        if self._mover is not None:
            pending.moved.update(self._mover.counts())
            pending.host_ms = self._mover.ms
        if self._hears:
            self._previous = image.copy()
        self.position += 1
        pending.decided = time.perf_counter()

    def begin_next(self) -> None:
        """Begin those stages of the next frame that need nothing of it, if that frame goes on with the shot:
        their clocks go by its position, and all that they read is lagged. So a pipeline's deep stages work
        while the next frame is waited for, and its labels do not wait for them. Where a shot begins instead,
        the work was in vain and what it wrote is forgotten.
        """
        step = min(self.position, len(self._lags) - 1)
        self._tick.position = self.position
        early = [number for number in self._early[step] if self.schedule.clocks[number].fires(self._tick)]
        if early:
            self.cache.begin_frame(self.position)
            self._begun = {number: self._run(self.parts.stages[number], self._lags[step]) for number in early}

    def _ahead_of_a_frame(self, lags: frozenset[tuple[str, str]]) -> tuple[int, ...]:
        """The stages that need nothing of a frame that is read with these lags, not even its picture."""
        if self._mover is not None:
            return ()
        found = []
        for number, (part, clock) in enumerate(zip(self.parts.stages, self.schedule.clocks, strict=True)):
            edges = {(part.spec.name, name) for name in part.spec.inputs}
            if edges <= lags and not edges <= self._recurrent and by_position(clock):
                found.append(number)
        return tuple(found)

    def close(self) -> None:
        """Let go of sessions and buffers, also where somebody still holds the engine (a traceback, say)."""
        self._bindings.clear()
        self._probes.clear()
        self._mover = None
        self.cache.entries.clear()

    def learn_costs(self, step: Step) -> None:
        """Remember what the step's stages took, for budgets."""
        for name, costs in self._costs.items():
            if name in step.ms:
                costs.append(step.ms[name])

    def _decide(self, number: int, clock: Clock) -> bool:
        probes = self._probes[number]
        self._heard.clear()
        if self.position == 0:
            for probe in probes.values():
                self._ready(probe)
                probe.start()
            return True
        tick = self._tick
        tick.position, tick.since, tick.stage = self.position, self.position - self._fired_at[number], number
        tick.before = [fired == self.position for fired in self._fired_at[:number]]
        fires = clock.fires(tick)
        for probe in probes.values():
            probe.settle(fires)
        if self._heard and self._pending.signal is None:
            self._pending.signal = next(iter(self._heard.values()))
        return fires

    def _measure(self, number: int, sensor: Sensor | Learned | Drift) -> float:
        if sensor not in self._heard:
            probe = self._probes[number][sensor]
            self._ready(probe)
            previous = self._previous if self._previous is not None else self._image
            self._heard[sensor] = probe.measure(self._image, previous)
        return self._heard[sensor]

    def _ready(self, probe: Probe) -> None:
        """Wait until what the probe looks at is complete."""
        entry: Entry | None = getattr(probe, "entry", None)
        if entry is self._frame:
            self._upload()
        elif entry is not None and self.lanes.overlaps:
            for writer in entry.writers[entry.read(0).buffer]:
                writer.wait()

    def _fits(self, number: int, budget_ms: float) -> bool:
        names = (self.parts.stages[number].spec.name, self.parts.head.spec.name)
        needed = sum(median(self._costs[name]) for name in names)
        spent = (time.perf_counter() - self._pending.began) * 1e3
        return spent + needed <= budget_ms

    def _upload(self) -> None:
        """Bring the frame to the device, on the first frame's reader's demand."""
        if self._uploaded:
            return
        version = self._frame.write(self.position, self._pending.index)
        for task in self._frame.readers[version.buffer]:
            task.wait()
        self._frame.readers[version.buffer] = []
        self._frame.buffers[version.buffer].update_inplace(self._image)
        self._uploaded = True

    def _run(self, part: Part, lags: frozenset[tuple[str, str]]) -> _Work:
        """Have a stage run: choose versions and buffers now, the work itself in its lane."""
        spec = part.spec
        buffers: list[int] = []
        read: list[Slot] = []
        came_from: dict[str, int] = {}
        oldest: Version | None = None
        for name in spec.inputs:
            if name == "frame":
                self._upload()
            edge = (spec.name, name)
            entry = self.cache[name]
            version = entry.read(1 if edge in lags else 0)
            buffers.append(version.buffer)
            read.append((entry, version.buffer))
            came_from[name] = version.index
            # what a stage remembers of its own past does not make its output old
            if edge not in self._recurrent and (oldest is None or version.position < oldest.position):
                oldest = version
        position = oldest.position if oldest is not None else self.position
        index = oldest.index if oldest is not None else self._pending.index
        written: list[Slot] = []
        for name in spec.outputs:
            entry = self.cache[name]
            buffers.append(entry.write(position, index).buffer)
            written.append((entry, buffers[-1]))
            if self._mover is not None:
                self._mover.computed(name)
        run = self._bound(part, tuple(buffers), [entry.buffers[b] for entry, b in written])
        return _Work(spec.name, self._submit(spec.name, run, read, written), came_from)

    def _run_head(self, fired: bool) -> None:
        """Run the head if it has something new to work on, else let its last labels stand."""
        head = self.parts.head
        versions = {name: self.cache[name].read(0) for name in head.spec.inputs if name != "frame"}
        # by identity: a stage may write an equal version with other content
        changed = any(self._seen.get(name) is not version for name, version in versions.items())
        due = fired if self.schedule.repeat else changed or head.spec.reads_pixels
        if not due and self.position > 0:
            self._pending.labels = self._last
            return
        self._seen = versions
        read: list[Slot] = []
        came_from: dict[str, int] = {}
        for name in head.spec.inputs:
            if name == "frame":
                self._upload()
            version = self.cache[name].read(0)
            read.append((self.cache[name], version.buffer))
            came_from[name] = version.index
        run = self._bound(head, tuple(buffer for _, buffer in read), [self._labels])
        labels = self._last = Labels()

        def work() -> None:
            run()
            labels.array = np.array(self._labels.numpy())

        self._pending.labels = labels
        self._pending.add(_Work(head.spec.name, self._submit(head.spec.name, work, read, []), came_from))

    def _move(self, part: Part) -> None:
        """Move those values of a stage that did not fire for which there is a transform."""
        assert self._mover is not None
        for name in part.spec.outputs:
            if self._mover.moves(name):
                moved = self._mover.move(name)
                if moved is not None:
                    work, read, written = moved
                    task = self._submit("transform", work, read, [written])
                    self._pending.tasks.append(("transform", task))

    def _bound(self, part: Part, buffers: tuple[int, ...], outputs: list[ort.OrtValue]) -> Callable[[], None]:
        """A run of the part between these buffers: one number an input, then one an output."""
        key = (part.spec.name, buffers)
        run = self._bindings.get(key)
        if run is None:
            spec = part.spec
            inputs = {
                name: self.cache[name].buffers[b] for name, b in zip(spec.inputs, buffers, strict=False)
            }
            names = ("labels",) if part is self.parts.head else spec.outputs
            binding = part.session.bind(inputs, dict(zip(names, outputs, strict=True)))
            run = self._bindings[key] = partial(part.session.run, binding)
        return run

    def _submit(self, lane: str, work: Callable[[], None], read: list[Slot], written: list[Slot]) -> Task:
        """Hand over work with what must be done before it: whoever makes what it reads, and whoever still
        reads or writes what it overwrites.
        """
        after: list[Task] = []
        if self.lanes.overlaps:
            for entry, buffer in read:
                after += entry.writers[buffer]
            for entry, buffer in written:
                after += entry.readers[buffer] + entry.writers[buffer]
        task = self.lanes.submit(lane, work, [other for other in after if not other.done])
        if self.lanes.overlaps:
            for entry, buffer in read:
                entry.readers[buffer] = [*(t for t in entry.readers[buffer] if not t.done), task]
            for entry, buffer in written:
                entry.readers[buffer], entry.writers[buffer] = [], [task]
        return task

    def _warm_up(self) -> None:
        """Two full passes of an empty frame: the first pays for memory, the second tells the costs."""
        image = np.zeros((*self.parts.size, 3), np.uint8)
        for _ in range(2):
            self.start_shot()
            pending = Pending(image, 0, "", None, 0, time.perf_counter())
            self.begin(pending, image)
            step = pending.finish()
        self.learn_costs(step)
