"""The demo's net and a video for it, as files: what a tutorial, an example or a first try can begin with."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from clockwork_onnx.evaluation.datasets import shapes_video as shapes
from clockwork_onnx.evaluation.demo.demo import FPS, NET
from runtime.video.writer import LabelWriter, VideoWriter
from weights.errors import UsageError

__all__ = ["Inputs", "write_inputs"]

SHOTS = ("slow", "slow pan", "fast pan")


@dataclass(frozen=True)
class Inputs:
    """The files of `write_inputs`; `labels` holds a PNG of class indices per frame, named by its number."""

    prototxt: Path
    caffemodel: Path
    classes: Path
    video: Path
    labels: Path


def write_inputs(folder: Path, *, frames: int = 30) -> Inputs:
    """Write a Caffe net as its authors would have published it, and a video that it knows how to label.

    The video is three held-out shots of moving shapes: objects that move slowly, a slow camera, a fast one.

    Args:
        folder: Where the files go; it is made if need be.
        frames: Frames per shot.

    Returns:
        Where the files are.

    Raises:
        UsageError: One of the files exists.
    """
    found = Inputs(
        folder / "deploy.prototxt",
        folder / "shapes-fcn8s.caffemodel",
        folder / "classes.txt",
        folder / "shapes.mp4",
        folder / "labels",
    )
    for path in vars(found).values():
        if path.exists():
            raise UsageError("the file exists", file=path, hint="name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(NET / found.prototxt.name, found.prototxt)
    shutil.copyfile(NET / found.caffemodel.name, found.caffemodel)
    found.classes.write_text("\n".join(shapes.CLASS_NAMES) + "\n", "utf-8")
    shots = shapes.shapes_video("val", frames=frames, kinds=SHOTS)
    with (
        VideoWriter(found.video, FPS, shapes.FRAME_SIZE) as video,
        LabelWriter(found.labels, shapes.PALETTE) as labels,
    ):
        for shot in shots:
            for image, truth in zip(shot.frames, shot.labels, strict=True):
                video.write(image)
                labels.write(truth)
    return found
