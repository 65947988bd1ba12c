"""The generated video as a data set."""

from __future__ import annotations

import numpy as np

from clockwork_onnx.evaluation.datasets import catalogue
from clockwork_onnx.evaluation.datasets import shapes as shapes_data
from clockwork_onnx.evaluation.datasets import shapes_video as shapes
from clockwork_onnx.evaluation.datasets.sliding_window import translated


def test_every_frame_of_every_kind_is_labelled() -> None:
    data = shapes_data.read(frames=3)
    assert [shot.name.rsplit(" ", 1)[0] for shot in data.shots] == [kind[0] for kind in shapes.KINDS]
    assert data.labelled == 3 * len(shapes.KINDS)
    sample = data.shots[0].samples[2]
    assert sample.read_image().shape == (*shapes.FRAME_SIZE, 3)
    assert sample.read_label is not None and sample.read_label().max() < len(data.classes)


def test_samples_keep_their_own_frame() -> None:
    shot = shapes_data.read(frames=3, kinds=["fast"]).shots[0]
    first, last = shot.samples[0].read_image(), shot.samples[2].read_image()
    assert not np.array_equal(first, last)
    assert np.array_equal(first, shot.samples[0].read_image())


def test_pictures_are_large_enough_to_translate() -> None:
    data = shapes_data.pictures(7)
    assert len(data.shots) == 7 and all(len(shot.samples) == 1 for shot in data.shots)
    sequence = translated(data, 32).shots[0]
    assert sequence.samples[5].read_image().shape == (240, 240, 3)


def test_the_catalogue_names_every_data_set() -> None:
    assert tuple(sorted(catalogue.NAMES)) == catalogue.NAMES
