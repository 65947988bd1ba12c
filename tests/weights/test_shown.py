from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weights.shown import one_line, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("conv1/relu", "conv1/relu"),
        ("Straße 東京", "Straße 東京"),
        ("a\n  b\tc ", "a b c"),
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("gpj.\u202etxt", "gpj.\\u202etxt"),
        ("\ud800", "\\ud800"),
        (7, "7"),
    ],
)
def test_what_could_act_or_mislead_becomes_visible(text: object, expected: str) -> None:
    assert shown(text) == expected


@given(st.text(alphabet=st.characters(categories=("L", "C", "Z", "S", "P"))))
def test_whatever_comes_is_one_printable_line_that_a_file_can_hold(text: str) -> None:
    line = shown(text)
    assert line.isprintable()
    line.encode("utf-8")
    assert shown(line) == line


def test_long_text_is_cut() -> None:
    assert shown("x" * 50, 10) == "x" * 10 + "..."


def test_errors_become_one_line() -> None:
    assert one_line(ValueError("first\nsecond")) == "first second"
    assert one_line(KeyError()) == "KeyError"
    assert len(one_line(ValueError("y" * 9999))) < 300
