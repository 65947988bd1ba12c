"""The graphs behind the clocks against NumPy."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from runtime.engine.probe_graphs import sensor_graph


def run(measure: str, value: np.ndarray, reference: np.ndarray | None, **options) -> list[np.ndarray]:
    built = sensor_graph(measure, value.shape, value.dtype.type, **options)
    session = ort.InferenceSession(built.model, providers=["CPUExecutionProvider"])
    feeds = {"value": value} | ({"reference": reference} if reference is not None else {})
    return session.run(None, feeds)


def test_argmax_change_counts_the_whole_raw_map() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(1, 21, 44, 44)).astype(np.float32)
    reference = rng.integers(0, 21, (1, 44, 44)).astype(np.int32)
    change, snapshot = run("argmax", a, reference)
    assert change == np.count_nonzero(a.argmax(1) != reference) / (44 * 44)
    assert np.array_equal(snapshot, a.argmax(1))


def test_ties_go_to_the_first_channel_and_do_not_count_as_change() -> None:
    a = np.zeros((1, 3, 2, 2), np.float32)
    a[0, 1:, 0, 0] = 5
    change, snapshot = run("argmax", a, np.array([[[1, 0], [0, 0]]], np.int32))
    assert snapshot.tolist() == [[[1, 0], [0, 0]]] and change == 0


@pytest.mark.parametrize("changed", range(11))
def test_a_share_equal_to_theta_is_the_same_number(changed: int) -> None:
    """As decimal fractions: 7 of 10 must be the double that "0.7" is read as."""
    a = np.zeros((1, 2, 1, 10), np.float32)
    reference = np.zeros((1, 1, 10), np.int32)
    reference[..., :changed] = 1
    assert float(run("argmax", a, reference)[0]) == changed / 10


def test_relative_change() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 1, 1, 5, 7)).astype(np.float32)
    a[..., 0] = b[..., 0] = 0
    a[..., 1] = 0
    with np.errstate(invalid="ignore"):
        ratio = np.nan_to_num(np.abs(a - b) / ((np.abs(a) + np.abs(b)) / 2))
    change, snapshot = run("relative", a, b)
    assert change == pytest.approx(ratio.mean(), rel=1e-6)
    assert np.array_equal(snapshot, a)


def test_relative_change_of_frames_after_the_mean() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 256, (2, 6, 5, 3), np.uint8)
    mean = (122.5, 116.75, 104.25)
    x, y = (image.astype(np.float64) - mean for image in (a, b))
    change, snapshot = run("relative", a, b, mean=mean)
    assert change == pytest.approx(np.mean(np.abs(x - y) / ((np.abs(x) + np.abs(y)) / 2)), rel=1e-5)
    assert snapshot.dtype == np.uint8 and np.array_equal(snapshot, a)


def test_peak_is_the_mean_of_the_largest_probability() -> None:
    a = np.random.default_rng(3).normal(size=(1, 5, 4, 4)).astype(np.float32)
    p = np.exp(a) / np.exp(a).sum(1, keepdims=True)
    assert run("peak", a, None)[0] == pytest.approx(p.max(1).mean(), rel=1e-6)


def test_half_precision_values_are_measured_too() -> None:
    a = np.random.default_rng(4).normal(size=(1, 5, 4, 4)).astype(np.float16)
    change, snapshot = run("argmax", a, np.zeros((1, 4, 4), np.int32))
    assert np.array_equal(snapshot, a.argmax(1)) and change == np.count_nonzero(a.argmax(1)) / 16
