"""One page of a data set: image, label and overlay of some pictures, and how frequent each class is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clockwork_onnx.digits.views import colour_map
from clockwork_onnx.evaluation.datasets.base import VOID, list_files, read_label
from runtime.report.html import inline_picture, write_page
from runtime.report.overlay import blend
from runtime.video.images import read_image
from staged_onnx.palettes import Classes
from weights.errors import DataSetError

__all__ = ["Frequencies", "Pair", "count_classes", "find_pairs", "write_data_page"]

IMAGES = ("images", "frames", "JPEGImages")
LABELS = ("labels", "SegmentationClass", "annotations")
MAX_WIDTH = 480
"""Wider pictures are shown smaller, in pixels."""


@dataclass(frozen=True)
class Pair:
    """An image with its label image; `part` is the folder that they came from, "" for the data set's own."""

    part: str
    name: str
    image: Path
    label: Path


@dataclass(frozen=True)
class Frequencies:
    """How many pixels each label has, 256 counts, and in how many pictures it occurs."""

    pixels: np.ndarray
    pictures: np.ndarray


def _folders(folder: Path) -> tuple[Path, Path] | None:
    found = [
        next((folder / name for name in names if (folder / name).is_dir()), None)
        for names in (IMAGES, LABELS)
    ]
    return (found[0], found[1]) if found[0] is not None and found[1] is not None else None


def find_pairs(folder: Path) -> tuple[Pair, ...]:
    """The labelled images of a data set, in natural order.

    Args:
        folder: With a folder of images (`images`, `frames` or `JPEGImages`) and one of labels (`labels`,
            `SegmentationClass` or `annotations`), or with folders, such as `train` and `val`, that have them.

    Returns:
        Each image with its label image.

    Raises:
        DataSetError: No such folders, or no image with a label of its name.
    """
    if not folder.is_dir():
        raise DataSetError("no such folder", file=folder)
    parts = [("", _folders(folder))]
    if parts[0][1] is None:
        parts = [(p.name, _folders(p)) for p in sorted(folder.iterdir()) if p.is_dir()]
    pairs = []
    for part, both in parts:
        if both is None:
            continue
        labels = {path.stem: path for path in list_files(both[1])}
        pairs += [
            Pair(part, path.stem, path, labels[path.stem])
            for path in list_files(both[0])
            if path.stem in labels
        ]
    if not pairs:
        raise DataSetError(
            "no labelled images here",
            file=folder,
            expected=f"folders {' or '.join(IMAGES)} and {' or '.join(LABELS)} with files of the same names",
        )
    return tuple(pairs)


def count_classes(pairs: Sequence[Pair], seen: Callable[[], None] = lambda: None) -> Frequencies:
    """Count every label of every picture.

    Args:
        pairs: The pictures with their label images.
        seen: Called after each picture, for progress.

    Returns:
        For each label from 0 to 255, its pixels and the pictures that it is in.
    """
    pixels, pictures = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for pair in pairs:
        counts = np.bincount(read_label(pair.label).ravel(), minlength=256)
        pixels += counts
        pictures += counts > 0
        seen()
    return Frequencies(pixels, pictures)


def _pictures(pair: Pair, table: np.ndarray) -> dict[str, Any]:
    image, label = read_image(pair.image), read_label(pair.label)
    if image.shape[:2] != label.shape:
        raise DataSetError(
            "image and label have different sizes",
            file=pair.label,
            found=label.shape,
            expected=image.shape[:2],
        )
    return {
        "name": "/".join(part for part in (pair.part, pair.name) if part),
        "pictures": [
            ("image", inline_picture(image, MAX_WIDTH)),
            ("label", inline_picture(table[label], MAX_WIDTH, "labels")),
            ("overlay", inline_picture(blend(image, label, table, 0.5), MAX_WIDTH)),
        ],
    }


def _name(label: int, classes: Classes) -> str:
    if label < len(classes):
        return classes.names[label]
    return "void" if label in (VOID, *classes.ignore) else f"label {label}, which has no class"


def _rows(found: Frequencies, table: np.ndarray, classes: Classes, pictures: int) -> list[dict[str, Any]]:
    """One row per class, and one per label that has no class and occurs."""
    total, most = int(found.pixels.sum()), max(1, int(found.pixels.max()))
    return [
        {
            "label": label, "colour": "#" + bytes(table[label]).hex(), "name": _name(label, classes),
            "pixels": f"{int(found.pixels[label]):,}", "share": f"{found.pixels[label] / total:.2%}",
            "pictures": f"{int(found.pictures[label])} of {pictures}",
            "width": f"{100 * found.pixels[label] / most:.1f}%",
        }
        for label in range(256)
        if found.pixels[label] or label < len(classes)
    ]  # fmt: skip


def write_data_page(
    path: Path,
    pairs: Sequence[Pair],
    found: Frequencies,
    classes: Classes,
    *,
    title: str,
    most: int = 24,
) -> None:
    """Write the page, complete in itself.

    Args:
        path: Where the page goes.
        pairs: All pictures; at most `most` of them, evenly spread, are shown.
        found: The counts over all pictures.
        classes: Names and colours; labels beyond them take the VOC palette's colours.
        title: The page's title.
        most: How many pictures to show.

    Raises:
        DataSetError: An image that cannot be read or has another size than its label.
    """
    table = colour_map("dataset", classes)
    count = min(most, len(pairs))
    chosen = [pairs[i * len(pairs) // count] for i in range(count)]
    parts = {pair.part: sum(p.part == pair.part for p in pairs) for pair in pairs}
    said = ", ".join(f"{number} {part}".strip() for part, number in parts.items())
    write_page(path, Path(__file__).with_name("data_page.html"), {
        "title": title, "subtitle": f"{said} pictures; {count} shown",
        "rows": _rows(found, table, classes, len(pairs)),
        "samples": [_pictures(pair, table) for pair in chosen],
    })  # fmt: skip
