"""The data sets by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from clockwork_onnx.evaluation.datasets import camvid, cityscapes, nyudv2, pascal_voc, youtube_objects
from clockwork_onnx.evaluation.datasets.base import DataSet
from weights.errors import UsageError

__all__ = ["NAMES", "read"]

_READERS: dict[str, Callable[[Path], DataSet]] = {
    "camvid": camvid.read,
    "camvid-video": camvid.read_video,
    "cityscapes": cityscapes.read,
    "cityscapes-sequences": lambda root: cityscapes.read(root, length=20),
    "nyudv2": nyudv2.read,
    "nyudv2-clips": nyudv2.read_clips,
    "nyudv2-whole-clips": lambda root: nyudv2.read_clips(root, following=True),
    "pascal-voc": pascal_voc.read,
    "youtube-objects": youtube_objects.read,
}
NAMES = tuple(_READERS)


def read(name: str, root: Path, prediction_map: tuple[int, ...] | None = None) -> DataSet:
    """A data set by name.

    Args:
        name: One of NAMES.
        root: Its folder.
        prediction_map: Replaces the data set's own map from the net's classes to the labels'.

    Returns:
        The data set.

    Raises:
        UsageError: There is no such data set.
        DataSetError: It is not in the folder, or is incomplete.
    """
    if name not in _READERS:
        raise UsageError("no such data set", found=name, expected=", ".join(NAMES))
    data_set = _READERS[name](root)
    return data_set if prediction_map is None else replace(data_set, prediction_map=prediction_map)
