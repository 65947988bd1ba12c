"""The matrices of fast convolution: m results of a kernel of r taps from m + r - 1 products instead of m r.

Cook-Toom: the product of two polynomials is found from its values at m + r - 1 points. For a signal d, a
kernel g and points p, with the last of them at infinity,

    y = A^T ((G g) * (B^T d)),   y_i = sum_j d_(i+j) g_j

A^T has the powers p^i; G the same divided by prod_(q != p) (p - q); a row of B^T the coefficients of
prod_(q != p) (x - q). In two dimensions each is applied to rows and columns: n^2 products for m^2 results.

The points decide how much is lost in float32. Powers of large points grow, and close points divide by
little: 0, +-7/10, +-7/5 loses a quarter of what 0, +-1, +-2 does, the ones that are mostly used (S. Winograd,
Arithmetic Complexity of Computations, 1980; A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural
Networks, 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np

__all__ = ["Transforms", "transforms"]

POINTS = {
    4: ("0", "1", "-1"),
    6: ("0", "7/10", "-7/10", "7/5", "-7/5"),
    8: ("0", "3/5", "-3/5", "1", "-1", "7/4", "-7/4"),
}
"""By the number of products, all points but infinity: the best found of those tried on random layers."""


@dataclass(frozen=True, eq=False)
class Transforms:
    """The matrices for m x m results of an r x r kernel, each for rows and columns at once.

    signal: n^2 x n^2, of n x n numbers of the map; kernel: n^2 x r^2; result: m^2 x n^2; all float64.
    """

    signal: np.ndarray
    kernel: np.ndarray
    result: np.ndarray


@cache
def transforms(results: int, taps: int) -> Transforms:
    """The matrices for tiles of results x results and kernels of taps x taps."""
    size = results + taps - 1
    points = [Fraction(text) for text in POINTS[size]]
    signal = [_with_roots([q for q in points if q != p]) + [Fraction(0)] for p in points]
    signal.append(_with_roots(points))
    kernel = []
    for p in points:
        divisor = Fraction(1)
        for q in points:
            divisor *= p - q if q != p else 1
        kernel.append([p**i / divisor for i in range(taps)])
    kernel.append([Fraction(int(i == taps - 1)) for i in range(taps)])
    result = [[p**i for p in points] + [Fraction(int(i == results - 1))] for i in range(results)]
    return Transforms(*(np.kron(matrix, matrix) for matrix in map(_floats, (signal, kernel, result))))


def _with_roots(roots: Sequence[Fraction]) -> list[Fraction]:
    """The coefficients of prod (x - root), the lowest power first."""
    found = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *found], [root * c for c in found] + [Fraction(0)]
        found = [a - b for a, b in zip(shifted, scaled, strict=True)]
    return found


def _floats(matrix: Sequence[Sequence[Fraction]]) -> np.ndarray:
    return np.array([[float(x) for x in row] for row in matrix])
