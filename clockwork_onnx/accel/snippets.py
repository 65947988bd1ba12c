"""Which frames Accel's demo plays and scores (SamvitJ/Accel, dff_deeplab/demo.py).

A snippet is 30 frames of which number 19, counted from 0, has labels. With interval K one key frame and the
K - 1 frames after it are played of each snippet, beginning at 19 - offset; the labelled frame among them is
scored. offset is K - 1, so that it is the last one, farthest from its key frame; with `average` it is the
snippet's number mod K, so that every distance has its share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from clockwork_onnx.evaluation.datasets import cityscapes
from clockwork_onnx.evaluation.datasets.base import DataSet, Sample, Shot
from weights.errors import UsageError

__all__ = ["LABELLED", "SNIPPET", "cityscapes_snippets", "cut_snippets", "offset_of", "window"]

SNIPPET = 30
LABELLED = 19


def offset_of(number: int, interval: int, *, average: bool) -> int:
    """How far the labelled frame of a snippet is from its key frame.

    Args:
        number: The snippet's number, from 0.
        interval: K, frames from one key frame to the next.
        average: Let every distance have its share, instead of the farthest alone.

    Returns:
        Frames from the key frame to the labelled one.
    """
    return number % interval if average else interval - 1


def window(number: int, interval: int, *, average: bool) -> range:
    """The frames of a snippet that are played, the key frame first.

    Args:
        number: As in `offset_of`.
        interval: As in `offset_of`.
        average: As in `offset_of`.

    Returns:
        Frame numbers within the snippet.

    Raises:
        UsageError: They would begin before the snippet or end behind it.
    """
    most = SNIPPET - LABELLED if average else LABELLED + 1
    if not 1 <= interval <= most:
        raise UsageError("the interval does not fit a snippet", found=interval, expected=f"1 to {most}")
    start = LABELLED - offset_of(number, interval, average=average)
    return range(start, start + interval)


def cityscapes_snippets(root: Path, interval: int, count: int, *, average: bool) -> DataSet:
    """Snippets of Cityscapes' validation cities, cut to the frames that are played.

    Args:
        root: The data set's folder.
        interval: As in `offset_of`.
        count: How many snippets there are at most, the first ones.
        average: As in `offset_of`.

    Returns:
        Each snippet as a shot.

    Raises:
        UsageError: The interval does not fit a snippet.
        DataSetError: The data set is not there or is incomplete.
    """
    after = interval - 1 if average else 0
    window(0, interval, average=average)
    data = cityscapes.read(root, length=LABELLED + 1, after=after)
    return _cut(data, data.shots, interval, count, average)


def cut_snippets(data: DataSet, interval: int, count: int, *, average: bool) -> DataSet:
    """Snippets of a video, cut to the frames that are played.

    Args:
        data: The video, as one shot.
        interval: As in `offset_of`.
        count: How many snippets there are at most, the first ones.
        average: As in `offset_of`.

    Returns:
        Each snippet as a shot.

    Raises:
        UsageError: The video is shorter than one snippet, or the interval does not fit one.
    """
    samples: tuple[Sample, ...] = data.shots[0].samples
    starts = range(0, len(samples) - SNIPPET + 1, SNIPPET)
    if not starts:
        raise UsageError("fewer frames than a snippet has", found=len(samples), expected=f"{SNIPPET} or more")
    shots = [Shot(f"snippet {i}", samples[start : start + SNIPPET]) for i, start in enumerate(starts)]
    return _cut(data, shots, interval, count, average)


def _cut(data: DataSet, shots: Sequence[Shot], interval: int, count: int, average: bool) -> DataSet:
    kept = []
    for number, shot in enumerate(shots[:count]):
        frames = window(number, interval, average=average)
        kept.append(replace(shot, samples=shot.samples[frames.start : frames.stop]))
    return replace(data, shots=tuple(kept))
