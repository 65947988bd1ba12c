"""The transforms of a schedule whose values follow the picture: warps and blends, fed with flow paths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from runtime.flow.paths import FlowPaths
from runtime.schedule.flow_schedules import Movement
from runtime.transform import Feed, Read, Transform
from staged_onnx import Manifest
from staged_onnx.blend import BlendInput, blend_graph, blend_labels_graph, settled_labels_graph
from staged_onnx.warp import warp_graph, warp_labels_graph

__all__ = ["flow_transforms"]


def flow_transforms(movement: Movement, manifest: Manifest, paths: FlowPaths) -> tuple[Transform, ...]:
    """How each value of a movement is moved, and mixed with others.

    Args:
        movement: What is moved and how.
        manifest: The stages as they are played.
        paths: Where the flow paths come from.

    Returns:
        The transforms, in the order in which they are made.
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
    """The label map that goes with scores: moved, or made of both key frames; and that of fused scores."""
    labels, scores = movement.values[0], movement.scores
    if movement.kind == "between":
        found = [_between(movement, manifest, paths)]
    elif movement.options.of == "scores":
        graph = _LabelsGraph(movement, (BlendInput("value", "flow"),))
        reads: tuple[Read, ...] = (Read("value", scores, "source"),)
        found = [Transform(labels, graph, (Feed("flow", paths.path),), reads)]
    else:
        found = [_moved(movement, manifest, paths, labels)]
    if movement.options.fuse:
        found.append(_fused(movement, manifest, paths, scores))
        graph = _LabelsGraph(
            movement, (BlendInput("value"),), (BlendInput("moved_labels", "way"), BlendInput("labels"))
        )
        reads = (
            Read("value", scores, "newest"),
            Read("moved_labels", labels, "earlier"),
            Read("labels", labels, "newest"),
        )
        found.append(Transform(labels, graph, (Feed("way", paths.whole_path),), reads, when="fired"))
    return tuple(found)


def _between(movement: Movement, manifest: Manifest, paths: FlowPaths) -> Transform:
    """The label map of a frame from those of the key frames on both sides, and from their scores."""
    labels, scores = movement.values[0], movement.scores
    graph = _LabelsGraph(
        movement,
        (BlendInput("value", "flow"), BlendInput("later_value", "later_flow")),
        (BlendInput("labels", "flow"), BlendInput("later_labels", "later_flow")),
    )
    feeds = (
        Feed("flow", paths.earlier_path),
        Feed("later_flow", paths.later_path),
        Feed("share", paths.share_of_earlier),
    )
    reads = (
        Read("value", scores, "earlier"),
        Read("later_value", scores, "source"),
        Read("labels", labels, "earlier"),
        Read("later_labels", labels, "source"),
    )
    return Transform(labels, graph, feeds, reads)


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
        if len(shape) == 2:
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
    """Makes the blend graph of versions of one value."""

    movement: Movement
    manifest: Manifest
    paths: FlowPaths
    value: str
    blended: tuple[BlendInput, ...]

    def __call__(
        self, shape: tuple[int, ...], dtype: np.dtype, inputs: Mapping[str, tuple[int, ...]]
    ) -> onnx.ModelProto:
        feeds = _without(inputs, self.blended)
        of = inputs[self.blended[0].name]
        flow = next(inputs[each.flow] for each in self.blended if each.flow)
        extent = _extent(self.manifest, self.paths, self.value, of, flow)
        padding = self.movement.options.padding
        return blend_graph(self.blended, of, feeds, dtype=dtype, extent=extent, padding=padding)


@dataclass(frozen=True, eq=False)
class _LabelsGraph:
    """Makes the graph of a label map of blended scores; `settled`: the label maps that go with them."""

    movement: Movement
    blended: tuple[BlendInput, ...]
    settled: tuple[BlendInput, ...] = ()

    def __call__(
        self, shape: tuple[int, ...], dtype: np.dtype, inputs: Mapping[str, tuple[int, ...]]
    ) -> onnx.ModelProto:
        feeds = _without(inputs, (*self.blended, *self.settled))
        of, size = inputs[self.blended[0].name], (shape[0], shape[1])
        padding = self.movement.options.padding
        if not self.settled:
            return blend_labels_graph(self.blended, of, feeds, size, dtype=dtype, padding=padding)
        return settled_labels_graph(self.blended, self.settled, of, feeds, size, dtype=dtype, padding=padding)


def _without(inputs: Mapping[str, tuple[int, ...]], read: Iterable[BlendInput]) -> dict[str, tuple[int, ...]]:
    """The inputs that are not maps: flows and shares."""
    names = {each.name for each in read}
    return {name: dims for name, dims in inputs.items() if name not in names}


def _extent(
    manifest: Manifest, paths: FlowPaths, value: str, shape: tuple[int, ...], grid: tuple[int, ...]
) -> tuple[float, float]:
    """Height and width of a value as a multiple of the frame's, by its stride in the net's input."""
    stride = manifest.values[value].stride
    if stride is None:
        return 1.0, 1.0
    # Unless it is resized, the input has the frame's pixels, of which the grid is a known share.
    how = manifest.preprocessing
    resized = how.size if how.fit == "resize" else None
    input_size = resized or paths.frame_of((grid[0], grid[1]))
    return shape[2] * stride[0] / input_size[0], shape[3] * stride[1] / input_size[1]
