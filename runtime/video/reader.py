"""Frames in: video files, image folders, globs and lists, cameras and network streams.

Every source hands out uint8 RGB. Videos are converted by FFmpeg with the stream's own colour matrix, and
turned upright by their rotation; `runtime.video.images` says what becomes of image files.
"""

from __future__ import annotations

import glob
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType

import numpy as np

from runtime.video.frames import Frame, Problem
from runtime.video.images import image_files, read_depth, read_image, read_images
from runtime.video.in_step import in_step
from runtime.video.live import LiveCounts, at_own_pace, live_frames, reconnecting
from runtime.video.streams import (
    ACCEPTED,
    camera_device,
    is_address,
    open_stream,
    read_stream,
)
from weights.errors import UsageError, VideoError

__all__ = ["VideoReader", "open_video"]

Source = str | PathLike[str] | Sequence[str | PathLike[str]]
MAX_PROBLEMS = 1000
"""Problems that a reader keeps; of a live source there may be any number."""


class VideoReader(Iterator[Frame]):
    """An open source: iterate over it once, close it or use it in a `with`.

    Attributes:
        name: Short name of the source.
        address: The source as it was named, without a password.
        size: (height, width) of the first frame; later ones may differ.
        fps: Exact rate of the frames handed out (the source's over the stride), None for images.
        frame_count: How many will be handed out if none is corrupt, None where that is unknown; an estimate
            for containers that do not store it.
        problems: What went wrong so far, the first `MAX_PROBLEMS`.
        left_out: How many frames were left out or are missing so far.
        live: What became of a live source's frames; None for others.
    """

    def __init__(
        self,
        frames: Iterator[Frame],
        name: str,
        address: str,
        size: tuple[int, int],
        fps: Fraction | None,
        frame_count: int | None,
        problems: _Problems,
        live: LiveCounts | None,
        resources: ExitStack,
    ) -> None:
        self.name = name
        self.address = address
        self.size = size
        self.fps = fps
        self.frame_count = frame_count
        self.live = live
        self._problems = problems
        self._frames = frames
        self._resources = resources

    @property
    def problems(self) -> list[Problem]:
        return self._problems.kept

    @property
    def left_out(self) -> int:
        return self._problems.frames

    def __iter__(self) -> VideoReader:
        return self

    def __next__(self) -> Frame:
        return next(self._frames)

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the threads and releases the file, camera or connection. May be called twice."""
        self._resources.close()
        self._frames = iter(())


class _Problems:
    """Keeps the first problems, counts all, and passes them on."""

    def __init__(self, pass_on: Callable[[Problem], None] | None) -> None:
        self.kept: list[Problem] = []
        self.frames = 0
        self._pass_on = pass_on

    def report(self, problem: Problem) -> None:
        self.frames += problem.frames
        if len(self.kept) < MAX_PROBLEMS:
            self.kept.append(problem)
        if self._pass_on is not None:
            self._pass_on(problem)


def open_video(
    source: Source,
    *,
    start: int = 0,
    stride: int = 1,
    max_frames: int | None = None,
    live: str | None = None,
    motion: bool = False,
    on_problem: Callable[[Problem], None] | None = None,
    more: Mapping[str, Source] | None = None,
    depth: Collection[str] = (),
) -> VideoReader:
    """Open a source and read its first frame.

    Args:
        source: A video file; an image file; a folder of images, read in natural order (frame2 before
            frame10); a glob of images, likewise; a list of images, in its own order; "camera:0", "0" or
            /dev/videoN; an rtsp://, rtmp://, udp:// or http(s):// address; "-" for a video on standard input.
        start: The first frame that is handed out; `Frame.index` counts the source's frames from 0.
        stride: Every `stride`-th frame from there is handed out.
        max_frames: How many are handed out at most; frames dropped do not count.
        live: What happens when frames come faster than they are taken: "drop" hands out the newest one and
            drops those before it, "queue" keeps all in order (64 at most; then the source waits). Live
            sources, which are cameras, rtsp://, rtmp:// and udp:// addresses and HTTP streams of pictures,
            drop unless told otherwise, and are opened again when they break off. For a file, `live` plays it
            at its own pace as if it were a camera; None reads it as fast as the frames are taken.
        motion: Whether frames come with their `Motion`, which schedules with `@flow=codec` take.
        on_problem: Is called with each problem: a corrupt frame, which is left out, a break of a live source,
            or an end that comes earlier than the container states.
        more: Sources of pictures that come with each frame, by name; they are the frames' `.more`. Read in
            step with `source`, so that none of them may be live.
        depth: Names among `more` of depth: images of one channel, handed out as uint16.

    Returns:
        The open source.

    Raises:
        VideoError: The source is missing, not of a kind named above, or holds no frame that can be decoded.
        UsageError: An option is out of range.
    """
    _check_options(start, stride, max_frames, live)
    problems, closed = _Problems(on_problem), threading.Event()
    with ExitStack() as resources:
        opened = _open(source, slice(start, None, stride), motion, problems, closed, resources)
        frames, counts = opened.frames, opened.counts
        if more:
            frames = _with_more(opened, more, depth, slice(start, None, stride), problems, closed, resources)
        first = next(frames, None)
        if first is None:
            raise _no_frame(opened.address, start, problems.kept)
        frames = chain([first], frames)
        if more and (live is not None or counts is not None):
            raise UsageError("live sources are not played in step with others", found=", ".join(more))
        live = live or ("drop" if counts is not None else None)
        if live is not None:
            if counts is None:
                counts = LiveCounts()
                frames = at_own_pace(frames, _time_of(first, opened.address), closed)
            taken = live_frames(frames, live, counts)
            resources.callback(taken.close)
            resources.callback(closed.set)  # first: no pause is waited for
            frames = taken
        count = None if opened.total is None else len(range(start, opened.total, stride))
        if max_frames is not None:
            frames = islice(frames, max_frames)
            count = max_frames if count is None else min(count, max_frames)
        return VideoReader(
            frames=frames,
            name=opened.name,
            address=opened.address,
            size=(first.image.shape[0], first.image.shape[1]),
            fps=opened.rate / stride if opened.rate else None,
            frame_count=count,
            problems=problems,
            live=counts,
            resources=resources.pop_all(),
        )


@dataclass(frozen=True)
class _Opened:
    """A source's frames, and what is known of it; `counts` where it is live."""

    frames: Iterator[Frame]
    name: str
    address: str
    rate: Fraction | None
    total: int | None
    counts: LiveCounts | None = None


def _open(
    source: Source,
    wanted: slice,
    motion: bool,
    problems: _Problems,
    closed: threading.Event,
    resources: ExitStack,
    read: Callable[[Path], np.ndarray] = read_image,
) -> _Opened:
    files = _named_images(source)
    if files is not None:
        address = fspath(source) if isinstance(source, str | PathLike) else str(files[0])
        name = files[0].stem if len(files) == 1 else files[0].resolve().parent.name
        images = read_images(files, wanted.start, wanted.step, problems.report, read)
        return _Opened(images, name, address, None, len(files))
    text = fspath(source)  # type: ignore[arg-type]
    if read is read_depth:
        raise VideoError("depth comes as images", file=text, expected="a folder, glob or list of images")
    stream = open_stream(text, motion=motion)
    resources.callback(stream.close)
    if not stream.is_live:
        frames = read_stream(stream, problems.report, wanted)
        return _Opened(frames, stream.name, stream.address, stream.rate, stream.length)
    counts = LiveCounts()
    again = reconnecting(stream, text, problems.report, counts, closed, wanted)
    resources.callback(again.close)
    return _Opened(again, stream.name, stream.address, stream.rate, None, counts)


def _with_more(
    opened: _Opened,
    more: Mapping[str, Source],
    depth: Collection[str],
    wanted: slice,
    problems: _Problems,
    closed: threading.Event,
    resources: ExitStack,
) -> Iterator[Frame]:
    """The frames with the pictures of further sources."""
    others = {}
    for name, source in more.items():
        read = read_depth if name in depth else read_image
        other = _open(source, wanted, False, problems, closed, resources, read)
        if opened.rate is None and other.rate is None and opened.total != other.total:
            raise VideoError(
                f'"{name}" has another number of images than the frames it comes with',
                file=other.address,
                found=f"{other.total} images",
                expected=f"{opened.total}, as in {opened.address}",
            )
        others[name] = other
    live = [other.address for other in others.values() if other.counts is not None]
    if live:
        raise UsageError("live sources are not played in step with others", found=live[0])
    return in_step(opened.frames, {name: other.frames for name, other in others.items()}, problems.report)


def _time_of(frame: Frame, address: str) -> Fraction:
    if frame.time is None:
        raise UsageError(
            "a source without frame times cannot be played live", file=address, hint="leave out live"
        )
    return frame.time


def _check_options(start: int, stride: int, max_frames: int | None, live: str | None) -> None:
    if start < 0:
        raise UsageError("start out of range", found=start, expected="0 or more")
    if stride < 1:
        raise UsageError("stride out of range", found=stride, expected="1 or more")
    if max_frames is not None and max_frames < 1:
        raise UsageError("maximum number of frames out of range", found=max_frames, expected="1 or more")
    if live not in (None, "drop", "queue"):
        raise UsageError("unknown way to treat a live source", found=live, expected="drop or queue")


def _named_images(source: Source) -> list[Path] | None:
    """The image files that `source` names, in order; None where it is a video, camera or address."""
    if not isinstance(source, str | PathLike):
        if not source:
            raise VideoError("empty list of images", expected="at least one image file")
        return [Path(item) for item in source]
    text = fspath(source)
    if text == "-" or is_address(text) or camera_device(text) is not None:
        return None
    if not Path(text).exists() and not glob.has_magic(text):
        raise VideoError("no such file or folder", file=text, expected=ACCEPTED)
    return image_files(text)


def _no_frame(shown: str, start: int, problems: list[Problem]) -> VideoError:
    if problems:
        return VideoError(
            "no frame of this source can be decoded",
            file=shown,
            found=f"{len(problems)} unreadable, the first: {problems[0].text}",
            expected=ACCEPTED,
        )
    if start > 0:
        return VideoError(
            "the source ends before the first frame asked for", file=shown, found=f"start {start}"
        )
    return VideoError("no frame in this source", file=shown, expected=ACCEPTED)
