"""What every source hands out: frames, and the problems of frames that it could not hand out."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

__all__ = ["MAX_PIXELS", "Frame", "Problem"]

MAX_PIXELS = 85 << 20
"""The most pixels of a frame, 89 million; Pillow warns above this."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame: its position in the source, its time in seconds since the source's first frame
    (None for images), uint8 pixels of shape (height, width, 3) in RGB order, and a name for files made
    from it. `shot_start` marks the first frame of a shot.
    """

    index: int
    time: Fraction | None
    image: np.ndarray
    name: str
    shot_start: bool = False


@dataclass(frozen=True)
class Problem:
    """A frame that could not be read and was left out."""

    index: int
    name: str
    text: str

    def __str__(self) -> str:
        return f"frame {self.index} ({self.name}) is left out: {self.text}"
