"""Flow from a decoder's motion vectors: what the encoder found when it made the stream, for nothing.

A block of a predicted picture says where in the picture before it was taken from. The blocks fill a grid of
cells; cells of blocks that were coded anew take what is around them; and a median takes out vectors that
saved bits but follow nothing. `runtime.video.motion` decides of which frames the vectors can be believed; for
the others flow is estimated, and counted.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from runtime.flow.fields import Flow, FlowEstimator, Picture

__all__ = ["FROM_STREAM", "CodecFlow", "block_flow", "turned_round"]

CELL = 8
"""Pixels on a side of a cell that blocks fill. They are multiples of it, or share one."""
_MEDIAN_OF_9 = (
    *((1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3)),
    *((5, 8), (4, 7), (3, 6), (1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2)),
)
"""Pairs to be put in order after which the fifth of nine numbers is their median (Paeth 1990)."""
FROM_STREAM = "from the stream"


class CodecFlow:
    """The flow between a frame and the one before: from the stream where its vectors lead there, else
    estimated.

    Args:
        fallback: What estimates it.
    """

    name = "codec"

    def __init__(self, fallback: FlowEstimator) -> None:
        self.fallback = fallback
        self.counts: Counter[str] = Counter()
        """How many pairs of frames had their flow FROM_STREAM, and how many not, by the reason."""

    def estimate(self, previous: Picture, current: Picture) -> Flow:
        return self.fallback.estimate(previous, current)

    def coarse(self, previous: Picture, current: Picture) -> Flow:
        return self.fallback.coarse(previous, current)

    def from_stream(self, before: object, frame: object, size: tuple[int, int]) -> Flow | None:
        """The flow that comes with a frame.

        Args:
            before: A frame as it was played (`runtime.video.frames.Frame`).
            frame: The next one.
            size: Height and width of their pictures.

        Returns:
            h x w x 2, in pixels of a coarse grid; None where the flow has to be estimated.
        """
        refused = _refusal(before, frame)
        self.counts[refused or FROM_STREAM] += 1
        return None if refused else block_flow(frame.motion.vectors, size)  # type: ignore[attr-defined]


def _refusal(before: object, frame: object) -> str:
    motion = getattr(frame, "motion", None)
    if motion is None:
        return "frames without a stream"
    if motion.vectors is None:
        return str(motion.refused)
    first, second = (getattr(each, "index", None) for each in (before, frame))
    adjacent = isinstance(first, int) and isinstance(second, int) and second == first + 1
    return "" if adjacent else "frames left out"


def block_flow(vectors: NDArray[Any], size: tuple[int, int]) -> Flow:
    """The flow that motion vectors make, on a grid of cells of about CELL / 2 pixels.

    Args:
        vectors: FFmpeg's, one per block: `dst_x`, `dst_y`, the block's centre, its size `w`, `h`, and
            `motion_x`, `motion_y` over `motion_scale`, the way to where it was taken from.
        size: Height and width of the frame.

    Returns:
        float32, h x w x 2, (x, y) in pixels of its grid.
    """
    grid = (-(-size[0] // CELL), -(-size[1] // CELL))
    scale = np.maximum(vectors["motion_scale"], 1).astype(np.float32)
    motion = np.stack([vectors["motion_x"] / scale, vectors["motion_y"] / scale], axis=-1).astype(np.float32)
    field = np.zeros((*grid, 2), np.float32)
    known = np.zeros(grid, np.bool_)
    width, height = (vectors[side].astype(np.int32) for side in ("w", "h"))
    left = (vectors["dst_x"].astype(np.int32) - width // 2) // CELL
    top = (vectors["dst_y"].astype(np.int32) - height // 2) // CELL
    for down in range(max(1, int(height.max()) // CELL)):
        for right in range(max(1, int(width.max()) // CELL)):
            has = (height > down * CELL) & (width > right * CELL)
            row, column = top[has] + down, left[has] + right
            inside = (row >= 0) & (column >= 0) & (row < grid[0]) & (column < grid[1])
            row, column = row[inside], column[inside]
            field[row, column] = motion[has][inside]
            known[row, column] = True
    return _on_grid(_smooth(_filled(field, known)), size)


def turned_round(flow: Flow) -> Flow:
    """The flow the other way, from the earlier frame to the current one, on the same grid.

    What is at p of the current frame was at p + flow[p]: so what is there of the earlier frame is to be found
    -flow[p] farther. Where nothing leads to, it is as around.
    """
    height, width = flow.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    row, column = (
        np.rint(place + flow[..., axis]).astype(np.int64).ravel() for place, axis in ((rows, 1), (columns, 0))
    )
    inside = (row >= 0) & (column >= 0) & (row < height) & (column < width)
    cell = (row * width + column)[inside]
    count = np.bincount(cell, minlength=height * width).reshape(height, width)
    sums = [
        np.bincount(cell, weights=-flow[..., axis].ravel()[inside], minlength=height * width)
        for axis in (0, 1)
    ]
    field = np.stack(sums, axis=-1).reshape(height, width, 2) / np.maximum(count, 1)[..., np.newaxis]
    return _filled(field.astype(np.float32), count > 0)


def _smooth(field: Flow) -> Flow:
    """The field on a grid twice as fine, of the median and then the mean of 3 x 3 cells.

    More smoothing loses more at the borders of what moves than it wins within (docs/flow.md).
    """
    fine = np.ascontiguousarray(field.repeat(2, axis=0).repeat(2, axis=1).transpose(2, 0, 1))
    height, width = fine.shape[1:]
    padded = np.pad(fine, ((0, 0), (1, 1), (1, 1)), mode="edge")
    cells = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    for low, high in _MEDIAN_OF_9:
        cells[low], cells[high] = np.minimum(cells[low], cells[high]), np.maximum(cells[low], cells[high])
    smooth = ndimage.uniform_filter(cells[4], (0, 3, 3), mode="nearest")
    return np.asarray(smooth).transpose(1, 2, 0)


def _filled(field: Flow, known: NDArray[np.bool_]) -> Flow:
    """The field with its holes as a mean of what is around: of the finest level of a pyramid that knows."""
    if known.all() or not known.any():
        return field
    height, width = known.shape
    padded = np.zeros((height + height % 2, width + width % 2, 3), np.float32)
    padded[:height, :width, :2] = np.where(known[..., np.newaxis], field, 0)
    padded[:height, :width, 2] = known
    sums = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2, 3).sum((1, 3))
    count = sums[..., 2]
    coarse = _filled(sums[..., :2] / np.maximum(count, 1)[..., np.newaxis], count > 0)
    above = coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return np.where(known[..., np.newaxis], field, above)


def _on_grid(field: Flow, size: tuple[int, int]) -> Flow:
    """Cells of CELL / 2 pixels to as many that fill the frame exactly, in pixels of that grid."""
    height, width = field.shape[:2]
    box = (0.0, 0.0, 2 * size[1] / CELL, 2 * size[0] / CELL)
    if box[2:] != (width, height):
        way = Image.Resampling.BILINEAR
        planes = [Image.fromarray(field[..., i]).resize((width, height), way, box=box) for i in (0, 1)]
        field = np.stack([np.asarray(plane) for plane in planes], axis=-1)
    return np.ascontiguousarray(field * np.array([width / size[1], height / size[0]], np.float32))
