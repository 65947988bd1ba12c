"""The example of the general equations runs, and its three nets are what their equations say."""

from __future__ import annotations

import runpy
from itertools import pairwise

import pytest

from tests.support.shared_data import ROOT


def test_player_and_loops_agree(capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(ROOT / "examples/general_equations.py"))
    found = example["main"]()
    assert set(found) == {"SRN", "clock RN", "clock FCN"}
    assert all(difference < 1e-6 for difference in found.values())
    assert capsys.readouterr().out.count("differs from its loop") == 3


def test_the_slow_modules_of_the_clock_rn_stand_between_their_clocks() -> None:
    """C_O = C: the output's slow half changes on every third frame only, its fast half on all."""
    example = runpy.run_path(str(ROOT / "examples/general_equations.py"))
    seen: list[object] = []
    played = example["played"]

    def record(*arguments: object) -> object:
        seen.extend(played(*arguments))
        return seen

    example["clock_recurrent_net"].__globals__["played"] = record
    example["clock_recurrent_net"]()
    changes = [(a != b).tolist() for a, b in pairwise(seen)]  # type: ignore[attr-defined]
    assert [c[0][2] for c in changes] == [t % 3 == 0 for t in range(1, 12)]
    assert all(c[0][0] for c in changes)
