"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weights.errors import UsageError

__all__ = ["check_folder", "file_in_the_way", "whole_file"]


def file_in_the_way(folder: Path) -> Path | None:
    """What lies on the way to a folder, or in its place, and is no folder; None where nothing does."""
    there = next((part for part in (folder, *folder.parents) if part.exists()), None)
    return there if there is not None and not there.is_dir() else None


def check_folder(folder: Path) -> None:
    """Raise UsageError where no folder can be made because something on the way to it is a file."""
    file = file_in_the_way(folder)
    if file is not None:
        raise UsageError(
            "cannot be written to", file=folder, found=f"{file}, which is a file", expected="a folder"
        )


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new name beside `path` to write to; moved onto `path` at the end, removed on an error.

    The body creates the file under the name it is given. OSError comes through as it is.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield partial
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
