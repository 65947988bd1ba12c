"""What looks on while schedules are played: which stage fired when, and frames to show afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from clockwork_onnx.evaluation.datasets.base import DataSet, remap
from clockwork_onnx.evaluation.results.page import ShownFrame
from clockwork_onnx.evaluation.scoring.runs import Watch
from clockwork_onnx.evaluation.scoring.scoring import StepSeen

__all__ = ["Gallery", "Strips"]

LATE = 6
"""Period of the frames to look at: the common one of the rates 2, 3 and 6."""

LATE_TEXT = (
    "Frames evenly spread over the video, of those (5, 11, 17, ... of a shot) that come last before most "
    "fixed clocks fire anew."
)
SPREAD_TEXT = "Labelled frames evenly spread over the video."


@dataclass
class Strips:
    """On which frames a stage fired, by schedule; and the name of each shot by its first frame."""

    stage: str
    fired: dict[str, list[bool]] = field(default_factory=dict)
    shots: dict[int, str] = field(default_factory=dict)

    def watch(self, schedule: str) -> Watch:
        """What notes the steps of one schedule."""
        strip = self.fired.setdefault(schedule, [])
        is_first = len(self.fired) == 1

        def note(seen: StepSeen) -> None:
            if is_first and seen.position == 0:
                self.shots[len(strip)] = seen.clip.name
            strip.append(self.stage in seen.step.fired)

        return note


class Gallery:
    """Keeps what every schedule made of a few labelled frames, evenly spread.

    Where there are enough, frames that come last before most fixed clocks fire anew (5, 11, 17, ... of a
    shot): on a frame on which everything fires there is nothing to see. `text` says so in a sentence.

    Args:
        data_set: What will be played.
        count: How many frames.
    """

    def __init__(self, data_set: DataSet, count: int = 4) -> None:
        self._map = data_set.prediction_map
        labelled = [
            (shot.name, i)
            for shot in data_set.shots
            for i, sample in enumerate(shot.samples)
            if sample.read_label is not None
        ]
        late = [(name, i) for name, i in labelled if i % LATE == LATE - 1]
        has_late = len(late) >= count
        labelled = late if has_late else labelled
        self.text = LATE_TEXT if has_late else SPREAD_TEXT
        # the middles of `count` equal parts
        kept = min(count, len(labelled))
        places = ((np.arange(kept) + 0.5) * len(labelled) / max(kept, 1)).astype(int)
        self._wanted = [labelled[i] for i in places]
        self._kept: dict[tuple[str, int], ShownFrame] = {}

    def watch(self, schedule: str) -> Watch:
        """What keeps the wanted frames of one schedule."""

        def keep(seen: StepSeen) -> None:
            key = (seen.clip.name, seen.position)
            if key not in self._wanted:
                return
            if key not in self._kept:
                sample = seen.clip.samples[seen.position]
                truth = sample.read_label() if sample.read_label is not None else None
                self._kept[key] = ShownFrame(sample.name, seen.image, truth, {})
            shown = self._kept[key]
            outputs = {**shown.outputs, schedule: self._labels(seen.step.labels)}
            self._kept[key] = ShownFrame(shown.name, shown.image, shown.truth, outputs)

        return keep

    def _labels(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return labels.copy() if self._map is None else remap(labels, self._map)

    def frames(self, schedules: Sequence[str] | None = None) -> list[ShownFrame]:
        """The frames kept, in the order of the data set, with the outputs of all or of these schedules."""
        kept = [self._kept[key] for key in self._wanted if key in self._kept]
        if schedules is None:
            return kept
        return [replace(f, outputs={n: f.outputs[n] for n in schedules if n in f.outputs}) for f in kept]
