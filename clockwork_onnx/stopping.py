"""Signals end a command in order: what is finished is written, and the exit status says which signal it was.

A loop over frames takes them from `Stop.frames`: a signal breaks off the wait for the next frame, or else is
heeded when the next one is asked for, so that nothing is torn in the middle. A second signal ends the command
at once. Everywhere else SIGTERM is what SIGINT is in Python, an exception on which files are cleaned up.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

__all__ = ["Stop", "Stopped", "Terminated", "end_on_sigterm", "stop_on_signals"]

T = TypeVar("T")


class Stopped(Exception):
    """No more frames are handed out: a signal came."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


class Stop:
    """Whether a signal came; `number` is the first one's, None before."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._waits = False

    def frames(self, frames: Iterable[T]) -> Iterator[T]:
        """The frames, until a signal comes.

        Args:
            frames: The frames.

        Yields:
            Each frame.

        Raises:
            Stopped: In place of the next frame, after a signal came.
        """
        source = iter(frames)
        while True:
            self._waits = threading.current_thread() is threading.main_thread()
            try:
                if self.number is not None:
                    raise Stopped
                frame = next(source)
            except StopIteration:
                return
            finally:
                self._waits = False
            yield frame

    def heed(self, number: int) -> None:
        """Take note of a signal; called in the main thread, between any two of its instructions."""
        self.number = number
        if self._waits:
            raise Stopped


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Let the first SIGINT, SIGTERM or SIGHUP stop the frames; in a thread other than the main one, nothing.

    SIGHUP stays ignored where it is (nohup).
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:
        numbers.append(hangup)
    before: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, _: FrameType | None) -> None:
        restore()
        stop.heed(number)

    for number in numbers:
        before[number] = signal.signal(number, handle)
    try:
        yield stop
    finally:
        restore()


def end_on_sigterm() -> None:
    """Have SIGTERM raise Terminated in the main thread, from here on."""

    def handle(number: int, _: FrameType | None) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, handle)
