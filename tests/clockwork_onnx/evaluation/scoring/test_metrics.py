"""Metrics against hand-computed examples, scikit-learn and scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage
from skimage import morphology
from sklearn.metrics import confusion_matrix, jaccard_score

from clockwork_onnx.evaluation.datasets.base import NO_CLASS, VOID, remap
from clockwork_onnx.evaluation.scoring.metrics import Confusion, LabelChanges, boundary_band
from weights.errors import ShapeError, UsageError

TRUTH = np.array([[0, 0, 0, 1], [0, 1, 1, 1], [2, 2, VOID, VOID]], np.uint8)
GIVEN = np.array([[0, 0, 1, 1], [0, 1, 1, 0], [2, 1, 2, 0]], np.uint8)


def test_three_classes_by_hand() -> None:
    confusion = Confusion(3)
    confusion.add(TRUTH, GIVEN)
    # Rows: truth 0: 3 right, 1 as 1; truth 1: 3 right, 1 as 0; truth 2: 1 right, 1 as 1; two void pixels.
    assert confusion.counts.tolist() == [[3, 1, 0, 0], [1, 3, 0, 0], [0, 1, 1, 0]]
    scores = confusion.scores()
    assert scores.pixels == 10
    assert scores.pixel_accuracy == pytest.approx(7 / 10)
    assert scores.class_accuracy == pytest.approx((3 / 4 + 3 / 4 + 1 / 2) / 3)
    assert scores.class_iu == pytest.approx((3 / 5, 3 / 6, 1 / 2))
    assert scores.mean_iu == pytest.approx((3 / 5 + 1 / 2 + 1 / 2) / 3)
    assert scores.fw_iu == pytest.approx(0.4 * 3 / 5 + 0.4 * 1 / 2 + 0.2 * 1 / 2)


def test_absent_class_is_skipped_and_invented_class_counts_zero() -> None:
    confusion = Confusion(4)
    confusion.add(np.array([[0, 0, 1]], np.uint8), np.array([[0, 0, 2]], np.uint8))
    scores = confusion.scores()
    assert scores.class_iu[:3] == (1.0, 0.0, 0.0)
    assert math.isnan(scores.class_iu[3])
    assert scores.mean_iu == pytest.approx(1 / 3)  # class 3 is in neither, class 2 was invented
    assert scores.class_accuracy == pytest.approx(1 / 2)  # over the two classes with truth
    assert scores.fw_iu == pytest.approx(2 / 3)


def test_nothing_scored_is_nan_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    confusion = Confusion(2)
    confusion.add(np.full((2, 2), VOID, np.uint8), np.zeros((2, 2), np.uint8))
    scores = confusion.scores()
    assert all(math.isnan(v) for v in (scores.pixel_accuracy, scores.mean_iu, scores.fw_iu))
    assert not recwarn.list


def test_no_class_is_wrong_but_invents_nothing() -> None:
    confusion = Confusion(2)
    confusion.add(np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, NO_CLASS, 1, 1]], np.uint8))
    scores = confusion.scores()
    assert scores.class_iu == (0.5, 1.0)
    assert scores.pixel_accuracy == 0.75


def test_streaming_equals_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 6, (5, 40, 30)).astype(np.uint8)
    given = np.where(random.random(truth.shape) < 0.7, truth, random.integers(0, 5, truth.shape))
    given = given.astype(np.uint8)
    truth[random.random(truth.shape) < 0.1] = VOID
    confusion = Confusion(6)
    for one_truth, one_given in zip(truth, given, strict=True):
        confusion.add(one_truth, one_given)
    kept = truth != VOID
    expected = confusion_matrix(truth[kept], given[kept], labels=range(6))
    assert np.array_equal(confusion.counts[:, :6], expected)
    assert not confusion.counts[:, 6].any()
    scores = confusion.scores()
    iu = jaccard_score(truth[kept], given[kept], labels=range(6), average=None)
    assert scores.class_iu == pytest.approx(tuple(iu))
    weighted = jaccard_score(truth[kept], given[kept], labels=range(6), average="weighted")
    assert scores.fw_iu == pytest.approx(weighted)


def test_merging_equals_counting_together() -> None:
    random = np.random.default_rng(1)
    maps = random.integers(0, 3, (4, 8, 8)).astype(np.uint8)
    first, second, both = Confusion(3), Confusion(3), Confusion(3)
    first.add(maps[0], maps[1])
    second.add(maps[2], maps[3])
    both.add(maps[0], maps[1])
    both.add(maps[2], maps[3])
    assert np.array_equal(first.merge(second).counts, both.counts)
    with pytest.raises(UsageError, match="different classes"):
        first.merge(Confusion(4))


def test_the_figures_of_the_fcn_demo_as_formulas() -> None:
    # The demo of the fully convolutional networks: a picture with classes 0, 2 and 15 of 21, on which the
    # net has pixel accuracy 0.8425 and mean IU 0.7196 over those three. This pair has the same two figures.
    counts = np.array([[3443, 55, 287], [257, 2946, 95], [270, 611, 2036]])
    hits, rows, columns = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    assert hits.sum() / counts.sum() == 0.8425
    classes = np.array([0, 2, 15], np.uint8)
    truth = np.repeat(np.repeat(classes, 3), counts.ravel()).reshape(100, 100)
    given = np.repeat(np.tile(classes, 3), counts.ravel()).reshape(100, 100)
    confusion = Confusion(21)
    confusion.add(truth, given)
    scores = confusion.scores()
    assert scores.pixel_accuracy == 0.8425
    assert scores.mean_iu == pytest.approx((hits / (rows + columns - hits)).mean())
    assert round(scores.mean_iu, 4) == 0.7196  # not divided by 21: absent classes are skipped
    assert [i for i, iu in enumerate(scores.class_iu) if not math.isnan(iu)] == [0, 2, 15]


def test_the_share_of_the_band_of_a_rectangle_as_a_formula() -> None:
    # Dilating a x b pixels by a disk of radius r adds r on every side, and at the corners together what the
    # disk has outside of its two middle lines; erosion leaves (a - 2r) x (b - 2r).
    a, b, r = 60, 43, 5
    label = np.zeros((100, 120), np.uint8)
    label[20 : 20 + a, 30 : 30 + b] = 15
    dilated = a * b + 2 * r * (a + b) + morphology.disk(r).sum() - (4 * r + 1)
    eroded = (a - 2 * r) * (b - 2 * r)
    assert boundary_band(label).sum() == dilated - eroded
    assert boundary_band(label).mean() == pytest.approx((dilated - eroded) / 12000)


def test_a_mask_limits_the_count() -> None:
    confusion = Confusion(3)
    confusion.add(TRUTH, GIVEN, where=np.arange(12).reshape(3, 4) < 4)
    assert confusion.counts.sum() == 4
    assert confusion.counts[0].tolist() == [2, 1, 0, 0]


def test_bad_input_is_refused() -> None:
    with pytest.raises(ShapeError, match="different sizes"):
        Confusion(3).add(TRUTH, GIVEN[:2])
    with pytest.raises(UsageError, match="found class 2; expected 0 to 1"):
        Confusion(2).add(np.zeros_like(TRUTH), GIVEN)
    with pytest.raises(UsageError, match="out of range"):
        Confusion(0)


def foreground_label() -> np.ndarray:
    label = np.zeros((60, 80), np.uint8)
    label[10:40, 15:50] = 3
    label[20:50, 45:70] = 7
    label[0:6, 70:80] = 1  # touches the image border
    label[30:34, 0:5] = VOID
    return label


@pytest.mark.parametrize("radius", [2, 5])
def test_boundary_band_equals_scikit_image_and_scipy(radius: int) -> None:
    label = foreground_label()
    foreground = (label > 0) & (label != VOID)
    disk = morphology.disk(radius)
    band = boundary_band(label, radius)
    assert np.array_equal(band, morphology.dilation(foreground, disk) ^ morphology.erosion(foreground, disk))
    by_scipy = ndimage.binary_dilation(foreground, disk) ^ ndimage.binary_erosion(
        foreground, disk, border_value=1
    )
    assert np.array_equal(band, by_scipy)


def test_boundary_band_is_ten_pixels_wide_and_skips_inner_edges() -> None:
    assert morphology.disk(5).shape == (11, 11) and morphology.disk(5).sum() == 81
    label = np.zeros((41, 41), np.uint8)
    label[:, 20:] = 1
    band = boundary_band(label)
    assert np.flatnonzero(band[20]).tolist() == list(range(15, 25))
    label[:, 30:] = 2  # where two objects touch there is no band
    assert np.flatnonzero(boundary_band(label)[20]).tolist() == list(range(15, 25))


def test_label_changes_stay_within_a_shot() -> None:
    changes = LabelChanges()
    assert math.isnan(changes.share)
    still = np.zeros((2, 4), np.uint8)
    moved = still.copy()
    moved[0, :2] = 1
    for labels in (still, moved, moved):
        changes.add(labels)
    changes.new_shot()
    changes.add(still)
    changes.add(np.zeros((3, 4), np.uint8))  # another size is another shot
    assert changes.pairs == 2
    assert changes.share == pytest.approx((2 / 8 + 0) / 2)


def test_label_changes_keep_their_own_copy() -> None:
    changes = LabelChanges()
    buffer = np.zeros((2, 2), np.uint8)
    changes.add(buffer)
    buffer[:] = 1
    changes.add(buffer)
    assert changes.share == 1.0


def test_remap() -> None:
    labels = np.array([[0, 1, 2, 9]], np.uint8)
    assert remap(labels, [3, 3, 0]).tolist() == [[3, 3, 0, NO_CLASS]]
