from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.report.run_record import COLUMNS, RunRecord, Spread
from tests.support.steps import FakeStep, adaptive_run


def test_counts_are_those_of_the_steps() -> None:
    steps = adaptive_run(500, shots=(20, 300))
    record = RunRecord.of(steps)
    ages = [step.ages["stage3"] for step in steps]
    signals = [step.signal for step in steps if step.signal is not None]
    assert (record.frames, record.shots) == (500, 3)
    assert record.stages == ("stage1", "stage2", "stage3", "head")
    assert record.fires["stage3"] == sum("stage3" in step.fired for step in steps)
    assert record.mean_age("stage3") == pytest.approx(np.mean(ages))
    assert record.oldest["stage3"] == max(ages)
    assert record.mean_age("head") is None
    assert record.mean_signal == pytest.approx(np.mean(signals))
    total = [step.ms["total"] for step in steps]
    assert record.ms["total"].sum == pytest.approx(sum(total))
    for share in (0.5, 0.95):
        assert record.ms["total"].quantile(share) == pytest.approx(np.quantile(total, share), rel=0.01)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=60), st.floats(0, 1))
def test_quantiles_are_right_to_one_percent(numbers: list[float], share: float) -> None:
    spread = Spread()
    for number in numbers:
        spread.add(number)
    wanted = np.quantile(numbers, share, method="lower")
    assert spread.quantile(share) == pytest.approx(wanted, rel=0.011)


def test_a_spread_of_nothing_has_no_quantile_and_zero_is_a_number() -> None:
    spread = Spread()
    assert np.isnan(spread.quantile(0.5))
    spread.add(0.0)
    assert spread.quantile(0.5) == 0.0


@pytest.mark.parametrize("frames", [1, COLUMNS, COLUMNS + 1, 5 * COLUMNS + 3])
def test_columns_share_the_frames_whatever_their_number(frames: int) -> None:
    steps = [
        FakeStep(
            10 + 3 * i,
            shot=i // 700,
            fired=("a", "head") if i % 4 == 0 else ("head",),
            ages={"a": i % 4},
            signal=float(i),
        )
        for i in range(frames)
    ]
    record = RunRecord.of(steps)
    columns = record.columns
    assert len(columns) <= COLUMNS
    assert sum(column.frames for column in columns) == frames
    assert len({column.frames for column in columns[:-1]}) <= 1
    assert sum(column.fired["a"] for column in columns) == record.fires["a"]
    assert sum(column.ages["a"] for column in columns) == record.age_sums["a"]
    assert sum(column.starts for column in columns) == record.shots == -(-frames // 700)
    assert columns[0].first == 10 and columns[-1].high == frames - 1
    assert sum(column.signal_sum for column in columns) == record.signal_sum


def test_memory_does_not_grow_with_the_run() -> None:
    """A day at 30 frames per second would be 2.6 million steps."""
    import tracemalloc

    record = RunRecord()
    step = adaptive_run(2)[1]
    tracemalloc.start()
    sizes = []
    for _ in range(2):
        for _ in range(10 * COLUMNS):
            record.add(step)
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert sizes[1] < sizes[0] * 1.5 < 6_000_000


def test_signals_that_are_no_numbers_are_counted_apart() -> None:
    record = RunRecord.of([FakeStep(0, signal=float("nan")), FakeStep(1, signal=0.5), FakeStep(2)])
    assert (record.signals, record.no_numbers, record.mean_signal) == (1, 1, 0.5)
