"""PASCAL VOC segmentation: single images, of which the module `sliding_window` makes moving ones.

Layout: `VOC2011/` (or VOC2012) with `JPEGImages/`, `SegmentationClass/` (paletted PNG, 255 = void) and
`ImageSets/Segmentation/SPLIT.txt`. The clockwork paper's split is seg11valid: the 736 images of VOC 2011's
segval that are not in the SBD training set.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from clockwork_onnx.evaluation.datasets.base import (
    DataSet,
    Sample,
    Shot,
    listed_names,
    read_label,
    require_file,
    require_folder,
)
from runtime.video.images import read_image
from staged_onnx.palettes import classes

__all__ = ["MEAN", "SOURCE", "read"]

MEAN = (104.00698793, 116.66876762, 122.67891434)
"""B, G, R: ImageNet's mean pixel."""

SOURCE = (
    "host.robots.ox.ac.uk/pascal/VOC (VOC2011 trainval), and seg11valid.txt from "
    "data/pascal of github.com/shelhamer/fcn.berkeleyvision.org"
)


def read(root: Path, split: str = "seg11valid") -> DataSet:
    """Every image of a split as a shot of one labelled sample, at its native size.

    Args:
        root: The folder of the year, `VOC2011` or `VOC2012`.
        split: The name of a list in `ImageSets/Segmentation`.

    Returns:
        The data set.

    Raises:
        DataSetError: The data set is not there or is incomplete.
    """
    images = require_folder(root, "JPEGImages", "PASCAL VOC", SOURCE)
    labels = require_folder(root, "SegmentationClass", "PASCAL VOC", SOURCE)
    lists = require_folder(root, "ImageSets/Segmentation", "PASCAL VOC", SOURCE)
    names = listed_names(lists / f"{split}.txt", "PASCAL VOC", SOURCE)
    return DataSet(
        name=f"PASCAL VOC {split}",
        classes=classes("voc").names,
        shots=tuple(
            Shot(
                name,
                (
                    Sample(
                        name,
                        partial(read_image, require_file(images / f"{name}.jpg", "PASCAL VOC", SOURCE)),
                        partial(read_label, require_file(labels / f"{name}.png", "PASCAL VOC", SOURCE)),
                    ),
                ),
            )
            for name in names
        ),
        mean=MEAN,
    )
