"""Files and folders that appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import ctypes
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from weights.errors import UsageError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = [
    "beside",
    "check_folder",
    "exchange",
    "file_in_the_way",
    "growing",
    "grown",
    "locked_folder",
    "sync_folder",
    "whole_file",
]

LOCK_NAME = ".clockwork.lock"


def file_in_the_way(folder: Path) -> Path | None:
    """What lies on the way to a folder, or in its place, and is not a folder; None where nothing does."""
    there = next((part for part in (folder, *folder.parents) if part.exists()), None)
    return there if there is not None and not there.is_dir() else None


def check_folder(folder: Path) -> None:
    """Raise UsageError where no folder can be made because something on the way to it is a file."""
    file = file_in_the_way(folder)
    if file is not None:
        raise UsageError(
            "cannot be written to", file=folder, found=f"{file}, which is a file", expected="a folder"
        )


def beside(target: Path, ending: str = ".part") -> Path:
    """A hidden name in the folder of `target` that nobody can guess, so that no link can wait there.

    Args:
        target: The file or folder that is to be written.
        ending: What the name ends in.

    Returns:
        A path at which nothing has been made yet.
    """
    # A name may have 255 bytes; the start of a long one is enough to tell whose it is.
    start = target.name.encode("utf-8", "surrogateescape")[:150].decode("utf-8", "ignore")
    return target.with_name(f".{start}.{secrets.token_hex(8)}{ending}")


def growing(target: Path) -> Path:
    """The name under which a file grows that is called `target` when it is whole: `NAME.part.SUFFIX`."""
    return target.with_name(f"{target.stem}.part{target.suffix}")


def grown(target: Path) -> Path:
    """A new, empty file of the name `growing(target)`; what had that name is gone, be it a file or a link.

    Args:
        target: The file that it will become.

    Returns:
        The new file's path.

    Raises:
        OSError: As the system says it.
    """
    path = growing(target)
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666))
    return path


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk before going on; does nothing where the system cannot."""
    if sys.platform == "win32":
        return
    with suppress(OSError):  # some network file systems refuse
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def whole_file(path: str | os.PathLike[str], *, durable: bool = True) -> Iterator[Path]:
    """A new name beside `path` to write to; moved onto `path` at the end, removed on an error.

    The body creates the file under the name it is given, which nobody can guess. Whoever reads `path`
    finds the old file or the whole new one. OSError comes through as it is.

    Args:
        path: The final name. A symbolic link there is replaced, not followed.
        durable: Have the content on the disk before the file gets its name, so that this holds after a
            power cut too. Only worth leaving out for thousands of small files.

    Yields:
        The name to write to.
    """
    target = Path(path)
    partial = beside(target)
    try:
        yield partial
        if durable:
            _sync(partial)
        os.replace(partial, target)
        if durable:
            sync_folder(target.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _renameat2(first: Path, second: Path) -> bool:
    """Linux: exchange two names in one step. False where this file system cannot."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    at_working_folder, exchange_flag = -100, 2
    return (
        call(at_working_folder, os.fsencode(first), at_working_folder, os.fsencode(second), exchange_flag)
        == 0
    )


def _renamex(first: Path, second: Path) -> bool:
    """macOS: exchange two names in one step. False where this file system cannot."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renamex_np
    except (AttributeError, OSError):
        return False
    swap_flag = 2
    return call(os.fsencode(first), os.fsencode(second), swap_flag) == 0


def exchange(new: Path, old: Path) -> None:
    """Give `new` the name of `old`, and `old` the name of `new`.

    In one step on Linux and macOS: at every moment a whole file or folder has the name. Elsewhere in three
    renames, between which the name is missing for a moment; a crash there leaves the old one beside it under
    a name that ends in `.old`.

    Args:
        new: A file or folder that exists.
        old: Another one in the same file system.

    Raises:
        OSError: A name cannot be given.
    """
    if sys.platform == "linux" and _renameat2(new, old):
        return
    if sys.platform == "darwin" and _renamex(new, old):
        return
    aside = beside(old, ".old")
    os.rename(old, aside)
    try:
        os.rename(new, old)
    except OSError:
        os.rename(aside, old)
        raise
    os.rename(aside, new)


def _lock(file: IO[bytes]) -> bool:
    """Whether the lock on the open file was free; the system lets go of it when the process ends."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether the open file is the one that has the name now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Keep others who lock it out of `folder`, which exists, until the end of the block.

    The lock is the system's own on a hidden file in the folder, so that it ends with the process, however
    that ends. Whoever has it removes the file at the end, and whoever gets it looks whether it is still the
    file of that name: else two processes could hold the locks of two files.

    Args:
        folder: A folder that exists.

    Raises:
        UsageError: If another process is writing into the folder.
    """
    path = folder / LOCK_NAME
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        raise UsageError("cannot be locked", file=path, found=error.strerror or str(error)) from error
    with open(descriptor, "r+b") as file:
        if not _lock(file) or not _is_at(file, path):
            raise UsageError(
                "another run is writing into this folder",
                file=folder,
                expected="a folder that no other run writes into",
                hint="wait until that run has ended, or choose another folder",
            )
        try:
            yield
        finally:
            with suppress(OSError):  # Windows removes no open file: there it stays
                path.unlink()
