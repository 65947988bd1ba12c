from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.report import plots
from runtime.report.run_record import RunRecord
from runtime.report.timeline import draw_timeline, timeline_figure
from tests.support.steps import FakeStep, adaptive_run
from weights.errors import UsageError, VideoError

MOVED = (220, 143, 16)
FIRED, FRESH, SIGNAL = (31, 127, 196), (161, 201, 230), (208, 84, 27)
STAGES = ("stage1", "stage2", "stage3", "head")


def draw(steps: list[FakeStep], **options: object) -> np.ndarray:
    figure = timeline_figure(RunRecord.of(steps), **options)  # type: ignore[arg-type]
    return np.asarray(Image.open(io.BytesIO(plots.png(figure))).convert("RGB"))


def count(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((picture == colour).all(axis=2).sum())


def rows_of(picture: np.ndarray) -> list[slice]:
    """The pixel rows of each stage: runs of picture rows that are mostly cells."""
    cells = ((picture < 245).any(axis=2)).mean(axis=1) > 0.6
    edges = np.flatnonzero(np.diff(cells.astype(int), prepend=0, append=0))
    return [slice(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 10]


def periodic(count: int, periods: tuple[int, int, int] = (1, 2, 4)) -> list[FakeStep]:
    return [
        FakeStep(
            i,
            fired=(*(f"stage{k + 1}" for k, p in enumerate(periods) if i % p == 0), "head"),
            ages={f"stage{k + 1}": i % p for k, p in enumerate(periods)},
        )
        for i in range(count)
    ]


def test_stage_names_are_in_order_with_the_head_last() -> None:
    steps = [FakeStep(0, fired=("a", "head"), ages={"a": 0, "b": 3}), FakeStep(1, fired=("c",))]
    assert RunRecord.of(steps).stages == ("a", "b", "c", "head")


@pytest.mark.parametrize("frames", [12, 200, 600, 4000])
def test_dark_cells_are_the_share_of_fires(frames: int) -> None:
    steps = periodic(frames)
    for step in steps:  # one age, so that cells and their averages lie between two colours
        step.ages = {stage: min(age, 1) for stage, age in step.ages.items()}
    picture = draw(steps, stages=STAGES)
    rows = rows_of(picture)
    assert len(rows) == 4
    for row, share in zip(rows, (1.0, 0.5, 0.25, 1.0), strict=True):
        cells = picture[(row.start + row.stop) // 2, 118:1258].astype(float)
        cells = cells[cells[:, 0] <= FRESH[0]]  # not the gaps between them
        dark = (FRESH[0] - cells[:, 0]) / (FRESH[0] - FIRED[0])
        assert dark.mean() == pytest.approx(share, abs=0.02)


def test_what_is_made_of_moved_values_has_a_colour_of_its_own() -> None:
    ran, moved = ("stage1", "head", "labels"), {"label_map": 1}
    steps = [FakeStep(0, fired=ran)] + [FakeStep(i, fired=("labels",), moved=moved) for i in range(1, 4)]
    assert RunRecord.of(steps).stages == ran
    stage, head, labels = rows_of(picture := draw(steps))
    cells = [int(118 + (1258 - 118) * (i + 0.5) / 4) for i in range(4)]
    colours = [
        [tuple(picture[(row.start + row.stop) // 2, x]) for x in cells] for row in (stage, head, labels)
    ]
    assert [row[0] for row in colours] == [FIRED] * 3
    assert colours[2][1:] == [MOVED] * 3 and MOVED not in colours[0] + colours[1]


def test_older_is_paler() -> None:
    steps = [FakeStep(i, fired=("head",), ages={"deep": i + 1}) for i in range(8)]
    picture = draw(steps, stages=("deep",))
    row = rows_of(picture)[0]
    middle = picture[(row.start + row.stop) // 2].astype(int)
    blue_excess = middle[:, 2] - middle[:, 0]
    cells = np.flatnonzero((middle != 255).any(axis=1))
    cells = cells[(cells > 110) & (cells < 1250)]
    samples = blue_excess[cells[:: len(cells) // 8 or 1]]
    assert samples[0] > 50 > 15 > samples[-1] > 0
    assert (np.diff(samples) <= 0).all()


def test_the_signal_and_its_threshold_are_drawn_when_there_are_any() -> None:
    with_signal, without = adaptive_run(80), periodic(80)
    assert count(draw(with_signal, theta=0.25), SIGNAL) > 500
    assert count(draw(without), SIGNAL) == 0
    assert draw(with_signal).shape[0] > draw(without).shape[0]
    assert (draw(with_signal, theta=0.25) != draw(with_signal, theta=0.2)).any()


def test_shots_are_vertical_lines_through_everything() -> None:
    one, three = draw(adaptive_run(80)), draw(adaptive_run(80, shots=(20, 50)))

    def lines(picture: np.ndarray) -> int:
        dark = (picture[90:-80] < 60).all(axis=2).mean(axis=0) > 0.8
        return int((np.diff(dark.astype(int), prepend=0) == 1).sum())

    assert lines(three) - lines(one) == 2


@pytest.mark.parametrize("frames", [1, 2, 1001, 5000])
def test_any_number_of_frames(frames: int) -> None:
    picture = draw(adaptive_run(frames), theta=0.25, title="a title")
    assert picture.shape[1] == 1440
    assert count(picture, FIRED) > 1000


def test_a_file_appears_whole_and_alone(tmp_path: Path) -> None:
    draw_timeline(RunRecord.of(periodic(10)), tmp_path / "timeline.png")
    assert [entry.name for entry in tmp_path.iterdir()] == ["timeline.png"]
    with pytest.raises(VideoError, match="cannot be written"):
        draw_timeline(RunRecord.of(periodic(10)), tmp_path / "no" / "timeline.png")


def test_no_step_no_picture(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no step"):
        draw_timeline(RunRecord(), tmp_path / "timeline.png")
