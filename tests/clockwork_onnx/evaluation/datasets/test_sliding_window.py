"""Translated sequences: sizes, places and labels of the windows."""

from __future__ import annotations

import numpy as np
import pytest

from clockwork_onnx.evaluation.datasets.base import DataSet, Sample, Shot
from clockwork_onnx.evaluation.datasets.sliding_window import translated, window
from weights.errors import DataSetError


def data_set(height: int, width: int) -> DataSet:
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows % 256, columns % 256, (rows // 256) * 16 + columns // 256], axis=2).astype(
        np.uint8
    )
    label = ((rows + columns) % 20).astype(np.uint8)
    sample = Sample("picture", lambda: image, lambda: label)
    unlabelled = Sample("unlabelled", lambda: image)
    return DataSet("toy", ("a",) * 20, (Shot("s", (sample, unlabelled)),))


@pytest.mark.parametrize(
    ("height", "width", "shift", "size"),
    [
        (333, 500, 16, (333, 420)),
        (333, 500, 32, (333, 340)),
        (500, 333, 16, (420, 333)),
        (400, 400, 16, (320, 400)),  # a tie goes to the rows
    ],
)
def test_six_windows_along_the_longer_side(
    height: int, width: int, shift: int, size: tuple[int, int]
) -> None:
    data = data_set(height, width)
    shots = translated(data, shift).shots
    assert [len(shot.samples) for shot in shots] == [6]  # only the labelled picture
    whole, truth = data.shots[0].samples[0].read_image(), data.shots[0].samples[0].read_label()
    for k, sample in enumerate(shots[0].samples):
        image, label = sample.read_image(), sample.read_label()
        assert image.shape == (*size, 3) and image.flags.c_contiguous
        top, left = (k * shift, 0) if height >= width else (0, k * shift)
        assert np.array_equal(image, whole[top : top + size[0], left : left + size[1]])
        assert np.array_equal(label, truth[top : top + size[0], left : left + size[1]])
    rows, columns = window(height, width, 5, shift)
    assert (rows.stop, columns.stop) == (height, width)  # the last window ends at the border


def test_too_small_a_picture() -> None:
    with pytest.raises(DataSetError, match="found 160 x 90; expected more than 160 pixels"):
        window(90, 160, 0, 32)
    assert window(90, 161, 0, 32)[1] == slice(0, 1)


def test_the_name_tells_the_shift() -> None:
    assert translated(data_set(40, 200), 16, frames=3).name == "toy, translated 16 pixels per frame"
