"""What Caffe's forks declare: their layer types and message fields, read from `proto/forks.tsv`.

The table is a compilation of facts made by `tools/collect_forks.py` from the caffe.proto files and layer
sources of the forks that it lists; no source is copied. Its format is described there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from caffe_port.reading.text_format import real_number

__all__ = ["FieldFact", "ForkFacts", "TypeFact", "fork_facts", "is_neutral", "neutral_value"]

TABLE = Path(__file__).resolve().parents[1] / "proto" / "forks.tsv"

NEUTRAL: Mapping[str, str] = {
    # OpenVINO: boxes in the middle of their place
    "PriorBoxParameter.offset_h": "0.5",
    "PriorBoxParameter.offset_w": "0.5",
}
"""Neutral values of fields that no caffe.proto of the table gives a default."""


@dataclass(frozen=True)
class TypeFact:
    """The numbers of the forks that register a layer type, and how many published nets use it."""

    forks: frozenset[int]
    nets: int


@dataclass(frozen=True)
class FieldFact:
    """One declaration of a field: its kind ("repeated uint32"), its default ("" for none), whose it is."""

    kind: str
    default: str
    forks: frozenset[int]
    nets: int


@dataclass(frozen=True)
class ForkFacts:
    """The whole table; fields are named Message.field and may be declared in several ways."""

    forks: tuple[str, ...]
    types: Mapping[str, TypeFact]
    fields: Mapping[str, tuple[FieldFact, ...]]


def _numbers(text: str) -> Iterator[int]:
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


@cache
def fork_facts() -> ForkFacts:
    """The table of `proto/forks.tsv`, read once."""
    forks: list[str] = []
    types: dict[str, TypeFact] = {}
    fields: dict[str, tuple[FieldFact, ...]] = {}
    for line in TABLE.read_text("utf-8").splitlines():
        what, *cells = line.split("\t")
        if what == "fork":
            forks.append(cells[1])
        elif what == "type":
            types[cells[0]] = TypeFact(frozenset(_numbers(cells[1])), int(cells[2]))
        else:
            name, kind, default, owners, nets = cells
            fact = FieldFact(kind, default, frozenset(_numbers(owners)), int(nets))
            fields[name] = (*fields.get(name, ()), fact)
    return ForkFacts(tuple(forks), types, fields)


def neutral_value(field: str) -> str:
    """The value at which a field (Message.field) changes nothing, "" where none is known.

    A field that is written with its default says what it would say unwritten; where forks disagree about the
    default, or the field is repeated, there is no such value.
    """
    if field in NEUTRAL:
        return NEUTRAL[field]
    facts = fork_facts().fields.get(field, ())
    defaults = {fact.default for fact in facts}
    if len(defaults) != 1 or any(fact.kind.startswith("repeated ") for fact in facts):
        return ""
    return defaults.pop()


def is_neutral(field: str, text: str) -> bool:
    """Whether a field is as good as unwritten.

    Args:
        field: Message.field.
        text: The value with which it is written.

    Returns:
        True where the value is known to be the one that changes nothing.
    """
    neutral = neutral_value(field)
    if not neutral:
        return False
    if neutral in ("true", "false"):
        return text in {"true": ("true", "True", "t", "1"), "false": ("false", "False", "f", "0")}[neutral]
    number = real_number(neutral)
    return text == neutral if number is None else real_number(text) == number
