"""Signed distances to the boundary of a region of pixels."""

from __future__ import annotations

import numpy as np

__all__ = ["REACH", "signed_distance"]

REACH = 128
"""Distances are exact up to so many pixels; what lies further away counts as lying there."""


def _to_nearest(outside: np.ndarray, reach: int) -> np.ndarray:
    """For each pixel the Euclidean distance to the nearest True of `outside`, at most `reach`.

    First along the rows, then over the rows: d^2 = min over dy of (dy^2 + the row's distance^2).
    """
    height, width = outside.shape
    columns = np.arange(width)
    before = np.maximum.accumulate(np.where(outside, columns, -reach - width), axis=1)
    after = np.minimum.accumulate(np.where(outside, columns, reach + 2 * width)[:, ::-1], axis=1)[:, ::-1]
    row = np.minimum(columns - before, after - columns).clip(max=reach).astype(np.int32) ** 2
    squared = row.copy()
    for dy in range(1, min(reach, height)):
        np.minimum(squared[dy:], row[:-dy] + dy * dy, out=squared[dy:])
        np.minimum(squared[:-dy], row[dy:] + dy * dy, out=squared[:-dy])
    return np.sqrt(squared, dtype=np.float64).clip(max=reach)


def signed_distance(region: np.ndarray, reach: int = REACH) -> np.ndarray:
    """The distance of each pixel from the boundary of `region`, positive inside it.

    The boundary runs halfway between a pixel inside and one outside: the pixels beside it are 1/2 away.

    Args:
        region: bool (height, width).
        reach: Distances are cut here.

    Returns:
        float64 (height, width), in pixels.
    """
    return np.where(region, _to_nearest(~region, reach) - 0.5, 0.5 - _to_nearest(region, reach))
