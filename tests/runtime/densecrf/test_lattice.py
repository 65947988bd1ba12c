import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.densecrf.lattice import build_lattice
from tests.runtime.densecrf.exact import kernel
from weights.errors import UsageError


def points(d: int, count: int, spread: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-spread, spread, (d, count)).astype(np.float32)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 6), st.integers(1, 60), st.floats(0.1, 30), st.integers(0, 2**32 - 1))
def test_every_point_is_shared_out_among_the_corners_of_its_simplex(
    d: int, count: int, spread: float, seed: int
) -> None:
    lattice = build_lattice(points(d, count, spread, seed))
    assert lattice.weights.shape == lattice.vertices.shape == (count, d + 1)
    assert lattice.weights.min() > -1e-4 and np.allclose(lattice.weights.sum(axis=1), 1, atol=1e-4)
    assert all(len(set(row)) == d + 1 for row in lattice.vertices.tolist())
    assert set(lattice.vertices.ravel().tolist()) == set(range(lattice.size))
    for blur in lattice.blurs:
        assert abs(blur - blur.T).max() == 0
        assert set(blur.diagonal()) == {1} and blur.getnnz(axis=1).max() <= 3
    assert len(lattice.blurs) == d + 1


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_the_filter_is_near_the_sum_of_gaussians(d: int) -> None:
    """On a dense cloud, normalised by its own sum, as the mean field uses it."""
    cloud = points(d, 600, 1.5, d)
    values = np.random.default_rng(9).random((600, 3)).astype(np.float32) + np.abs(cloud[:1].T)
    exact = kernel(cloud.astype(np.float64))
    expected = exact @ values / exact.sum(axis=1, keepdims=True)
    lattice = build_lattice(cloud)
    found = lattice.filter(values) / lattice.filter(np.ones((600, 1), np.float32))
    assert np.abs(found - expected).mean() < 0.05 * np.abs(values - values.mean(axis=0)).mean()


def test_neighbours_are_found_along_every_axis() -> None:
    """On a grid so fine that no vertex inside lacks a neighbour, a blur has three entries per row there."""
    down, across = np.mgrid[:40, :40].reshape(2, -1).astype(np.float32)
    lattice = build_lattice(np.stack([across, down]) / 3)
    for blur in lattice.blurs:
        assert (blur.getnnz(axis=1) == 3).mean() > 0.75
        assert np.allclose(blur.sum(axis=1)[blur.getnnz(axis=1) == 3], 2)


def test_points_in_one_place_share_their_vertices() -> None:
    lattice = build_lattice(np.ones((5, 100), np.float32))
    assert lattice.size == 6
    sums = lattice.filter(np.ones((100, 1), np.float32))
    assert np.allclose(sums, sums[0]) and 30 < sums[0] < 100


def test_standard_deviations_too_small_to_number_the_vertices_are_refused() -> None:
    with pytest.raises(UsageError, match="larger standard deviations"):
        build_lattice(points(5, 10, 1e6, 0))
