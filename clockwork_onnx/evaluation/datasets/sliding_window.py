"""Video made of one labelled picture: a window that slides along its longer side.

For a picture of H x W, F frames and a shift of s pixels per frame: L = max(H, W), along that axis (rows when
H = W) frame k is the window [k s, k s + L - s (F - 1)), and the whole of the other axis. So all frames have
one size, the last window ends at the border, and the labels are cut the same way. The clockwork paper uses
F = 6 and shifts of 16 and 32 pixels: 500 pixels become 420 and 340.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from clockwork_onnx.evaluation.datasets.base import DataSet, Sample, Shot
from weights.errors import DataSetError

__all__ = ["FRAMES", "translated", "window"]

FRAMES = 6


def window(height: int, width: int, frame: int, shift: int, frames: int = FRAMES) -> tuple[slice, slice]:
    """Rows and columns of a picture that a frame shows.

    Args:
        height: The picture's height.
        width: The picture's width.
        frame: The frame, from 0.
        shift: Pixels per frame.
        frames: How many frames there are.

    Returns:
        Slices of rows and of columns.

    Raises:
        DataSetError: The picture is too small for so many frames.
    """
    longer = max(height, width)
    size = longer - shift * (frames - 1)
    if size <= 0:
        raise DataSetError(
            "this picture is too small for the translation",
            found=f"{width} x {height}",
            expected=f"more than {shift * (frames - 1)} pixels on the longer side",
        )
    start = frame * shift
    moving = slice(start, start + size)
    if height >= width:
        return moving, slice(0, width)
    return slice(0, height), moving


def translated(data_set: DataSet, shift: int, frames: int = FRAMES) -> DataSet:
    """Each labelled sample of a data set as a shot of windows, all labelled.

    Args:
        data_set: The data set.
        shift: Pixels per frame.
        frames: Windows per shot.

    Returns:
        The data set of these shots.
    """
    shots = [
        Shot(
            sample.name,
            tuple(
                Sample(
                    name=f"{sample.name}/{frame}",
                    read_image=partial(_image, sample, frame, shift, frames),
                    read_label=partial(_label, sample, frame, shift, frames),
                    number=frame,
                )
                for frame in range(frames)
            ),
        )
        for shot in data_set.shots
        for sample in shot.samples
        if sample.read_label is not None
    ]
    return replace(data_set, name=f"{data_set.name}, translated {shift} pixels per frame", shots=tuple(shots))


def _image(sample: Sample, frame: int, shift: int, frames: int) -> NDArray[np.uint8]:
    image = sample.read_image()
    rows, columns = window(image.shape[0], image.shape[1], frame, shift, frames)
    return np.ascontiguousarray(image[rows, columns])


def _label(sample: Sample, frame: int, shift: int, frames: int) -> NDArray[np.uint8]:
    assert sample.read_label is not None
    label = sample.read_label()
    rows, columns = window(label.shape[0], label.shape[1], frame, shift, frames)
    return label[rows, columns]
