"""One page of a data set: image, label and overlay of some pictures, and how frequent each class is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np

from clockwork_onnx.digits.views import colour_map
from clockwork_onnx.digits.views_page import inline_png
from clockwork_onnx.evaluation.datasets.base import VOID, list_files, read_label
from runtime.report.overlay import blend
from runtime.video.images import read_image
from staged_onnx.palettes import Classes
from weights.errors import DataSetError
from weights.showing import html_text
from weights.whole_file import whole_file

__all__ = ["Frequencies", "Pair", "count_classes", "find_pairs", "write_data_page"]

IMAGES = ("images", "frames", "JPEGImages")
LABELS = ("labels", "SegmentationClass", "annotations")
MAX_SIDE = 640
"""Wider or higher pictures are shown smaller, by a whole factor."""


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
        folder: with a folder of images (`images`, `frames` or `JPEGImages`) and one of labels (`labels`,
            `SegmentationClass` or `annotations`), or with folders, such as `train` and `val`, that have them.

    Raises:
        DataSetError: no such folders, or no image with a label of its name.
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
    """Count every label of every picture; `seen` is called after each."""
    pixels, pictures = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for pair in pairs:
        counts = np.bincount(read_label(pair.label).ravel(), minlength=256)
        pixels += counts
        pictures += counts > 0
        seen()
    return Frequencies(pixels, pictures)


def _small(picture: np.ndarray) -> np.ndarray:
    step = -(-max(picture.shape[:2]) // MAX_SIDE)
    return np.ascontiguousarray(picture[::step, ::step])


def _figure(pair: Pair, table: np.ndarray) -> str:
    image, label = read_image(pair.image), read_label(pair.label)
    if image.shape[:2] != label.shape:
        raise DataSetError(
            "image and label have different sizes",
            file=pair.label,
            found=label.shape,
            expected=image.shape[:2],
        )
    shown = _small(image), _small(table[label]), _small(blend(image, label, table, 0.5))
    pictures = "".join(
        f'<img alt="{kind} of {html_text(pair.name)}" src="{inline_png(picture)}">'
        for kind, picture in zip(("image", "label", "overlay"), shown, strict=True)
    )
    name = "/".join(part for part in (pair.part, pair.name) if part)
    return (
        f'<figure class="card"><div class="three">{pictures}</div>'
        f"<figcaption>{html_text(name)}</figcaption></figure>"
    )


def _name(label: int, classes: Classes) -> str:
    if label < len(classes):
        return classes.names[label]
    return "void" if label in (VOID, *classes.ignore) else f"label {label}, which has no class"


def _rows(found: Frequencies, table: np.ndarray, classes: Classes, pictures: int) -> str:
    total = int(found.pixels.sum())
    most = max(1, int(found.pixels.max()))
    rows = []
    for label in range(256):
        count = int(found.pixels[label])
        if not count and label >= len(classes):
            continue
        rows.append(
            f'<tr><td>{label}</td><td class="name"><i style="background:#{bytes(table[label]).hex()}"></i>'
            f"{html_text(_name(label, classes))}</td><td>{count:,}</td><td>{count / total:.2%}</td>"
            f"<td>{int(found.pictures[label])} of {pictures}</td>"
            f'<td class="bar"><span style="width:{100 * count / most:.1f}%"></span></td></tr>'
        )
    return "".join(rows)


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
        path: of the page.
        pairs: all pictures; at most `most` of them, evenly spread, are shown.
        found: of all pictures.
        classes: names and colours; labels beyond them take the VOC palette's colours.
        title: of the page.
        most: how many pictures to show.

    Raises:
        DataSetError: an image that cannot be read or has another size than its label.
    """
    table = colour_map("dataset", classes)
    count = min(most, len(pairs))
    chosen = [pairs[i * len(pairs) // count] for i in range(count)]
    parts = {pair.part: sum(p.part == pair.part for p in pairs) for pair in pairs}
    said = ", ".join(f"{number} {part}".strip() for part, number in parts.items())
    template = resources.files("clockwork_onnx.digits").joinpath("data_page.html").read_text("utf-8")
    page = Template(template).substitute(
        title=html_text(title),
        subtitle=html_text(f"{said} pictures; {count} shown"),
        rows=_rows(found, table, classes, len(pairs)),
        figures="".join(_figure(pair, table) for pair in chosen),
    )
    with whole_file(path) as partial:
        partial.write_text(page, "utf-8")
