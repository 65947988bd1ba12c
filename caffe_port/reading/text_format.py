"""Protobuf text format -> a plain tree.

Nets were written for dozens of Caffe forks, each with its own schema, so the text is read without a schema
first: upgrades and phase rules work on the tree, and `schema.py` then checks every field that is left, by
name and with its line. Nothing in the text is executed and no path in it is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from weights import limits
from weights.errors import PrototxtError

__all__ = ["Block", "Entry", "Scalar", "parse_text", "real_number", "whole_number"]


@dataclass(frozen=True)
class Scalar:
    """One value as written: `text` is unquoted if it was a string; `span` is where it stands in the file."""

    text: str
    quoted: bool
    line: int
    span: tuple[int, int] = (0, 0)


@dataclass
class Block:
    """A message: its fields in the order in which they were written; `span` covers both braces."""

    line: int
    entries: list[Entry] = field(default_factory=list)
    span: tuple[int, int] = (0, 0)

    def all(self, *names: str) -> list[Entry]:
        """The entries called one of `names`, in order."""
        return [entry for entry in self.entries if entry.name in names]

    def text(self, name: str, default: str = "") -> str:
        """The last scalar of a name, as protobuf's merge rule has it.

        Args:
            name: The field.
            default: What stands for a field that is not there.

        Returns:
            Its text.
        """
        found = [e.value.text for e in self.entries if e.name == name and isinstance(e.value, Scalar)]
        return found[-1] if found else default

    def texts(self, name: str) -> list[str]:
        """Every scalar called `name`."""
        return [e.value.text for e in self.entries if e.name == name and isinstance(e.value, Scalar)]

    def blocks(self, name: str) -> list[Block]:
        """Every message called `name`."""
        return [e.value for e in self.entries if e.name == name and isinstance(e.value, Block)]

    def has(self, name: str) -> bool:
        """Whether a field called `name` was written."""
        return any(entry.name == name for entry in self.entries)


@dataclass(frozen=True)
class Entry:
    """One field: a name and either a scalar or a message."""

    name: str
    value: Scalar | Block
    start: int = 0
    """Where the name stands in the file."""

    @property
    def line(self) -> int:
        return self.value.line


TOKEN = re.compile(
    r"""(?P<space>[ \t\r\f\v\ufeff]+|\#[^\n]*)
      |(?P<newline>\n)
      |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      |(?P<word>(?:-[ \t]*|\+)?[A-Za-z0-9_.][A-Za-z0-9_.+\-/]*)
      |(?P<mark>[{}<>:\[\],;])""",
    re.VERBOSE,
)
ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|(.))")
ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9A-Fa-f]{1,64})|0([0-7]{1,64})|(0|[1-9][0-9]{0,63}))")
REAL = re.compile(
    r"([-+]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?))[fF]?|[-+]?(?i:inf|infinity|nan)"
)


def whole_number(text: str) -> int | None:
    """The value of a whole number as protobuf writes it (decimal, 0x: hexadecimal, 0: octal), or None."""
    match = INTEGER.fullmatch(text)
    if match is None:
        return None
    sign, hexa, octal, decimal = match.groups()
    value = int(hexa, 16) if hexa else int(octal, 8) if octal else int(decimal)
    return -value if sign == "-" else value


def real_number(text: str) -> float | None:
    """The value of a number as protobuf writes it (an f may follow), or None."""
    match = REAL.fullmatch(text)
    return None if match is None else float(match.group(1) or text)


def _unescape(body: str) -> str:
    def one(match: re.Match[str]) -> str:
        octal, hexa, char = match.groups()
        if octal:
            return chr(int(octal, 8) & 0xFF)
        if hexa:
            return chr(int(hexa, 16))
        return ESCAPED.get(char, char)

    return ESCAPE.sub(one, body) if "\\" in body else body


def _tokens(text: str, file: str) -> Iterator[tuple[str, str, int, tuple[int, int]]]:
    position, line = 0, 1
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            rest = text[position:].split("\n", 1)[0][:40]
            raise PrototxtError(
                f"line {line}: not a net definition",
                file=file,
                found=repr(rest),
                expected='protobuf text such as: layer { name: "conv1" ... }',
                hint="is this a .prototxt file?",
            )
        position = match.end()
        kind = match.lastgroup
        if kind == "newline":
            line += 1
        elif kind and kind != "space":
            # protobuf allows blanks between a minus and its number.
            word = match.group()
            yield kind, "-" + word[1:].lstrip(" \t") if word[0] == "-" else word, line, match.span()
    yield "end", "", line, (position, position)


class _Parser:
    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.tokens = _tokens(text, file)
        self.kind, self.text, self.line, self.span = next(self.tokens)

    def advance(self) -> int:
        """Go to the next token; returns where the one left behind ends."""
        end = self.span[1]
        self.kind, self.text, self.line, self.span = next(self.tokens)
        return end

    def fail(self, problem: str, expected: str) -> PrototxtError:
        found = repr(self.text) if self.kind != "end" else "the end of the file"
        return PrototxtError(f"line {self.line}: {problem}", file=self.file, found=found, expected=expected)

    def block(self, close: str, depth: int, line: int, start: int = 0) -> Block:
        if depth > limits.NESTING:
            raise self.fail("nested too deeply", f"at most {limits.NESTING}")
        block = Block(line)
        while True:
            if self.kind == "mark" and self.text in ",;":
                self.advance()
                continue
            if (self.kind == "end" and not close) or (self.kind == "mark" and self.text == close):
                end = self.advance() if close else self.span[1]
                block.span = (start, end)
                return block
            if self.kind != "word":
                raise self.fail("broken text", "a field name" + (f" or '{close}'" if close else ""))
            name, at = self.text, self.span[0]
            self.advance()
            colon = self.kind == "mark" and self.text == ":"
            if colon:
                self.advance()
            if self.kind == "mark" and self.text == "[":
                self.advance()
                self.items(block, name, depth, at)
            else:
                block.entries.append(Entry(name, self.value(name, depth, colon), at))

    def items(self, block: Block, name: str, depth: int, at: int) -> None:
        while not (self.kind == "mark" and self.text == "]"):
            block.entries.append(Entry(name, self.value(name, depth, True), at))
            if self.kind == "mark" and self.text == ",":
                self.advance()
            elif not (self.kind == "mark" and self.text == "]"):
                raise self.fail(f'broken list of "{name}"', "',' or ']'")
        self.advance()

    def value(self, name: str, depth: int, colon: bool) -> Scalar | Block:
        line, start = self.line, self.span[0]
        if self.kind == "mark" and self.text in "{<":
            close = "}" if self.text == "{" else ">"
            self.advance()
            return self.block(close, depth + 1, line, start)
        if not colon:
            raise self.fail(f'broken field "{name}"', "':' or '{'")
        if self.kind == "string":
            parts, end = [], start
            while self.kind == "string":  # adjacent strings are one, as in C
                parts.append(_unescape(self.text[1:-1]))
                end = self.advance()
            return Scalar("".join(parts), True, line, (start, end))
        if self.kind == "word":
            scalar = Scalar(self.text, False, line, self.span)
            self.advance()
            return scalar
        raise self.fail(f'no value for "{name}"', "a number, a word, a quoted string or a { block }")


def parse_text(text: str, file: str) -> Block:
    """Read protobuf text into a tree.

    Args:
        text: The text.
        file: Where it comes from, for messages.

    Returns:
        The message at the top.

    Raises:
        PrototxtError: The text is not protobuf text format, is nested more than 32 levels deep or is longer
            than 16 MiB; the message names the file and the line.
    """
    if len(text) > limits.PROTOTXT_BYTES:
        raise PrototxtError(
            "too long for a net definition",
            file=file,
            found=f"{len(text)} characters",
            expected=f"at most {limits.PROTOTXT_BYTES}",
        )
    return _Parser(text, file).block("", 0, 1)
