"""Playing snippets by a schedule with key frames: label maps, mean IU so far, and milliseconds per frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

from clockwork_onnx.evaluation.datasets.base import DataSet, remap
from clockwork_onnx.evaluation.scoring.metrics import Confusion
from runtime.player import Player
from runtime.step import Step
from runtime.video.frames import Frame

__all__ = ["Played", "frames_of", "play_snippets"]


@dataclass(frozen=True)
class Played:
    """One frame that was played.

    is_key: the feature network ran on it. frame_iu and mean_iu: mean IU of this frame, and of all scored so
    far, in 0..1; None where the frame has no labels. ms: what it took; mean_ms: the mean so far.
    """

    step: Step
    snippet: str
    is_key: bool
    frame_iu: float | None
    mean_iu: float | None
    class_iu: tuple[float, ...]
    ms: float
    mean_ms: float


def frames_of(data: DataSet) -> Iterator[Frame]:
    """The frames of all snippets, each beginning a shot."""
    index = 0
    for shot in data.shots:
        for number, sample in enumerate(shot.samples):
            yield Frame(index, None, sample.read_image(), sample.name, shot_start=number == 0)
            index += 1


def play_snippets(player: Player, data: DataSet) -> Iterator[Played]:
    """Play all snippets and score the frames that have labels.

    Args:
        player: Plays a schedule with key frames.
        data: The snippets, each a shot.

    Yields:
        Each frame's step, with its own score and the scores so far.
    """
    samples = [(shot.name, sample) for shot in data.shots for sample in shot.samples]
    total = Confusion(len(data.classes))
    times: list[float] = []
    for step, (snippet, sample) in zip(player.play(frames_of(data)), samples, strict=True):
        frame_iu = mean_iu = None
        class_iu: tuple[float, ...] = ()
        if sample.read_label is not None:
            labels = step.labels if data.prediction_map is None else remap(step.labels, data.prediction_map)
            alone = Confusion(len(data.classes))
            alone.add(sample.read_label(), labels)
            total = total.merge(alone)
            scores = total.scores()
            frame_iu, mean_iu, class_iu = alone.scores().mean_iu, scores.mean_iu, scores.class_iu
        times.append(step.ms["total"])
        yield Played(
            step=step,
            snippet=snippet,
            is_key="features" in step.fired,
            frame_iu=frame_iu,
            mean_iu=mean_iu,
            class_iu=class_iu,
            ms=times[-1],
            mean_ms=fmean(times),
        )
