"""Families of schedules, and what results are sorted by."""

from __future__ import annotations

from pathlib import Path

import pytest

from clockwork_onnx.evaluation.scoring.played import played_schedule
from runtime import parse_schedule
from tests.support.results import played
from tests.support.toy_bundles import toy_bundle


def test_families() -> None:
    names = {
        "oracle": "oracle",
        "skip:3": "skip",
        "rates:2,2": "skip",
        "rates:1,4": "clockwork",
        "alternating": "clockwork",
        "exponential": "clockwork",
        "pipeline:2": "pipeline",
        "adaptive:0.25": "adaptive",
    }
    assert {name: played(name).family for name in names} == names


def test_families_of_moving_values(tmp_path: Path) -> None:
    manifest = toy_bundle(tmp_path).manifest
    names = {
        "warp:8": "warp",
        "warp:8@3": "warp",
        "warp-feature:4": "warp-feature",
        "correct:12": "correct",
        "warp:adaptive:0.2": "warp adaptive",
        "warp:adaptive:0.2@max=9@min=2": "warp adaptive",
        "warp:4@flow=dis:fast@of=scores": "warp @flow=dis:fast @of=scores",
        "warp:adaptive:0.2@strict": "warp adaptive",
        "between:8@2": "between",
        "between:4@fuse": "between @fuse",
        "warp:1@fuse=0.5": "warp @fuse=0.5",
        "correct:distance:0.1@scale=1/2": "correct distance @scale=1/2",
    }
    found = {name: played_schedule(parse_schedule(name, manifest), name).family for name in names}
    assert found == names


def test_rates_and_thresholds() -> None:
    rates = {"oracle": 1, "skip:3": 3, "rates:1,2,4@0,1,0": 4, "alternating": 2, "exponential": 4}
    assert {name: played(name, 3).interval for name in rates} == rates
    assert played("adaptive:0.1", 3).interval is None
    thetas = {"adaptive:0.2@previous": 0.2, "adaptive:0.1@strict": 0.1, "warp:adaptive:0.3": 0.3}
    assert {name: played(name, 3).theta for name in thetas} == thetas
    assert played("skip:2").theta is None


@pytest.mark.parametrize("text", ["every:2;every:3", "every:4", "rates:1,4"])
def test_fixed_clocks_are_clockwork_however_they_are_written(text: str) -> None:
    assert played(text).family == "clockwork"
