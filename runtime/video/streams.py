"""Video files, cameras and network streams: opened and decoded by FFmpeg."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np

from runtime.video.frames import MAX_PIXELS, Frame, Problem
from runtime.video.images import seems_to_be
from runtime.video.motion import MotionReader
from weights.errors import VideoError

__all__ = [
    "ACCEPTED",
    "Stream",
    "camera_device",
    "is_address",
    "open_stream",
    "read_stream",
    "without_password",
]

# Only containers that hold their own data: a playlist (HLS, concat, SDP) would make FFmpeg open the
# files that it names, and the text demuxer would play any .txt file.
_VIDEO_FORMATS = (
    "apng,asf,avi,dv,flv,gif,h264,hevc,ivf,m4v,matroska,mjpeg,mov,mpeg,mpegts,mpegvideo,mxf,nut,ogg,"
    "yuv4mpegpipe"
)
_NETWORK_PROTOCOLS = "crypto,http,https,httpproxy,rtmp,rtp,rtsp,rtsps,srtp,tcp,tls,udp"
_URL = re.compile(r"(rtsps?|rtmp|udp|https?)://", re.IGNORECASE)
_LIVE_URL = re.compile(r"(rtsps?|rtmp|udp)://", re.IGNORECASE)
ACCEPTED = "a video file, an image, a folder or glob of images, camera:N, or an rtsp:// or http:// address"
_NETWORK_TIMEOUT = 10.0  # seconds without an answer or a frame
# Containers whose header states how long they are; of others FFmpeg estimates it from what is there.
_STATED = frozenset(["asf", "avi", "flv", "matroska", "mov", "mp4", "mxf", "nut", "webm"])


@dataclass(frozen=True)
class Stream:
    """An opened container and its video.

    name: short name. address: without a password. rate: frames per second, None where that is unknown.
    length: how many frames there are, exact or an estimate, None where that is unknown. seconds: the length
    that the container states, None where it states none. is_live: it comes at its own pace, whoever reads.
    has_clock: its time stamps are those of the pictures, not made up by FFmpeg. motion: reads the motion
    vectors of its pictures; None where they were not asked for.
    """

    container: Any
    video: Any
    name: str
    address: str
    rate: Fraction | None
    length: int | None
    seconds: float | None
    is_live: bool
    has_clock: bool
    motion: MotionReader | None = None

    def close(self) -> None:
        """Give back the file, device or connection."""
        self.container.close()


def is_address(text: str) -> bool:
    """Whether `text` is the address of a network stream."""
    return bool(_URL.match(text))


def camera_device(text: str) -> tuple[str, str] | None:
    """(FFmpeg device, its input format) where `text` names a camera: camera:0, 0, or /dev/video0."""
    if re.fullmatch(r"[0-9]{1,3}", text) and not Path(text).exists():
        text = f"camera:{text}"
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


def open_stream(address: str, *, motion: bool = False) -> Stream:
    """Open a video file, a camera, a network address, or standard input ("-").

    A playlist is not followed, and no address leads to a file of this machine.

    Args:
        address: Where the video is.
        motion: Whether frames are to come with the decoder's motion vectors.

    Returns:
        The stream; close it.

    Raises:
        VideoError: It cannot be opened, holds no video, or its frames are larger than `MAX_PIXELS`.
    """
    shown = without_password(address)
    container = _open_container(address, shown)
    try:
        video = _video_stream(container, shown)
    except VideoError:
        container.close()
        raise
    rate = video.average_rate or video.guessed_rate
    kinds = set(container.format.name.split(","))
    seconds = _seconds(container, video) if kinds & _STATED else None
    is_live = camera_device(address) is not None or bool(_LIVE_URL.match(address))
    if is_address(address) and not is_live:
        # An HTTP address plays a file, unless it is a camera's endless stream of pictures or packets.
        is_live = "mpjpeg" in kinds or (
            bool(kinds & {"mpegts", "flv"}) and _seconds(container, video) is None
        )
    if motion:
        video.codec_context.options = {**video.codec_context.options, "flags2": "+export_mvs"}
    video.thread_type = "SLICE" if is_live else "AUTO"  # frame threads would delay a live picture
    return Stream(
        container=container,
        video=video,
        name=_short_name(shown),
        address=shown,
        rate=Fraction(rate) if rate else None,
        length=_length(container, video, rate),
        seconds=seconds,
        is_live=is_live,
        has_clock="mpjpeg" not in kinds,
        motion=MotionReader(video.codec_context.name, video.codec_context.extradata) if motion else None,
    )


def _open_container(text: str, shown: str) -> Any:
    camera = camera_device(text)
    try:
        if camera is not None:
            return av.open(camera[0], format=camera[1], metadata_errors="replace")
        if is_address(text):
            # The list of protocols keeps a remote playlist from opening files of this machine.
            options = {"protocol_whitelist": _NETWORK_PROTOCOLS}
            return av.open(text, timeout=_NETWORK_TIMEOUT, options=options, metadata_errors="replace")
        options = {"protocol_whitelist": "file,pipe", "format_whitelist": _VIDEO_FORMATS}
        # Titles in other encodings than UTF-8 are common in AVI files, and of no use here.
        return av.open(
            sys.stdin.buffer if text == "-" else f"file:{text}", options=options, metadata_errors="replace"
        )
    except av.error.FFmpegError as error:
        if camera is not None or is_address(text):
            what = "camera" if camera is not None else "address"
            raise VideoError(f"this {what} cannot be opened", file=shown, found=error.strerror) from None
        found = "bytes of another kind" if text == "-" else seems_to_be(Path(text))
        raise VideoError(
            "not a video that can be read", file=shown, found=found, expected=ACCEPTED
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


def _seconds(container: Any, video: Any) -> float | None:
    if video.duration is not None and video.time_base is not None:
        return float(video.duration * video.time_base)
    return None if container.duration is None else container.duration / av.time_base


def _length(container: Any, video: Any, rate: Fraction | None) -> int | None:
    if video.frames:
        return int(video.frames)
    seconds = _seconds(container, video)
    return round(seconds * rate) if rate and seconds is not None else None


def read_stream(
    stream: Stream, report: Callable[[Problem], None], wanted: slice = slice(None), index: int = 0
) -> Iterator[Frame]:
    """Decode a stream to its end.

    Args:
        stream: An open stream.
        report: Is called with every frame that cannot be decoded, and at the end where there are fewer frames
            than the container states.
        wanted: Start and step of the frames that are handed out; the others are not converted.
        index: The first frame's index.

    Yields:
        The frames, with the time since the first one: by their own time stamps, or, where those are made up,
        by their arrival.
    """
    start, step = wanted.start or 0, wanted.step or 1
    first, origin, began = index, None, time.monotonic()
    moment: Fraction | None = None
    packets = stream.container.demux(stream.video)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            report(Problem(index, "", f"the stream broke off after {index} frames: {error.strerror}", 0))
            return
        if packet is None:
            break
        if stream.motion is not None and packet.size:
            stream.motion.packet(packet)
        try:
            pictures = packet.decode()
        except av.error.FFmpegError as error:
            report(Problem(index, f"{index:06d}", f"cannot be decoded: {error.strerror}"))
            index += 1
            continue
        for picture in pictures:
            if origin is None:
                origin = picture.pts
            motion = stream.motion.picture(picture) if stream.motion is not None else None
            name = f"{index:06d}"
            if not stream.has_clock:
                moment = Fraction(round((time.monotonic() - began) * 1000), 1000)
            elif picture.pts is not None and origin is not None:
                moment = (picture.pts - origin) * Fraction(picture.time_base)
            else:
                moment = None if stream.rate is None else (index - first) / stream.rate
            if picture.is_corrupt:
                report(Problem(index, name, "damaged picture"))
            elif index >= start and (index - start) % step == 0:
                yield Frame(index, moment, _pixels(picture), name, motion=motion)
            index += 1
    missing = _missing(stream, index - first, moment)
    if missing:
        stated = f"{stream.video.frames} frames" if stream.video.frames else f"{stream.seconds:.2f} s"
        text = f"the source ends after {index - first} frames, though its container states {stated}"
        report(Problem(index, "", text, missing))


def _missing(stream: Stream, frames: int, last: Fraction | None) -> int:
    """How many frames fewer there were than the container states; 0 where it states nothing to rely on."""
    if stream.video.frames:
        return max(0, stream.video.frames - frames)
    if stream.seconds is None or not stream.rate or last is None:
        return 0
    alone = len(stream.container.streams) == 1
    # Sound may go on after the picture, and the last picture may be shown for long.
    share, least = (0.01, 0.0) if alone else (0.05, 1.0)
    rate = float(stream.rate)
    gap = stream.seconds - float(last) - 1 / rate
    if gap <= max(2.5 / rate, share * stream.seconds, least):
        return 0
    return max(round(gap * rate), (stream.length or 0) - frames)


def _pixels(picture: Any) -> np.ndarray:
    image = picture.to_ndarray(format="rgb24")
    turns = round(picture.rotation / 90) % 4  # counterclockwise, as np.rot90 turns
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def without_password(text: str) -> str:
    """The address without a user's name and password, for messages and reports."""
    return re.sub(r"^([a-zA-Z]+://)[^/@]*@", r"\1", text)


def _short_name(shown: str) -> str:
    if _URL.match(shown):
        parts = urlsplit(shown)
        return Path(parts.path).stem or parts.hostname or "stream"
    return Path(shown).stem.replace(":", "")
