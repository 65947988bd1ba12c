"""What a data set is to the evaluation: shots of samples that are read when they are needed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.video.frames import MAX_PIXELS
from runtime.video.images import natural_key
from staged_onnx import Preprocessing
from weights.errors import DataSetError, UsageError

__all__ = [
    "NO_CLASS",
    "VOID",
    "DataSet",
    "Sample",
    "Shot",
    "class_table",
    "classes_met",
    "excerpt",
    "list_files",
    "listed_names",
    "mean_of",
    "other_mean",
    "preprocess",
    "read_label",
    "remap",
    "require_file",
    "require_folder",
    "without_classes",
]

VOID = 255
"""In a true label map: not to be scored."""

NO_CLASS = 255
"""In a predicted label map: none of the scored classes, so wrong wherever the truth is not void."""

MEAN_TOLERANCE = 1.0
"""Levels of 255 by which published means of one data set differ."""

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class Sample:
    """One frame, and its true labels where it has them; nothing is read before it is called for."""

    name: str
    read_image: Callable[[], NDArray[np.uint8]]
    """-> H x W x 3, RGB."""
    read_label: Callable[[], NDArray[np.uint8]] | None = None
    """-> H x W class indices, 255 = void; None for a frame without labels."""
    number: int | None = None
    """The frame's own number in its video, where frames have numbers."""


@dataclass(frozen=True)
class Shot:
    """Frames in order of time that may share state."""

    name: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class DataSet:
    """Shots, and what their labels mean.

    `prediction_map[c]` is the scored class for the net's class c; None where the net's classes are the
    data set's. `mean` is the data set's mean pixel in B, G, R order, as its nets were trained with.
    """

    name: str
    classes: tuple[str, ...]
    shots: tuple[Shot, ...]
    mean: tuple[float, float, float] | None = None
    prediction_map: tuple[int, ...] | None = None

    @property
    def labelled(self) -> int:
        """The number of frames with labels."""
        return sum(sample.read_label is not None for shot in self.shots for sample in shot.samples)


def preprocess(image: NDArray[np.uint8], mean: Sequence[float]) -> NDArray[np.float32]:
    """A frame as all of the clockwork nets were trained and tested with: BGR, mean subtracted, not scaled.

    Args:
        image: uint8, H x W x 3, RGB.
        mean: B, G, R.

    Returns:
        float32, 3 x H x W.
    """
    return (image[:, :, ::-1].astype(np.float32) - np.asarray(mean, np.float32)).transpose(2, 0, 1)


def mean_of(how: Preprocessing) -> tuple[float, float, float]:
    """The mean pixel in B, G, R order that a bundle subtracts."""
    mean = how.mean if len(how.mean) == 3 else how.mean * 3
    ordered = mean if how.channels == "bgr" else mean[::-1]
    return (ordered[0], ordered[1], ordered[2])


def other_mean(data_set: DataSet, name: str, how: Preprocessing) -> str:
    """A warning where a bundle subtracts another mean than the data set's own nets.

    Args:
        data_set: The data set.
        name: The bundle, as the sentence calls it.
        how: The bundle's pre-processing.

    Returns:
        A sentence, or "" where the means agree or the data set has none.
    """
    found = mean_of(how)
    if data_set.mean is None or np.allclose(found, data_set.mean, rtol=0, atol=MEAN_TOLERANCE):
        return ""
    here, there = (", ".join(f"{value:g}" for value in mean) for mean in (found, data_set.mean))
    return (
        f"{name} subtracts the mean pixel {here} (B, G, R), while nets of {data_set.name} are trained with "
        f"{there}; if this is one of those, convert it with that --mean."
    )


def read_label(path: Path) -> NDArray[np.uint8]:
    """A label image as H x W uint8 class indices: grey values, or the indices of a paletted file."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataSetError(
                    "label image too large",
                    file=path,
                    found=f"{image.width} x {image.height}",
                    expected=f"at most {MAX_PIXELS} pixels",
                )
            if image.mode not in ("L", "P"):
                raise DataSetError(
                    "this is not a label image",
                    file=path,
                    found=f"pixels of mode {image.mode}",
                    expected="8-bit class indices, grey or paletted",
                )
            return np.array(image)
    except FileNotFoundError:
        raise DataSetError("no such file", file=path) from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataSetError(f"this image cannot be read: {error}", file=path) from None


def without_classes(labels: NDArray[np.uint8], ignored: Sequence[int]) -> NDArray[np.uint8]:
    """Labels with the ignored classes made void.

    Args:
        labels: uint8, H x W.
        ignored: The classes.

    Returns:
        uint8, H x W.
    """
    lookup = np.arange(256, dtype=np.uint8)
    lookup[list(ignored)] = VOID
    return lookup[labels]


def remap(labels: NDArray[np.uint8], table: Sequence[int]) -> NDArray[np.uint8]:
    """Replace each class by another.

    Args:
        labels: Label map, H x W.
        table: `table[c]` is what class c becomes.

    Returns:
        The new label map; classes beyond the table are `NO_CLASS` (255, also void).
    """
    lookup = np.full(256, NO_CLASS, np.uint8)
    lookup[: len(table)] = np.asarray(table, np.uint8)
    return lookup[labels]


def classes_met(data_set: DataSet) -> list[int]:
    """The classes that occur in the labels, ascending, void left out; none at all is an error.

    Every label is read, so that a bad one is found before anything is played.
    """
    pixels = np.zeros(256, np.int64)
    for shot in data_set.shots:
        for sample in shot.samples:
            if sample.read_label is not None:
                pixels += np.bincount(sample.read_label().ravel(), minlength=256)
    met = [int(found) for found in np.flatnonzero(pixels) if found != VOID]
    if not met:
        raise DataSetError("nothing to score: every label is void or ignored", found=data_set.name)
    return met


def excerpt(data_set: DataSet, start: int = 0, stride: int = 1, most: int | None = None) -> DataSet:
    """Frames `start`, `start + stride`, ... of each shot.

    Args:
        data_set: The data set.
        start: The first frame of each shot.
        stride: Frames from one to the next.
        most: Frames per shot at most; None for all.

    Returns:
        The data set with these frames alone.

    Raises:
        UsageError: None of them has labels.
    """
    shots = tuple(replace(shot, samples=shot.samples[start::stride][:most]) for shot in data_set.shots)
    chosen = replace(data_set, shots=shots)
    if not chosen.labelled:
        taken, there = (sum(len(shot.samples) for shot in one.shots) for one in (chosen, data_set))
        raise UsageError(
            "no frame with a label is among those asked for",
            file=data_set.name,
            found=f"{taken} of {there} frames",
        )
    return chosen


def class_table(names: Sequence[str], wanted: Sequence[str], other: int) -> tuple[int, ...]:
    """A table from one set of classes to another.

    Args:
        names: The classes to translate.
        wanted: The classes to translate them into.
        other: The index for those that `wanted` lacks.

    Returns:
        For each of `names` its index in `wanted`, or `other`.
    """
    places = {name: index for index, name in enumerate(wanted)}
    return tuple(places.get(name, other) for name in names)


def list_files(folder: Path, suffixes: Iterable[str] = IMAGE_SUFFIXES) -> list[Path]:
    """The files of a folder with one of the endings.

    Args:
        folder: The folder.
        suffixes: The endings, in lower case; a file's may be in upper case.

    Returns:
        The files in natural order, without hidden ones.
    """
    wanted = frozenset(suffixes)
    found = [p for p in folder.iterdir() if p.suffix.lower() in wanted and not p.name.startswith(".")]
    return sorted(found, key=lambda p: natural_key(p.name))


def require_folder(root: Path, relative: str, data_set: str, source: str) -> Path:
    """A folder of a data set, which must exist.

    Args:
        root: The data set's folder.
        relative: The folder in it.
        data_set: The data set's name, for the message.
        source: Where to get it, for the message.

    Returns:
        `root / relative`.

    Raises:
        DataSetError: There is none; the message says which folder is expected and where to get it.
    """
    folder = root / relative
    if not folder.is_dir():
        raise DataSetError(
            f"the {data_set} data set is not here",
            file=root,
            found=f"no folder {relative}" if root.is_dir() else "no such folder",
            expected=f"its original layout, with {relative}",
            hint=f"get it from {source}",
        )
    return folder


def require_file(path: Path, data_set: str, source: str) -> Path:
    """A file of a data set, which must exist.

    Args:
        path: The file.
        data_set: The data set's name, for the message.
        source: Where to get it, for the message.

    Returns:
        `path`.

    Raises:
        DataSetError: There is none.
    """
    if not path.is_file():
        raise DataSetError(
            f"a file of the {data_set} data set is missing", file=path, hint=f"get it from {source}"
        )
    return path


def listed_names(path: Path, data_set: str, source: str) -> list[str]:
    """The lines of a split file, without blank ones.

    Args:
        path: The file.
        data_set: The data set's name, for the message.
        source: Where to get it, for the message.

    Returns:
        The names; none leads out of the data set's folder.

    Raises:
        DataSetError: The file is missing or cannot be read, or a line is not a name.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataSetError(
            f"the list of the {data_set} data set is missing",
            file=path,
            expected="one name per line",
            hint=f"get it from {source}",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataSetError(f"this list cannot be read: {error}", file=path) from None
    names = [line.strip() for line in text.splitlines() if line.strip()]
    for name in names:
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", name) or ".." in name.split("/"):
            raise DataSetError("a line that is not a name", file=path, found=repr(name[:40]))
    return names
