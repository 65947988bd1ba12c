from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from runtime.report.step_log import StepLog, read_steps
from tests.support.steps import FakeStep, adaptive_run
from weights.errors import ClockworkError, VideoError

GOOD = (
    '{"frame": 0, "time": null, "name": "a", "shot": 0, "fired": ["head"], "ages": {}, "signal": null, '
    '"ms": {}, "provenance": {}}'
)


def test_a_log_reads_back_as_it_was_written(tmp_path: Path) -> None:
    steps = adaptive_run(30, shots=(12,))
    with StepLog(tmp_path / "steps.jsonl") as log:
        for step in steps:
            log.write(step)
    records = read_steps(tmp_path / "steps.jsonl")
    for name in ("index", "name", "time", "shot", "fired", "ages", "signal", "provenance", "moved"):
        assert [getattr(r, name) for r in records] == [getattr(s, name) for s in steps]
    for record, step in zip(records, steps, strict=True):
        assert record.ms == pytest.approx(step.ms, abs=5e-4)
    assert [entry.name for entry in tmp_path.iterdir()] == ["steps.jsonl"]


def test_a_line_is_plain_json(tmp_path: Path) -> None:
    step = FakeStep(
        7, "straße_7", Fraction(7, 2), 1, fired=("stage1", "head"), ages={"stage1": 0, "stage2": 3},
        signal=0.125, ms={"stage1": 1.23456, "total": 2.0}, provenance={"stage1": {"frame": 7}},
        moved={"scores": 3},
    )  # fmt: skip
    with StepLog(tmp_path / "steps.jsonl") as log:
        log.write(step)
    assert json.loads((tmp_path / "steps.jsonl").read_text()) == {
        "frame": 7, "time": 3.5, "name": "straße_7", "shot": 1, "fired": ["stage1", "head"],
        "ages": {"stage1": 0, "stage2": 3}, "signal": 0.125, "ms": {"stage1": 1.235, "total": 2.0},
        "provenance": {"stage1": {"frame": 7}}, "moved": {"scores": 3}, "delay": 0,
    }  # fmt: skip


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(25), Fraction(24000, 1001)])
def test_times_stay_exact(tmp_path: Path, rate: Fraction) -> None:
    times = [i / rate for i in (0, 1, 2, 999, 100_000)]
    with StepLog(tmp_path / "s.jsonl") as log:
        for i, moment in enumerate(times):
            log.write(FakeStep(i, time=moment))
    assert [r.time for r in read_steps(tmp_path / "s.jsonl")] == times


def test_an_interrupted_log_keeps_its_lines(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), StepLog(tmp_path / "s.jsonl") as log:
        for i in range(5):
            log.write(FakeStep(i))
        assert not (tmp_path / "s.jsonl").exists()
        raise KeyboardInterrupt
    assert [r.index for r in read_steps(tmp_path / "s.jsonl")] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "line 2 is not a step; found b'not json'"),
        ("[1, 2]", "line 2 is not a step"),
        (GOOD.replace('"shot": 0, ', ""), "line 2 of this step log has no field 'shot'"),
        (GOOD.replace('"frame": 0', '"frame": "0"'), "line 2 is not a step"),
        (GOOD.replace('"time": null', '"time": NaN'), "line 2 is not a step"),
        (GOOD.replace('"ages": {}', '"ages": []'), "line 2 is not a step"),
        ("[" * 100_000, "line 2 is not a step"),
        (GOOD + " " * (1 << 20), "line 2 is too long"),
    ],
)
def test_what_is_not_a_log(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text(f"{GOOD}\n{line}\n")
    with pytest.raises(ClockworkError, match=message) as caught:
        read_steps(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 400


def test_a_signal_that_json_cannot_hold_becomes_null(tmp_path: Path) -> None:
    with StepLog(tmp_path / "s.jsonl") as log:
        log.write(FakeStep(0, signal=float("nan")))
    assert read_steps(tmp_path / "s.jsonl")[0].signal is None


def test_places_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="cannot be written"):
        StepLog(tmp_path / "no" / "s.jsonl")
    with pytest.raises(VideoError, match="cannot be read"):
        read_steps(tmp_path / "s.jsonl")
