"""Schedules of bundles that move their features by a flow of their own: `accel:K` and `dff:K`.

On every Kth frame the feature network runs; the frames between move its features.

- `dff:K` (Deep Feature Flow): always what the key frame left, along the flow from the key frame's picture.
- `accel:K` (Accel): what the frame before left, moved or not, along the flow from that frame's picture.

The flow, and what corrects the moved features, is made on the frames between alone; a shot's first frame is a
key frame. `oracle` is K = 1; `skip:K` repeats the key frame's labels.
"""

from __future__ import annotations

from dataclasses import replace

from runtime.schedule.clocks import Always, Clock, Every, Never, Not
from runtime.schedule.schedule import Schedule, check_schedule, edges_of
from runtime.transform import Read, Transform
from staged_onnx import FeatureFlow, Manifest
from weights.errors import ScheduleError

__all__ = ["FEATURE_FLOWS", "feature_flow_schedule"]

FEATURE_FLOWS = ("accel", "dff")


def feature_flow_schedule(text: str, family: str, manifest: Manifest, key: Every) -> Schedule:
    """The schedule of a family on a bundle's stages.

    Args:
        text: How the schedule is written.
        family: "accel", "dff", "oracle" or "skip".
        manifest: The bundle's.
        key: Which frames are key frames.

    Returns:
        The schedule.

    Raises:
        ScheduleError: The bundle has no flow of its own.
    """
    flow = manifest.feature_flow
    if flow is None:
        raise ScheduleError(
            f'"{text}" does not fit the bundle',
            found="stages without a flow of their own",
            expected="a bundle of a net that moves its features (clockwork net accel, dff-deeplab)",
            hint="correct:K and warp-feature:K do the like with flow from outside",
        )
    repeats, chained = family == "skip", family == "accel"
    between: Clock = Never() if repeats else Not(key)
    clocks: list[Clock] = []
    for stage in manifest.stages:
        if stage.between:
            clocks.append(between)
        else:
            clocks.append(Always() if chained and flow.reference in stage.outputs else key)
    edges = tuple(
        replace(edge, lag=1) if chained and edge.value == flow.reference else edge
        for edge in edges_of(manifest)
    )
    transforms = () if repeats else (_transform(flow, chained),)
    schedule = Schedule(text, tuple(clocks), edges, repeat=repeats, transforms=transforms, family=family)
    check_schedule(schedule, manifest)
    return schedule


def _transform(flow: FeatureFlow, chained: bool) -> Transform:
    """The features moved by what the flow stage made on this frame."""
    own = Read("value", flow.value, "newest" if chained else "source")
    return Transform(flow.value, None, reads=(own, *(Read(name, name, "newest") for name in flow.inputs)))
