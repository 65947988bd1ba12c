"""Plots: what is drawn, and that the same numbers give the same file."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from evaluation import plots
from evaluation.curves import Curve, Point
from evaluation.differences import Difference

SKIP = Curve("skip", (Point("skip:2", 0.5, 0.6), Point("oracle", 1.0, 0.8)))


def sweep() -> Figure:
    return plots.threshold_sweep([0.1, 0.2], [0.9, 0.4], [0.8, 0.7])


def test_accuracy_against_cost_shows_every_point() -> None:
    figure = plots.accuracy_cost([SKIP], [Point("pipeline:2", 1.0, 0.7)], SKIP.points)
    (axes,) = figure.axes
    front, line, single = axes.get_lines()
    assert line.get_xydata().tolist() == front.get_xydata().tolist() == [[0.5, 0.6], [1.0, 0.8]]
    assert single.get_xydata().tolist() == [[1.0, 0.7]]
    assert {text.get_text() for text in axes.texts} == {"2", "pipeline:2"}
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["Pareto front", "skip"]


def test_threshold_sweep_has_both_views() -> None:
    left, right = sweep().axes
    assert [line.get_ydata().tolist() for line in left.get_lines()] == [[0.8, 0.7], [0.9, 0.4]]
    assert right.get_lines()[0].get_xydata().tolist() == [[0.9, 0.8], [0.4, 0.7]]


def test_the_timeline_has_a_bar_for_every_fire() -> None:
    figure = plots.update_timeline(
        {"adaptive:0.1": [True, False, True], "skip:2": [True, False, False]}, [0, 2]
    )
    (axes,) = figure.axes
    bars = [len(collection.get_paths()) for collection in axes.collections]
    assert bars == [2, 1]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["adaptive:0.1  2/3", "skip:2  1/3"]
    assert len(axes.get_lines()) == 2  # shot starts


def test_difference_bars() -> None:
    figure = plots.difference_bars(
        {"data": Difference(0.2, 0.1, 3), "score-argmax": Difference(0.05, 0.01, 3)}
    )
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == [0.2, 0.05]


def test_saved_files_are_pictures_and_the_same_twice(tmp_path: Path) -> None:
    plots.save(sweep(), tmp_path / "a.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    data = (tmp_path / "a.png").read_bytes()
    assert data == plots.png(sweep())
    assert Image.open(io.BytesIO(data)).size[0] > 500


@pytest.mark.parametrize("fired", [{}, {"oracle": []}])
def test_an_empty_timeline_is_drawn(fired: dict[str, list[bool]]) -> None:
    assert plots.png(plots.update_timeline(fired))
