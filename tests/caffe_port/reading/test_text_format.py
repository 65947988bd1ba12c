"""Protobuf text: what is read, and that nothing but a PrototxtError comes of whatever else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_port.reading.text_format import Block, Scalar, parse_text, real_number, whole_number
from weights import limits
from weights.errors import PrototxtError


def test_all_the_ways_to_write_a_field() -> None:
    root = parse_text(
        """
        name: "a" 'b'   # adjacent strings are one
        layer { name: 'x', top: "y"; bottom: ["p", "q"] }
        layer: < type: "ReLU" >
        flags: [1, 2,3]
        escaped: "tab\\tquote\\"oct\\101hex\\x42"
        """,
        "net",
    )
    assert root.text("name") == "ab"
    first, second = root.blocks("layer")
    assert first.texts("bottom") == ["p", "q"] and first.text("top") == "y"
    assert second.text("type") == "ReLU"
    assert root.texts("flags") == ["1", "2", "3"]
    assert root.text("escaped") == 'tab\tquote"octAhexB'


def test_the_last_of_a_repeated_scalar_counts() -> None:
    assert parse_text("a: 1 a: 2", "net").text("a") == "2"


def test_entries_know_their_line() -> None:
    root = parse_text('a: 1\n\nb {\n c: "x"\n}', "net")
    assert [entry.line for entry in root.entries] == [1, 3]
    assert root.blocks("b")[0].entries[0].line == 4


@pytest.mark.parametrize(
    ("text", "found", "line"),
    [
        ("layer {", "the end of the file", 1),
        ("layer { name: }", "'}'", 1),
        ("a: 1\n}", "'}'", 2),
        ("a", "the end of the file", 1),
        ("a 5", "'5'", 1),
        ("a: [1 2]", "'2'", 1),
        ('a: "unfinished', "'\"unfinished'", 1),
        ("\n\n@", "'@'", 3),
        (": 1", "':'", 1),
    ],
)
def test_broken_text(text: str, found: str, line: int) -> None:
    with pytest.raises(PrototxtError) as error:
        parse_text(text, "net.prototxt")
    assert f"net.prototxt: line {line}: " in str(error.value)
    assert f"found {found}" in str(error.value)


def test_nesting_is_bounded() -> None:
    fine = "a {" * limits.NESTING + "}" * limits.NESTING
    assert parse_text(fine, "net").blocks("a")
    with pytest.raises(PrototxtError, match="nested too deeply"):
        parse_text("a {" * 100_000 + "}" * 100_000, "net")
    with pytest.raises(PrototxtError, match="nested too deeply"):
        parse_text("a: [" + "{ a: [" * 100_000, "net")


def test_length_is_bounded() -> None:
    with pytest.raises(PrototxtError, match="too long"):
        parse_text(" " * ((64 << 20) + 1), "net")


MARKS = st.sampled_from(list("{}<>:[],;#\"'\\\n .-+$") + ["layer", "name", "1", '"x"', "${A}"])


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(MARKS, max_size=60).map("".join)))
def test_nothing_but_a_prototxt_error(text: str) -> None:
    try:
        root = parse_text(text, "net")
    except PrototxtError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(root, Block)


names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
words = st.one_of(st.integers(-(10**6), 10**6).map(str), names, st.sampled_from(["0.5", "1e-3", "true"]))
strings = st.text(max_size=8).map(lambda text: ("s", text))
trees = st.recursive(
    st.lists(st.tuples(names, st.one_of(words, strings)), max_size=4),
    lambda inner: st.lists(st.tuples(names, st.one_of(words, inner)), max_size=4),
    max_leaves=12,
)


def written(tree: list[tuple[str, object]]) -> str:
    parts = []
    for name, value in tree:
        if isinstance(value, list):
            parts.append(f"{name} {{ {written(value)} }}")
        elif isinstance(value, tuple):
            text = "".join(f"\\{ord(c):03o}" if ord(c) < 128 else c for c in value[1])
            parts.append(f'{name}: "{text}"')
        else:
            parts.append(f"{name}: {value}")
    return " ".join(parts)


def read_back(block: Block) -> list[tuple[str, object]]:
    tree: list[tuple[str, object]] = []
    for entry in block.entries:
        if isinstance(entry.value, Scalar):
            tree.append((entry.name, ("s", entry.value.text) if entry.value.quoted else entry.value.text))
        else:
            tree.append((entry.name, read_back(entry.value)))
    return tree


@settings(max_examples=200, deadline=None)
@given(trees)
def test_what_is_written_is_read(tree: list[tuple[str, object]]) -> None:
    assert read_back(parse_text(written(tree), "net")) == tree


def test_blanks_behind_a_minus() -> None:
    root = parse_text('a: - 3 b: -\t.5 c: "- 3"', "f")
    assert [root.text(name) for name in "abc"] == ["-3", "-.5", "- 3"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12), ("-3", -3), ("0", 0), ("0x1F", 31), ("-0xa", -10), ("010", 8),
        ("09", None), ("1.0", None), ("1_0", None), ("", None), ("x", None), ("9" * 500, None),
    ],
)  # fmt: skip
def test_whole_numbers(text: str, value: int | None) -> None:
    assert whole_number(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0), ("-.5", -0.5), ("2.", 2.0), ("1e-3", 1e-3), ("2.5e-1f", 0.25), ("3F", 3.0),
        ("inf", float("inf")), ("-Infinity", float("-inf")), ("inff", None), ("1_0", None), ("e5", None),
        ("0x1", None), (".", None), ("1e999", float("inf")),
    ],
)  # fmt: skip
def test_real_numbers(text: str, value: float | None) -> None:
    assert real_number(text) == value
