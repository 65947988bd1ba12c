from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from runtime.report.overlay import Overlay, blend, legend, origin_picture, side_by_side, status_line
from runtime.step import Origin
from staged_onnx.palettes import Classes, classes
from tests.support.steps import FakeStep
from weights.errors import ShapeError

STAGES = ("stage1", "stage2", "stage3", "head")
FIRED = np.array([255, 176, 32])
STEP = FakeStep(
    137, time=Fraction(137, 15), fired=("stage1", "stage2", "head"), ages={"stage3": 3}, signal=0.21
)


def picture(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 256, (height, width, 3), np.uint8),
        rng.integers(0, 19, (height, width)).astype(np.uint8),
    )


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_blend_is_the_formula(alpha: float) -> None:
    image, labels = picture(21, 33)
    table = classes("cityscapes")
    expected = (1 - alpha) * image + alpha * table.colours()[labels]
    got = blend(image, labels, table.palette, alpha)
    assert got.dtype == np.uint8
    assert np.abs(got - expected).max() <= 1


def test_black_and_unknown_labels_leave_the_frame_alone() -> None:
    image, _ = picture(2, 3)
    labels = np.array([[0, 1, 5], [21, 255, 0]], np.uint8)
    got = blend(image, labels, classes("voc").palette)
    clear = np.array([[True, False, False], [True, True, True]])
    np.testing.assert_array_equal(got[clear], image[clear])
    assert (got[~clear] != image[~clear]).any(axis=1).all()


def test_labels_of_another_size_are_refused() -> None:
    image, labels = picture(4, 6)
    with pytest.raises(ShapeError, match=r"found \(6, 4\); expected \(4, 6\)"):
        blend(image, labels.T, classes("voc").palette)


def test_inputs_stay_as_they_are() -> None:
    image, labels = picture(40, 400)
    before = image.copy(), labels.copy()
    Overlay(classes("cityscapes"), STAGES).draw(image, labels, STEP)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(labels, before[1])


def test_side_by_side_keeps_both() -> None:
    left, right = picture(10, 32)[0], picture(10, 32, seed=1)[0]
    both = side_by_side(left, right)
    np.testing.assert_array_equal(both[:, :32], left)
    np.testing.assert_array_equal(both[:, -32:], right)
    assert both.shape == (10, 66, 3)


@pytest.mark.parametrize("width", [320, 480, 2048])
@pytest.mark.parametrize("name", ["cityscapes", "camvid"])
def test_legend_shows_every_class(name: str, width: int) -> None:
    table = classes(name)
    strip = legend(table, width)
    assert strip.shape[1] == width
    for colour in table.palette:
        assert (strip == colour).all(axis=2).sum() > 30


def test_legend_stays_within_its_height_and_counts_the_rest() -> None:
    table = classes(200)
    full, short = legend(table, 480), legend(table, 480, max_height=120)
    assert short.shape[0] <= 120 < full.shape[0]
    seen = [k for k in range(200) if (short == table.palette[k]).all(axis=2).sum() > 30]
    assert 5 < len(seen) < 40


def test_a_long_class_name_does_not_break_the_legend() -> None:
    table = Classes(("a" * 80, "b"), ((200, 0, 0), (0, 200, 0)))
    assert (legend(table, 480) == (0, 200, 0)).all(axis=2).any()


def boxes(strip: np.ndarray) -> int:
    """How many filled boxes a status line has: runs of the filling on its middle rows."""
    middle = strip.shape[0] // 2 + 4  # below the age
    row = (strip[middle] == FIRED).all(axis=1)
    return int((np.diff(row.astype(int), prepend=0) == 1).sum())


@pytest.mark.parametrize("width", [320, 480, 1024, 2048])
def test_status_line_fills_the_boxes_of_what_fired(width: int) -> None:
    everything = FakeStep(0, fired=STAGES)
    nothing = FakeStep(1, fired=())
    assert boxes(status_line(everything, STAGES, width)) == 4
    assert boxes(status_line(STEP, STAGES, width)) == 3
    assert boxes(status_line(nothing, STAGES, width)) == 0


def test_status_line_tells_ages_apart() -> None:
    lines = [status_line(FakeStep(0, fired=(), ages={"stage3": age}), STAGES, 480) for age in (0, 1, 2, 40)]
    for i, line in enumerate(lines):
        for other in lines[:i]:
            assert (line != other).any()


def test_many_stages_fit_without_their_names() -> None:
    stages = tuple(f"stage{i}" for i in range(1, 9))
    assert boxes(status_line(FakeStep(0, fired=stages), stages, 360)) == 8


@pytest.mark.parametrize("size", [(24, 32), (96, 128), (360, 480), (333, 501), (1024, 2048)])
def test_every_step_of_a_run_gives_one_size(size: tuple[int, int]) -> None:
    image, labels = picture(*size)
    overlay = Overlay(classes("cityscapes"), STAGES)
    steps = [FakeStep(0), STEP, FakeStep(99_999, time=Fraction(7000), ages={"stage3": 120}, signal=0.9)]
    shapes = {overlay.draw(image, labels, step).shape for step in steps}
    assert len(shapes) == 1
    height, width, _ = shapes.pop()
    assert width >= 320 and width % size[1] == 0
    assert height > size[0] * (width // size[1])


def test_parts_can_be_left_out() -> None:
    image, labels = picture(40, 400)
    bare = Overlay(classes("cityscapes"), STAGES, show_legend=False, show_status=False)
    np.testing.assert_array_equal(
        bare.draw(image, labels, STEP), blend(image, labels, classes("cityscapes").palette)
    )
    assert Overlay(classes("cityscapes"), STAGES, beside=True).draw(image, labels, STEP).shape[1] == 802


def test_small_frames_are_enlarged_by_a_whole_factor() -> None:
    image, labels = picture(20, 100)
    got = Overlay(classes("cityscapes"), show_legend=False).draw(image, labels)
    assert got.shape == (80, 400, 3)
    np.testing.assert_array_equal(got[::4, ::4], blend(image, labels, classes("cityscapes").palette))


def test_where_labels_come_from_is_shown_beside_them() -> None:
    """Green on a key frame, to orange far from it; dark where that is unsure; on the frame's own grid."""
    image, labels = picture(40, 400)
    age = np.zeros((20, 200), np.int16)
    age[:, 100:] = -8
    sure = np.ones((20, 200), np.float32)
    sure[10:] = 0
    origin = Origin(age, np.zeros((20, 200, 2), np.float32), sure)
    shown = origin_picture(np.zeros_like(image), origin)
    assert shown.shape == image.shape
    fresh, old, unsure = shown[5, 100], shown[5, 300], shown[30, 100]
    assert fresh[1] > fresh[0] and old[0] > old[1] and not unsure.any()
    step = FakeStep(0)
    step.origin = origin  # type: ignore[attr-defined]
    overlay = Overlay(classes("cityscapes"), STAGES)
    assert overlay.draw(image, labels, step).shape[1] > overlay.draw(image, labels, FakeStep(0)).shape[1]
