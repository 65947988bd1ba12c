"""The permutohedral lattice as sparse matrices: Gaussian filtering in d dimensions, in linear time.

Method: Adams, Baek, Davis, "Fast high-dimensional filtering using the permutohedral lattice", 2010. The
points are mapped to the hyperplane of R^(d+1) whose coordinates sum to 0. Each lies in one simplex of the
lattice there; its value is divided among the d + 1 corners by its barycentric weights (splat), blurred along
each of the d + 1 axes with (1/2, 1, 1/2), and gathered with the same weights (slice).

Only vertices that are a corner of some point's simplex exist, so all three steps are sparse matrices, made
once per set of points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from weights.errors import UsageError

__all__ = ["Lattice", "build_lattice", "rows_of"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

MAX_CODE = 2**62
"""A vertex is numbered by one int64 made of its first d coordinates."""


@dataclass(frozen=True)
class Lattice:
    """The filter K of one set of N points over M vertices: K v = alpha S^T B_d .. B_0 S v.

    weights, vertices: N x (d + 1), the barycentric weights of each point and the vertices that they belong
    to: the rows of S transposed. blurs: M x M, in the order in which they are applied. alpha:
    1 / (1 + 2^-d), the scale of the original implementations.
    """

    weights: Floats
    vertices: NDArray[np.int32]
    blurs: tuple[sparse.csr_matrix, ...]
    alpha: float

    @property
    def size(self) -> int:
        """M, the number of vertices."""
        return int(self.blurs[0].shape[0])

    def blur(self, at_vertices: Floats) -> Floats:
        """B_d .. B_0 of values at the vertices, M x K."""
        for one in self.blurs:
            at_vertices = one @ at_vertices
        return at_vertices

    def filter(self, values: Floats) -> Floats:
        """sum_j exp(-|f_i - f_j|^2 / 2) values_j, approximately, j = i included; N x K both ways."""
        corners = rows_of(self.weights, self.vertices, self.size)
        result: Floats = corners @ self.blur(corners.T @ values)
        result *= np.float32(self.alpha)
        return result


def build_lattice(features: Floats) -> Lattice:
    """The lattice of a set of points.

    Args:
        features: D x N, already divided by the standard deviations.

    Returns:
        The filter that sums Gaussians of standard deviation 1 over the points.

    Raises:
        UsageError: The points are so far apart, in standard deviations, that vertices cannot be numbered.
    """
    d = features.shape[0]
    nearest, rank, weights = _simplices(features)
    codes, simplex_of, steps = _corner_codes(nearest, rank)
    known, _, numbers = _numbered(codes.ravel())
    vertices = np.ascontiguousarray(numbers.reshape(codes.shape).T)[simplex_of]
    return Lattice(weights, vertices, tuple(_blur(known, step) for step in steps), 1 / (1 + 2.0**-d))


def rows_of(weights: Floats, vertices: NDArray[np.int32], size: int) -> sparse.csr_matrix:
    """A sparse matrix with the same number of entries in each row.

    Args:
        weights: N x K, the entries.
        vertices: N x K, the columns in which they stand.
        size: M, how many columns there are.

    Returns:
        N x M.
    """
    count, per_row = weights.shape
    ends = np.arange(0, weights.size + 1, per_row, dtype=np.int32)
    return sparse.csr_matrix((weights.ravel(), vertices.ravel(), ends), shape=(count, size))


def _elevated(features: Floats) -> Floats:
    """The points in the plane of R^(d+1) whose coordinates sum to 0, (d + 1) x N.

    Coordinate j is sum_{i >= j} s_i f_i - j s_(j-1) f_(j-1) with s_i = (d+1) sqrt(2/3) / sqrt((i+1)(i+2)): an
    orthogonal basis, scaled so that the blur's variance comes to 1. The rounding is that of DeepLab's
    program, step by step: which of two simplices a point on their border is given to decides which vertices
    exist, and so what the blur reaches.
    """
    d, count = features.shape
    order = np.arange(1, d + 1, dtype=np.float32)[:, None]
    spread = float(np.float32(np.sqrt(2 / 3) * (d + 1)))
    scaled = features * (spread / np.sqrt(np.float64(order * (order + 1)))).astype(np.float32)
    elevated = np.zeros((d + 1, count), np.float32)
    np.cumsum(scaled[::-1], axis=0, out=elevated[d - 1 :: -1])
    elevated[1:] -= order * scaled
    return elevated


def _simplices(features: Floats) -> tuple[NDArray[np.int32], NDArray[np.int32], Floats]:
    """The simplex around each point.

    Returns:
        Its corner of remainder 0, (d + 1) x N; the rank of each coordinate's residual, the largest 0,
        (d + 1) x N; the barycentric weights of its corners by remainder, N x (d + 1).
    """
    elevated = _elevated(features)
    size, count = elevated.shape
    share = np.float32(1) / np.float32(size)
    nearest = np.rint(elevated * share).astype(np.int32)
    rank = np.tile(nearest.sum(axis=0, dtype=np.int32), (size, 1))
    nearest *= size
    residual = elevated - nearest
    for i in range(size):
        for j in range(i + 1, size):
            lower = residual[i] < residual[j]
            rank[i] += lower
            rank[j] += ~lower
    turns = (rank < 0).astype(np.int32) - (rank >= size)
    rank += size * turns
    nearest += size * turns
    residual = (elevated - nearest) * share
    by_rank = np.empty_like(residual)
    np.put_along_axis(by_rank, rank, residual, axis=0)
    weights = np.empty((count, size), np.float32)
    weights[:, 0] = 1 + by_rank[-1] - by_rank[0]
    weights[:, 1:] = (by_rank[-2::-1] - by_rank[:0:-1]).T
    return nearest, rank, weights


def _corner_codes(
    nearest: NDArray[np.int32], rank: NDArray[np.int32]
) -> tuple[Ints, NDArray[np.int32], list[int]]:
    """The corners of all simplices, each simplex once however many points lie in it.

    The corner of remainder r adds r to the coordinates of rank <= d - r and r - (d + 1) to the others. The
    last coordinate follows from the first d, which are the digits of the code.

    Returns:
        One number for each corner, (d + 1) x simplices; the simplex of each point, N; for each axis, what to
        add to a code for the next vertex (+ 1 in all coordinates but the axis's own, - d in that).
    """
    size = nearest.shape[0]
    strides, origin = _strides(nearest[:-1])
    first = np.full(nearest.shape[1], -origin, np.int64)
    for stride, row in zip(strides, nearest, strict=False):
        first += stride * row.astype(np.int64)
    # A simplex is its first corner and the order of the residuals; most points share theirs.
    key = _numbered(first)[2].astype(np.int64)
    for row in rank:
        key = key * size + row
    _, one, simplex_of = _numbered(key)
    codes = np.empty((size, one.size), np.int64)
    codes[0] = first[one]
    for r in range(1, size):
        codes[r] = codes[r - 1] + sum(strides)
        for stride, row in zip(strides, rank, strict=False):
            codes[r] -= (row[one] == size - r) * (size * stride)
    steps = [sum(strides) - size * stride for stride in (*strides, 0)]
    return codes, simplex_of, steps


def _numbered(values: Ints) -> tuple[Ints, Ints, NDArray[np.int32]]:
    """The different values, ascending; where each occurs first; and for each entry the number of its value.

    As `np.unique`, three times as fast: a stable sort uses the runs that a picture's raster order leaves.
    """
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    new = np.concatenate([[True], ascending[1:] != ascending[:-1]])
    numbers = np.empty(values.size, np.int32)
    numbers[order] = np.cumsum(new, dtype=np.int32) - 1
    return ascending[new], order[new], numbers


def _strides(coordinates: NDArray[np.int32]) -> tuple[list[int], int]:
    """The place value of each coordinate in a code, with a margin for neighbours, and the lowest code."""
    margin = 2 * (coordinates.shape[0] + 1)
    low = [int(row.min()) - margin for row in coordinates]
    extent = [int(row.max()) + margin - start + 1 for row, start in zip(coordinates, low, strict=True)]
    strides = [1]
    for places in reversed(extent):
        strides.insert(0, strides[0] * places)
    if strides[0] > MAX_CODE:
        raise UsageError(
            "standard deviations too small for the CRF",
            found=f"a lattice of {' x '.join(map(str, extent))} places",
            expected=f"at most {MAX_CODE}",
            hint="take larger standard deviations",
        )
    strides = strides[1:]
    return strides, sum(stride * start for stride, start in zip(strides, low, strict=True))


def _blur(known: Ints, step: int) -> sparse.csr_matrix:
    """Identity plus a half of both neighbours along one axis; `known` are the vertices' codes, ascending."""
    place = np.searchsorted(known, known + step).clip(max=known.size - 1)
    here = np.flatnonzero(known[place] == known + step)
    there = place[here]
    entries = np.ones(known.size, np.int32)
    entries[here] += 1
    entries[there] += 1
    ends = np.concatenate([[0], np.cumsum(entries)]).astype(np.int32)
    data = np.full(ends[-1], 0.5, np.float32)
    columns = np.empty(ends[-1], np.int32)
    # In each row both neighbours, then the vertex itself: products are added in this order, and so a sum is
    # rounded as DeepLab's program rounds it.
    columns[ends[here]] = there
    columns[ends[there + 1] - 2] = here
    data[ends[1:] - 1] = 1
    columns[ends[1:] - 1] = np.arange(known.size)
    return sparse.csr_matrix((data, columns, ends), shape=(known.size, known.size))
