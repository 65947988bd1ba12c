"""Where each pixel's label comes from: from which key frame, from where in it, and how sure that is."""

from __future__ import annotations

import numpy as np

from runtime.flow.paths import FlowPaths
from runtime.step import Origin
from runtime.transform import Moment

__all__ = ["fresh_origin", "origin_of"]


def fresh_origin(grid: tuple[int, int]) -> Origin:
    """The origin of labels that were computed on the frame itself.

    Args:
        grid: Height and width of the maps.

    Returns:
        Age 0, no motion, all sure.
    """
    still = np.zeros((*grid, 2), np.float32)
    return Origin(np.zeros(grid, np.int16), still, np.ones(grid, np.float32))


def origin_of(paths: FlowPaths, moment: Moment, age: int) -> Origin:
    """The origin of labels that were moved to a frame.

    Where they are blended from the key frames on both sides, it is the one that weighs more.

    Args:
        paths: What they were moved along.
        moment: The frame, and the key frames that it looks at.
        age: Frames since the key frame before it.

    Returns:
        The maps, on the grid of the paths.
    """
    path = paths.whole_path(moment)
    moved = path if path is not None else paths.still(moment)
    sure = paths.sureness(moment, moment.source, moved)
    ages = np.full(sure.shape, age, np.int16)
    if moment.until:
        later = paths.later_path(moment)
        of_later = paths.share_of_earlier(moment)[0, 0] < 0.5
        later_sure = paths.sureness(moment, moment.until[-1].image, later)
        ages[of_later] = -len(moment.until)
        moved = np.where(of_later[..., np.newaxis], later, moved)
        sure = np.where(of_later, later_sure, sure)
    return Origin(ages, moved, sure)
