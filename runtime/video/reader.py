"""Frames in: video files, image folders, globs and lists, cameras and network streams.

Every source hands out uint8 RGB. Videos are converted by FFmpeg with the stream's own colour matrix, and
turned upright by their rotation; `runtime.video.images` says what becomes of image files.
"""

from __future__ import annotations

import glob
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain, islice
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np

from runtime.video.frames import MAX_PIXELS, Frame, Problem
from runtime.video.images import image_files, read_images, seems_to_be
from runtime.video.threads import prefetch
from weights.errors import UsageError, VideoError

__all__ = ["VideoReader", "open_video"]

Source = str | PathLike[str] | Sequence[str | PathLike[str]]

# Only containers that hold their own data: a playlist (HLS, concat, SDP) would make FFmpeg open the
# files that it names, and the text demuxer would play any .txt file.
_VIDEO_FORMATS = (
    "apng,asf,avi,dv,flv,gif,h264,hevc,ivf,m4v,matroska,mjpeg,mov,mpeg,mpegts,mpegvideo,mxf,nut,ogg,"
    "yuv4mpegpipe"
)
_NETWORK_PROTOCOLS = "crypto,http,https,httpproxy,rtmp,rtp,rtsp,rtsps,srtp,tcp,tls,udp"
_URL = re.compile(r"(rtsps?|rtmp|udp|https?)://", re.IGNORECASE)
_LIVE_URL = re.compile(r"(rtsps?|rtmp|udp)://", re.IGNORECASE)
_ACCEPTED = "a video file, an image, a folder or glob of images, camera:N, or an rtsp:// or http:// address"
_NETWORK_TIMEOUT = 10.0  # seconds without an answer or a frame
_LIVE_QUEUE = 64  # frames that live="queue" holds before it makes the source wait


class VideoReader(Iterator[Frame]):
    """An open source: iterate over it once, close it or use it in a `with`.

    `name`: short name of the source. `size`: (height, width) of the first frame; later ones may differ.
    `fps`: exact rate of the frames handed out (the source's rate over the stride), None for images.
    `frame_count`: how many will be handed out if none is corrupt, None where that is unknown; an
    estimate for containers that do not store it. `problems`: the frames left out so far.
    """

    def __init__(
        self,
        frames: Iterator[Frame],
        name: str,
        size: tuple[int, int],
        fps: Fraction | None,
        frame_count: int | None,
        problems: list[Problem],
        resources: ExitStack,
    ) -> None:
        self.name = name
        self.size = size
        self.fps = fps
        self.frame_count = frame_count
        self.problems = problems
        self._frames = frames
        self._resources = resources

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


def open_video(
    source: Source,
    *,
    start: int = 0,
    stride: int = 1,
    max_frames: int | None = None,
    live: str | None = None,
    on_problem: Callable[[Problem], None] | None = None,
) -> VideoReader:
    """Opens `source` and reads its first frame.

    `source`: a video file; an image file; a folder of images, read in natural order (frame2 before
    frame10); a glob of images, likewise; a list of images, in its own order; "camera:0" or /dev/videoN;
    an rtsp://, rtmp://, udp:// or http(s):// address. Frames `start`, `start + stride`, ... are handed
    out, at most `max_frames` of them; `Frame.index` counts the source's frames from 0.

    `live` says what happens when frames come faster than they are taken: "drop" hands out the newest
    one and drops those between, "queue" keeps all in order (64 at most; then the source waits). Cameras and
    rtsp://, rtmp:// and udp:// addresses drop unless told otherwise. For a file, `live` plays it at its
    own pace as if it were a camera; None reads it as fast as the frames are taken.

    A corrupt frame is added to `problems`, passed to `on_problem`, and left out. Raises VideoError where
    the source is missing, not of a kind named above, or holds no frame that can be decoded, and
    UsageError for options out of range.
    """
    _check_options(start, stride, max_frames, live)
    problems: list[Problem] = []

    def report(problem: Problem) -> None:
        problems.append(problem)
        if on_problem is not None:
            on_problem(problem)

    with ExitStack() as resources:
        files = _named_images(source)
        if files is not None:
            shown = fspath(source) if isinstance(source, str | PathLike) else str(files[0])
            name = files[0].stem if len(files) == 1 else files[0].resolve().parent.name
            rate, is_live = None, False
            total: int | None = len(files)
            frames = read_images(files, start, stride, report)
        else:
            address = fspath(source)  # type: ignore[arg-type]
            shown = _without_password(address)
            container, is_live = _open_container(address, shown)
            resources.callback(container.close)
            stream = _video_stream(container, shown)
            stream.thread_type = "SLICE" if is_live else "AUTO"  # frame threads would delay a live picture
            name, rate = _short_name(shown), stream.average_rate or stream.guessed_rate
            total = _length(container, stream, rate)
            frames = _read_stream(container, stream, rate, start, stride, report)
        count = None if total is None else len(range(start, total, stride))
        if max_frames is not None:
            frames = islice(frames, max_frames)
            count = max_frames if count is None else min(count, max_frames)
        first = next(frames, None)
        if first is None:
            raise _no_frame(shown, start, problems)
        frames = chain([first], frames)
        if live is not None and not is_live:
            if first.time is None:
                raise UsageError(
                    "a source without frame times cannot be played live", file=shown, hint="leave out live"
                )
            frames = _at_own_pace(frames, first.time)
        mode = live or ("drop" if is_live else None)
        if mode is not None:
            taken = prefetch(frames, 1 if mode == "drop" else _LIVE_QUEUE, drop=mode == "drop")
            resources.callback(taken.close)
            frames = taken
        height, width = first.image.shape[:2]
        fps = Fraction(rate) / stride if rate else None
        return VideoReader(frames, name, (height, width), fps, count, problems, resources.pop_all())


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
    if _URL.match(text) or _camera(text) is not None:
        return None
    if not Path(text).exists() and not glob.has_magic(text):
        raise VideoError("no such file or folder", file=text, expected=_ACCEPTED)
    return image_files(text)


def _camera(text: str) -> tuple[str, str] | None:
    """(FFmpeg device, its input format) where `text` names a camera."""
    if re.fullmatch(r"/dev/video[0-9]+", text):
        return text, "v4l2"
    if not text.lower().startswith("camera:"):
        return None
    which = text.partition(":")[2]
    if sys.platform == "darwin":
        return which, "avfoundation"
    if sys.platform == "win32":
        return f"video={which}", "dshow"
    if not re.fullmatch(r"[0-9]{1,3}", which):
        raise VideoError("not a camera", file=text, expected="camera:0, camera:1, ... or /dev/video0")
    return f"/dev/video{which}", "v4l2"


def _open_container(text: str, shown: str) -> tuple[Any, bool]:
    """The opened PyAV container, and whether it plays in real time."""
    camera = _camera(text)
    try:
        if camera is not None:
            return av.open(camera[0], format=camera[1]), True
        if _URL.match(text):
            # The list of protocols keeps a remote playlist from opening files of this machine.
            options = {"protocol_whitelist": _NETWORK_PROTOCOLS}
            return av.open(text, timeout=_NETWORK_TIMEOUT, options=options), bool(_LIVE_URL.match(text))
        options = {"protocol_whitelist": "file", "format_whitelist": _VIDEO_FORMATS}
        return av.open(f"file:{text}", options=options), False
    except av.error.FFmpegError as error:
        if camera is not None or _URL.match(text):
            reason = error.strerror
            what = "camera" if camera is not None else "address"
            raise VideoError(f"this {what} cannot be opened", file=shown, found=reason) from None
        raise VideoError(
            "not a video that can be read", file=shown, found=seems_to_be(Path(text)), expected=_ACCEPTED
        ) from error


def _video_stream(container: Any, shown: str) -> Any:
    stream = container.streams.best("video")
    if stream is None:
        kinds = ", ".join(sorted({other.type for other in container.streams})) or "nothing"
        raise VideoError("no video in this file", file=shown, found=kinds, expected="a video stream")
    if stream.codec_context is None:
        raise VideoError("this video's codec is not known to FFmpeg", file=shown)
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > MAX_PIXELS:
        raise VideoError(
            "video frames too large",
            file=shown,
            found=f"{width} x {height}",
            expected=f"at most {MAX_PIXELS} pixels",
        )
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # holds for a size change, too
    return stream


def _length(container: Any, stream: Any, rate: Fraction | None) -> int | None:
    if stream.frames:
        return int(stream.frames)
    if not rate:
        return None
    if stream.duration is not None and stream.time_base is not None:
        return round(stream.duration * stream.time_base * rate)
    if container.duration is not None:
        return round(Fraction(container.duration, av.time_base) * rate)
    return None


def _read_stream(
    container: Any,
    stream: Any,
    rate: Fraction | None,
    start: int,
    stride: int,
    report: Callable[[Problem], None],
) -> Iterator[Frame]:
    index = 0
    origin: int | None = None
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            report(Problem(index, f"{index:06d}", f"the stream broke off: {error.strerror}"))
            return
        if packet is None:
            return
        try:
            pictures = packet.decode()
        except av.error.FFmpegError as error:
            report(Problem(index, f"{index:06d}", f"cannot be decoded: {error.strerror}"))
            index += 1
            continue
        for picture in pictures:
            if origin is None:
                origin = picture.pts
            name = f"{index:06d}"
            if picture.is_corrupt:
                report(Problem(index, name, "damaged picture"))
            elif index >= start and (index - start) % stride == 0:
                if picture.pts is not None and origin is not None:
                    moment = (picture.pts - origin) * Fraction(picture.time_base)
                else:
                    moment = None if rate is None else index / Fraction(rate)
                yield Frame(index, moment, _pixels(picture), name)
            index += 1


def _pixels(picture: Any) -> np.ndarray:
    image = picture.to_ndarray(format="rgb24")
    turns = round(picture.rotation / 90) % 4  # counterclockwise, as np.rot90 turns
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _at_own_pace(frames: Iterator[Frame], origin: Fraction) -> Iterator[Frame]:
    began = time.monotonic()
    for frame in frames:
        if frame.time is not None:
            time.sleep(max(0.0, began + float(frame.time - origin) - time.monotonic()))
        yield frame


def _no_frame(shown: str, start: int, problems: list[Problem]) -> VideoError:
    if problems:
        return VideoError(
            "no frame of this source can be decoded",
            file=shown,
            found=f"{len(problems)} unreadable, the first: {problems[0].text}",
            expected=_ACCEPTED,
        )
    if start > 0:
        return VideoError(
            "the source ends before the first frame asked for", file=shown, found=f"start {start}"
        )
    return VideoError("no frame in this source", file=shown, expected=_ACCEPTED)


def _without_password(text: str) -> str:
    return re.sub(r"^([a-zA-Z]+://)[^/@]*@", r"\1", text)


def _short_name(shown: str) -> str:
    if _URL.match(shown):
        parts = urlsplit(shown)
        return Path(parts.path).stem or parts.hostname or "stream"
    return Path(shown).stem.replace(":", "")
