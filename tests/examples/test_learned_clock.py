"""The learned clock of the examples trains, rests where nothing moves and works where much does."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np

from clockwork_onnx.evaluation.datasets.shapes_video import shapes_shot
from tests.support.shared_data import ROOT


def test_a_clock_is_trained_and_played(tmp_path: Path) -> None:
    example = runpy.run_path(str(ROOT / "examples/learned_clock.py"))
    found = example["main"](tmp_path, frames=8)
    assert found["static"][0] < found["fast"][0]
    assert found["static"][1] > 0.97 and found["fast"][1] > 0.9


def test_it_foresees_the_disagreement_on_a_video_that_it_has_not_seen(tmp_path: Path) -> None:
    example = runpy.run_path(str(ROOT / "examples/learned_clock.py"))
    bundle = example["embedded_bundle"](tmp_path / "shapes.staged").path
    weights = example["train"](bundle, frames=6)
    rows, wrong = example["observed"](bundle, shapes_shot(9, 8, speed="fast").frames)
    expected = rows @ weights[:-1] + weights[-1]
    assert np.corrcoef(expected, wrong)[0, 1] > 0.8
