"""NYU Depth v2, 40 classes: labelled images, each also inside the raw video it was taken from.

Layout, as prepared by Gupta et al. and used by the fully convolutional networks: `test.txt` (names of the
labelled test images), `segmentation/img_NAME.mat` (variable `segmentation`: 0 = unlabelled, 1..40),
`images/img_NAME.png`, `test_rawImages.txt` (line i: VIDEO/FRAME.ppm of the i-th name) and
`raw/VIDEO/*.ppm`. Raw frames are ordered by the time stamp between the dashes of their names and cropped to
rows 44..468, columns 40..599 (425 x 560), the size of the labels.
"""

from __future__ import annotations

import re
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from clockwork_onnx.evaluation.datasets.base import (
    DataSet,
    Sample,
    Shot,
    listed_names,
    require_file,
    require_folder,
)
from runtime.video.images import read_image
from staged_onnx.palettes import classes
from weights.errors import DataSetError

__all__ = ["MEAN", "SOURCE", "read", "read_clips"]

MEAN = (116.2, 97.2, 92.3)
"""B, G, R."""
SOURCE = (
    "cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html (raw) and "
    "people.eecs.berkeley.edu/~sgupta/cvpr13 (segmentation, test.txt)"
)
ROWS, COLUMNS = slice(44, 469), slice(40, 600)
MAX_LABEL_FILE = 16 << 20
CLASSES = 40


def read(root: Path) -> DataSet:
    """The labelled test images, each a shot of one sample."""
    images = require_folder(root, "images", "NYUDv2", SOURCE)
    labels = require_folder(root, "segmentation", "NYUDv2", SOURCE)
    shots = []
    for name in listed_names(root / "test.txt", "NYUDv2", SOURCE):
        image = require_file(images / f"img_{name}.png", "NYUDv2", SOURCE)
        label = require_file(labels / f"img_{name}.mat", "NYUDv2", SOURCE)
        shots.append(Shot(name, (Sample(name, partial(read_image, image), partial(_label, label)),)))
    return DataSet("NYUDv2 test", classes("nyud").names, tuple(shots), mean=MEAN)


def read_clips(root: Path, subsample: int = 10, following: bool = False) -> DataSet:
    """A shot for each labelled test image, of raw frames up to it; it alone has labels.

    Args:
        root: The data set's folder.
        subsample: Raw frames from one that is taken to the next, counted back from the labelled one.
        following: Take the frames after the labelled one too, as the adaptive clock's firing rate was
            counted.

    Returns:
        The data set.

    Raises:
        DataSetError: The data set is not there or is incomplete.
    """
    raw = require_folder(root, "raw", "NYUDv2", SOURCE)
    labels = require_folder(root, "segmentation", "NYUDv2", SOURCE)
    names = listed_names(root / "test.txt", "NYUDv2", SOURCE)
    frames = listed_names(root / "test_rawImages.txt", "NYUDv2", SOURCE)
    if len(names) != len(frames):
        raise DataSetError(
            "the two lists of the NYUDv2 data set do not belong together",
            file=root / "test_rawImages.txt",
            found=f"{len(frames)} lines",
            expected=f"{len(names)}, as many as test.txt",
        )

    @cache
    def video(name: str) -> list[Path]:
        folder = require_folder(raw, name, "NYUDv2", SOURCE)
        return sorted(folder.glob("*.ppm"), key=_time_stamp)

    shots = []
    for name, frame in zip(names, frames, strict=True):
        video_name, _, file_name = frame.partition("/")
        paths = video(video_name)
        places = [i for i, path in enumerate(paths) if path.name == file_name]
        if not places:
            raise DataSetError("the labelled raw frame is missing", file=raw / video_name, expected=file_name)
        place = places[0]
        kept = list(range(place % subsample, place + 1, subsample))
        if following:
            kept += list(range(place + subsample, len(paths), subsample))
        label = require_file(labels / f"img_{name}.mat", "NYUDv2", SOURCE)
        shots.append(
            Shot(
                name,
                tuple(
                    Sample(
                        name=f"{video_name}/{paths[i].stem}",
                        read_image=partial(_raw_frame, paths[i]),
                        read_label=partial(_label, label) if i == place else None,
                        number=i,
                    )
                    for i in kept
                ),
            )
        )
    return DataSet("NYUDv2 clips", classes("nyud").names, tuple(shots), mean=MEAN)


def _time_stamp(path: Path) -> float:
    match = re.search(r"-([0-9]+(?:\.[0-9]+)?)-", path.name)
    if match is None:
        raise DataSetError("a raw frame without a time stamp", file=path, expected="r-SECONDS-TICKS.ppm")
    return float(match[1])


def _raw_frame(path: Path) -> NDArray[np.uint8]:
    image = read_image(path)
    if image.shape[:2] != (480, 640):
        raise DataSetError(
            "not a raw frame", file=path, found=f"{image.shape[1]} x {image.shape[0]}", expected="640 x 480"
        )
    return image[ROWS, COLUMNS]


def _label(path: Path) -> NDArray[np.uint8]:
    if path.stat().st_size > MAX_LABEL_FILE:
        raise DataSetError("too large for a label", file=path, expected=f"at most {MAX_LABEL_FILE} bytes")
    try:
        values = loadmat(path, variable_names=["segmentation"])["segmentation"]
    except Exception as error:  # scipy's reader raises whatever a malformed file leads it to
        raise DataSetError(f"this label cannot be read: {error}", file=path) from None
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.number):
        raise DataSetError("not a label map", file=path, found=f"{values.dtype} of {values.ndim} dimensions")
    if values.size and not 0 <= values.min() <= values.max() <= CLASSES:
        raise DataSetError(
            "a label out of range", file=path, found=int(values.max()), expected=f"0 to {CLASSES}"
        )
    # 0 wraps to 255, which is void.
    return values.astype(np.uint8) - np.uint8(1)
