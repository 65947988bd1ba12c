"""Shot boundaries: found in the frames, or given as a list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from PIL import Image

from runtime.video.frames import Frame
from weights.errors import UsageError
from weights.numbers import BadNumber, whole

__all__ = ["ShotDetector", "detect_shots", "flag_shots", "mark_shots", "parse_shots"]

# Cuts between photographs score 0.36 and more, pans and fast moving objects 0.22 and less.
THRESHOLD = 0.32
_THUMBNAIL = (64, 48)
_LEVELS = 8  # of each colour in the histogram
# Camera movements that are tried: up to a quarter of the thumbnail's width and height.
_SHIFTS = tuple((dy, dx) for dy in range(-12, 13, 2) for dx in range(-16, 17, 2))


class ShotDetector:
    """Tells, frame by frame, where a new shot starts. It keeps only a thumbnail of the last frame.

    A cut changes both what colours there are and where they are, so the score of a frame is
    sqrt(h * s), 0 to 1, of its thumbnail and the last one's. h is the share of pixels whose colour (8
    levels per channel) changed in the histogram: a moving camera hardly touches it. s is 1 minus the greatest
    correlation of the grey levels, at least 0, with one thumbnail moved by up to a quarter: a flash,
    a change of exposure or a pan hardly touches it. The frame starts a shot where the score reaches
    `threshold`. Dissolves and fades are not found.
    """

    def __init__(self, threshold: float = THRESHOLD) -> None:
        if not 0 < threshold <= 1:
            raise UsageError("threshold of shot changes out of range", found=threshold, expected="0 to 1")
        self.threshold = threshold
        self._last: tuple[tuple[int, ...], np.ndarray, np.ndarray] | None = None

    def is_start(self, image: np.ndarray) -> bool:
        """Whether `image`, uint8 RGB, starts a shot; the first one does, and one of another size does."""
        small = Image.fromarray(image).resize(_THUMBNAIL, Image.Resampling.BOX)
        pixels = np.asarray(small).astype(np.int64)
        level = pixels.reshape(-1, 3) * _LEVELS // 256
        colours = np.bincount(level @ (_LEVELS * _LEVELS, _LEVELS, 1), minlength=_LEVELS**3)
        grey = pixels.sum(axis=2)
        last, self._last = self._last, (image.shape, colours, grey)
        if last is None or last[0] != image.shape:
            return True
        histogram = np.abs(colours - last[1]).sum() / (2 * len(level))

        def reaches(correlation: float) -> bool:
            structure = min(1.0, max(0.0, 1 - correlation))
            return bool(np.sqrt(histogram * structure) >= self.threshold)

        # Most frames fall short without any movement, and a movement can only lower the score.
        return reaches(_correlation(grey, last[2], 0, 0)) and reaches(
            max(_correlation(grey, last[2], dy, dx) for dy, dx in _SHIFTS)
        )


def _correlation(a: np.ndarray, b: np.ndarray, dy: int, dx: int) -> float:
    """Correlation of the parts of `a` and `b` that overlap when b is moved by (dy, dx); 0 for flat parts."""
    height, width = a.shape
    here = a[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)]
    there = b[max(0, -dy) : height + min(0, -dy), max(0, -dx) : width + min(0, -dx)]
    here, there = here - here.mean(), there - there.mean()
    scale = float(np.sqrt((here * here).sum() * (there * there).sum()))
    return float((here * there).sum()) / scale if scale > 0 else 0.0


def detect_shots(frames: Iterable[Frame], threshold: float = THRESHOLD) -> Iterator[Frame]:
    """The frames, with `shot_start` set also on each that starts a shot by a `ShotDetector`.

    Args:
        frames: The frames, in order.
        threshold: The detector's.

    Yields:
        Each frame.
    """
    detector = ShotDetector(threshold)
    for frame in frames:
        starts = detector.is_start(frame.image)
        yield replace(frame, shot_start=starts or frame.shot_start)


def flag_shots(frames: Iterable[Frame], starts: Sequence[int]) -> Iterator[Frame]:
    """The frames, with `shot_start` set where a shot begins by a list.

    The first frame always starts a shot. Where the very frame of the list is missing (left out by a stride,
    or corrupt), the next one starts it.

    Args:
        frames: The frames, in order.
        starts: The numbers of first frames, ascending.

    Yields:
        Each frame.
    """
    passed = -1
    for frame in frames:
        now = sum(start <= frame.index for start in starts)
        yield replace(frame, shot_start=now != passed or frame.shot_start)
        passed = now


def mark_shots(frames: Iterable[Frame], shots: str | None) -> Iterator[Frame]:
    """The frames with their shots marked.

    Args:
        frames: The frames, in order.
        shots: "auto" to find them, their first frames such as "0,120,340", or None to leave `shot_start` as
            it is.

    Returns:
        The frames.

    Raises:
        UsageError: The list is wrong.
    """
    if shots is None:
        return iter(frames)
    if shots == "auto":
        return detect_shots(frames)
    return flag_shots(frames, parse_shots(shots))


def parse_shots(text: str) -> tuple[int, ...]:
    """The frame numbers of a list of shots.

    Args:
        text: Whole numbers in ascending order, such as "0,120,340".

    Returns:
        The numbers.

    Raises:
        UsageError: The text is not such a list.
    """
    try:
        starts = tuple(whole(part) for part in text.split(","))
    except BadNumber:
        raise UsageError(
            "not a list of shot starts",
            found=repr(text[:80]),
            expected="auto, or frame numbers such as 0,120,340",
        ) from None
    if any(b <= a for a, b in pairwise(starts)):
        raise UsageError(
            "shot starts are out of order", found=text, expected="ascending, each frame number once"
        )
    return starts
