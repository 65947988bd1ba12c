"""Schedules whose values follow the picture between key frames: `warp`, `warp-feature` and `correct`.

- `warp:K`: the whole network runs on every Kth frame, and its scores are moved to the frames between.
- `warp-feature:K` (Deep Feature Flow): all stages run on every Kth frame; what the head reads is moved, and
  the head runs on every frame.
- `correct:K` (Accel): the last stage runs on every Kth frame and what it hands out is moved; the stages
  before it run on every frame, so that the head corrects what was moved by what it sees now.
- `between:K`: the whole network runs on every Kth frame, and the frames between two of these take their
  labels from the scores of both, moved there and blended. They wait for the later one.

`@fuse` mixes, where values are computed anew, what is fresh with what was moved there. `@chained` moves
values on from frame to frame, as Accel does exactly, instead of once along the whole path.

In place of K stands any clock; `adaptive:THETA` and `distance:THETA` here look at how well and how far values
were moved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from runtime.flow.estimators import flow_estimator
from runtime.flow.options import FlowOptions
from runtime.schedule.clocks import Always, Clock, Drift, Every, Follow, sensors_of, single_clocks
from staged_onnx import Bundle, Manifest
from staged_onnx.split import split_head, split_manifest
from weights.errors import FlowError, ScheduleError, UsageError
from weights.numbers import BadNumber, fraction

__all__ = ["KINDS", "MAX_INTERVAL", "Movement", "movement_of", "played_bundle", "played_manifest"]

KINDS = ("warp", "warp-feature", "correct", "between")
MAX_INTERVAL = 16
"""Frames after which an adaptive schedule makes a full pass, where it does not say otherwise."""

_OPTION = re.compile(r"@(flow|scale|from|padding|occlusion|of|fuse)=([^@]*)|@(fuse|chained|origin)(?=@|$)")
FUSE = 0.6
"""Weight of what was moved to a key frame, where nothing is said against it (docs/flow.md)."""
_SMALLEST_SCALE = Fraction(1, 64)


@dataclass(frozen=True)
class Movement:
    """That a schedule's values follow the picture: its kind, how, and which values.

    carried: what the head hands out as a value of the cache, where it is in two parts (see
    `staged_onnx.split`), else "". values: those that are moved, "fresh" scores last. scores: the value that
    label maps are made of, where scores are carried. channels: of the scores. key: the
    clock that says when all of them are computed anew.
    """

    kind: str
    options: FlowOptions
    carried: str
    values: tuple[str, ...]
    channels: int
    scores: str = ""
    key: Clock = field(default_factory=Always)

    def drift(self, name: str) -> Drift:
        """What an adaptive clock of this name, "adaptive" or "distance", looks at."""
        return Drift(self.values[0], "residual" if name == "adaptive" else name)

    def clocks(self, stages: int) -> tuple[Clock, ...]:
        """One clock per stage of the manifest that is played."""
        key = self.key
        if self.kind == "correct":
            return (*(Always(),) * (stages - 1), key)
        if self.carried == "fresh":  # ..., the deepest stage, the head, the copy
            return (*(Always(),) * (stages - 3), key, Always(), Follow(2))
        asks = any(True for _ in sensors_of(key))
        return (key, *((Follow() if asks else key,) * (stages - 1)))

    def is_key(self, position: int) -> bool:
        """Whether nothing is moved to a shot's frame at this position, as far as that is known beforehand."""
        key = self.key
        if self.kind == "between" or self.options.fuse or not isinstance(key, Every):
            return False
        return (position - key.phase) % key.rate == 0

    def scores_scale(self, size: tuple[int, int]) -> Fraction:
        """The scale of the grid of carried scores at a frame size; that of the path for fresh ones."""
        if self.carried == "scores":
            return self.options.scores_scale(size, self.channels)
        return self.options.path_scale(size)

    @property
    def longest(self) -> int:
        """Frames that can lie between two key frames."""
        if isinstance(self.key, Every):
            return self.key.rate
        found = (getattr(clock, "maximum", None) for clock in single_clocks(self.key))
        return max((most for most in found if most is not None), default=MAX_INTERVAL)


def movement_of(kind: str, text: str, manifest: Manifest, *, files: bool = True) -> tuple[Movement, str]:
    """What a schedule `KIND:TEXT` moves and how.

    Args:
        kind: The kind of schedule, such as "warp".
        text: What comes after the colon, with its options.
        manifest: The bundle's.
        files: Whether the text may name a model's file.

    Returns:
        The movement, and the text without the options that say it.

    Raises:
        ScheduleError: The text is wrong, or does not fit the bundle.
        FlowError: There is no such flow estimator, or a file is named that may not be.
        BundleError: The bundle does not say where its scores are.
    """
    given = {name or flag: value for name, value, flag in _OPTION.findall(text)}
    flow = given.get("flow", "auto")
    if not files and flow.endswith(".onnx"):
        raise FlowError("a bundle's own schedule names a file", found=f'"{flow}"', expected="dis or skimage")
    options = _flow_options(kind, text, flow, given)
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
    scores = ""
    if carried:
        made = split_manifest(manifest, carried).stages[-1].outputs
        values, scores = (*values, made[0]), made[-1] if carried == "scores" else ""
    channels = manifest.scores.channels if manifest.scores is not None else len(manifest.class_names)
    return Movement(kind, options, carried, values, channels, scores), _OPTION.sub("", text)


def _flow_options(kind: str, text: str, flow: str, given: Mapping[str, str]) -> FlowOptions:
    """The options of a schedule's text; raises ScheduleError for an unknown one, FlowError for an estimator
    that cannot be had.
    """
    flow_estimator(flow)
    try:
        return FlowOptions(
            flow=flow,
            scale=_scale(given["scale"]) if "scale" in given else None,
            start=given.get("from", "previous"),
            padding=given.get("padding", "border"),
            occlusion=given.get("occlusion", "border"),
            of=given.get("of", "auto"),
            chained="chained" in given,
            origin="origin" in given,
            fuse=_weight(given["fuse"]) if "fuse" in given else 0.0,
        )
    except UsageError as error:
        raise ScheduleError(
            f'{error.problem} in schedule "{kind}:{text[:80]}"', found=error.found, expected=error.expected
        ) from None


def _carried(kind: str, options: FlowOptions) -> str:
    """What the head hands out; raises ScheduleError for options that contradict each other."""
    fused = options.fuse > 0
    if kind != "warp" and options.occlusion == "fresh":
        raise ScheduleError(f"occlusion=fresh does not go with {kind}", expected="warp")
    if fused and (options.occlusion == "fresh" or options.of == "labels"):
        found = "occlusion=fresh" if options.occlusion == "fresh" else "of=labels"
        raise ScheduleError("fusion mixes scores", found=found, expected="@fuse without it")
    if options.chained and kind not in ("warp-feature", "correct"):
        raise ScheduleError(f"@chained does not go with {kind}", expected="correct or warp-feature")
    if kind == "between":
        if options.of == "labels":
            raise ScheduleError("between blends scores", found="of=labels", expected="of=scores, or nothing")
        return "scores"
    if kind not in ("warp", "between") and options.of != "auto":
        raise ScheduleError(f"of={options.of} does not go with {kind}", expected="warp")
    if options.of == "labels" and options.occlusion == "fresh":
        raise ScheduleError("occlusion=fresh needs scores", found="of=labels", expected="of=scores")
    if kind != "warp":
        return ""
    if options.occlusion == "fresh":
        return "fresh"
    return "scores" if options.of == "scores" or fused else "labels"


def played_manifest(manifest: Manifest, movement: Movement | None) -> Manifest:
    """The manifest of the bundle that a schedule plays.

    Args:
        manifest: The bundle's own.
        movement: What the schedule moves, None where it moves nothing.

    Returns:
        The manifest, with the head in two parts where scores are moved.
    """
    carried = movement.carried if movement is not None else ""
    return split_manifest(manifest, carried) if carried else manifest


def played_bundle(bundle: Bundle, movement: Movement | None, size: tuple[int, int]) -> Bundle:
    """The bundle that a schedule plays.

    Args:
        bundle: The bundle.
        movement: What the schedule moves, None where it moves nothing.
        size: Height and width of the frames.

    Returns:
        The bundle, with the head in two parts where scores are moved.
    """
    if movement is None or not movement.carried:
        return bundle
    return split_head(bundle, movement.carried, movement.scores_scale(size))


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


def _weight(text: str) -> float:
    """The weight of `fuse=W`, or the usual one."""
    if not text:
        return FUSE
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    if not 0 < weight <= 1:
        raise UsageError("bad weight of fusion", found=f'"{text}"', expected="above 0, at most 1")
    return weight


def _scale(text: str) -> Fraction:
    try:
        scale = fraction(text, least=_SMALLEST_SCALE, most=1)
    except BadNumber:
        scale = None
    if scale is None or scale.denominator > 1000:
        raise UsageError("bad scale", found=f'"{text[:80]}"', expected="1, 1/2, 0.25, ... down to 1/64")
    return scale
