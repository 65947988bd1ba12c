"""The CRF step: scores in, labels refined along the picture's edges out.

Two programs of DeepLab v1 did this for a folder. `prog_refine_pascal` read .bin files of probabilities p and
took -log p as the energy; `prog_refine_pascal_v4` read the net's .mat scores s and took -s, the same up to a
constant per pixel. Both looked for pictures as PPM and wrote labels as .bin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clockwork_onnx.deeplab.binary_files import read_ppm, read_scores_bin, write_labels_bin
from clockwork_onnx.deeplab.experiment import Experiment, post_folder
from clockwork_onnx.deeplab.mat_files import blob_name, picture_id, read_mat
from runtime.densecrf import CrfParameters, DenseCrf
from runtime.video.images import read_image
from weights.errors import DataSetError

__all__ = ["Job", "crop_scores", "experiment_jobs", "folder_jobs", "read_log_p", "refine", "scores_of"]

Floats = NDArray[np.float32]
IMAGE_SUFFIXES = (".ppm", ".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Job:
    """One picture: its id, what reads it (H x W x 3, RGB), its scores' file, and where its labels go."""

    identity: str
    read_picture: Callable[[], NDArray[np.uint8]]
    scores: Path
    target: Path


def crop_scores(scores: Floats, size: tuple[int, int], file: Path) -> Floats:
    """The part of the scores that the picture takes: rows and columns from the top left.

    Args:
        scores: K x h x w.
        size: The picture's height and width.
        file: Named in an error.

    Returns:
        K x height x width.

    Raises:
        DataSetError: The picture is larger than its scores. The net saw the middle of such a picture, so
            that its scores do not begin at the top left.
    """
    height, width = size
    if scores.shape[1] < height or scores.shape[2] < width:
        raise DataSetError(
            "the picture is larger than its scores",
            file=file,
            found=f"{height} x {width} pixels, scores {scores.shape[1]} x {scores.shape[2]}",
            hint="the net's crop_size must be at least the longer side of every picture",
        )
    return np.ascontiguousarray(scores[:, :height, :width])


def scores_of(file: Path, size: tuple[int, int]) -> Floats:
    """The scores of a .mat file within the picture.

    Args:
        file: The file.
        size: Height and width of the picture.

    Returns:
        K x H x W, float32.

    Raises:
        DataSetError: The file is damaged, holds several pictures, or does not fit the picture.
    """
    blob = read_mat(file)
    if blob.shape[0] != 1:
        raise DataSetError("the scores of several pictures", file=file, found=blob.shape[0], expected=1)
    return crop_scores(blob[0], size, file)


def read_log_p(file: Path, size: tuple[int, int]) -> Floats:
    """log p up to a constant per pixel, from .mat scores or .bin probabilities.

    Args:
        file: The file; its ending says which of the two it is.
        size: Height and width of the picture.

    Returns:
        K x H x W, float32.

    Raises:
        DataSetError: The file is damaged, or does not fit the picture.
    """
    if file.suffix == ".mat":
        return scores_of(file, size)
    probabilities = read_scores_bin(file)
    if probabilities.shape[1:] != size:
        raise DataSetError(
            "the scores do not have the picture's size",
            file=file,
            found=" x ".join(map(str, probabilities.shape[1:])),
            expected=" x ".join(map(str, size)),
        )
    if probabilities.min() < 0:
        raise DataSetError("probabilities below 0", file=file, found=float(probabilities.min()))
    with np.errstate(divide="ignore"):
        result: Floats = np.log(probabilities)
    return result


def folder_jobs(pictures: Path, features: Path, target: Path) -> tuple[list[Job], str]:
    """The jobs of DeepLab's programs: every score file of a folder, with the picture of the same name.

    Args:
        pictures: ID.ppm, or where there is none ID.jpg or ID.png.
        features: ID_blob_0.mat, or ID.bin.
        target: ID.bin.

    Returns:
        The jobs in the order of the names, and the suffix of the score files.

    Raises:
        DataSetError: A folder has none or both kinds of files, or a picture is missing.
    """
    found = {suffix: sorted(features.glob(f"*{suffix}")) for suffix in (".mat", ".bin")}
    kinds = [suffix for suffix, files in found.items() if files]
    if len(kinds) != 1:
        raise DataSetError(
            "which scores?",
            file=features,
            found=" and ".join(kinds) or "none",
            expected="*.mat or *.bin files",
        )
    files = [file for file in found[kinds[0]] if kinds[0] == ".bin" or "_blob_0" in file.stem]
    jobs = []
    for file in files:
        identity = picture_id(file)
        candidates = (pictures / f"{identity}{suffix}" for suffix in IMAGE_SUFFIXES)
        image = next((path for path in candidates if path.is_file()), None)
        if image is None:
            raise DataSetError("no picture of this name", file=pictures, expected=f"{identity}.ppm")
        jobs.append(Job(identity, _reader(image), file, target / f"{identity}.bin"))
    return jobs, kinds[0]


def _reader(image: Path) -> Callable[[], NDArray[np.uint8]]:
    return lambda: read_ppm(image) if image.suffix == ".ppm" else read_image(image)


def experiment_jobs(experiment: Experiment, parameters: CrfParameters) -> list[Job]:
    """The jobs of an experiment's set: its .mat features, its pictures, and the results' folder.

    Args:
        experiment: The experiment.
        parameters: The CRF's, after which the results' folder is called.

    Returns:
        One job per picture.
    """
    target = experiment.results(post_folder(parameters))
    return [
        Job(
            picture.identity,
            _reader(picture.image),
            experiment.feature_folder / blob_name(picture.identity),
            target / f"{picture.identity}.bin",
        )
        for picture in experiment.pictures()
    ]


def refine(
    jobs: Sequence[Job], parameters: CrfParameters, *, force: bool = False
) -> Iterator[tuple[Job, bool]]:
    """Run the CRF on every picture; one whose labels are newer than its scores is passed over.

    Args:
        jobs: The pictures with their scores, and where the labels go.
        parameters: The CRF's.
        force: Pass over none.

    Yields:
        Each job, and whether it was done now.

    Raises:
        DataSetError: A picture or its scores cannot be read, or do not fit each other.
    """
    for job in jobs:
        there = job.target.is_file() and job.target.stat().st_mtime_ns >= job.scores.stat().st_mtime_ns
        due = force or not there
        if due:
            picture = job.read_picture()
            log_p = read_log_p(job.scores, (picture.shape[0], picture.shape[1]))
            q = DenseCrf(picture, parameters).infer(log_p)
            job.target.parent.mkdir(parents=True, exist_ok=True)
            write_labels_bin(job.target, q.argmax(axis=0))
        yield job, due
