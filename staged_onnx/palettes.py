"""Class names and colours: the tables of the well-known data sets, and tables read from a names file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from weights.errors import UsageError

__all__ = ["Classes", "classes", "colour_table", "file_palette", "voc_palette"]

MAX_CLASSES = 256  # label maps are uint8
MAX_NAMES_FILE = 1 << 20
MAX_NAME = 80

Colour = tuple[int, int, int]

CITYSCAPES: tuple[tuple[str, Colour], ...] = (
    ("road", (128, 64, 128)),
    ("sidewalk", (244, 35, 232)),
    ("building", (70, 70, 70)),
    ("wall", (102, 102, 156)),
    ("fence", (190, 153, 153)),
    ("pole", (153, 153, 153)),
    ("traffic light", (250, 170, 30)),
    ("traffic sign", (220, 220, 0)),
    ("vegetation", (107, 142, 35)),
    ("terrain", (152, 251, 152)),
    ("sky", (70, 130, 180)),
    ("person", (220, 20, 60)),
    ("rider", (255, 0, 0)),
    ("car", (0, 0, 142)),
    ("truck", (0, 0, 70)),
    ("bus", (0, 60, 100)),
    ("train", (0, 80, 100)),
    ("motorcycle", (0, 0, 230)),
    ("bicycle", (119, 11, 32)),
)
CAMVID: tuple[tuple[str, Colour], ...] = (
    ("sky", (128, 128, 128)),
    ("building", (128, 0, 0)),
    ("pole", (192, 192, 128)),
    ("road", (128, 64, 128)),
    ("pavement", (0, 0, 192)),
    ("tree", (128, 128, 0)),
    ("sign", (192, 128, 128)),
    ("fence", (64, 64, 128)),
    ("car", (64, 0, 128)),
    ("pedestrian", (64, 64, 0)),
    ("bicyclist", (0, 128, 192)),
)
# fmt: off
VOC_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)
NYUD_NAMES = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture",
    "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat", "clothes",
    "ceiling", "books", "refrigerator", "television", "paper", "towel", "shower curtain", "box", "whiteboard",
    "person", "night stand", "toilet", "sink", "lamp", "bathtub", "bag", "other structure",
    "other furniture", "other prop",
)
# fmt: on


@dataclass(frozen=True)
class Classes:
    """The classes of a label map: `names[k]` and `palette[k]` (red, green, blue) of label k.

    Black is the colour of what need not be seen: an overlay leaves such a class clear. `ignore` lists
    the labels that mean "not labelled" in the data set's ground truth.
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    ignore: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.names) != len(self.palette):
            raise UsageError(
                "class names and colours do not match",
                found=f"{len(self.palette)} colours",
                expected=f"{len(self.names)}, one per name",
            )
        if not 0 < len(self.names) <= MAX_CLASSES:
            raise UsageError(
                "number of classes out of range", found=len(self.names), expected=f"1 to {MAX_CLASSES}"
            )
        for colour in self.palette:
            if len(colour) != 3 or not all(isinstance(c, int) and 0 <= c <= 255 for c in colour):
                raise UsageError("not a colour", found=colour, expected="red, green, blue in 0..255")

    def __len__(self) -> int:
        return len(self.names)

    def colours(self) -> np.ndarray:
        """The palette for every possible label: uint8 of shape (256, 3), black beyond the last class."""
        return colour_table(self.palette)


def colour_table(palette: Sequence[Sequence[int]] | np.ndarray) -> np.ndarray:
    """`palette`, at most 256 colours (red, green, blue), filled up with black: uint8 of shape (256, 3)."""
    table = np.zeros((MAX_CLASSES, 3), np.uint8)
    table[: len(palette)] = np.asarray(palette, np.uint8)
    return table


def file_palette(palette: Sequence[Sequence[int]] | np.ndarray) -> np.ndarray:
    """The palette that an indexed file of labels carries: uint8 of shape (256, 3).

    Where the colours are VOC's, the file has VOC's whole palette, as PASCAL VOC's own label images do: its
    255, which stands for void, is (224, 224, 192). Other palettes are filled up with black.
    """
    table = colour_table(palette)
    whole = np.array(voc_palette(), np.uint8)
    return whole if np.array_equal(table[: len(palette)], whole[: len(palette)]) else table


def voc_palette(count: int = MAX_CLASSES) -> tuple[Colour, ...]:
    """The first `count` colours of the PASCAL VOC palette.

    The bits of the label are dealt out in threes, lowest first: bit 0 to red, bit 1 to green, bit 2
    to blue, and the i-th triple lands in bit 7 - i of its channel. So 1 is (128, 0, 0), 2 is
    (0, 128, 0) and 255 is (224, 224, 192).
    """

    def channel(label: int, first_bit: int) -> int:
        return sum(((label >> (3 * i + first_bit)) & 1) << (7 - i) for i in range(8))

    return tuple((channel(k, 0), channel(k, 1), channel(k, 2)) for k in range(count))


def classes(what: str | int | PathLike[str], count: int | None = None) -> Classes:
    """The classes that a name, a number or a file stands for.

    Args:
        what: "cityscapes" (19), "camvid" (11), "voc" (21), "nyud" (40), a number of classes (also as text;
            the names are then "class 0", "class 1", ...), or the path of a names file: UTF-8 text with one
            class per line, in label order, optionally followed by its colour as three numbers 0..255; lines
            without a colour take the VOC palette's.
        count: How many classes there must be; but a names file may go on after them (files with trailing
            prose exist).

    Returns:
        Names and colours, in label order.

    Raises:
        UsageError: The name is unknown, the file unusable, or the number does not fit.
    """
    text = str(what)
    known = _known(text.lower())
    if known is not None:
        found = known
    elif re.fullmatch(r"[0-9]{1,9}", text):
        found = _numbered(int(text))
    elif Path(text).is_file():
        found = _from_file(Path(text), count)
    else:
        raise UsageError(
            "unknown classes",
            found=text,
            expected="cityscapes, camvid, voc, nyud, a number of classes or the path of a names file",
        )
    if count is not None and len(found) != count:
        raise UsageError(f"the net has {count} classes", found=f"{len(found)} in {text}", expected=count)
    return found


def _known(name: str) -> Classes | None:
    if name == "cityscapes":
        return _table(CITYSCAPES, ignore=(255,))
    if name == "camvid":
        return _table(CAMVID, ignore=(11,))
    if name == "voc":
        return Classes(VOC_NAMES, voc_palette(21), ignore=(255,))
    if name == "nyud":
        # Label 0 is a thing (wall) here, so the colours begin after VOC's black.
        return Classes(NYUD_NAMES, voc_palette(41)[1:], ignore=(255,))
    return None


def _table(rows: Sequence[tuple[str, Colour]], ignore: tuple[int, ...]) -> Classes:
    return Classes(tuple(name for name, _ in rows), tuple(colour for _, colour in rows), ignore=ignore)


def _numbered(count: int) -> Classes:
    if not 0 < count <= MAX_CLASSES:
        raise UsageError("number of classes out of range", found=count, expected=f"1 to {MAX_CLASSES}")
    return Classes(tuple(f"class {k}" for k in range(count)), voc_palette(count))


def _from_file(path: Path, count: int | None) -> Classes:
    size = path.stat().st_size
    if size > MAX_NAMES_FILE:
        raise UsageError(
            "too large for a file of class names",
            file=path,
            found=f"{size} bytes",
            expected=f"at most {MAX_NAMES_FILE}",
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            "not a file of class names", file=path, found="bytes that are not UTF-8 text"
        ) from error
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    if count is not None and len(lines) > count:
        lines = lines[:count]
    if not 0 < len(lines) <= MAX_CLASSES:
        raise UsageError(
            "number of class names out of range", file=path, found=len(lines), expected=f"1 to {MAX_CLASSES}"
        )
    default = voc_palette(len(lines))
    names, palette = [], []
    for number, line in enumerate(lines):
        match = re.fullmatch(r"(.+?)[\s,;]+([0-9]{1,3})[\s,;]+([0-9]{1,3})[\s,;]+([0-9]{1,3})", line)
        name = match[1] if match else line
        if len(name) > MAX_NAME or not name.isprintable():
            raise UsageError(
                f"class {number} has no usable name",
                file=path,
                found=repr(name[:20]),
                expected=f"one name per line, at most {MAX_NAME} printable characters",
            )
        colour = (int(match[2]), int(match[3]), int(match[4])) if match else default[number]
        if max(colour) > 255:
            raise UsageError(
                f'colour of "{name}" out of range', file=path, found=colour, expected="numbers 0..255"
            )
        names.append(name)
        palette.append(colour)
    return Classes(tuple(names), tuple(palette))
