"""What every source hands out: frames, and the problems of frames that it could not hand out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from weights import limits

__all__ = ["MAX_PIXELS", "Frame", "Motion", "Problem", "pictures_of"]

MAX_PIXELS = int(limits.FRAME_PIXELS)
"""The most pixels of a frame, 89 million; Pillow warns above this."""


@dataclass(frozen=True, eq=False)
class Motion:
    """Where a decoder took the blocks of a picture from.

    vectors: FFmpeg's (AVMotionVector), a structured array of one row per block, all of which lead to the
    picture before; None where there are none that are known to, and `refused` says why.
    """

    vectors: np.ndarray | None
    refused: str = ""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame.

    index: its position in the source. time: in seconds since the source's first frame, None for images.
    image: uint8, (height, width, 3), RGB. name: for files made from it. shot_start: it begins a shot. more:
    further pictures that come with it, by name: uint8 as the image, or depth, uint16, (height, width, 1).
    motion: from the source's frame before, where the reader was asked for it.
    """

    index: int
    time: Fraction | None
    image: np.ndarray
    name: str
    shot_start: bool = False
    more: Mapping[str, np.ndarray] = field(default_factory=dict)
    motion: Motion | None = None


def pictures_of(frame: Any) -> tuple[Any, Mapping[str, Any]]:
    """The picture of a frame that is labelled and shown, and those that come with it, by name.

    Args:
        frame: A picture alone; an object with `.image` and, where it has them, `.more`; or a mapping from the
            names of the pictures, of which the first is called "frame".

    Returns:
        The picture, and the others by name.
    """
    if isinstance(frame, Mapping):
        return frame.get("frame"), {name: picture for name, picture in frame.items() if name != "frame"}
    return getattr(frame, "image", frame), getattr(frame, "more", {})


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
