"""Live sources: cameras and streams that come at their own pace, may break off, and come back.

A thread takes the frames as they come. What is not taken in time is dropped ("drop": the newest frame is
handed out, those before it never) or waits in a queue ("queue"). When the source breaks off, it is opened
again after 0.5, 1, 2, 4, ... seconds, 30 at most, until there has been no frame for `PATIENCE` seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from runtime.video.frames import Frame, Problem
from runtime.video.streams import Stream, open_stream, read_stream
from runtime.video.threads import prefetch
from weights.errors import VideoError

__all__ = ["LiveCounts", "at_own_pace", "live_frames", "reconnecting"]

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
PATIENCE = 120.0
QUEUE = 64
"""Frames that "queue" holds before it makes the source wait."""


@dataclass
class LiveCounts:
    """What became of a live source's frames so far.

    received: frames that came. dropped: those of them that were never handed out, since newer ones had come.
    reconnections: how often the source was opened again. The waits of the frames handed out, in seconds from
    their arrival in this process to their being taken: their sum, and the longest.
    """

    received: int = 0
    dropped: int = 0
    reconnections: int = 0
    taken: int = 0
    wait_sum: float = 0.0
    longest_wait: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As JSON data; waits in milliseconds."""
        mean = 1e3 * self.wait_sum / self.taken if self.taken else 0.0
        return {
            "received": self.received,
            "dropped": self.dropped,
            "reconnections": self.reconnections,
            "mean_wait_ms": round(mean, 3),
            "longest_wait_ms": round(1e3 * self.longest_wait, 3),
        }


def reconnecting(
    stream: Stream,
    address: str,
    report: Callable[[Problem], None],
    counts: LiveCounts,
    closed: threading.Event,
    wanted: slice = slice(None),
    patience: float | None = None,
) -> Generator[Frame, None, None]:
    """The frames of a live stream, which is opened again when it breaks off or ends.

    Args:
        stream: The stream as it was opened first; this closes it, and those that follow it.
        address: Where to open it again.
        report: Is called with every problem.
        counts: Where reconnections are counted.
        closed: Set it to end a pause at once.
        wanted: As for `read_stream`.
        patience: Seconds without a frame after which the stream is over; by default `PATIENCE`.

    Yields:
        Frames numbered through, with times that go on by the clock of this machine over a break. The first
        frame after a break starts a shot, since nobody knows what happened meanwhile.
    """
    index, began, offset = 0, time.monotonic(), Fraction(0)
    last, pause = began, FIRST_PAUSE
    patience = PATIENCE if patience is None else patience
    while True:
        is_first = counts.reconnections > 0
        try:
            for frame in read_stream(stream, report, wanted, index):
                moment = None if frame.time is None else frame.time + offset
                yield replace(frame, time=moment, shot_start=is_first)
                index, is_first = frame.index + 1, False
                last, pause = time.monotonic(), FIRST_PAUSE
        finally:
            stream.close()
        while True:
            if time.monotonic() - last + pause > patience or closed.wait(pause):
                return
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                stream = open_stream(address, motion=stream.motion is not None)
                break
            except VideoError as error:
                report(Problem(index, "", f"not reachable: {error.found}", 0))
        counts.reconnections += 1
        offset = Fraction(round((time.monotonic() - began) * 1000), 1000)


def live_frames(frames: Iterable[Frame], mode: str, counts: LiveCounts) -> Generator[Frame, None, None]:
    """Take frames as they come, in a thread, and hand them out as they are asked for.

    Args:
        frames: A source that comes at its own pace.
        mode: "drop" hands out the newest frame and drops those before it; "queue" keeps all in order, and
            makes the source wait while `QUEUE` of them are waiting.
        counts: Where frames are counted.

    Yields:
        The frames. Closing this ends the thread.
    """

    def arrive() -> Iterator[tuple[Frame, float]]:
        for frame in frames:
            counts.received += 1
            yield frame, time.monotonic()

    def drop(_: object) -> None:
        counts.dropped += 1

    is_drop = mode == "drop"
    read = prefetch(arrive(), 1 if is_drop else QUEUE, drop=is_drop, on_drop=drop)
    try:
        for frame, arrived in read:
            wait = time.monotonic() - arrived
            counts.taken += 1
            counts.wait_sum += wait
            counts.longest_wait = max(counts.longest_wait, wait)
            yield frame
    finally:
        read.close()


def at_own_pace(frames: Iterator[Frame], origin: Fraction, closed: threading.Event) -> Iterator[Frame]:
    """The frames of a file at the pace at which a camera would hand them out.

    Args:
        frames: The frames.
        origin: The time of the first one, in seconds.
        closed: Ends the wait, and the frames with it.

    Yields:
        Each frame, when its time since `origin` has passed; one without a time at once.
    """
    began = time.monotonic()
    for frame in frames:
        if frame.time is not None:
            pause = began + float(frame.time - origin) - time.monotonic()
            if pause > 0 and closed.wait(pause):
                return
        yield frame
