"""The plain pair of folders, frames and labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clockwork_onnx.evaluation.datasets import folders
from clockwork_onnx.evaluation.datasets.base import preprocess, read_label
from weights.errors import DataSetError


def make_pair(root: Path, names: list[str], labelled: list[str]) -> tuple[Path, Path]:
    frames, labels = root / "frames", root / "labels"
    frames.mkdir()
    labels.mkdir()
    for i, name in enumerate(names):
        Image.fromarray(np.full((4, 6, 3), i, np.uint8)).save(frames / f"{name}.png")
    for i, name in enumerate(labelled):
        image = Image.fromarray(np.array([[0, 1, 2, i]], np.uint8).repeat(4, 0))
        if i % 2:
            image = image.convert("L").copy()
            image.putpalette(bytes(range(256)) * 3)
        image.save(labels / f"{name}.png")
    return frames, labels


def test_frames_in_natural_order_with_their_labels(tmp_path: Path) -> None:
    frames, labels = make_pair(tmp_path, ["f10", "f2", "f1"], ["f2", "f10"])
    data = folders.read(frames, labels, classes=["a", "b", "c"])
    assert [s.name for s in data.shots[0].samples] == ["f1", "f2", "f10"]
    assert data.labelled == 2
    assert data.shots[0].samples[2].read_image()[0, 0].tolist() == [0, 0, 0]  # f10 was written first
    first = data.shots[0].samples[0]
    assert first.read_label is None


def test_paletted_labels_give_their_indices(tmp_path: Path) -> None:
    _, labels = make_pair(tmp_path, ["a", "b"], ["a", "b"])
    assert Image.open(labels / "b.png").mode == "P"
    assert read_label(labels / "b.png")[0].tolist() == [0, 1, 2, 1]


def test_ignored_classes_become_void(tmp_path: Path) -> None:
    frames, labels = make_pair(tmp_path, ["a"], ["a"])
    data = folders.read(frames, labels, classes=["x", "y"], ignored=[2])
    read = data.shots[0].samples[0].read_label
    assert read is not None and read()[0].tolist() == [0, 1, 255, 0]


def test_a_label_class_nobody_scores_is_an_error(tmp_path: Path) -> None:
    frames, labels = make_pair(tmp_path, ["a"], ["a"])
    read = folders.read(frames, labels, classes=["x", "y"]).shots[0].samples[0].read_label
    assert read is not None
    with pytest.raises(DataSetError, match=r"a\.png: a label .* nor ignored; found class 2"):
        read()


def test_missing_and_unmatched_files_are_named(tmp_path: Path) -> None:
    frames, labels = make_pair(tmp_path, ["a"], ["a", "b"])
    with pytest.raises(DataSetError, match="found 1, the first is b"):
        folders.read(frames, labels, classes=["x"])
    with pytest.raises(DataSetError, match="folder of frames is missing"):
        folders.read(tmp_path / "no", labels, classes=["x"])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataSetError, match="no frames here"):
        folders.read(empty, labels, classes=["x"])
    with pytest.raises(DataSetError, match="no label images here"):
        folders.read(frames, empty, classes=["x"])


def test_files_that_are_not_label_images(tmp_path: Path) -> None:
    colour = tmp_path / "colour.png"
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(colour)
    with pytest.raises(DataSetError, match="found pixels of mode RGB"):
        read_label(colour)
    fake = tmp_path / "fake.png"
    fake.write_text("<html>not found</html>")
    with pytest.raises(DataSetError, match="cannot be read"):
        read_label(fake)


def test_preprocessing_is_bgr_minus_mean() -> None:
    image = np.array([[[10, 20, 30], [0, 0, 255]]], np.uint8)
    data = preprocess(image, (104.0, 117.0, 123.0))
    assert data.shape == (3, 1, 2) and data.dtype == np.float32
    assert data[:, 0, 0].tolist() == [30 - 104, 20 - 117, 10 - 123]
    assert data[:, 0, 1].tolist() == [255 - 104, -117, -123]
