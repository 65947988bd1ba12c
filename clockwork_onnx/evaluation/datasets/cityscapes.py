"""Cityscapes: labelled street frames, each the 20th of a 30-frame snippet.

Layout: `leftImg8bit/SPLIT/CITY/*_leftImg8bit.png`, `gtFine/SPLIT/CITY/*_gtFine_labelIds.png` and, for
sequences, `leftImg8bit_sequence/SPLIT/CITY/CITY_SHOT_%06d_leftImg8bit.png`. The label ids are mapped to the
19 training classes; the rest is void.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clockwork_onnx.evaluation.datasets.base import (
    VOID,
    DataSet,
    Sample,
    Shot,
    read_label,
    remap,
    require_file,
    require_folder,
)
from runtime.video.images import natural_key, read_image
from staged_onnx.palettes import classes
from weights.errors import DataSetError, UsageError

__all__ = ["MEAN", "SOURCE", "read"]

MEAN = (72.78044, 83.21195, 73.45286)
"""B, G, R."""
SOURCE = "www.cityscapes-dataset.com (leftImg8bit, gtFine and, for clocks, leftImg8bit_sequence)"

TRAINING_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The label id of each of the 19 training classes."""
_LABELS = "_gtFine_labelIds.png"
_IMAGE = "_leftImg8bit.png"
_TABLE = tuple(TRAINING_IDS.index(i) if i in TRAINING_IDS else VOID for i in range(256))


def read(root: Path, split: str = "val", length: int = 1, after: int = 0) -> DataSet:
    """A shot for each labelled frame, which alone has labels.

    One frame before and none after need no sequence folder.

    Args:
        root: The data set's folder.
        split: A folder of `gtFine`, such as "val".
        length: How many frames end with the labelled one, itself included: 1 to 20.
        after: How many frames follow it: 0 to 10.

    Returns:
        The data set.

    Raises:
        UsageError: Snippets have no such frames.
        DataSetError: The data set is not there or is incomplete.
    """
    if not 1 <= length <= 20 or not 0 <= after <= 10:
        raise UsageError(
            "Cityscapes has 19 frames before a labelled one, and 10 after it",
            found=f"{length} and {after}",
            expected="1 to 20 and 0 to 10",
        )
    truths = require_folder(root, f"gtFine/{split}", "Cityscapes", SOURCE)
    folder = "leftImg8bit" if length == 1 and not after else "leftImg8bit_sequence"
    images = require_folder(root, f"{folder}/{split}", "Cityscapes", SOURCE)
    labels = sorted(truths.glob(f"*/*{_LABELS}"), key=lambda path: natural_key(str(path)))
    if not labels:
        raise DataSetError("no labels here", file=truths, expected=f"CITY/*{_LABELS}", hint=f"see {SOURCE}")
    shots = tuple(_shot(images, path, length, after) for path in labels)
    return DataSet(f"Cityscapes {split}", classes("cityscapes").names, shots, mean=MEAN)


def _shot(images: Path, label: Path, length: int, after: int) -> Shot:
    name = label.name.removesuffix(_LABELS)
    match = re.fullmatch(r"(.+)_([0-9]{6})_([0-9]{6})", name)
    if match is None:
        raise DataSetError("not a Cityscapes label", file=label, expected=f"CITY_SHOT_FRAME{_LABELS}")
    city, shot, last = match[1], match[2], int(match[3])
    samples = []
    for number in range(last - length + 1, last + after + 1):
        frame = f"{city}_{shot}_{number:06d}"
        path = require_file(images / city / f"{frame}{_IMAGE}", "Cityscapes", SOURCE)
        truth = partial(_training_labels, label) if number == last else None
        samples.append(Sample(frame, partial(read_image, path), truth, number))
    return Shot(name, tuple(samples))


def _training_labels(path: Path) -> NDArray[np.uint8]:
    return remap(read_label(path), _TABLE)
