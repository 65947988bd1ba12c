"""Small video files and image folders for tests."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def moving_bar(count: int, height: int = 48, width: int = 64, step: int = 2) -> list[np.ndarray]:
    """`count` RGB frames of a smooth background over which a bright bar moves `step` pixels per frame."""
    y, x = np.mgrid[0:height, 0:width]
    ground = np.stack([x * 200 // width, y * 200 // height, (x + y) * 100 // (width + height)], -1)
    frames = []
    for i in range(count):
        frame = ground.astype(np.uint8)
        left = i * step % width
        frame[:, left : left + 6] = (250, 240, 30)
        frames.append(frame)
    return frames


def write_video(
    path: Path,
    images: Iterable[np.ndarray],
    *,
    fps: Fraction = Fraction(25),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times: Iterable[Fraction] | None = None,
    **options: str,
) -> Path:
    """A video file written with PyAV alone, so that reading is not tested against our own writing."""
    images = list(images)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        base = Fraction(1, 90000) if times is not None else 1 / fps
        stream.codec_context.time_base = base
        moments = [i / fps for i in range(len(images))] if times is None else list(times)
        for image, moment in zip(images, moments, strict=True):
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            picture.pts = round(moment / base)
            picture.time_base = base
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def damage_packet(path: Path, number: int, intact: float = 0.0) -> None:
    """Overwrites the packet `number` of a video file with noise, but for its first share `intact`."""
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    position, size = packets[number]
    position, size = position + int(size * intact), size - int(size * intact)
    data = bytearray(path.read_bytes())
    data[position : position + size] = np.random.default_rng(0).bytes(size)
    path.write_bytes(data)
