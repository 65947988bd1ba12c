"""A plain pair of folders: frames, and label images with the same names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clockwork_onnx.evaluation.datasets.base import (
    VOID,
    DataSet,
    Sample,
    Shot,
    list_files,
    read_label,
    without_classes,
)
from runtime.video.images import read_image
from weights.errors import DataSetError

__all__ = ["read"]


def read(
    frames: Path,
    labels: Path,
    *,
    classes: Sequence[str],
    ignored: Sequence[int] = (),
    prediction_map: Sequence[int] | None = None,
    name: str = "folders",
) -> DataSet:
    """The images of a folder as one shot, each with the label image of the same stem.

    Frames without labels are played and not scored.

    Args:
        frames: The folder of images, which are taken in natural order.
        labels: The folder of label images.
        classes: The names of label classes 0, 1, ...
        ignored: Label classes that are not scored.
        prediction_map: For each class of the net, the label class.
        name: What the data set is called.

    Returns:
        The data set.

    Raises:
        DataSetError: A folder is missing or empty, or a label image has no frame.
    """
    for folder, kind in ((frames, "frames"), (labels, "label images")):
        if not folder.is_dir():
            raise DataSetError(f"the folder of {kind} is missing", file=folder)
    images = list_files(frames)
    truths = {path.stem: path for path in list_files(labels)}
    if not images:
        raise DataSetError("no frames here", file=frames, expected="image files")
    orphans = sorted(truths.keys() - {path.stem for path in images})
    if orphans:
        raise DataSetError(
            "label images without a frame of the same name",
            file=labels,
            found=f"{len(orphans)}, the first is {orphans[0]}",
        )
    if not truths:
        raise DataSetError(
            "no label images here", file=labels, expected="one per frame, with the frame's name"
        )
    samples = tuple(
        Sample(
            name=path.stem,
            read_image=partial(read_image, path),
            read_label=(
                partial(_truth, truths[path.stem], len(classes), tuple(ignored))
                if path.stem in truths
                else None
            ),
        )
        for path in images
    )
    return DataSet(
        name=name,
        classes=tuple(classes),
        shots=(Shot(frames.name, samples),),
        prediction_map=tuple(prediction_map) if prediction_map is not None else None,
    )


def _truth(path: Path, classes: int, ignored: tuple[int, ...]) -> NDArray[np.uint8]:
    labels = without_classes(read_label(path), ignored)
    unknown = labels[(labels >= classes) & (labels != VOID)]
    if unknown.size:
        raise DataSetError(
            "a label that is neither scored nor ignored",
            file=path,
            found=f"class {int(unknown.max())}",
            expected=f"0 to {classes - 1}, or 255 for void",
            hint=f"ignore it with --ignore {int(unknown.max())}, or map a class of the net to it with --map",
        )
    return labels
