"""The pictures of a frame, as a bundle takes them: the one that is labelled, and those that come with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from runtime.video.frames import pictures_of
from staged_onnx import FRAME, FrameSpec, Manifest
from weights.errors import VideoError

__all__ = ["checked_pictures"]


def checked_pictures(frame: Any, manifest: Manifest) -> dict[str, np.ndarray]:
    """The pictures that a bundle takes of a frame, by the names that its stages have for them.

    Args:
        frame: As for `Player.play`. Pictures that the bundle does not take are left aside.
        manifest: The bundle's.

    Returns:
        Contiguous arrays (height, width, planes) of one height and width, "frame" first.

    Raises:
        VideoError: A picture is missing, is not a picture, or differs in size from the first.
    """
    image, more = pictures_of(frame)
    pictures = {FRAME: _image(image)}
    size = (image.shape[0], image.shape[1])
    for spec in manifest.more_frames:
        pictures[spec.name] = _further(spec, more, size, manifest)
    return pictures


def _image(image: Any) -> np.ndarray:
    if not (isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3):
        found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    elif image.shape[2] != 3 or 0 in image.shape:
        found = f"uint8 {image.shape}"
    else:
        return np.ascontiguousarray(image)
    raise VideoError("not a frame", found=found, expected="uint8 (height, width, 3), RGB")


def _further(
    spec: FrameSpec, more: Mapping[str, Any], size: tuple[int, int], manifest: Manifest
) -> np.ndarray:
    picture = more.get(spec.name)
    if picture is None:
        raise VideoError(
            f'the frame comes without its picture "{spec.name}"',
            expected=", ".join(manifest.frame_names),
            hint=f"--input {spec.name}=SOURCE; in Python a mapping with this name, or a frame with `.more`",
        )
    array = np.asarray(picture)
    if spec.planes == 1 and array.ndim == 2:
        array = array[:, :, np.newaxis]
    if array.dtype != spec.dtype or array.shape != spec.shape(size):
        raise VideoError(
            f'the picture "{spec.name}" does not fit the frame',
            found=f"{array.dtype} {array.shape}",
            expected=f"{np.dtype(spec.dtype)} {spec.shape(size)}",
        )
    return np.ascontiguousarray(array)
