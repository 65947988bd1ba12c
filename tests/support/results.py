"""Results without frames, for tests of what is made of them."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

from clockwork_onnx.evaluation.scoring.metrics import Scores
from clockwork_onnx.evaluation.scoring.played import Played, played_schedule
from clockwork_onnx.evaluation.scoring.scoring import Result
from runtime import parse_schedule
from staged_onnx import Manifest, read_bundle
from tests.support.toy_bundles import chain


@lru_cache
def chain_manifest(stages: int) -> Manifest:
    """The manifest of a bundle of so many stages in a row."""
    with tempfile.TemporaryDirectory() as folder:
        return read_bundle(chain(Path(folder) / "chain.staged", stages)).manifest


def played(schedule: str, stages: int = 2) -> Played:
    """A schedule as it is scored on a bundle of so many stages."""
    return played_schedule(parse_schedule(schedule, chain_manifest(stages)), schedule)


def result(schedule: str, cost: float, accuracy: float, **more: object) -> Result:
    """A result of 10 frames of which only what is given matters; its frame takes 20 ms times its cost."""
    scores = Scores(accuracy, accuracy, accuracy, accuracy, (accuracy, float("nan")), 1)
    values = {
        "boundary": None,
        "label_changes": 0.1,
        "frames": 10,
        "scored_frames": 10,
        "fires": {},
        "mean_age": {},
        "macs_per_frame": 100 * cost,
        "macs_of_oracle": cost,
        "ms_per_frame": 20 * cost,
        **more,
    }
    return Result(played(schedule), scores, **values)  # type: ignore[arg-type]
