"""The evaluation step: paletted PNG results as the VOC server takes them, and the number of EvalSegResults.

Labels are the class of the largest score (the first on ties, as MATLAB's max), within the picture's own size;
or what the CRF left. Over all pixels whose true label is below 255, with n[i, j] the number of pixels of
class i that were given class j:

    IU_i = n[i, i] / (sum_j n[i, j] + sum_j n[j, i] - n[i, i]),  a denominator of 0 counting as 1
    mean IU = sum_i IU_i / K, so that a class that does not occur counts as 0

This is MyVOCevalseg.m, and the VOC devkit's own VOCevalseg.m where every class occurs. Other measures of this
package leave a class out that is in neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clockwork_onnx.deeplab.binary_files import read_labels_bin
from clockwork_onnx.deeplab.experiment import Experiment, Picture, post_folder
from clockwork_onnx.deeplab.mat_files import blob_name
from clockwork_onnx.deeplab.refine import scores_of
from clockwork_onnx.evaluation.datasets.base import VOID, read_label
from clockwork_onnx.evaluation.scoring.metrics import Confusion
from runtime.densecrf import CrfParameters
from runtime.video.images import read_image
from staged_onnx.palettes import colour_table, voc_palette
from weights.errors import DataSetError
from weights.whole_file import whole_file

__all__ = ["VocScores", "evaluate", "voc_scores", "write_png", "write_results"]


@dataclass(frozen=True)
class VocScores:
    """Measures in 0..1; `missing` are ids without a result, which are passed over as EvalSegResults does."""

    mean_iu: float
    class_iu: tuple[float, ...]
    mean_accuracy: float
    pixel_accuracy: float
    pixels: int
    missing: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As one JSON document."""
        return asdict(self)


def voc_scores(confusion: Confusion, missing: tuple[str, ...] = ()) -> VocScores:
    """The measures of MyVOCevalseg.m from a matrix of counts.

    Args:
        confusion: The counts over all pictures.
        missing: Pictures that have no result.

    Returns:
        Mean IU, IU per class, class and pixel accuracy, and how many pixels were counted.
    """
    counts = confusion.counts[:, : confusion.classes].astype(np.float64)
    hits, truth, given = np.diag(counts), confusion.counts.sum(axis=1), counts.sum(axis=0)
    iu = hits / np.maximum(truth + given - hits, 1)
    return VocScores(
        float(iu.mean()),
        tuple(float(v) for v in iu),
        float((hits / np.maximum(truth, 1)).mean()),
        float(hits.sum() / max(1, truth.sum())),
        int(truth.sum()),
        missing,
    )


def write_png(path: Path, labels: NDArray[np.uint8]) -> None:
    """Write a label map as an indexed PNG with VOC's colours; it appears whole or not at all.

    Args:
        path: The file.
        labels: uint8, H x W.
    """
    image = Image.fromarray(np.ascontiguousarray(labels))
    image.putpalette(colour_table(voc_palette()).tobytes())
    with whole_file(path) as partial:
        image.save(partial, format="PNG")


def write_results(
    experiment: Experiment, crf: CrfParameters | None = None, *, force: bool = False
) -> Iterator[tuple[Picture, bool]]:
    """Write the PNG results of the net or of the CRF.

    A picture whose PNG is newer than what it is made of is passed over, and one that has neither scores nor
    labels yet too.

    Args:
        experiment: The experiment.
        crf: The CRF's parameters; None for the net alone.
        force: Write PNGs again that are newer.

    Yields:
        Each picture, and whether its PNG is there.

    Raises:
        DataSetError: A file is damaged, or labels do not have the picture's size.
    """
    post = post_folder(crf)
    folder = experiment.pictures_folder(post)
    for picture in experiment.pictures():
        target = folder / f"{picture.identity}.png"
        if crf is None:
            source = experiment.feature_folder / blob_name(picture.identity)
        else:
            source = experiment.results(post) / f"{picture.identity}.bin"
        if source.is_file():
            fresh = target.is_file() and target.stat().st_mtime_ns >= source.stat().st_mtime_ns
            if force or not fresh:
                folder.mkdir(parents=True, exist_ok=True)
                write_png(target, _labels(source, picture))
        yield picture, target.is_file()


def _labels(source: Path, picture: Picture) -> NDArray[np.uint8]:
    if source.suffix == ".mat":
        height, width = read_image(picture.image).shape[:2]
        return scores_of(source, (height, width)).argmax(axis=0).astype(np.uint8)
    labels = read_labels_bin(source)
    if labels.min() < 0 or labels.max() > 255:
        raise DataSetError("labels beyond 0 to 255", file=source, found=f"{labels.min()} to {labels.max()}")
    return labels.astype(np.uint8)


def evaluate(experiment: Experiment, crf: CrfParameters | None = None) -> VocScores:
    """Score the PNG results against the labels that the list names.

    Args:
        experiment: The experiment.
        crf: The CRF's parameters; None for the net alone.

    Returns:
        The scores over all pictures that have a result, and which have none.

    Raises:
        DataSetError: No picture of the list has labels, or a result has another size or unknown classes.
    """
    classes = int(experiment.variables["NUM_LABELS"])
    confusion = Confusion(classes)
    folder = experiment.pictures_folder(post_folder(crf))
    missing = []
    labelled = [picture for picture in experiment.pictures() if picture.labels is not None]
    if not labelled:
        raise DataSetError(
            "no true labels to score against",
            file=experiment.root / "list" / f"{experiment.test_set}.txt",
            expected="IMAGE LABELS on each line",
            hint="of VOC's test set only the server knows them",
        )
    for picture in labelled:
        result = folder / f"{picture.identity}.png"
        if not result.is_file():
            missing.append(picture.identity)
            continue
        assert picture.labels is not None
        truth, labels = read_label(picture.labels), read_label(result)
        if labels.shape != truth.shape:
            raise DataSetError(
                "the result has the wrong size",
                file=result,
                found=" x ".join(map(str, labels.shape)),
                expected=" x ".join(map(str, truth.shape)),
            )
        if labels.max() >= classes:
            raise DataSetError("a class out of range", file=result, found=labels.max(), expected=classes - 1)
        odd = truth[(truth >= classes) & (truth != VOID)]
        if odd.size:
            raise DataSetError(
                "a class out of range", file=picture.labels, found=odd.max(), expected=classes - 1
            )
        confusion.add(truth, labels)
    return voc_scores(confusion, tuple(missing))
