"""The transforms of a schedule whose values follow the picture: warps and blends, fed with flow paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from runtime.flow.paths import FlowPaths
from runtime.schedule.flow_schedules import Movement
from runtime.transform import Feed, Read, Transform
from staged_onnx import Manifest
from staged_onnx.blend import BlendInput, blend_graph, blend_labels_graph
from staged_onnx.warp import warp_graph, warp_labels_graph

__all__ = ["flow_transforms"]


def flow_transforms(movement: Movement, manifest: Manifest, paths: FlowPaths) -> tuple[Transform, ...]:
    """How each value of a movement is moved, and mixed with others.

    Args:
        movement: What is moved and how.
        manifest: The stages as they are played.
        paths: Where the flow paths come from.
    """
    if movement.carried == "scores":
        return _of_scores(movement, manifest, paths)
    found = [_moved(movement, manifest, paths, value) for value in movement.values]
    if movement.options.fuse:
        found += [_fused(movement, manifest, paths, value) for value in movement.values]
    return tuple(found)


def _moved(movement: Movement, manifest: Manifest, paths: FlowPaths, value: str) -> Transform:
    """A value moved along the whole path from where it was computed or, chained, on from the frame before."""
    chained = movement.options.chained
    feeds: tuple[Feed, ...] = (Feed("flow", paths.step if chained else paths.path),)
    if movement.carried == "fresh" and value == movement.values[-1]:
        feeds = (*feeds, Feed("hidden", paths.hidden))
    read = Read("value", value, "newest" if chained else "source")
    return Transform(value, _WarpGraph(movement, manifest, paths, value), feeds, (read,))


def _fused(movement: Movement, manifest: Manifest, paths: FlowPaths, value: str) -> Transform:
    """A value that was just computed, mixed with what was computed before, moved to here."""
    graph = _BlendGraph(
        movement, manifest, paths, value, (BlendInput("moved_value", "way"), BlendInput("value"))
    )
    feeds = (Feed("way", paths.whole_path), Feed("share", paths.share_of_moved))
    reads = (Read("moved_value", value, "earlier"), Read("value", value, "newest"))
    return Transform(value, graph, feeds, reads, when="fired")


def _of_scores(movement: Movement, manifest: Manifest, paths: FlowPaths) -> tuple[Transform, ...]:
    """The label map made of scores: moved ones, or ones blended from both sides; and of fused ones."""
    labels, scores = movement.values[0], movement.scores
    found = []
    inputs: tuple[BlendInput, ...] = (BlendInput("value", "flow"),)
    feeds: tuple[Feed, ...] = (Feed("flow", paths.path),)
    reads: tuple[Read, ...] = (Read("value", scores, "source"),)
    if movement.kind == "between":
        inputs = (*inputs, BlendInput("later_value", "later_flow"))
        feeds = (
            Feed("flow", paths.earlier_path),
            Feed("later_flow", paths.later_path),
            Feed("share", paths.share_of_earlier),
        )
        reads = (Read("value", scores, "earlier"), Read("later_value", scores, "source"))
    graph = _BlendGraph(movement, manifest, paths, scores, inputs, labels=True)
    found.append(Transform(labels, graph, feeds, reads))
    if movement.options.fuse:
        found.append(_fused(movement, manifest, paths, scores))
        graph = _BlendGraph(movement, manifest, paths, scores, (BlendInput("value"),), labels=True)
        # fed with the way, which it does not read, so that it does nothing where nothing was fused
        way = Feed("way", paths.whole_path)
        fused = Transform(labels, graph, (way,), (Read("value", scores, "newest"),), when="fired")
        found.append(fused)
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _WarpGraph:
    """Makes the warp graph of one value."""

    movement: Movement
    manifest: Manifest
    paths: FlowPaths
    value: str

    def __call__(
        self, shape: tuple[int, ...], dtype: np.dtype, inputs: Mapping[str, tuple[int, ...]]
    ) -> onnx.ModelProto:
        padding = self.movement.options.padding
        if self.movement.carried == "labels":
            return warp_labels_graph(shape, inputs["flow"], padding=padding)
        return warp_graph(
            shape,
            inputs["flow"],
            dtype=dtype,
            padding=padding,
            hidden=inputs.get("hidden"),
            extent=_extent(self.manifest, self.paths, self.value, shape, inputs["flow"]),
        )


@dataclass(frozen=True, eq=False)
class _BlendGraph:
    """Makes the blend graph of versions of one value; `labels`: what is written is the label map of it."""

    movement: Movement
    manifest: Manifest
    paths: FlowPaths
    value: str
    blended: tuple[BlendInput, ...]
    labels: bool = False

    def __call__(
        self, shape: tuple[int, ...], dtype: np.dtype, inputs: Mapping[str, tuple[int, ...]]
    ) -> onnx.ModelProto:
        read = {each.name for each in self.blended}
        feeds = {name: dims for name, dims in inputs.items() if name not in read}
        of = inputs[self.blended[0].name]
        padding = self.movement.options.padding
        if self.labels:
            return blend_labels_graph(
                self.blended, of, feeds, (shape[0], shape[1]), dtype=dtype, padding=padding
            )
        flow = next(inputs[each.flow] for each in self.blended if each.flow)
        extent = _extent(self.manifest, self.paths, self.value, of, flow)
        return blend_graph(self.blended, of, feeds, dtype=dtype, extent=extent, padding=padding)


def _extent(
    manifest: Manifest, paths: FlowPaths, value: str, shape: tuple[int, ...], grid: tuple[int, ...]
) -> tuple[float, float]:
    """Height and width of a value as a multiple of the frame's, by its stride in the net's input."""
    stride = manifest.values[value].stride
    if stride is None:
        return 1.0, 1.0
    # At the net's own size the input is as large as the frame, of which the grid is a known share.
    input_size = manifest.preprocessing.size or paths.frame_of((grid[0], grid[1]))
    return shape[2] * stride[0] / input_size[0], shape[3] * stride[1] / input_size[1]
