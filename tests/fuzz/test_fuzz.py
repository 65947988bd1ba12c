"""A short, repeatable run of every target, and every input that was a finding once."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.mutate import mutated
from tests.fuzz.run import kept, try_one
from tests.fuzz.targets import TARGETS

COUNTS = {"graph": 60, "command": 60, "video": 40, "images": 60, "prototxt": 60}


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_inputs_are_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    for number in range(COUNTS.get(name, 150)):
        data = mutated(target.seeds(), target.words, random.Random(f"{name} test {number}"))
        assert try_one(target, data, tmp_path) in ("read", "refused")


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_in_order(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    if name in ("command", "video"):  # commands name files that are not there
        return
    outcomes = [try_one(target, data, tmp_path) for data in target.seeds()[:20]]
    assert "read" in outcomes


@pytest.mark.parametrize("name", TARGETS)
def test_kept_inputs(name: str, tmp_path: Path) -> None:
    for path in kept(TARGETS[name]):
        assert try_one(TARGETS[name], path.read_bytes(), tmp_path) in ("read", "refused"), path


def test_chance_is_repeatable() -> None:
    words = (b"word",)
    first, again = (mutated([b"seed" * 9], words, random.Random(7)) for _ in range(2))
    assert first == again
