"""Opening a file that somebody else made: a regular file of bounded size, or a typed error."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from os import PathLike, fspath

from weights.errors import ClockworkError, WeightsError

__all__ = ["open_regular", "read_regular"]

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe or a device"),
    (stat.S_ISCHR, "a pipe or a device"),
    (stat.S_ISBLK, "a pipe or a device"),
    (stat.S_ISSOCK, "a socket"),
)


def _opener(path: str, flags: int) -> int:
    # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever. It changes nothing for files.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))


@contextmanager
def open_regular(
    path: str | PathLike[str],
    most: int,
    *,
    expected: str,
    error: type[ClockworkError] = WeightsError,
    what: str = "cannot be read",
) -> Iterator[tuple[BufferedReader, int]]:
    """The file at `path`, open for reading, and its size in bytes.

    A pipe or a device is refused before anything is read from it: it might never end.

    Args:
        path: Where the file is.
        most: The largest size accepted, in bytes.
        expected: What kind of file is wanted, for the message.
        error: The class of error to raise.
        what: What the message says of a path that is not a regular file.

    Yields:
        The file and its size.

    Raises:
        ClockworkError: Of class `error`, naming the file, where there is none, where it is not a
            regular file, is too large, or cannot be read.
    """
    name = fspath(path)
    try:
        kind = os.stat(name).st_mode
        if not stat.S_ISREG(kind):
            found = next((text for test, text in _KINDS if test(kind)), "no regular file")
            raise error(what, file=name, found=found, expected=expected)
        with open(name, "rb", opener=_opener) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):  # exchanged meanwhile
                raise error(what, file=name, found="no regular file", expected=expected)
            if status.st_size > most:
                raise error(
                    "too large", file=name, found=f"{status.st_size} bytes", expected=f"at most {most}"
                )
            yield file, status.st_size
    except OSError as failed:
        raise error(
            "cannot be read", file=name, found=failed.strerror or str(failed), expected=expected
        ) from failed
    except ValueError as failed:
        # os.stat's word on a path with a zero byte or a lone surrogate in it.
        raise error("not a path", file=name, found=str(failed), expected=expected) from None


def read_regular(
    path: str | PathLike[str],
    most: int,
    *,
    expected: str,
    error: type[ClockworkError] = WeightsError,
    what: str = "cannot be read",
) -> bytes:
    """The whole content of a file, under the same conditions as `open_regular`.

    Args:
        path: The file.
        most: The greatest size that is accepted, in bytes.
        expected: What the file should be, for the message.
        error: The type of the error that is raised.
        what: How the message begins where the file cannot be opened.

    Returns:
        The bytes of the file.

    Raises:
        ClockworkError: As `open_regular` does, and where the file grows beyond `most` meanwhile.
    """
    with open_regular(path, most, expected=expected, error=error, what=what) as (file, _):
        # A file that grows while it is read gives no more than it was measured to have.
        content = file.read(most + 1)
    if len(content) > most:
        raise error("too large", file=fspath(path), found="a growing file", expected=f"at most {most}")
    return content
