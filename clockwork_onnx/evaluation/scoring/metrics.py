"""How well a label map agrees with the truth, and how much it flickers, in constant memory.

With n[i, j] the number of pixels of true class i that were given class j, over all frames so far:

    pixel accuracy   sum_i n[i, i] / sum_ij n[i, j]
    class accuracy   mean over i of n[i, i] / sum_j n[i, j] (a class without truth is skipped)
    IU of class i    n[i, i] / (sum_j n[i, j] + sum_j n[j, i] - n[i, i])
    mean IU          mean of the IUs (a class that is in neither truth nor prediction is skipped)
    fwIU             sum over i with truth of (sum_j n[i, j] / sum n) * IU of class i

These are the measures of the fully convolutional networks paper (Long, Shelhamer, Darrell 2015), as the
clockwork paper uses them. A true label outside 0..classes-1 (255, by custom: void) is not scored.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.morphology import dilation, disk, erosion

from clockwork_onnx.evaluation.datasets.base import NO_CLASS, VOID
from weights.errors import ShapeError, UsageError

__all__ = ["Confusion", "LabelChanges", "Scores", "boundary_band"]


@dataclass(frozen=True)
class Scores:
    """The measures of one confusion matrix, each in 0..1; NaN where there was nothing to measure."""

    pixel_accuracy: float
    class_accuracy: float
    mean_iu: float
    fw_iu: float
    class_iu: tuple[float, ...]
    pixels: int


class Confusion:
    """Counts of (true class, predicted class), grown frame by frame.

    `counts` is int64, classes x (classes + 1): row = truth, column = prediction; the last column counts
    the pixels that were given no scored class (`NO_CLASS`).
    """

    def __init__(self, classes: int) -> None:
        if not 1 <= classes <= 255:
            raise UsageError("the number of classes is out of range", found=classes, expected="1 to 255")
        self.classes = classes
        self.counts: NDArray[np.int64] = np.zeros((classes, classes + 1), np.int64)

    def add(
        self,
        truth: NDArray[np.uint8],
        prediction: NDArray[np.uint8],
        where: NDArray[np.bool_] | None = None,
    ) -> None:
        """Count one frame.

        Args:
            truth: The true classes, H x W.
            prediction: The predicted classes, H x W.
            where: Limits the count to a mask, H x W.

        Raises:
            ShapeError: The maps are of different sizes.
            UsageError: A predicted class is neither below `classes` nor `NO_CLASS`, which says that the net
                and the labels do not speak of the same classes.
        """
        if truth.shape != prediction.shape or (where is not None and where.shape != truth.shape):
            raise ShapeError(
                "label maps of different sizes cannot be compared",
                found=f"{'x'.join(map(str, prediction.shape))} predicted",
                expected="x".join(map(str, truth.shape)),
            )
        scored = (truth >= 0) & (truth < self.classes)
        if where is not None:
            scored &= where
        wanted = truth[scored].astype(np.int64)
        given = prediction[scored].astype(np.int64)
        unknown = given[(given >= self.classes) & (given != NO_CLASS)]
        if unknown.size:
            raise UsageError(
                "the net predicts a class that the labels do not have",
                found=f"class {int(unknown.max())}",
                expected=f"0 to {self.classes - 1}",
                hint="give a map from the net's classes to the labels' (--map)",
            )
        given[given == NO_CLASS] = self.classes
        width = self.classes + 1
        self.counts += np.bincount(wanted * width + given, minlength=self.classes * width).reshape(
            self.classes, width
        )

    def merge(self, other: Confusion) -> Confusion:
        """A new matrix with the counts of both."""
        if other.classes != self.classes:
            raise UsageError(
                "matrices of different classes cannot be merged", found=other.classes, expected=self.classes
            )
        merged = Confusion(self.classes)
        merged.counts = self.counts + other.counts
        return merged

    def scores(self) -> Scores:
        """The measures of what has been counted so far."""
        hits = np.diag(self.counts).astype(np.float64)
        truth = self.counts.sum(axis=1).astype(np.float64)
        given = self.counts[:, : self.classes].sum(axis=0).astype(np.float64)
        total = truth.sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            iu = hits / (truth + given - hits)
            accuracy = hits / truth
            share = truth / total
        present = truth > 0
        return Scores(
            pixel_accuracy=float(hits.sum() / total) if total else float("nan"),
            class_accuracy=_nanmean(accuracy),
            mean_iu=_nanmean(iu),
            fw_iu=float((share[present] * iu[present]).sum()) if total else float("nan"),
            class_iu=tuple(float(v) for v in iu),
            pixels=int(total),
        )


class LabelChanges:
    """How much the output flickers: the share of pixels whose label changes from one frame to the next.

    The mean is over pairs of neighbouring frames of one shot. Nothing but the last frame is kept.
    """

    def __init__(self) -> None:
        self._last: NDArray[np.uint8] | None = None
        self._sum = 0.0
        self.pairs = 0

    def new_shot(self) -> None:
        """The next frame has no neighbour before it."""
        self._last = None

    def add(self, labels: NDArray[np.uint8]) -> None:
        """Take the next frame's H x W labels. A change of size starts a new shot."""
        if self._last is not None and self._last.shape == labels.shape:
            self._sum += float(np.mean(labels != self._last))
            self.pairs += 1
        self._last = labels.copy()

    @property
    def share(self) -> float:
        """Mean share of changed labels, 0..1; NaN before there are two neighbouring frames."""
        return self._sum / self.pairs if self.pairs else float("nan")


def boundary_band(truth: NDArray[np.uint8], radius: int = 5, void: int = VOID) -> NDArray[np.bool_]:
    """The pixels near the outline of the foreground.

    foreground = truth > 0 and not void, all classes as one; band = dilate(foreground, disk(radius)) xor
    erode(foreground, disk(radius)). The clockwork paper's "10-pixel boundary" is radius 5. An edge between
    two foreground objects that touch is not in the band.

    Args:
        truth: The true classes, H x W.
        radius: Radius of the disk, in pixels.
        void: The class of pixels that are not scored.

    Returns:
        A mask, H x W.
    """
    foreground = (truth > 0) & (truth != void)
    element = disk(radius)
    return np.logical_xor(dilation(foreground, element), erosion(foreground, element))


def _nanmean(values: NDArray[np.float64]) -> float:
    with warnings.catch_warnings():
        # All classes absent: the mean of nothing is NaN, which is what we report.
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(np.nanmean(values))
