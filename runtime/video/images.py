"""Image files: read as uint8 RGB, listed in natural order, handed out as frames.

Image files of other kinds are brought to uint8 RGB like this: 16-bit samples keep their high byte, grey is
repeated three times, palettes are looked up, transparency is ignored, CMYK is converted, and the EXIF
orientation is applied; 32-bit samples are refused.
"""

from __future__ import annotations

import glob
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from runtime.video.frames import MAX_PIXELS, Frame, Problem
from weights.errors import VideoError

__all__ = ["image_files", "is_image", "natural_key", "read_depth", "read_image", "read_images", "seems_to_be"]

_BAND_PIXELS = 1 << 22
_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_SUFFIXES = (
    ".bmp", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip


def natural_key(name: str) -> tuple[tuple[int | str, ...], str]:
    """Sort key that puts frame2 before frame10: runs of digits compare as numbers.

    Args:
        name: A file name or a path as text.

    Returns:
        A key for `sorted`; equal keys mean equal names.
    """
    parts = re.split(r"([0-9]+)", name.casefold())
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts)), name


def read_image(path: str | PathLike[str]) -> np.ndarray:
    """Read an image file, converted as this module says.

    Args:
        path: A PNG, JPEG, BMP, TIFF, WebP or PNM file. Its size is checked before anything is decoded.

    Returns:
        uint8 RGB of shape (height, width, 3), at most `MAX_PIXELS` pixels.

    Raises:
        VideoError: The file is missing, damaged, too large, or not an image of these kinds.
    """
    return _read(path, _rgb)


def read_depth(path: str | PathLike[str]) -> np.ndarray:
    """Read an image of one channel, 8 or 16 bits a sample, with its numbers as they are.

    Args:
        path: As for `read_image`.

    Returns:
        uint16 of shape (height, width, 1).

    Raises:
        VideoError: As for `read_image`, and for a picture in colour.
    """
    return _read(path, _depth)


def _rgb(image: Image.Image, path: str | PathLike[str]) -> np.ndarray:
    if image.mode in ("I", "F"):
        raise VideoError("not a picture", file=path, found="32-bit samples", expected="8 or 16 bits a sample")
    # Band by band: Pillow's conversions and exports would each take the size of the whole picture once more.
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        bottom = min(image.height, top + rows)
        band = image if rows >= image.height else image.crop((0, top, image.width, bottom))
        if image.mode.startswith("I;16"):
            pixels[top:bottom] = (np.asarray(band) >> 8)[:, :, None]
        else:
            pixels[top:bottom] = np.asarray(band if band.mode == "RGB" else band.convert("RGB"))
    return pixels


def _depth(image: Image.Image, path: str | PathLike[str]) -> np.ndarray:
    if not (image.mode.startswith("I;16") or image.mode == "L"):
        raise VideoError(
            "not a depth image", file=path, found=f"mode {image.mode}", expected="one channel of 8 or 16 bits"
        )
    return np.asarray(image).astype(np.uint16)[:, :, None]


def _read(
    path: str | PathLike[str], convert: Callable[[Image.Image, str | PathLike[str]], np.ndarray]
) -> np.ndarray:
    """Open, check and decode an image, and turn it upright."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise VideoError(
                    "image too large",
                    file=path,
                    found=f"{image.width} x {image.height}",
                    expected=f"at most {MAX_PIXELS} pixels",
                )
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return convert(image, path)
    except FileNotFoundError as error:
        raise VideoError("no such file", file=path) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise VideoError("image too large", file=path, expected=f"at most {MAX_PIXELS} pixels") from error
    except UnidentifiedImageError as error:
        raise VideoError(
            "not an image that can be read",
            file=path,
            found=seems_to_be(Path(path)),
            expected="PNG, JPEG, BMP, TIFF, WebP or PNM",
        ) from error
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        TypeError,
        KeyError,
        IndexError,
        struct.error,
    ) as error:  # what Pillow's decoders raise
        raise VideoError("damaged image", file=path, found=str(error)) from error


def image_files(text: str) -> list[Path] | None:
    """List the image files that a path or a glob names, in natural order.

    Args:
        text: A folder, an image file, or a glob such as `frames/*.png`.

    Returns:
        The files; None where `text` is an existing file that is not an image by its suffix.

    Raises:
        VideoError: No image is in the folder or among the matches.
    """
    path = Path(text)
    if path.is_dir():
        found = [entry for entry in path.iterdir() if is_image(entry)]
        if not found:
            raise VideoError(
                "no image in this folder",
                file=text,
                found=f"{sum(1 for _ in path.iterdir())} other entries",
                expected="files ending in " + ", ".join(_SUFFIXES),
            )
        return sorted(found, key=lambda entry: natural_key(entry.name))
    if path.exists():
        return [path] if path.suffix.lower() in _SUFFIXES else None
    matches = [Path(match) for match in glob.glob(text, recursive=True)]
    found = [match for match in matches if is_image(match)]
    if not found:
        raise VideoError(
            "no image matches this pattern",
            file=text,
            found=f"{len(matches)} matches" if matches else "nothing",
            expected="files ending in " + ", ".join(_SUFFIXES),
        )
    return sorted(found, key=lambda match: natural_key(str(match)))


def read_images(
    files: Sequence[Path],
    start: int,
    stride: int,
    report: Callable[[Problem], None],
    read: Callable[[Path], np.ndarray] = read_image,
) -> Iterator[Frame]:
    """Read image files as the frames of a source.

    Args:
        files: The source's images in order.
        start: Index of the first to be read.
        stride: Every how many are read.
        report: Is called with each image that cannot be read; it is left out.
        read: What reads one: `read_image` or `read_depth`.

    Yields:
        Frames without a time, named by their files' stems, with the index where two stems are equal.
    """
    unique = len({path.stem for path in files}) == len(files)
    for index in range(start, len(files), stride):
        path = files[index]
        name = path.stem if unique else f"{index:06d}_{path.stem}"
        try:
            image = read(path)
        except VideoError as error:
            report(Problem(index, name, str(error)))
            continue
        yield Frame(index, None, image, name)


def seems_to_be(path: Path) -> str:
    """What a file that is neither video nor image seems to be, in a few words for a message."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        return error.strerror or "an unreadable file"
    if not head:
        return "an empty file"
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if not set(head) & set(range(32)) - {9, 10, 12, 13}:
        return "a text file"
    return f"bytes that start with {head[:8].hex(' ')}"


def is_image(path: Path) -> bool:
    hidden = path.name.startswith(".")  # such as the "._name.png" that macOS leaves on foreign disks
    return path.suffix.lower() in _SUFFIXES and not hidden and path.is_file()
