"""What a set of results is made to say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from clockwork_onnx.evaluation.results.summary import summarise, write_files
from clockwork_onnx.evaluation.results.watchers import Strips
from clockwork_onnx.evaluation.scoring.scoring import Result
from tests.support import results


def result(schedule: str, cost: float, accuracy: float, fires: int = 5) -> Result:
    ages = {"s1": 0.0, "s2": 0.5}
    return results.result(schedule, cost, accuracy, fires={"s1": 10, "s2": fires, "head": 10}, mean_age=ages)


RESULTS = [
    result("oracle", 1.0, 0.8, 10),
    result("skip:2", 0.5, 0.6),
    result("rates:1,2", 0.75, 0.76),
    result("rates:1,4", 0.5, 0.66, 3),
    result("pipeline:2", 1.0, 0.7, 10),
    result("adaptive:0.2", 0.6, 0.7),
    result("adaptive:0.1", 0.8, 0.75, 8),
]
SUMMARY = summarise("toy", RESULTS, ["a", "b"], ["s1", "s2"])


def test_advantages_are_at_equal_cost() -> None:
    found = {(a.curve, a.other): a for a in SUMMARY.advantages}
    assert set(found) == {("clockwork", "skip"), ("adaptive", "clockwork"), ("adaptive", "skip")}
    # skip at 0.5, 0.75, 1: 0.6, 0.7, 0.8; clockwork 0.66, 0.76, 0.8
    clockwork = found["clockwork", "skip"]
    assert (clockwork.start, clockwork.end) == (0.5, 1.0)
    assert clockwork.area == pytest.approx(0.25 * 0.06 + 0.25 * 0.03)
    assert dict(SUMMARY.adaptive_gain)["adaptive:0.2"] == pytest.approx(0.7 - 0.7)
    assert dict(SUMMARY.adaptive_gain)["adaptive:0.1"] == pytest.approx(0.75 - 0.768)


def test_gains_at_equal_rate() -> None:
    ((rate, name, gain),) = SUMMARY.rate_gains
    assert (rate, name) == (2, "rates:1,2") and gain == pytest.approx(0.76 - 0.6)
    assert "at the same rate of the deepest stage: rates:1,2 +0.1600." in "".join(SUMMARY.findings())
    assert SUMMARY.as_json()["above_skip_at_equal_rate"][0]["rate"] == 2


def test_the_front_is_what_nothing_beats() -> None:
    assert [p.schedule for p in SUMMARY.front] == ["rates:1,4", "adaptive:0.2", "rates:1,2", "oracle"]


def test_sentences_state_both_directions() -> None:
    text = "\n".join(SUMMARY.findings())
    assert "clockwork lies 0.0450 mean IU above skip on average, over 0.50 to 1.00" in text
    assert "adaptive:0.1 lies 0.0180 mean IU below fixed clocks of the same cost." in text
    assert "rates:1,4, adaptive:0.2, rates:1,2, oracle" in text


def test_the_headline_names_the_cheapest_that_is_nearly_as_good() -> None:
    assert SUMMARY.headline() == [
        "Everything on every frame (the oracle) has mean IU 0.800.",
        "No schedule that costs less comes within 0.01 of it.",
        "The cheapest that loses at most 0.05 of it: rates:1,2, 0.760 for 75% of the oracle's cost.",
    ]
    assert SUMMARY.findings()[:3] == SUMMARY.headline()
    assert summarise("toy", RESULTS[:1], ["a", "b"], ["s1", "s2"]).findings() == SUMMARY.headline()[:1]


def test_time_is_compared_where_it_counts() -> None:
    # These results take the time that they cost.
    by_time = {(a.curve, a.other): a.area for a in SUMMARY.time_advantages()}
    assert by_time == {(a.curve, a.other): pytest.approx(a.area) for a in SUMMARY.advantages}
    assert any("At equal time, clockwork lies 0.0450" in text for text in SUMMARY.findings())
    assert not any("At equal time" in text for text in SUMMARY.findings(timings=False))
    assert "advantages_by_time" in SUMMARY.as_json() and "advantages_by_time" not in SUMMARY.as_json(False)
    assert "accuracy-time.png" in [name for name, _, _ in SUMMARY.plots(timings=True)]


def test_what_costs_time_is_not_compared_where_times_are_left_out() -> None:
    moved = replace(result("warp:4", 0.3, 0.77), moving_ms=1.5)
    timed, plain = (summarise("toy", [*RESULTS, moved], ["a", "b"], ["s1", "s2"], t) for t in (True, False))
    assert "warp:4" in [p.schedule for p in timed.front]
    assert plain.front == SUMMARY.front and plain.curves == SUMMARY.curves
    assert plain.findings(False) == SUMMARY.findings(False)
    assert [r.schedule for r in plain.results][-1] == "warp:4"
    assert "warp:4" not in {text.get_text() for text in plain.plots()[0][2].axes[0].texts}


def test_time_that_is_counted_in_is_named() -> None:
    moved = [replace(result(f"warp:{n}", cost, 0.77), moving_ms=1.5) for n, cost in ((2, 0.6), (4, 0.3))]
    summary = summarise("toy", [*RESULTS, *moved], ["a", "b"], ["s1", "s2"])
    sentences = [text for text in summary.findings() if text.startswith("At equal cost")]
    counted = {text.split(" lies ")[0]: text.partition("of the oracle's ")[2] for text in sentences}
    assert counted["At equal cost, clockwork"].startswith("multiply-accumulates (area")
    assert counted["At equal cost, warp"].startswith(
        "cost, multiply-accumulates and the time of flow and warp (area"
    )
    labels = [s.plots()[0][2].axes[0].get_xlabel() for s in (summary, SUMMARY)]
    assert labels == [
        "fired multiply-accumulates, and time of flow and warp, / oracle",
        "fired multiply-accumulates / oracle",
    ]
    untimed = summarise("toy", [*RESULTS, *moved], ["a", "b"], ["s1", "s2"], timings=False)
    assert untimed.plots()[0][2].axes[0].get_xlabel() == labels[1]  # warp is not in it


def test_thresholds_may_have_options() -> None:
    found = [result("adaptive:0.2@previous", 0.6, 0.7), result("adaptive:0.1@strict", 0.8, 0.75, 8)]
    plots = summarise("toy", found, ["a", "b"], ["s1", "s2"]).plots()
    assert plots[1][2].axes[0].get_lines()[0].get_xdata().tolist() == [0.1, 0.2]


def test_json_is_plain_and_has_times_only_on_request() -> None:
    values = SUMMARY.as_json()
    json.dumps(values, allow_nan=False)
    assert values["schedules"][1]["time_of_oracle"] == 0.5
    assert "ms_per_frame" not in json.dumps(SUMMARY.as_json(timings=False))
    assert [s["schedule"] for s in values["schedules"]] == [r.schedule for r in RESULTS]


def test_plots_cover_what_was_run() -> None:
    strips = Strips("s2")
    strips.fired["oracle"] = [True, True]
    assert [name for name, _, _ in SUMMARY.plots(strips)] == [
        "accuracy-cost.png",
        "threshold-sweep.png",
        "timeline.png",
    ]
    alone = summarise("toy", RESULTS[:2], ["a", "b"], ["s1", "s2"])
    assert [name for name, _, _ in alone.plots()] == ["accuracy-cost.png"]
    sweep = SUMMARY.plots()[1][2].axes[0].get_lines()[0]
    assert sweep.get_xdata().tolist() == [0.1, 0.2]


def test_class_table() -> None:
    table = SUMMARY.class_table()
    assert table.columns[:3] == ("class", "oracle", "skip:2")
    assert table.texts()[1][:2] == ["b", "-"]


def test_results_without_an_oracle() -> None:
    summary = summarise("toy", [RESULTS[1]], ["a", "b"], ["s1", "s2"])
    assert summary.advantages == () and [p.schedule for p in summary.front] == ["skip:2"]
    assert "time_of_oracle" not in summary.as_json()["schedules"][0]


def test_a_file_that_cannot_be_written_leaves_nothing_of_itself(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_files(tmp_path, {"a.md": "whole", "b.md": "half \ud800"})
    assert [p.name for p in tmp_path.iterdir()] == ["a.md"]


def test_files_appear_whole(tmp_path: Path) -> None:
    figure = SUMMARY.plots()[0][2]
    paths = write_files(tmp_path / "out", {"a.md": SUMMARY.table().markdown(), "b.png": figure})
    assert (
        sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.md", "b.png"] == [p.name for p in paths]
    )
