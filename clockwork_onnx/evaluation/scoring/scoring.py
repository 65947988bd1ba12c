"""Play labelled clips through a player and gather what a schedule earned and what it cost."""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clockwork_onnx.evaluation.datasets.base import DataSet, Sample, remap
from clockwork_onnx.evaluation.scoring.metrics import Confusion, LabelChanges, Scores, boundary_band
from clockwork_onnx.evaluation.scoring.played import Played
from runtime.video.frames import Frame
from weights.errors import ClockworkError

__all__ = [
    "Clip",
    "Costs",
    "Result",
    "StepSeen",
    "Tally",
    "clips_of",
    "play_clips",
    "score_clips",
    "warm_up",
]


@dataclass(frozen=True)
class Clip:
    """Frames to play from a fresh start, and which of them count.

    `scored`: positions whose output is compared with the labels. `counted`: positions whose firing, age
    and time go into the cost; a frame played only to fill the cache is in neither.
    """

    name: str
    samples: tuple[Sample, ...]
    scored: frozenset[int]
    counted: frozenset[int]


@dataclass(frozen=True)
class StepSeen:
    """One step of a player, beside the clip and sample that it belongs to."""

    clip: Clip
    position: int
    image: NDArray[np.uint8]
    step: Any


@dataclass(frozen=True)
class Costs:
    """Multiply-accumulates of each stage and of the head, for one frame at the bundle's reference size."""

    macs: dict[str, int]

    @property
    def oracle(self) -> int:
        """All stages and the head: what every frame costs the frame oracle."""
        return sum(self.macs.values())

    @staticmethod
    def of(manifest: Any) -> Costs:
        """The costs that a bundle's manifest states."""
        return Costs({part.name: int(part.macs) for part in (*manifest.stages, manifest.head)})


@dataclass(frozen=True)
class Result:
    """What one schedule earned and cost. Shares are in 0..1, times in milliseconds.

    ms_per_frame: the time that a frame costs, wherever it is spent; latency_ms: from its arrival to its
    labels, less where a pipeline's stages or the optical flow were done before it came. moving_ms: a frame's
    time for what is in no stage and has no multiply-accumulates of its own: optical flow, warp, and labels
    made of moved scores.
    """

    played: Played
    scores: Scores
    boundary: Scores | None
    label_changes: float
    frames: int
    scored_frames: int
    fires: dict[str, int]
    mean_age: dict[str, float]
    macs_per_frame: float
    macs_of_oracle: float
    ms_per_frame: float
    stage_ms: dict[str, float] = field(default_factory=dict)
    signal: float = math.nan
    moving_ms: float = 0.0
    latency_ms: float = math.nan

    @property
    def schedule(self) -> str:
        """The name of what was played."""
        return self.played.name

    def as_json(self, classes: Sequence[str], timings: bool = True) -> dict[str, Any]:
        """Plain values for a JSON file; what could not be measured (NaN) is None.

        Args:
            classes: The classes' names.
            timings: Without it only what is the same in every run is left.

        Returns:
            The values by name.
        """
        values: dict[str, Any] = {
            "schedule": self.schedule,
            "family": self.played.family,
            "interval": self.played.interval,
            "threshold": self.played.theta,
            "frames": self.frames,
            "scored_frames": self.scored_frames,
            **_scores_json(self.scores, classes),
        }
        if self.boundary is not None:
            values["boundary"] = _scores_json(self.boundary, classes)
        values |= {
            "label_changes": _number(self.label_changes),
            "fires": self.fires,
            "fire_rate": {stage: fires / max(self.frames, 1) for stage, fires in self.fires.items()},
            "mean_age": {stage: _number(age) for stage, age in self.mean_age.items()},
            "mean_signal": _number(self.signal),
            "macs_per_frame": self.macs_per_frame,
            "macs_of_oracle": self.macs_of_oracle,
        }
        if timings:
            values |= {
                "ms_per_frame": _number(self.ms_per_frame),
                "latency_ms": _number(self.latency_ms),
                "stage_ms": {stage: _number(ms) for stage, ms in self.stage_ms.items()},
                "moving_ms": _number(self.moving_ms),
            }
        return values


class Player(Protocol):
    """What this module needs of `runtime.Player`."""

    def play(self, frames: Iterable[Any]) -> Iterator[Any]: ...


class Tally:
    """Counts up the steps of one schedule."""

    def __init__(
        self,
        played: Played,
        classes: int,
        costs: Costs,
        prediction_map: Sequence[int] | None = None,
        boundary_radius: int | None = None,
    ) -> None:
        self.played = played
        self.confusion = Confusion(classes)
        self.boundary = Confusion(classes) if boundary_radius is not None else None
        self._radius = boundary_radius or 0
        self._costs = costs
        self._map = prediction_map
        self._changes = LabelChanges()
        self._frames = 0
        self._scored = 0
        self._fires: Counter[str] = Counter()
        self._ages: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        self._ms: defaultdict[str, float] = defaultdict(float)
        self._cost_ms = 0.0
        self._signal = [0.0, 0]

    def add(self, seen: StepSeen) -> None:
        """Count one step: its cost where the clip counts it, its labels where the clip scores it."""
        step, clip = seen.step, seen.clip
        if seen.position == 0:
            self._changes.new_shot()
        labels = step.labels if self._map is None else remap(step.labels, self._map)
        if seen.position in clip.counted:
            self._count(step)
            self._changes.add(labels)
        sample = clip.samples[seen.position]
        if seen.position in clip.scored and sample.read_label is not None:
            truth = sample.read_label()
            try:
                self.confusion.add(truth, labels)
            except ClockworkError as error:
                raise error.located(file=f"labels of {sample.name}") from None
            if self.boundary is not None:
                self.boundary.add(truth, labels, where=boundary_band(truth, self._radius))
            self._scored += 1

    def _count(self, step: Any) -> None:
        self._frames += 1
        self._fires.update(step.fired)
        for stage, age in step.ages.items():
            if age is not None:
                self._ages[stage][0] += age
                self._ages[stage][1] += 1
        for stage, ms in step.ms.items():
            self._ms[stage] += ms
        total = step.ms.get("total", 0.0)
        parts = sum(step.ms.values()) - total
        self._cost_ms += parts if self.played.waits else max(total, parts)
        if step.signal is not None and math.isfinite(step.signal):
            self._signal = [self._signal[0] + float(step.signal), self._signal[1] + 1]

    def result(self) -> Result:
        """The sums so far."""
        frames = max(self._frames, 1)
        # a part that is no stage of the bundle, such as the step from moved scores to labels, has no MACs
        macs = sum(self._costs.macs.get(stage, 0) * fires for stage, fires in self._fires.items()) / frames
        stages = list(self._costs.macs)
        order = [*stages, *sorted(self._ms.keys() - {*stages, "total"})]
        return Result(
            played=self.played,
            scores=self.confusion.scores(),
            boundary=self.boundary.scores() if self.boundary is not None else None,
            label_changes=self._changes.share,
            frames=self._frames,
            scored_frames=self._scored,
            fires={stage: self._fires[stage] for stage in stages},
            mean_age={
                stage: self._ages[stage][0] / self._ages[stage][1]
                for stage in stages
                if stage in self._ages and self._ages[stage][1]
            },
            macs_per_frame=macs,
            macs_of_oracle=macs / self._costs.oracle if self._costs.oracle else math.nan,
            ms_per_frame=self._cost_ms / frames if "total" in self._ms else math.nan,
            latency_ms=self._ms["total"] / frames if "total" in self._ms else math.nan,
            stage_ms={name: self._ms[name] / frames for name in order if name in self._ms},
            moving_ms=sum(self._ms[name] for name in order[len(stages) :]) / frames,
            signal=self._signal[0] / self._signal[1] if self._signal[1] else math.nan,
        )


def clips_of(data_set: DataSet) -> Iterator[Clip]:
    """Every shot of a data set as one clip: all frames count, those with labels are scored."""
    for shot in data_set.shots:
        every = frozenset(range(len(shot.samples)))
        labelled = frozenset(i for i, sample in enumerate(shot.samples) if sample.read_label is not None)
        yield Clip(shot.name, shot.samples, scored=labelled, counted=every)


def play_clips(player: Player, clips: Iterable[Clip]) -> Iterator[StepSeen]:
    """Play clips one after the other, each as a shot of its own.

    Images are read as the player takes frames; a player may read ahead.

    Args:
        player: Plays them.
        clips: The clips.

    Yields:
        Every step with its place.
    """
    on_the_way: deque[tuple[Clip, int, NDArray[np.uint8]]] = deque()

    def frames() -> Iterator[Frame]:
        index = 0
        for clip in clips:
            for position, sample in enumerate(clip.samples):
                image = sample.read_image()
                on_the_way.append((clip, position, image))
                yield Frame(index, None, image, sample.name, shot_start=position == 0)
                index += 1

    for step in player.play(frames()):
        clip, position, image = on_the_way.popleft()
        yield StepSeen(clip, position, image, step)


def score_clips(
    player: Player,
    tally: Tally,
    clips: Iterable[Clip],
    *,
    watch: Callable[[StepSeen], None] | None = None,
) -> Result:
    """Play clips and count them.

    Args:
        player: Plays them.
        tally: Counts them.
        clips: The clips.
        watch: Sees every step, for pictures and progress.

    Returns:
        What the tally has counted so far.
    """
    for seen in play_clips(player, clips):
        tally.add(seen)
        if watch is not None:
            watch(seen)
    return tally.result()


def warm_up(player: Player, clips: Iterable[Clip], frames: int = 2) -> None:
    """Play the first frames once and forget them, so that a session's slow first run is not measured.

    Args:
        player: Plays them.
        clips: The clips, of which the first is taken.
        frames: How many frames of it.
    """
    for clip in clips:
        start = Clip(clip.name, clip.samples[:frames], frozenset(), frozenset())
        for _ in play_clips(player, [start]):
            pass
        return


def _scores_json(scores: Scores, classes: Sequence[str]) -> dict[str, Any]:
    return {
        "mean_iu": _number(scores.mean_iu),
        "fw_iu": _number(scores.fw_iu),
        "pixel_accuracy": _number(scores.pixel_accuracy),
        "class_accuracy": _number(scores.class_accuracy),
        "class_iu": {name: _number(iu) for name, iu in zip(classes, scores.class_iu, strict=True)},
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
