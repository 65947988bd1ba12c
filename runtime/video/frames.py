"""What every source hands out: frames, and the problems of frames that it could not hand out."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from weights import limits

__all__ = ["MAX_PIXELS", "Frame", "Problem"]

MAX_PIXELS = int(limits.FRAME_PIXELS)
"""The most pixels of a frame, 89 million; Pillow warns above this."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame.

    index: its position in the source. time: in seconds since the source's first frame, None for images.
    image: uint8, (height, width, 3), RGB. name: for files made from it. shot_start: it begins a shot.
    """

    index: int
    time: Fraction | None
    image: np.ndarray
    name: str
    shot_start: bool = False


@dataclass(frozen=True)
class Problem:
    """Frames that could not be read and were left out.

    index: the first one's, in the source. name: the frame's name; "" where the problem is not one frame's.
    text: what is wrong. frames: how many frames are missing because of it.
    """

    index: int
    name: str
    text: str
    frames: int = 1

    def __str__(self) -> str:
        return f"frame {self.index} ({self.name}) is left out: {self.text}" if self.name else self.text
