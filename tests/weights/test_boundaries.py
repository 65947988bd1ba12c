"""The one reader of numbers, the one opener of files, names made fit to show, and the table of limits."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weights import limits, numbers
from weights.errors import ClockworkError, UsageError, WeightsError
from weights.regular_file import open_regular, read_regular
from weights.shown import shown, without_credentials

HOSTILE = [
    "",
    "²",
    "१",
    "1_0",
    "9" * 5000,
    "0x10",
    "1/0",
    "1e99999999",
    "1e-99999999",
    "inf",
    "nan",
    "--1",
    "1 2",
    "+",
    ".",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("read", [numbers.whole, numbers.real, numbers.fraction])
def test_what_is_no_number(read, text: str) -> None:
    with pytest.raises(numbers.BadNumber, match="expected a"):
        read(text)


def test_numbers() -> None:
    assert numbers.whole(" 007 ") == 7 and numbers.whole("-3", least=-5) == -3
    assert numbers.real("-.5e-3") == -0.0005 and numbers.real("4.") == 4
    assert numbers.fraction("30000/1001") == Fraction(30000, 1001)
    assert numbers.fraction("0.1") == Fraction(1, 10) and numbers.fraction("1e-9") == Fraction(1, 10**9)


def test_bounds_are_said() -> None:
    with pytest.raises(numbers.BadNumber, match="a whole number from 1 to 16"):
        numbers.whole("17", least=1, most=16)
    with pytest.raises(numbers.BadNumber, match="a number, at most 1"):
        numbers.real("1.5", most=1)
    with pytest.raises(numbers.BadNumber, match="a number from 1/64 to 1"):
        numbers.fraction("1/65", least=Fraction(1, 64), most=1)


@settings(max_examples=300, deadline=500, derandomize=True)
@given(
    st.one_of(
        st.text(max_size=50),
        st.from_regex(r"[-+]?[0-9]{0,30}[./]?[0-9]{0,30}([eE][-+]?[0-9]{0,12})?", fullmatch=True),
    )
)
def test_any_text_is_a_bounded_number_or_refused_at_once(text: str) -> None:
    for read in (numbers.whole, numbers.real, numbers.fraction):
        with suppress(numbers.BadNumber):
            assert -(10**140) < read(text) < 10**140  # 40 characters, an exponent of two digits


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_only_regular_files_of_bounded_size(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, words in (
        (pipe, "found a pipe or a device; expected a net"),
        ("/dev/zero", "a pipe or a device"),
        (tmp_path, "found a folder"),
        (tmp_path / "none", "No such file"),
        ("a\0b", "not a path"),
    ):
        with (
            pytest.raises(UsageError, match=words),
            open_regular(path, 10, expected="a net", error=UsageError),
        ):
            pass
    (tmp_path / "large").write_bytes(bytes(11))
    with pytest.raises(WeightsError, match="too large; found 11 bytes; expected at most 10 bytes"):
        read_regular(tmp_path / "large", limits.Limit(10, "a test", "bytes"), expected="a net")
    assert read_regular(tmp_path / "large", 11, expected="a net") == bytes(11)
    (tmp_path / "link").symlink_to(tmp_path / "large")
    assert read_regular(tmp_path / "link", 11, expected="a net") == bytes(11)


UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\u2028\u2029]")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(st.characters(), max_size=40))
def test_shown_text_moves_no_cursor(text: str) -> None:
    for line in (shown(text), str(ClockworkError(text, file=text))):
        assert not UNFIT.search(line)
        line.encode()


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("rtsp://ann:secret@host:554/1", "rtsp://***@host:554/1"),
        ("rtsp://ann:se/cr@et@host/1", "rtsp://***@host/1"),
        ("http://token@host/1", "http://***@host/1"),
        ("http://host/@someone/live", "http://host/@someone/live"),
        ("http://host/live?user=a&password=b&quality=1", "http://host/live?user=***&password=***&quality=1"),
        ("cannot open 'https://a:b@h/x'; found nothing", "cannot open 'https://***@h/x'; found nothing"),
        ("C:\\videos\\a@b.mp4", "C:\\videos\\a@b.mp4"),
        ("no address", "no address"),
    ],
)
def test_addresses_without_passwords(text: str, public: str) -> None:
    assert without_credentials(text) == public
    assert str(ClockworkError("x", found=text)).endswith(public)


def test_errors_are_of_bounded_length() -> None:
    assert len(str(ClockworkError("x", found="y" * 10**6))) <= limits.MESSAGE_TEXT + 3


def test_limits_are_numbers_that_say_what_they_are() -> None:
    assert f"at most {limits.MANIFEST_BYTES}" == "at most 8 MiB"
    assert limits.AXES == 32 and str(limits.AXES) == "32 axes"
    assert len({limit.of for limit in limits.table()}) == len(limits.table())


def test_security_page_has_the_table() -> None:
    page = Path(__file__).parents[2] / "SECURITY.md"
    if not page.exists():
        pytest.skip("no SECURITY.md in this tree")
    assert limits.markdown() in page.read_text("utf-8")
