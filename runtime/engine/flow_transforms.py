"""The transforms of a schedule whose values follow the picture: warp graphs, fed with flow paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx

from runtime.flow.paths import FlowPaths
from runtime.schedule.flow_schedules import Movement
from runtime.transform import Feed, Transform
from staged_onnx import Manifest
from staged_onnx.warp import warp_graph, warp_labels_graph

__all__ = ["flow_transforms"]


def flow_transforms(movement: Movement, manifest: Manifest, paths: FlowPaths) -> tuple[Transform, ...]:
    """How each value of a movement is moved.

    Args:
        movement: What is moved and how.
        manifest: The stages as they are played.
        paths: Where the flow paths come from.
    """
    feeds = (Feed("flow", paths.path),)
    moved = [
        Transform(value, _WarpGraph(movement, manifest, paths, value), feeds, chained=False)
        for value in movement.values
    ]
    if movement.carried == "fresh":
        moved[-1] = replace(moved[-1], feeds=(*feeds, Feed("hidden", paths.hidden)))
    return tuple(moved)


@dataclass(frozen=True, eq=False)
class _WarpGraph:
    """Makes the warp graph of one value."""

    movement: Movement
    manifest: Manifest
    paths: FlowPaths
    value: str

    def __call__(
        self, shape: tuple[int, ...], dtype: np.dtype, feeds: Mapping[str, tuple[int, ...]]
    ) -> onnx.ModelProto:
        padding = self.movement.options.padding
        if self.movement.carried == "labels":
            return warp_labels_graph(shape, feeds["flow"], padding=padding)
        return warp_graph(
            shape,
            feeds["flow"],
            dtype=dtype,
            padding=padding,
            hidden=feeds.get("hidden"),
            extent=self._extent(shape, feeds["flow"]),
        )

    def _extent(self, shape: tuple[int, ...], grid: tuple[int, ...]) -> tuple[float, float]:
        """Height and width of the value as a multiple of the frame's, by its stride in the net's input."""
        stride = self.manifest.values[self.value].stride
        if stride is None:
            return 1.0, 1.0
        # At the net's own size the input is as large as the frame, of which the grid is a known share.
        input_size = self.manifest.preprocessing.size or self.paths.frame_of((grid[0], grid[1]))
        return shape[2] * stride[0] / input_size[0], shape[3] * stride[1] / input_size[1]
