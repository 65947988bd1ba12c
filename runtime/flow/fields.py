"""Optical flow as an array, and what makes it.

Flow is backward, as the warp reads it (`staged_onnx.warp`): float32, height x width x 2, (x, y) in pixels,
and what is at pixel p of the current frame was at p + flow[p] in the earlier one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Flow", "FlowEstimator", "FlowFunction", "Picture", "resize_flow"]

Picture = NDArray[np.uint8]
Flow = NDArray[np.float32]
FlowFunction = Callable[[Picture, Picture], Flow]
"""Of the earlier and the current frame, both H x W x 3 RGB: the backward flow, H x W x 2 in (x, y) pixels."""


@runtime_checkable
class FlowEstimator(Protocol):
    """Two frames in, their flow out. One estimator may be used from one thread at a time."""

    name: str

    def estimate(self, previous: Picture, current: Picture) -> Flow:
        """The backward flow at the frames' own size.

        Args:
            previous: The earlier frame.
            current: This frame, of the same size.

        Returns:
            H x W x 2, (x, y) in pixels.

        Raises:
            FlowError: The flow cannot be had.
        """

    def coarse(self, previous: Picture, current: Picture) -> Flow:
        """The backward flow on the grid on which it was estimated.

        Args:
            previous: The earlier frame.
            current: This frame, of the same size.

        Returns:
            h x w x 2, (x, y) in pixels of that grid.

        Raises:
            FlowError: The flow cannot be had.
        """


def resize_flow(flow: Flow, height: int, width: int) -> Flow:
    """A flow on another grid, bilinear (a mean where it gets smaller).

    Args:
        flow: H x W x 2, in pixels of its own grid.
        height: The new grid's height.
        width: The new grid's width.

    Returns:
        height x width x 2, in pixels of the new grid.
    """
    if flow.shape[:2] == (height, width):
        return flow
    size, way = (width, height), Image.Resampling.BILINEAR
    planes = [np.asarray(Image.fromarray(flow[..., i]).resize(size, way)) for i in (0, 1)]
    scale = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
    return np.ascontiguousarray(np.stack(planes, axis=-1) * scale)
