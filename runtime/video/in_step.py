"""Sources in step: pictures that come with each frame, such as depth, from places of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from runtime.video.frames import Frame, Problem

__all__ = ["in_step"]


def in_step(
    frames: Iterator[Frame], others: Mapping[str, Iterator[Frame]], report: Callable[[Problem], None]
) -> Iterator[Frame]:
    """The frames, each with the pictures of the same index.

    A frame of which one is missing, because it could not be read, is left out; where a source ends, all end.

    Args:
        frames: The frames of the picture that is labelled.
        others: The frames of those that come with it, by name; their indices ascend.
        report: Is called with what is left out.

    Yields:
        Each frame that is whole.
    """
    waiting = {name: next(other, None) for name, other in others.items()}
    for frame in frames:
        for name, other in others.items():
            while (picture := waiting[name]) is not None and picture.index < frame.index:
                waiting[name] = next(other, None)
        ended = [name for name, picture in waiting.items() if picture is None]
        if ended:
            text = f'"{ended[0]}" ends before frame {frame.index}; so does the run'
            report(Problem(frame.index, "", text))
            return
        found = {name: p.image for name, p in waiting.items() if p is not None and p.index == frame.index}
        missing = [name for name in others if name not in found]
        if missing:
            report(Problem(frame.index, frame.name, f'its picture "{missing[0]}" is missing'))
            continue
        yield replace(frame, more=found)
