"""YouTube-Objects: 126 shots of one object class each, a mask on every tenth frame.

Layout: `v1/CLASS/data/VIDEO/shots/SHOT/frame%04d.jpg` (the frames) and
`youtube_masks/CLASS/data/VIDEO/shots/SHOT/labels/%05d.jpg` (the masks of Jain and Grauman).

Frames and masks are resized so that the longer side is 500 pixels (up too), each side by int(side * scale):
frames bilinearly, masks to the nearest pixel. A mask pixel above 15 is the shot's class, the rest is
background. The net speaks the 21 classes of PASCAL VOC; those that YouTube-Objects lacks count as background.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clockwork_onnx.evaluation.datasets import pascal_voc
from clockwork_onnx.evaluation.datasets.base import (
    DataSet,
    Sample,
    Shot,
    class_table,
    list_files,
    require_folder,
)
from runtime.video.images import natural_key, read_image
from staged_onnx.palettes import classes
from weights.errors import DataSetError

__all__ = ["CLASSES", "LONG_SIDE", "SOURCE", "read", "resized"]

CLASSES = (
    "background",
    "aeroplane",
    "bird",
    "boat",
    "car",
    "cat",
    "cow",
    "dog",
    "horse",
    "motorbike",
    "train",
)
LONG_SIDE = 500
MASK_THRESHOLD = 15
SOURCE = (
    "data.vision.ee.ethz.ch/cvl/youtube-objects (v1) and the segmentation masks of Jain and Grauman, "
    "vision.cs.utexas.edu/projects/videoseg (youtube_masks)"
)


def read(root: Path) -> DataSet:
    """Every labelled shot, all of its frames in order of their number; `Sample.number` is that number."""
    masks = require_folder(root, "youtube_masks", "YouTube-Objects", SOURCE)
    videos = require_folder(root, "v1", "YouTube-Objects", SOURCE)
    shots = []
    for index, name in enumerate(CLASSES[1:], start=1):
        folders = (masks / name / "data").glob("*/shots/*")
        for folder in sorted((f for f in folders if f.is_dir()), key=lambda f: natural_key(str(f))):
            shots.append(_shot(videos, folder.relative_to(masks), folder, index))
    if not shots:
        raise DataSetError(
            "no labelled shot here",
            file=masks,
            expected="CLASS/data/VIDEO/shots/SHOT/labels",
            hint=f"get it from {SOURCE}",
        )
    return DataSet(
        name="YouTube-Objects",
        classes=CLASSES,
        shots=tuple(shots),
        mean=pascal_voc.MEAN,
        prediction_map=class_table(classes("voc").names, CLASSES, other=0),
    )


def resized(image: Image.Image, resample: Image.Resampling) -> Image.Image:
    """A picture with its longer side at 500 pixels, sides truncated to whole pixels.

    Args:
        image: The picture.
        resample: How it is interpolated.

    Returns:
        The resized picture.
    """
    scale = LONG_SIDE / max(image.size)
    return image.resize((int(image.width * scale), int(image.height * scale)), resample=resample)


def _shot(videos: Path, relative: Path, masks: Path, class_index: int) -> Shot:
    frames = require_folder(videos, str(relative), "YouTube-Objects", SOURCE)
    labels = {
        _number(path): path for path in list_files(require_folder(masks, "labels", "YouTube-Objects", SOURCE))
    }
    numbered = {_number(path): path for path in list_files(frames)}
    orphans = labels.keys() - numbered.keys()
    if orphans:
        raise DataSetError("a mask without its frame", file=frames, expected=f"frame{min(orphans):04d}.jpg")
    samples = tuple(
        Sample(
            name=f"{relative}/{number}",
            read_image=partial(_frame, path),
            read_label=partial(_label, labels[number], class_index) if number in labels else None,
            number=number,
        )
        for number, path in sorted(numbered.items())
    )
    return Shot(str(relative), samples)


def _number(path: Path) -> int:
    match = re.fullmatch(r"(?:frame)?([0-9]{1,9})", path.stem)
    if match is None:
        raise DataSetError("a frame without a number", file=path, expected="frame0001.jpg or 00001.jpg")
    return int(match[1])


def _frame(path: Path) -> NDArray[np.uint8]:
    return np.asarray(resized(Image.fromarray(read_image(path)), Image.Resampling.BILINEAR))


def _label(path: Path, class_index: int) -> NDArray[np.uint8]:
    mask = np.asarray(resized(Image.fromarray(read_image(path)).convert("L"), Image.Resampling.NEAREST))
    return np.where(mask > MASK_THRESHOLD, class_index, 0).astype(np.uint8)
