"""Several videos named at once: files, globs of them, folders of videos, and lists in text files."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime.video.images import is_image, natural_key
from runtime.video.streams import camera_device, is_address
from weights.errors import VideoError
from weights.regular_file import read_regular
from weights.shown import shown

__all__ = ["NamedSource", "list_sources"]

VIDEO_SUFFIXES = frozenset({
    ".264", ".265", ".avi", ".flv", ".h264", ".h265", ".hevc", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv",
    ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv", ".y4m",
})  # fmt: skip
LIST_BYTES = 16 << 20


@dataclass(frozen=True)
class NamedSource:
    """One of several sources: what `open_video` takes, and a name of its own for its results' folder."""

    source: str
    name: str


def list_sources(named: Iterable[str]) -> tuple[NamedSource, ...]:
    """The sources that a user names.

    Args:
        named: Each a source as `open_video` takes it; a folder that holds videos; a glob of videos; or
            NAME.txt, which names one source per line, relative to its own folder, # before a remark.

    Returns:
        The sources in order, those of a folder or a glob in natural order, each once.

    Raises:
        VideoError: A list that cannot be read or names nothing.
    """
    found = list(dict.fromkeys(source for text in named for source in _expanded(text)))
    names: dict[str, int] = {}
    sources = []
    for source in found:
        name = _name(source)
        names[name] = names.get(name, 0) + 1
        sources.append(NamedSource(source, name if names[name] == 1 else f"{name}-{names[name]}"))
    return tuple(sources)


def _expanded(text: str) -> Iterator[str]:
    if text == "-" or is_address(text) or camera_device(text) is not None:
        yield text
        return
    path = Path(text)
    if path.suffix.lower() == ".txt" and not path.is_dir():
        yield from _listed(path)
        return
    videos: list[str] = []
    if path.is_dir():
        held = list(path.iterdir())
        pictures = any(is_image(item) for item in held)  # then the folder is one video itself
        videos = [] if pictures else [str(item) for item in held if _is_video(item)]
    elif glob.has_magic(text) and not path.exists():
        videos = [item for item in glob.glob(text) if _is_video(Path(item))]
    yield from sorted(videos, key=natural_key) or [text]


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def _listed(path: Path) -> Iterator[str]:
    expected = "a text file with one source per line"
    content = read_regular(path, LIST_BYTES, expected=expected, error=VideoError)
    try:
        lines = [line.strip() for line in content.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise VideoError("not a list of videos", file=path, found="no UTF-8", expected=expected) from None
    entries = [line for line in lines if line and not line.startswith("#")]
    if not entries:
        raise VideoError("a list that names nothing", file=path, expected=expected)
    for entry in entries:
        local = entry != "-" and not is_address(entry) and camera_device(entry) is None
        yield str(path.parent / entry) if local else entry


def _name(source: str) -> str:
    """What the folder of a source's results is called."""
    if source == "-":
        return "stdin"
    device = camera_device(source)
    if device is not None:
        return f"camera-{Path(device[0]).name}"
    if is_address(source):
        source = source.partition("://")[2].rpartition("@")[2].partition("?")[0].rstrip("/")
    stem = Path(source).stem or Path(source).resolve().name
    safe = "".join(c if c.isalnum() or c in "-_. " else "_" for c in shown(stem, 100)).strip(". ")
    return safe or "video"
