"""Frames out: H.264 video with exact frame times, and label maps as indexed PNG."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import lcm
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from PIL import Image

from runtime.video.threads import WriteBehind
from staged_onnx.palettes import file_palette
from weights.errors import UsageError, VideoError
from weights.whole_file import grown, whole_file

__all__ = ["LabelWriter", "VideoWriter"]

_SUFFIXES = (".mkv", ".mov", ".mp4")
# Encoders in order of preference: name, options, and the largest denominator of its time base.
_ENCODERS: tuple[tuple[str, dict[str, str], int], ...] = (
    ("libx264", {"crf": "20", "preset": "veryfast"}, 2**31 - 1),
    ("mpeg4", {"qscale": "3", "flags": "+qscale"}, 65535),
)
# Written in fragments of a second, so that what there is can be played if the process is killed; on closing,
# the muxer makes an ordinary MP4 of it.
_FRAGMENTS = {"movflags": "hybrid_fragmented", "frag_duration": "1000000", "flush_packets": "1"}
_TICKS = 90_000  # the usual clock of video containers; frame times are kept at least this fine


class VideoWriter:
    """Writes a video of (height, width) = `size` at exactly `fps` frames per second; use it in a `with`.

    H.264 in yuv420p with BT.709 colours where the FFmpeg at hand can encode it, else MPEG-4 part 2.
    Odd sizes grow by one row or column, a copy of the last. A frame of another size is scaled to fit,
    keeping its proportions, on black. Encoding happens in a thread that stays at most `depth` frames
    behind.

    The video grows as `NAME.part.mp4` beside `path`, and gets its own name when the writer is closed,
    replacing an older file. Leaving the `with` by an exception or Ctrl-C closes it too, so that what was
    written so far can be played; so can what has grown when the process is killed, but for its last seconds.
    If nothing was written, no file appears.
    """

    def __init__(
        self, path: str | PathLike[str], fps: Fraction, size: tuple[int, int], *, depth: int = 8
    ) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in _SUFFIXES:
            raise UsageError(
                "not a kind of video that is written", file=path, expected="a name in " + ", ".join(_SUFFIXES)
            )
        if fps <= 0 or min(size) < 1:
            raise UsageError(
                "frame rate and size must be positive", file=path, found=f"{fps} fps, size {size}"
            )
        self.size = size
        self._last_tick = -1
        self._closed = False
        name, options, finest = _encoder()
        try:
            self._partial = grown(self.path)  # PyAV opens the file only for the first packet
        except OSError as error:
            raise VideoError("cannot be written", file=path, found=error.strerror) from error
        fragments = {} if self.path.suffix.lower() == ".mkv" else _FRAGMENTS
        self._container: Any = av.open(str(self._partial), "w", options=fragments)
        self._fps, self._time_base = _clock(fps, finest)
        self._frame_ticks = round(1 / self._fps / self._time_base)
        self._stream: Any = self._container.add_stream(name, rate=self._fps, options=options)
        self._stream.height, self._stream.width = (side + side % 2 for side in size)
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = self._time_base
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
        self._thread = WriteBehind(self._encode, depth)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, image: np.ndarray, time: Fraction | None = None) -> None:
        """Add a frame.

        Args:
            image: uint8 RGB of shape (height, width, 3); it must not be changed afterwards.
            time: When the frame is shown, in seconds; by default 1 / fps after the frame before it. A time
                that is not later than the frame before is moved just behind it.

        Raises:
            VideoError: Not a frame, or an earlier frame could not be written.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise VideoError(
                "not a frame",
                file=self.path,
                found=f"{image.dtype} {image.shape}",
                expected="uint8 (height, width, 3)",
            )
        if time is not None:
            tick = max(round(time / self._time_base), self._last_tick + 1)
        elif self._last_tick < 0:
            tick = 0
        else:
            tick = self._last_tick + self._frame_ticks
        self._last_tick = tick
        try:
            self._thread.put((image, tick))
        except av.error.FFmpegError as error:
            raise VideoError("cannot be written", file=self.path, found=error.strerror) from error

    def close(self) -> None:
        """Writes what is waiting and gives the file its name. May be called twice."""
        if self._closed:
            return
        self._closed = True
        try:
            self._thread.close()
            if self._last_tick >= 0:
                self._mux(self._stream.encode())
            self._container.close()
            if self._last_tick >= 0:
                os.replace(self._partial, self.path)
        except av.error.FFmpegError as error:
            self._container.close()
            raise VideoError("cannot be written", file=self.path, found=error.strerror) from error
        finally:
            self._partial.unlink(missing_ok=True)

    def _encode(self, item: tuple[np.ndarray, int]) -> None:
        image, tick = item
        image = _fit(image, *self.size)
        height, width = self.size
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709")
        picture.pts, picture.time_base = tick, self._time_base
        self._mux(self._stream.encode(picture))

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.duration = self._frame_ticks  # else the last frame has none and the rate comes out wrong
            self._container.mux(packet)


class LabelWriter:
    """Writes label maps as indexed PNG files, `folder`/NAME.png; use it in a `with`.

    Pixel values are the labels; `palette` (at most 256 colours) is stored in the file, so that it
    looks right in any viewer. Each file has its label map's own size and appears whole or not at all.
    Files are written by a thread that stays at most `depth` behind. `written`: the names of frames that an
    earlier run has written.
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        palette: Sequence[Sequence[int]] | np.ndarray,
        *,
        depth: int = 8,
        written: Iterable[str] = (),
    ) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise VideoError("cannot be made a folder", file=folder, found=error.strerror) from error
        self._palette = file_palette(palette).tobytes()
        self._names = set(written)
        self._thread = WriteBehind(self._save, depth)

    def __enter__(self) -> LabelWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, labels: np.ndarray, name: str = "") -> None:
        """Add a label map.

        Args:
            labels: uint8 of shape (height, width).
            name: The frame's name, by default its number.

        Raises:
            VideoError: Not a label map, a name that cannot be a file's or was there before, or an earlier one
                could not be written.
        """
        name = name or f"{len(self._names):06d}"
        if labels.dtype != np.uint8 or labels.ndim != 2:
            raise VideoError(
                "not a label map",
                file=self.folder,
                found=f"{labels.dtype} {labels.shape}",
                expected="uint8 (height, width)",
            )
        if name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise VideoError("not a file name", file=self.folder, found=repr(name))
        if name in self._names:
            raise VideoError("two frames of this name", file=self.folder, found=name)
        self._names.add(name)
        try:
            self._thread.put((labels, name))
        except OSError as error:
            raise VideoError("cannot be written", file=self.folder, found=error.strerror) from error

    @property
    def busy(self) -> float:
        """Seconds that its thread spent writing files so far."""
        return self._thread.busy

    def close(self) -> None:
        """Writes what is waiting."""
        try:
            self._thread.close()
        except OSError as error:
            raise VideoError("cannot be written", file=self.folder, found=error.strerror) from error

    def _save(self, item: tuple[np.ndarray, str]) -> None:
        labels, name = item
        image = Image.fromarray(np.ascontiguousarray(labels))
        image.putpalette(self._palette)
        with whole_file(self.folder / f"{name}.png") as partial:
            image.save(partial, format="PNG", compress_level=3)


def _encoder() -> tuple[str, dict[str, str], int]:
    for name, options, finest in _ENCODERS:
        try:
            av.codec.Codec(name, "w")
        except av.codec.codec.UnknownCodecError:
            continue
        return name, options, finest
    raise VideoError("this FFmpeg has no video encoder", expected=" or ".join(e[0] for e in _ENCODERS))


def _clock(fps: Fraction, finest: int) -> tuple[Fraction, Fraction]:
    """The frame rate and a time base in which its frame times are whole numbers.

    Exact wherever the encoder's time base can be that fine; else the nearest rate that it can keep.
    """
    if fps.numerator > finest:
        fps = 1 / (1 / fps).limit_denominator(finest)
    ticks = lcm(fps.numerator, _TICKS)
    if ticks > finest:
        ticks = fps.numerator * max(1, min(finest, _TICKS) // fps.numerator)
    return fps, Fraction(1, ticks)


def _fit(image: np.ndarray, height: int, width: int) -> np.ndarray:
    if image.shape[:2] == (height, width):
        return image
    scale = min(height / image.shape[0], width / image.shape[1])
    inner = max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))
    small = Image.fromarray(image).resize(inner[::-1], Image.Resampling.BILINEAR)
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    canvas[top : top + inner[0], left : left + inner[1]] = np.asarray(small)
    return canvas
