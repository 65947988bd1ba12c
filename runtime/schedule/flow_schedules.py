"""Schedules whose values follow the picture between key frames: `warp`, `warp-feature` and `correct`.

- `warp:K`: the whole network runs on every Kth frame, and its scores are moved to the frames between.
- `warp-feature:K` (Deep Feature Flow): all stages run on every Kth frame; what the head reads is moved, and
  the head runs on every frame.
- `correct:K` (Accel): the last stage runs on every Kth frame and what it hands out is moved; the stages
  before it run on every frame, so that the head corrects what was moved by what it sees now.

In place of K stands any clock; `adaptive:THETA` and `distance:THETA` here look at how well and how far values
were moved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import onnx

from runtime.flow.estimators import FlowSource
from runtime.flow.paths import Motion, MotionOptions
from runtime.schedule.clocks import Always, Clock, Drift, Every, Follow, sensors_of
from runtime.transform import Feed, Transform
from staged_onnx import Bundle, Manifest
from staged_onnx.split import split_head, split_manifest
from staged_onnx.warp import warp_graph, warp_labels_graph
from weights.errors import FlowError, ScheduleError, UsageError

__all__ = ["KINDS", "MAX_INTERVAL", "Moving", "clocks_of", "motion_of", "played_bundle", "played_manifest"]

KINDS = ("warp", "warp-feature", "correct")
MAX_INTERVAL = 16
"""Frames after which an adaptive schedule makes a full pass, where it does not say otherwise."""

_OPTION = re.compile(r"@(flow|scale|from|padding|occlusion|of)=([^@]*)")
_SMALLEST_SCALE = Fraction(1, 64)


@dataclass(frozen=True, eq=False)
class Moving:
    """That a schedule moves values: its kind, the motion they follow, and which they are.

    carried: what the head hands out as a value of the cache, where it is in two parts (see
    `staged_onnx.split`), else "".
    """

    kind: str
    motion: Motion
    carried: str
    values: tuple[str, ...]

    def drift(self, measure: str) -> Drift:
        """What an adaptive clock looks at: "adaptive" or "distance"."""
        if measure == "adaptive":
            return Drift(self.values[0], self.motion.residual, "residual")
        return Drift(self.values[0], self.motion.distance, "distance")

    def transforms(self, manifest: Manifest) -> tuple[Transform, ...]:
        """How each value is moved. manifest: the one that is played."""
        feeds: tuple[Feed, ...] = (Feed("flow", self.motion.path),)
        moved = [
            Transform(value, _Graph(self, manifest, value), feeds, chained=False) for value in self.values
        ]
        if self.carried == "fresh":
            feeds = (*feeds, Feed("hidden", self.motion.hidden))
            moved[-1] = Transform(moved[-1].value, moved[-1].graph, feeds, chained=False)
        return tuple(moved)


@dataclass(frozen=True, eq=False)
class _Graph:
    """Makes the warp graph of one value."""

    moving: Moving
    manifest: Manifest
    value: str

    def __call__(
        self, shape: tuple[int, ...], dtype: np.dtype, feeds: Mapping[str, tuple[int, ...]]
    ) -> onnx.ModelProto:
        padding = self.moving.motion.options.padding
        if self.moving.carried == "labels":
            return warp_labels_graph(shape, feeds["flow"], padding=padding)
        return warp_graph(
            shape, feeds["flow"], dtype=dtype, padding=padding, hidden=feeds.get("hidden"),
            extent=self._extent(shape, feeds["flow"]),
        )  # fmt: skip

    def _extent(self, shape: tuple[int, ...], grid: tuple[int, ...]) -> tuple[float, float]:
        """Height and width of the value as a multiple of the frame's, by its stride in the net's input."""
        stride = self.manifest.values[self.value].stride
        if stride is None:
            return 1.0, 1.0
        # At the net's own size the input is as large as the frame, of which the grid is a known share.
        input_size = self.manifest.preprocessing.size or self.moving.motion.frame_of((grid[0], grid[1]))
        return shape[2] * stride[0] / input_size[0], shape[3] * stride[1] / input_size[1]


def motion_of(
    kind: str, text: str, manifest: Manifest, *, flow: FlowSource | None = None, files: bool = True
) -> tuple[Moving, str]:
    """What a schedule `KIND:TEXT` moves and how, and TEXT without the options that say so.

    flow: the estimator instead of the text's. files: whether the text may name a model's file. Raises
    ScheduleError, FlowError or BundleError.
    """
    given = dict(_OPTION.findall(text))
    chosen: FlowSource = flow if flow is not None else given.get("flow", "auto")
    if not files and isinstance(chosen, str) and chosen.endswith(".onnx"):
        raise FlowError(
            "a bundle's own schedule names a file", found=f'"{chosen}"', expected="dis or skimage"
        )
    try:
        options = MotionOptions(
            chosen,
            _scale(given["scale"]) if "scale" in given else None,
            given.get("from", "previous"),
            given.get("padding", "border"),
            given.get("occlusion", "border"),
            given.get("of", "auto"),
        )
    except UsageError as error:
        raise ScheduleError(
            f'{error.problem} in schedule "{kind}:{text[:80]}"', found=error.found, expected=error.expected
        ) from None
    carried = _carried(kind, options)
    deep = kind == "correct" or carried == "fresh"
    if deep and len(manifest.stages) < 2:
        raise ScheduleError(
            f'"{kind}:{text}" does not fit the bundle',
            found="1 stage",
            expected="2 or more",
            hint="cut the net at more blobs",
        )
    values: tuple[str, ...] = ()
    if deep or kind == "warp-feature":
        values = _head_values(manifest, manifest.stages[-1:] if deep else manifest.stages)
    if carried:
        values = (*values, split_manifest(manifest, carried).stages[-1].outputs[-1])
    channels = manifest.scores.channels if manifest.scores is not None else len(manifest.class_names)
    return Moving(kind, Motion(options, channels=channels), carried, values), _OPTION.sub("", text)


def _carried(kind: str, options: MotionOptions) -> str:
    """What the head hands out; raises ScheduleError for options that contradict each other."""
    if kind != "warp" and options.occlusion == "fresh":
        raise ScheduleError(f"occlusion=fresh does not go with {kind}", expected="warp")
    if kind != "warp" and options.of != "auto":
        raise ScheduleError(f"of={options.of} does not go with {kind}", expected="warp")
    if options.of == "labels" and options.occlusion == "fresh":
        raise ScheduleError("occlusion=fresh needs scores", found="of=labels", expected="of=scores")
    if kind != "warp":
        return ""
    if options.occlusion == "fresh":
        return "fresh"
    return "scores" if options.of == "scores" else "labels"


def clocks_of(moving: Moving, clock: Clock, stages: int) -> tuple[Clock, ...]:
    """One clock a stage of the manifest that is played, from the one that says when a key frame is due."""
    if isinstance(clock, Every):
        moving.motion.is_key = lambda position: (position - clock.phase) % clock.rate == 0
    asks = any(True for _ in sensors_of(clock))
    if moving.kind == "correct":
        return (*(Always(),) * (stages - 1), clock)
    if moving.carried == "fresh":  # ..., the deepest stage, the head, the copy
        return (*(Always(),) * (stages - 3), clock, Always(), Follow(2))
    return (clock, *((Follow() if asks else clock,) * (stages - 1)))


def played_manifest(manifest: Manifest, moving: Moving | None) -> Manifest:
    """The manifest of the bundle that a schedule plays."""
    return split_manifest(manifest, moving.carried) if moving is not None and moving.carried else manifest


def played_bundle(bundle: Bundle, moving: Moving | None, size: tuple[int, int]) -> Bundle:
    """The bundle that a schedule plays on frames of a size."""
    if moving is None or not moving.carried:
        return bundle
    return split_head(bundle, moving.carried, moving.motion.scale_for(size))


def _head_values(manifest: Manifest, stages: Iterable[object]) -> tuple[str, ...]:
    """The values that the head reads from these stages, each a map."""
    made = {value for stage in manifest.stages if stage in stages for value in stage.outputs}
    values = tuple(value for value in manifest.head.inputs if value in made)
    flat = [value for value in values if len(manifest.values[value].shape) != 4]
    if flat:
        raise ScheduleError(
            "a value that is no map cannot follow the picture",
            found=f'"{flat[0]}" of shape {manifest.values[flat[0]].shape}',
            expected="1 x C x h x w",
        )
    return values


def _scale(text: str) -> Fraction:
    try:
        scale = Fraction(text)
    except (ValueError, ZeroDivisionError):
        scale = Fraction(0)
    if not _SMALLEST_SCALE <= scale <= 1 or scale.denominator > 1000:
        raise UsageError("bad scale", found=f'"{text}"', expected="1, 1/2, 0.25, ... down to 1/64")
    return scale
