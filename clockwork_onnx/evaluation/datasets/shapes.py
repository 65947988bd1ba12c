"""The generated shapes video as a data set: nothing to download, a label for every pixel of every frame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from clockwork_onnx.evaluation.datasets import shapes_video as shapes
from clockwork_onnx.evaluation.datasets.base import DataSet, Sample, Shot

__all__ = ["TRANSLATED_SIZE", "pictures", "read"]

TRANSLATED_SIZE = (240, 400)
"""Height and width of pictures for translated sequences: 32 pixels per frame leave 240 x 240 of them."""


def read(
    rounds: int = 1,
    frames: int = 30,
    size: tuple[int, int] = shapes.FRAME_SIZE,
    kinds: Sequence[str] | None = None,
) -> DataSet:
    """Held-out shots of the generated video, all frames labelled.

    Args:
        rounds: How many shots there are of each kind.
        frames: Frames per shot.
        size: Height and width.
        kinds: The kinds of shots, by default all.

    Returns:
        The data set.
    """
    chosen = tuple(kinds) if kinds is not None else tuple(kind[0] for kind in shapes.KINDS)
    videos = shapes.shapes_video("val", rounds, frames, size, chosen)
    return DataSet("shapes, held-out shots", shapes.CLASS_NAMES, tuple(_shot(video) for video in videos))


def _shot(video: shapes.Shot) -> Shot:
    return Shot(
        video.name,
        tuple(
            Sample(f"{video.name}/{i}", partial(np.asarray, image), partial(np.asarray, label), i)
            for i, (image, label) in enumerate(zip(video.frames, video.labels, strict=True))
        ),
    )


def pictures(count: int, size: tuple[int, int] = TRANSLATED_SIZE) -> DataSet:
    """Single held-out pictures, from which translated sequences are cut.

    Args:
        count: How many.
        size: Height and width.

    Returns:
        The data set, each picture a shot.
    """
    moving = tuple(kind[0] for kind in shapes.KINDS if kind[1] != "static")
    rounds = -(-count // len(moving))
    shots = shapes.shapes_video("val", rounds, 1, size, moving)[:count]
    return DataSet("shapes, held-out pictures", shapes.CLASS_NAMES, tuple(_shot(shot) for shot in shots))
