"""PASCAL VOC's archive -> folders of images and labels for training and validation, as DIGITS prepares them.

Of the archive only regular files are read whose path is one of

    [VOCdevkit/]VOC<year>/ImageSets/Segmentation/train.txt, val.txt
    [VOCdevkit/]VOC<year>/JPEGImages/NAME.jpg
    [VOCdevkit/]VOC<year>/SegmentationClass/NAME.png

with a plain NAME; nothing else is unpacked, so that no path of the archive reaches the disk, and sizes are
checked before anything is read.
"""

from __future__ import annotations

import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path

from staged_onnx.palettes import VOC_NAMES
from weights.errors import DataSetError, UsageError
from weights.whole_file import check_folder

__all__ = ["Prepared", "prepare_voc"]

SPLITS = ("train", "val")
MAX_LIST = 1 << 20
MAX_PICTURE = 64 << 20
MAX_MEMBERS = 1_000_000
MAX_TOTAL = 64 << 30
"""Bytes of all files of the archive: what has to be decompressed to walk through it."""
MAX_NAMES = 200_000
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"


@dataclass(frozen=True)
class Prepared:
    """Where the data lie and how many pictures each split has."""

    folder: str
    counts: dict[str, int]


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(archive, "r:*") as tar:
            yield tar
    except FileNotFoundError:
        raise DataSetError("no such file", file=archive, expected="VOCtrainval_11-May-2012.tar") from None
    except (tarfile.TarError, OSError, EOFError, zlib.error, LZMAError) as error:
        raise DataSetError(
            "the archive cannot be read", file=archive, found=str(error), expected="a tar file"
        ) from None


def _members(tar: tarfile.TarFile, archive: Path) -> Iterator[tarfile.TarInfo]:
    total = 0
    for count, member in enumerate(tar):
        total += member.size
        if count >= MAX_MEMBERS or total > MAX_TOTAL:
            raise DataSetError(
                "too much in the archive",
                file=archive,
                found=f"{count + 1} files of {total} bytes",
                expected=f"at most {MAX_MEMBERS} files of {MAX_TOTAL} bytes",
            )
        if member.isreg() and member.sparse is None:
            yield member


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo, most: int, archive: Path) -> bytes:
    if member.size > most:
        raise DataSetError(
            f"{member.name} is too large",
            file=archive,
            found=f"{member.size} bytes",
            expected=f"at most {most}",
        )
    file = tar.extractfile(member)
    data = file.read(most + 1) if file is not None else b""
    if len(data) != member.size:
        raise DataSetError(f"{member.name} is cut short", file=archive, found=f"{len(data)} bytes")
    return data


def _lists(archive: Path, year: int) -> dict[str, tuple[str, ...]]:
    """The names of each split."""
    path = re.compile(rf"(?:\./)?(?:VOCdevkit/)?VOC{year}/ImageSets/Segmentation/(train|val)\.txt")
    found: dict[str, tuple[str, ...]] = {}
    with _opened(archive) as tar:
        for member in _members(tar, archive):
            match = path.fullmatch(member.name)
            if match is None:
                continue
            names = _content(tar, member, MAX_LIST, archive).decode("ascii", "replace").split()
            bad = next((name for name in names if not re.fullmatch(NAME, name)), None)
            if bad is not None or len(names) > MAX_NAMES:
                raise DataSetError(
                    f"{member.name} is no list of pictures", file=archive, found=repr(bad or len(names))[:60]
                )
            found[match[1]] = tuple(dict.fromkeys(names))
    missing = [split for split in SPLITS if not found.get(split)]
    if missing:
        raise DataSetError(
            f"no list of pictures for {' and '.join(missing)}",
            file=archive,
            expected=f"VOC{year}/ImageSets/Segmentation/{missing[0]}.txt",
            hint="is it another year's archive? --year",
        )
    return found


def _unpack(archive: Path, year: int, lists: dict[str, tuple[str, ...]], folder: Path) -> None:
    """Write the pictures of the lists; raises DataSetError where one is not in the archive."""
    path = re.compile(
        rf"(?:\./)?(?:VOCdevkit/)?VOC{year}/(?:(JPEGImages)/({NAME})\.jpg|(SegmentationClass)/({NAME})\.png)"
    )
    kinds = {"JPEGImages": ("images", ".jpg"), "SegmentationClass": ("labels", ".png")}
    places: dict[tuple[str, str], list[Path]] = {}
    for split, names in lists.items():
        for kind, (part, suffix) in kinds.items():
            (folder / split / part).mkdir(parents=True, exist_ok=True)
            for name in names:
                places.setdefault((kind, name), []).append(folder / split / part / (name + suffix))
    with _opened(archive) as tar:
        for member in _members(tar, archive):
            match = path.fullmatch(member.name)
            targets = places.pop((match[1] or match[3], match[2] or match[4]), None) if match else None
            if targets:
                data = _content(tar, member, MAX_PICTURE, archive)
                for target in targets:
                    target.write_bytes(data)
    if places:
        kind, name = next(iter(places))
        raise DataSetError(
            "pictures of the lists are missing",
            file=archive,
            found=f"{len(places)} of them, the first is {kind}/{name}",
        )


def prepare_voc(archive: Path, folder: Path, *, year: int = 2012, force: bool = False) -> Prepared:
    """Unpack the segmentation pictures of PASCAL VOC.

    `folder` gets {train,val}/{images,labels}, the lists train.txt and val.txt and classes.txt; label images
    keep their bytes, and with them their palette and 255 for void. It appears whole or not at all.

    Args:
        archive: PASCAL VOC's tar file, compressed or not.
        folder: Where to write.
        year: Which year of the archive.
        force: Replace a folder that exists.

    Returns:
        The folder, and how many pictures each split has.

    Raises:
        UsageError: The folder exists, or cannot be made.
        DataSetError: The archive cannot be read or lacks what its lists name.
    """
    check_folder(folder)
    if folder.exists() and not force:
        raise UsageError("the folder exists", file=folder, hint="--force replaces it")
    lists = _lists(archive, year)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as made:
        whole = Path(made, "data")
        _unpack(archive, year, lists, whole)
        for split, names in lists.items():
            (whole / f"{split}.txt").write_text("".join(f"{name}\n" for name in names), "ascii")
        (whole / "classes.txt").write_text("".join(f"{name}\n" for name in VOC_NAMES), "ascii")
        if folder.exists():
            folder.rename(Path(made, "old"))
        whole.rename(folder)
    return Prepared(str(folder), {split: len(lists[split]) for split in SPLITS})
