"""Two bounded threads: one that reads ahead of a loop, one that writes behind it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from threading import Condition, Thread
from time import perf_counter
from typing import Generic, TypeVar

__all__ = ["WriteBehind", "prefetch"]

T = TypeVar("T")


def prefetch(
    iterable: Iterable[T],
    depth: int = 4,
    *,
    drop: bool = False,
    on_drop: Callable[[T], None] | None = None,
) -> Generator[T, None, None]:
    """Yield the items of `iterable`, read ahead by a thread.

    An exception in `iterable` is raised here, after the items before it. The thread starts with the first
    item asked for and is joined when this generator ends or is closed; use `contextlib.closing` where the
    moment matters. `iterable` itself stays its owner's to close.

    Args:
        iterable: What to read.
        depth: How many items the thread stays ahead at most.
        drop: The thread never waits: when `depth` items lie ready, the oldest is thrown away.
        on_drop: Is called with each item thrown away.

    Yields:
        Each item, in order.
    """
    ready: deque[T] = deque()
    changed = Condition()
    failure: list[BaseException] = []
    ended = closed = False

    def read() -> None:
        nonlocal ended
        try:
            for item in iterable:
                with changed:
                    while len(ready) >= depth and not closed:
                        if drop:
                            old = ready.popleft()
                            if on_drop is not None:
                                on_drop(old)
                        else:
                            changed.wait()
                    if closed:
                        return
                    ready.append(item)
                    changed.notify_all()
        except BaseException as error:
            failure.append(error)
        finally:
            with changed:
                ended = True
                changed.notify_all()

    thread = Thread(target=read, name="clockwork-reader", daemon=True)
    thread.start()
    try:
        while True:
            with changed:
                while not ready and not ended:
                    changed.wait()
                if not ready:
                    break
                item = ready.popleft()
                changed.notify_all()
            yield item
        if failure:
            raise failure[0]
    finally:
        with changed:
            closed = True
            changed.notify_all()
        thread.join()


class WriteBehind(Generic[T]):
    """A thread that calls `write` on every item put in, in order, at most `depth` items behind.

    `put` waits while `depth` items are waiting. An exception in `write` is raised by the next `put`
    or by `close`, once; the items after it are dropped. `busy`: seconds spent in `write` so far.
    """

    def __init__(self, write: Callable[[T], None], depth: int = 8) -> None:
        self._write = write
        self._depth = depth
        self._waiting: deque[T] = deque()
        self._changed = Condition()
        self._failure: BaseException | None = None
        self._failed = self._closed = False
        self.busy = 0.0
        self._thread = Thread(target=self._run, name="clockwork-writer", daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Hands over one item; waits while the queue is full. Not after `close`."""
        with self._changed:
            if self._closed:
                raise ValueError("this writer is closed")
            while len(self._waiting) >= self._depth and not self._failed:
                self._changed.wait()
            if not self._failed:
                self._waiting.append(item)
                self._changed.notify_all()
        self._raise_failure()

    def close(self) -> None:
        """Waits until everything put in is written, and ends the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        self._raise_failure()

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                item = self._waiting.popleft()
                self._changed.notify_all()
            start = perf_counter()
            try:
                self._write(item)
            except BaseException as error:
                with self._changed:
                    self._failure, self._failed = error, True
                    self._waiting.clear()
                    self._changed.notify_all()
                return
            finally:
                self.busy += perf_counter() - start
