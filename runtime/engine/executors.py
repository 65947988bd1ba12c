"""Executors: where the work of a frame is done, either at once or by one thread per lane.

The engine always decides in the order of the sequential reference; an executor only decides when. Work waits
for the work it depends on, so threads change the time of a result, never the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Protocol

from runtime.sessions.cuda_stream import Stopwatch
from weights.errors import UsageError

__all__ = ["Executor", "Inline", "Job", "Task", "Threads"]

Job = Callable[[], Stopwatch | None]
"""Work to be done; gives what tells how long it takes where it is only handed over to a GPU."""


class Task:
    """A piece of work. `ended`: when it was done, or handed over to a GPU, by time.perf_counter."""

    __slots__ = ("_ms", "_watch", "after", "ended", "future", "work")

    def __init__(self, work: Job, after: Iterable[Task] = ()) -> None:
        self.work: Job | None = work
        self.after = tuple(after)
        self.ended = 0.0
        self._ms = 0.0
        self._watch: Stopwatch | None = None
        self.future: Future[None] | None = None

    def run(self) -> None:
        """Do the work now, after the tasks that it waits for, and time it.

        Raises:
            BaseException: What any of these tasks or the work raised.
        """
        try:
            for other in self.after:
                other.wait()
            assert self.work is not None
            start = time.perf_counter()
            self._watch = self.work()
            self.ended = time.perf_counter()
            self._ms = (self.ended - start) * 1e3
        finally:
            self.work = None

    @property
    def ms(self) -> float:
        """What the work took, in milliseconds; on a GPU returns when it is done there."""
        return self._watch.ms if self._watch is not None else self._ms

    @property
    def done(self) -> bool:
        """Whether the work has ended, well or not."""
        return self.future is None or self.future.done()

    def wait(self) -> None:
        """Return when the work is done; raise what it raised."""
        if self.future is not None:
            self.future.result()


class Executor(Protocol):
    """What the engine needs of an executor."""

    ahead: int
    """How many frames may be begun while the labels of an earlier one are not yet out."""
    overlaps: bool
    """Whether work of different stages may run at the same time, so that buffers must be guarded."""

    def submit(self, lane: str, work: Job, after: Iterable[Task] = ()) -> Task:
        """Have work done in a lane.

        Args:
            lane: The lane; its work is done in the order in which it was submitted.
            work: What is to be done.
            after: Tasks that must have ended before.

        Returns:
            The task, to be waited for.
        """

    def close(self) -> None:
        """Finish and give back every thread."""


class Inline:
    """Every task is done at once by the caller: the sequential reference."""

    ahead = 0
    overlaps = False

    def submit(self, lane: str, work: Job, after: Iterable[Task] = ()) -> Task:
        """Do the work now.

        Args:
            lane: Makes no difference here.
            work: What is to be done.
            after: Makes no difference here: every task has ended.

        Returns:
            The task, which has ended.
        """
        task = Task(work)
        task.run()
        return task

    def close(self) -> None:
        """Nothing to give back."""


class Threads:
    """One thread per lane, begun with the lane's first task.

    A task that depends on a failed one fails with the same error without running.

    Args:
        ahead: How many frames may be begun while the labels of an earlier one are not yet out.
    """

    overlaps = True

    def __init__(self, ahead: int = 1) -> None:
        self.ahead = ahead
        self._lanes: dict[str, ThreadPoolExecutor] = {}
        self._lock = Lock()
        self._closed = False

    def submit(self, lane: str, work: Job, after: Iterable[Task] = ()) -> Task:
        """Queue the work for the lane's thread.

        Args:
            lane: The lane; its thread is started when it is first named.
            work: What is to be done.
            after: Tasks that must have ended before.

        Returns:
            The task, to be waited for.

        Raises:
            UsageError: The executor is closed.
        """
        task = Task(work, after)
        with self._lock:
            if self._closed:
                raise UsageError("the player is closed")
            if lane not in self._lanes:
                self._lanes[lane] = ThreadPoolExecutor(1, thread_name_prefix=f"clockwork-{lane}")
            task.future = self._lanes[lane].submit(_run, task)
        return task

    def close(self) -> None:
        """Let queued work finish and join every thread."""
        with self._lock:
            self._closed = True
            lanes = list(self._lanes.values())
            self._lanes.clear()
        for lane in lanes:
            lane.shutdown(wait=True)


def _run(task: Task) -> None:
    """What a lane's thread does; the task forgets what it waited for, which would keep every frame alive."""
    try:
        task.run()
    finally:
        task.after = ()
