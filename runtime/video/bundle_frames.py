"""The sources of all the pictures that a bundle takes per frame, opened as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.video.reader import Source, VideoReader, open_video
from staged_onnx import FRAME, Manifest
from weights.errors import UsageError

__all__ = ["open_frames"]


def open_frames(
    manifest: Manifest, source: Source, more: Mapping[str, Source] | None = None, **options: Any
) -> VideoReader:
    """Open the sources of all the pictures that a bundle takes per frame.

    Args:
        manifest: The bundle's.
        source: The source of the picture that is labelled, as for `open_video`.
        more: The sources of the others by name. Folders, globs and lists of images, or video files; of depth
            images only. The nth frame of each belongs to the nth of `source`.
        options: Further options of `open_video`.

    Returns:
        One reader whose frames have the further pictures as `.more`.

    Raises:
        UsageError: A source is missing or too many.
        VideoError: As `open_video`, and for a live source beside another.
    """
    more = more or {}
    taken = {frame.name: frame for frame in manifest.more_frames}
    if set(more) != set(taken):
        raise UsageError(
            f'"{manifest.name}" takes {len(taken) + 1} pictures per frame',
            found=", ".join([FRAME, *more]),
            expected=", ".join(manifest.frame_names),
            hint=" ".join(f"--input {name}=SOURCE" for name in taken) or "leave --input out",
        )
    depth = frozenset(name for name, frame in taken.items() if frame.preprocessing.is_depth)
    return open_video(source, more=more, depth=depth, **options)
