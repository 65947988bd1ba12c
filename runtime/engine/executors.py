"""Lanes: where the work of a frame is done, either at once or by one thread a stage.

The player always decides in the order of the sequential reference; a lane only decides when. Work waits for
the work it depends on, so threads change the time of a result, never the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from threading import Event, Thread
from typing import Protocol

__all__ = ["Inline", "Lanes", "Task", "Threads"]


class Task:
    """A piece of work. `ms`: what it took; `ended`: when, by time.perf_counter; `error`: what it raised."""

    __slots__ = ("_done", "after", "ended", "error", "ms", "work")

    def __init__(self, work: Callable[[], None], after: Iterable[Task] = ()) -> None:
        self.work: Callable[[], None] | None = work
        self.after = tuple(after)
        self.ms = 0.0
        self.ended = 0.0
        self.error: BaseException | None = None
        self._done: Event | None = None

    def run(self) -> None:
        """Do the work now and time it."""
        assert self.work is not None
        start = time.perf_counter()
        self.work()
        self.ended = time.perf_counter()
        self.ms = (self.ended - start) * 1e3
        self.work = None

    @property
    def done(self) -> bool:
        """Whether the work has ended, well or not."""
        return self._done is None or self._done.is_set()

    def wait(self) -> None:
        """Return when the work is done; raise what it raised."""
        if self._done is not None:
            self._done.wait()
        if self.error is not None:
            raise self.error


class Lanes(Protocol):
    """What a player needs of an executor."""

    ahead: int
    """How many frames may be begun while the labels of an earlier one are not yet out."""
    overlaps: bool
    """Whether work of different stages may run at the same time, so that buffers must be guarded."""

    def submit(self, lane: str, work: Callable[[], None], after: Iterable[Task] = ()) -> Task:
        """Have `work` done in `lane`, after earlier work there and after the tasks `after`."""

    def close(self) -> None:
        """Finish and give back every thread."""


class Inline:
    """Every task is done at once by the caller: the sequential reference."""

    ahead = 0
    overlaps = False

    def submit(self, lane: str, work: Callable[[], None], after: Iterable[Task] = ()) -> Task:
        """Do the work now."""
        task = Task(work)
        task.run()
        return task

    def close(self) -> None:
        """Nothing to give back."""


class Threads:
    """One thread a lane, begun with the lane's first task.

    A task that depends on a failed one fails with the same error without running.
    """

    overlaps = True

    def __init__(self, ahead: int = 1) -> None:
        self.ahead = ahead
        self._queues: dict[str, SimpleQueue[Task | None]] = {}
        self._threads: list[Thread] = []

    def submit(self, lane: str, work: Callable[[], None], after: Iterable[Task] = ()) -> Task:
        """Queue the work."""
        task = Task(work, after)
        task._done = Event()
        if lane not in self._queues:
            queue: SimpleQueue[Task | None] = SimpleQueue()
            self._queues[lane] = queue
            thread = Thread(target=_serve, args=(queue,), name=f"clockwork-{lane}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._queues[lane].put(task)
        return task

    def close(self) -> None:
        """Let queued work finish and join every thread."""
        for queue in self._queues.values():
            queue.put(None)
        for thread in self._threads:
            thread.join()
        self._queues.clear()
        self._threads.clear()


def _serve(queue: SimpleQueue[Task | None]) -> None:
    while (task := queue.get()) is not None:
        try:
            for other in task.after:
                other.wait()
            task.run()
        except BaseException as error:  # handed to whoever waits for the task
            task.error = error
            task.work = None
        task.after = ()
        assert task._done is not None
        task._done.set()
