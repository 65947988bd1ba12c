from __future__ import annotations

import numpy as np
import pytest

from runtime.report.samples import SampleKeeper, with_oracle
from tests.support.steps import FakeStep

IMAGE, LABELS = np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3), np.uint8)


def chosen(ages: list[int], **most: int) -> list[tuple[int, int]]:
    keeper = SampleKeeper(**most)
    for index, age in enumerate(ages):
        keeper.add(FakeStep(index, ages={"shallow": 0, "deep": age}), IMAGE, LABELS)
    return [(sample.step.index, sample.age) for sample in keeper.samples()]


@pytest.mark.parametrize("frames", [40, 101, 256, 3000])
@pytest.mark.parametrize("period", [2, 3, 4, 8])
def test_both_stale_and_fresh_frames_are_shown(frames: int, period: int) -> None:
    found = chosen([i % period for i in range(frames)])
    ages = [age for _, age in found]
    assert len(found) <= 8
    assert ages.count(period - 1) >= 2 and 1 <= ages.count(0) <= 3
    # of every third of the run there is one
    assert {min(2, 3 * index // frames) for index, _ in found} == {0, 1, 2}


def test_the_stalest_frame_of_all_is_among_them() -> None:
    rng = np.random.default_rng(0)
    ages = rng.integers(0, 9, 500).tolist()
    ages[333] = 30
    assert (333, 30) in chosen(ages)


def test_where_nothing_is_ever_stale_fresh_frames_are_shown() -> None:
    found = chosen([0] * 50)
    assert 3 <= len(found) <= 8 and {age for _, age in found} == {0}


def test_a_run_without_frames_has_no_samples() -> None:
    assert chosen([]) == []


def test_the_oracle_stands_beside_each() -> None:
    keeper = SampleKeeper()
    keeper.add(FakeStep(0, ages={"a": 2}), IMAGE, LABELS)
    (sample,) = with_oracle(keeper.samples(), [LABELS + 1])
    assert sample.oracle is not None and sample.oracle.max() == 1 and sample.labels is LABELS
