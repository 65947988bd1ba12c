"""Mean-field inference in a fully connected conditional random field, as DeepLab v1 runs it.

Kraehenbuehl and Koltun, "Efficient inference in fully connected CRFs with Gaussian edge potentials", 2011,
with the normalisation of DeepLab's program (each message divided by its pixel's own sum over the kernel):

    Q_0 = softmax(log p),   Q_(t+1) = softmax(log p + sum_m w_m (K_m Q_t)(i) / ((K_m 1)(i) + 1e-20))

K_m: Gaussian kernels over all pairs of pixels, i = j included, filtered on a permutohedral lattice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from runtime.densecrf.lattice import Lattice, build_lattice, rows_of
from runtime.densecrf.parameters import CrfParameters, KernelSet
from weights.errors import UsageError

__all__ = ["DenseCrf", "log_softmax"]

Floats = NDArray[np.float32]

SAFE_WEIGHT = 80.0
"""Up to this sum of the kernels' weights exp() needs no shift: log p + messages stays below it."""

SMALLEST = 1e-20

TILE = 8192
"""Pixels whose messages are worked on together, so that they stay in the processor's cache."""


def log_softmax(scores: Floats) -> Floats:
    """log p over the first axis of scores.

    Args:
        scores: K x H x W, log p up to a constant per pixel.

    Returns:
        K x H x W, whose exponentials sum to 1 at each pixel.
    """
    shifted = scores - scores.max(axis=0)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=0))
    return result


class DenseCrf:
    """The CRF of one picture: its lattices are built once and serve any scores.

    Args:
        picture: H x W x 3, uint8, RGB.
        parameters: The kernels and the number of iterations.
        lattices: Lattices of this picture by their standard deviations, to share among several parameters;
            those that are missing are added.

    Raises:
        UsageError: Not a picture, or standard deviations that are too small.
    """

    def __init__(
        self,
        picture: NDArray[np.uint8],
        parameters: CrfParameters | KernelSet,
        lattices: dict[tuple[float, ...], Lattice] | None = None,
    ) -> None:
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
            raise UsageError(
                "not a picture for the CRF",
                found=f"{picture.dtype} {picture.shape}",
                expected="uint8 (height, width, 3)",
            )
        self.parameters = parameters
        self.size = (picture.shape[0], picture.shape[1])
        lattices = {} if lattices is None else lattices
        for kernel in parameters.kernels:
            if kernel.stds not in lattices:
                lattices[kernel.stds] = _lattice(picture, kernel.stds)
        kernels = [(kernel.weight, lattices[kernel.stds]) for kernel in parameters.kernels]
        self._messages = _Messages(kernels) if kernels else None
        self._shifted = sum(kernel.weight for kernel in parameters.kernels) > SAFE_WEIGHT

    def infer(self, scores: Floats, start: Floats | None = None) -> Floats:
        """Q after the parameters' number of iterations.

        Args:
            scores: K x H x W, log p up to a constant per pixel; -inf where a class is impossible.
            start: Q to begin with, K x H x W, instead of softmax(scores).

        Returns:
            Q, K x H x W, which sums to 1 at each pixel.

        Raises:
            UsageError: An array does not fit the picture or holds NaN.
        """
        iterations = int(self.parameters.iterations)
        return _by_class(next(islice(self._iterate(scores, start), iterations, None)), scores.shape)

    def steps(self, scores: Floats, start: Floats | None = None) -> Iterator[Floats]:
        """Q before the first iteration, then after each, without end.

        Args:
            scores: As in `infer`.
            start: As in `infer`.

        Yields:
            Q, K x H x W.

        Raises:
            UsageError: As `infer` does.
        """
        for q in self._iterate(scores, start):
            yield _by_class(q, scores.shape)

    def _iterate(self, scores: Floats, start: Floats | None) -> Iterator[Floats]:
        """As `steps`, with Q as (H W) x K, the same array each time."""
        self._check(scores, "scores")
        log_p = _by_pixel(log_softmax(scores))
        if start is None:
            q = np.exp(log_p)
        else:
            self._check(start, "start", scores.shape[0])
            q = _by_pixel(start)
        while True:
            yield q
            for pixels, messages in self._messages.of(q) if self._messages else ():
                messages += log_p[pixels]
                q[pixels] = self._softmax(messages)

    def _softmax(self, energy: Floats) -> Floats:
        """Over the last axis, in place."""
        if self._shifted:
            energy -= energy.max(axis=1, keepdims=True)
        np.exp(energy, out=energy)
        energy *= np.reciprocal(energy @ np.ones(energy.shape[1], np.float32))[:, None]
        return energy

    def _check(self, values: Floats, what: str, classes: int | None = None) -> None:
        fits = values.ndim == 3 and values.shape[1:] == self.size and values.shape[0] > 0
        if not fits or (classes is not None and values.shape[0] != classes):
            height, width = self.size
            raise UsageError(
                f"{what} of the CRF do not fit its picture",
                found=" x ".join(map(str, values.shape)),
                expected=f"{classes or 'classes'} x {height} x {width}",
            )
        if np.isnan(values).any():
            raise UsageError(f"{what} of the CRF hold NaN")


def _by_pixel(values: Floats) -> Floats:
    """K x H x W -> (H W) x K."""
    return np.ascontiguousarray(values.reshape(values.shape[0], -1).T, np.float32)


def _by_class(values: Floats, shape: tuple[int, ...]) -> Floats:
    """(H W) x K -> K x H x W."""
    result = np.empty(values.shape[::-1], np.float32)
    for first in range(0, len(values), TILE):
        result[:, first : first + TILE] = values[first : first + TILE].T
    return result.reshape(shape)


class _Messages:
    """sum_m w_m K_m Q / (K_m 1 + 1e-20), the lattices of all kernels side by side in one pair of matrices."""

    def __init__(self, kernels: Sequence[tuple[float, Lattice]]) -> None:
        lattices = [lattice for _, lattice in kernels]
        ends = np.cumsum([0, *(lattice.size for lattice in lattices)], dtype=np.int32)
        self._blocks = list(zip(lattices, ends, ends[1:], strict=False))
        vertices = np.concatenate([one.vertices for one in lattices], axis=1)
        corners = np.concatenate([one.weights for one in lattices], axis=1)
        gather = np.empty_like(corners)
        left = 0
        for (weight, lattice), first in zip(kernels, ends, strict=False):
            columns = slice(left, left := left + lattice.weights.shape[1])
            vertices[:, columns] += first
            np.multiply(lattice.weights, _factors(lattice, weight)[:, None], out=gather[:, columns])
        self._corners = rows_of(corners, vertices, ends[-1])
        tiles = [slice(first, first + TILE) for first in range(0, len(vertices), TILE)]
        self._gathers = [(tile, rows_of(gather[tile], vertices[tile], ends[-1])) for tile in tiles]

    def of(self, q: Floats) -> Iterator[tuple[slice, Floats]]:
        """The messages, some pixels at a time; all of `q` has been read before the first."""
        at_vertices = self._corners.T @ q
        blurred = [lattice.blur(at_vertices[first:last]) for lattice, first, last in self._blocks]
        at_vertices = np.concatenate(blurred)
        for pixels, gather in self._gathers:
            yield pixels, gather @ at_vertices


def _lattice(picture: NDArray[np.uint8], stds: tuple[float, ...]) -> Lattice:
    if len(stds) == 2:
        return _lattice_of_places((picture.shape[0], picture.shape[1]), stds)
    return build_lattice(_features(picture, stds))


@lru_cache(maxsize=2)
def _lattice_of_places(size: tuple[int, int], stds: tuple[float, ...]) -> Lattice:
    """The lattice of a kernel of position alone, which all pictures of a size share."""
    return build_lattice(_features(np.empty((*size, 3), np.uint8), stds))


def _features(picture: NDArray[np.uint8], stds: Sequence[float]) -> Floats:
    """Position and colour of each pixel in units of the standard deviations, d x N."""
    down, across = np.mgrid[: picture.shape[0], : picture.shape[1]].reshape(2, -1)
    parts = (across, down, *picture.reshape(-1, 3).T)
    scaled = [part.astype(np.float32) / np.float32(std) for part, std in zip(parts, stds, strict=False)]
    return np.stack(scaled)


def _factors(lattice: Lattice, weight: float) -> Floats:
    """w alpha / (K 1 + 1e-20) at each pixel."""
    sums = lattice.filter(np.ones((lattice.weights.shape[0], 1), np.float32))[:, 0]
    result: Floats = np.float32(weight * lattice.alpha) / (sums + np.float32(SMALLEST))
    return result
