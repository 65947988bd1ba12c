"""Plots: what is drawn, and that the same numbers give the same file."""

from __future__ import annotations

import io
from itertools import combinations
from math import hypot
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from clockwork_onnx.evaluation.results import plots
from clockwork_onnx.evaluation.results.curves import Curve, Point, advantage
from clockwork_onnx.evaluation.scoring.differences import Difference

SKIP = Curve("skip", (Point("skip:2", 0.5, 0.6), Point("oracle", 1.0, 0.8, "oracle")))


def sweep() -> Figure:
    return plots.threshold_sweep([0.1, 0.2], [0.9, 0.4], [0.8, 0.7])


def test_accuracy_against_cost_shows_every_point() -> None:
    figure = plots.accuracy_cost([SKIP], [Point("pipeline:2", 1.0, 0.7)], SKIP.points)
    (axes,) = figure.axes
    front, line, single = axes.get_lines()
    assert line.get_xydata().tolist() == front.get_xydata().tolist() == [[0.5, 0.6], [1.0, 0.8]]
    assert single.get_xydata().tolist() == [[1.0, 0.7]]
    assert {text.get_text() for text in axes.texts} == {"2", "oracle", "pipeline:2"}
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["Pareto front", "skip"]


def test_the_area_between_two_curves_is_shaded_and_named() -> None:
    clockwork = Curve("clockwork", (Point("rates:1,2", 0.7, 0.78), Point("oracle", 1.0, 0.8, "oracle")))
    found = advantage(clockwork, SKIP)
    figure = plots.accuracy_cost([SKIP, clockwork], [], [], between=found)
    (axes,) = figure.axes
    (shade,) = axes.collections
    edges = shade.get_paths()[0].vertices
    assert (edges[:, 0].min(), edges[:, 0].max()) == (0.7, 1.0)
    # The lines are 0.68 and 0.78 apart at the start and meet at the end: a triangle.
    assert found is not None and found.area == pytest.approx(0.3 * 0.1 / 2)
    assert "clockwork minus skip: area +0.0150" in [t.get_text() for t in axes.get_legend().get_texts()]


def test_names_of_crowded_points_hide_nothing() -> None:
    points = [Point(f"rates:1,1,{i}", 0.8 + 0.004 * i, 0.7 + 0.001 * (i % 3)) for i in range(14)]
    figure = plots.accuracy_cost([SKIP], [*points], [])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = figure.axes
    renderer = canvas.get_renderer()
    boxes = [Text.get_window_extent(text, renderer) for text in axes.texts]
    assert len(boxes) == 16
    assert not [(a, b) for a, b in combinations(boxes, 2) if a.overlaps(b)]
    inside = axes.get_window_extent()
    assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for box in boxes)


@pytest.mark.parametrize("accuracy", [0.6845, 0.688, 0.69, 0.6905])
def test_a_name_stands_at_its_own_point(accuracy: float) -> None:
    clocks = Curve("clockwork", (Point("exponential", 0.76, 0.665), Point("oracle", 1.0, 0.691, "oracle")))
    pipeline = Point("pipeline:2", 1.0, accuracy)
    figure = plots.accuracy_cost([clocks], [pipeline, Point("pipeline:3", 1.0, 0.656)], clocks.points)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = figure.axes
    markers = {text.get_text(): axes.transData.transform(text.xy) for text in axes.texts}  # type: ignore[attr-defined]

    def gap(text: Text, name: str) -> float:
        box = Text.get_window_extent(text, canvas.get_renderer())
        x, y = markers[name]
        return float(hypot(max(box.x0 - x, 0, x - box.x1), max(box.y0 - y, 0, y - box.y1)))

    for text in axes.texts:
        name = text.get_text()
        has_line = text.arrow_patch is not None  # type: ignore[attr-defined]
        assert has_line or min(gap(text, other) for other in markers if other != name) > gap(text, name)


def test_threshold_sweep_has_both_views() -> None:
    left, right = sweep().axes
    assert [line.get_ydata().tolist() for line in left.get_lines()] == [[0.8, 0.7], [0.9, 0.4]]
    assert right.get_lines()[0].get_xydata().tolist() == [[0.9, 0.8], [0.4, 0.7]]


def test_the_timeline_has_a_bar_for_every_fire() -> None:
    figure = plots.update_timeline(
        {"adaptive:0.1": [True, False, True], "skip:2": [True, False, False]},
        {"adaptive:0.1": "adaptive", "skip:2": "skip"},
        {0: "slow", 2: "fast"},
    )
    (axes,) = figure.axes
    bars = [len(collection.get_paths()) for collection in axes.collections]
    assert bars == [2, 1]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["adaptive:0.1  2/3", "skip:2  1/3"]
    assert len(axes.get_lines()) == 1  # between the two shots
    (above,) = axes.child_axes
    assert [t.get_text() for t in above.get_xticklabels()] == ["slow", "fast"]


def test_schedules_of_one_family_have_one_colour() -> None:
    families = {"skip:2": "skip", "rates:2,2": "skip", "rates:1,2": "clockwork", "a": "learned", "b": "warp"}
    (axes,) = plots.update_timeline({name: [True] for name in families}, families).axes
    first, second, *others = (tuple(c.get_facecolor()[0]) for c in axes.collections)
    assert first == second
    assert len({first, *others}) == 4


def test_difference_bars_pair_the_two_measures_of_a_layer() -> None:
    figure = plots.difference_bars(
        {
            "data": Difference(0.2, 0.1, 3),
            "score": Difference(0.1, 0.02, 3),
            "score-argmax": Difference(0.05, 0.01, 3),
            "label": Difference(0.04, 0.01, 3),
        }
    )
    (axes,) = figure.axes
    assert [(round(bar.get_x() + 0.2, 6), bar.get_height()) for bar in axes.patches] == [
        (-0.2, 0.2),
        (0.8, 0.1),
        (2.2, 0.04),
        (1.2, 0.05),
    ]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["pixels", "score", "true label"]


def test_traces_of_two_shots_share_one_scale_that_holds_both() -> None:
    traces = {
        "still": {"pool4": [0.01, 0.0], "fc7": [0.0, 0.0]},
        "busy": {"pool4": [0.3, 0.2], "fc7": [0.1, 0.4]},
    }
    figure = plots.difference_traces(traces)
    upper, lower = figure.axes
    for panel, layers in zip((upper, lower), traces.values(), strict=True):
        assert panel.get_ylim() == pytest.approx((0, 0.432))
        lines = {line.get_label(): line.get_xydata().tolist() for line in panel.get_lines()}
        assert lines == {name: [[1, a], [2, b]] for name, (a, b) in layers.items()}
    assert [text.get_text() for text in upper.get_legend().get_texts()] == ["pool4", "fc7"]
    assert lower.get_legend() is None
    assert plots.png(plots.difference_traces({}))


def test_no_legend_covers_what_is_drawn() -> None:
    bars = plots.difference_bars({"data": Difference(0.2, 0.1, 3), "label": Difference(0.04, 0.01, 3)})
    for figure in (bars, sweep(), plots.accuracy_cost([SKIP], [], SKIP.points)):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        for axes in figure.axes:
            if axes.get_legend() is not None:
                box = axes.get_legend().get_window_extent(canvas.get_renderer())
                assert not box.overlaps(axes.get_window_extent().shrunk(1, 0.999))


def test_saved_files_are_pictures_and_the_same_twice(tmp_path: Path) -> None:
    plots.save(sweep(), tmp_path / "a.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    data = (tmp_path / "a.png").read_bytes()
    assert data == plots.png(sweep())
    assert Image.open(io.BytesIO(data)).size[0] > 500


@pytest.mark.parametrize("fired", [{}, {"oracle": []}])
def test_an_empty_timeline_is_drawn(fired: dict[str, list[bool]]) -> None:
    assert plots.png(plots.update_timeline(fired, {"oracle": "oracle"}))
