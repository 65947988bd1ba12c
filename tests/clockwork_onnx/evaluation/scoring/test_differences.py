"""Frame to frame differences, by hand and against NumPy written out."""

from __future__ import annotations

import numpy as np
import pytest

from clockwork_onnx.evaluation.scoring.differences import (
    ARGMAX,
    ShotDifferences,
    argmax_change,
    over_shots,
    relative_difference,
)
from weights.errors import UsageError


def test_relative_difference_by_hand() -> None:
    new = np.array([2.0, -1.0, 0.0, 4.0], np.float32)
    old = np.array([1.0, 1.0, 0.0, 0.0], np.float32)
    # 1/1.5, 2/1, 0/0 -> 0, 4/2
    assert relative_difference(new, old) == pytest.approx((2 / 3 + 2 + 0 + 2) / 4)
    assert relative_difference(old, new) == relative_difference(new, old)
    assert relative_difference(new, new) == 0.0


def test_argmax_change_counts_positions() -> None:
    old = np.zeros((3, 2, 2), np.float32)
    old[1] = 1.0
    new = old.copy()
    new[2, 0, 0] = 5.0
    assert argmax_change(new, old) == 0.25
    assert argmax_change(new, old, "hamming") == 0.5
    one_hot = [np.eye(3)[values.argmax(axis=0)] for values in (new, old)]
    assert np.sum(one_hot[0] != one_hot[1]) / 4 == argmax_change(new, old, "hamming")


def test_a_shot_begins_with_a_zero() -> None:
    shot = ShotDifferences()
    first = np.full((3, 1, 2), 1.0, np.float32)
    shot.add(first, {"score": first}, np.array([[0, 0]], np.uint8))
    shot.add(3 * first, {"score": -first}, np.array([[0, 1]], np.uint8))
    assert shot.trace[0] == {"data": 0.0, "score": 0.0, "score" + ARGMAX: 0.0, "label": 0.0}
    assert shot.mean() == pytest.approx(
        {"data": 1.0 / 2, "score": 2.0 / 2, "score" + ARGMAX: 0.0, "label": 0.25}
    )


def test_unlabelled_frames_change_no_label() -> None:
    shot = ShotDifferences()
    pixels = np.ones((3, 1, 2), np.float32)
    for label in ([[0, 0]], None, None, [[1, 1]]):
        shot.add(pixels, {}, None if label is None else np.array(label, np.uint8))
    assert [frame["label"] for frame in shot.trace] == [0.0, 0.0, 0.0, 1.0]


def test_a_reused_buffer_does_not_hide_a_change() -> None:
    shot = ShotDifferences()
    pixels, score = np.ones((3, 2, 2), np.float32), np.ones((2, 2, 2), np.float32)
    shot.add(pixels, {"score": score})
    pixels *= 3
    score[1] = 2
    shot.add(pixels, {"score": score})
    assert shot.trace[1]["data"] == pytest.approx(1.0)
    assert shot.trace[1]["score" + ARGMAX] == 1.0


def test_mean_and_deviation_over_shots() -> None:
    summary = over_shots([{"data": 0.1}, {"data": 0.3}])
    assert summary["data"].mean == pytest.approx(0.2)
    assert summary["data"].std == pytest.approx(0.1)
    assert summary["data"].shots == 2
    with pytest.raises(UsageError, match="no shots"):
        over_shots([])


def test_layers_must_stay_the_same_within_a_shot() -> None:
    shot = ShotDifferences()
    pixels = np.ones((3, 1, 1), np.float32)
    shot.add(pixels, {"a": pixels})
    with pytest.raises(UsageError, match="layers changed"):
        shot.add(pixels, {"b": pixels})


def test_the_output_s_own_change() -> None:
    shot = ShotDifferences()
    pixels = np.ones((3, 1, 2), np.float32)
    labels = np.zeros((1, 2), np.uint8)
    shot.add(pixels, {}, output=labels)
    labels[0, 0] = 1
    shot.add(pixels, {}, output=labels)
    shot.add(pixels, {}, output=labels)
    assert [frame["output"] for frame in shot.trace] == [0.0, 0.5, 0.0]
