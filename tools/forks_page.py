"""The page of the forks, made from their facts and from what the port does.

    python -m tools.forks_page --write docs/forks.md
    python -m tools.forks_page --check docs/forks.md

`--check` exits with 1 where the page is not what facts and code say.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from caffe_port.proto import caffe_pb2
from caffe_port.reading.aliases import ALIASES
from caffe_port.reading.data_layers import is_training_type
from caffe_port.reading.detached import OUTSIDE
from caffe_port.reading.fork_facts import ForkFacts, fork_facts, neutral_value
from caffe_port.reading.schema import HARMLESS
from caffe_port.registry import is_known
from tools.layers_page import table

__all__ = ["main", "page"]

HEAD = """\
# Forks

Made by `python -m tools.forks_page --write docs/forks.md` from `caffe_port/proto/forks.tsv` and the code; do
not edit. The table of facts is compiled by `tools/collect_forks.py` from caffe.proto files and layer sources.

**Nets** is how many different published nets use a type or write a field. **Forks** names up to three; a type
or field without one is used by published nets whose fork was not at hand. What the port does:

| word | meaning |
| --- | --- |
| exact | in the graph, see [layers.md](layers.md); of a field: read |
| as X | another name of layer X |
| input | a data layer: its tops become inputs |
| left out | training or measuring only |
| outside | cut off: what it reads becomes an output, what the net reads of it an input |
| ignored | changes nothing at TEST time |
| neutral V | accepted where it has the value V, refused with any other |
| refused | by its name, with the file and the layer |
"""
TRAINING = re.compile(
    r"(data|loss|accuracy|evaluate|transform|augment\w*|sampler?|target|annotated|ohem|distort|resize_crop"
    r"|noise|solver|label\w*|crop_pad|batch_sampler)_param$"
)
TRAINING_MESSAGES = re.compile(
    r"(Transformation|Loss|Data|Accuracy|Evaluate|Augmentation|Sampler?|Distortion|Expansion|Constraint)\w*"
    r"|ParamSpec|BlobProto|NetState\w*|FillerParameter"
)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _owners(numbers: Iterable[int], facts: ForkFacts) -> str:
    names = [facts.forks[number] for number in sorted(numbers)]
    if len(names) > len(facts.forks) // 2:
        return f"most ({len(names)})"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _does(kind: str) -> str:
    """What the port does with a layer type."""
    if kind == "Python":
        return "outside, but for those of layers.md"
    if is_known(kind):
        return "outside, exact with --postprocess" if kind in OUTSIDE else "exact"
    if kind in ALIASES:
        return f"as {ALIASES[kind][0]}"
    if kind in OUTSIDE:
        return "outside"
    if kind == "Input" or (kind.endswith("Data") and kind != "DummyData"):
        return "input"
    return "left out" if kind == "Silence" or is_training_type(kind) else "refused"


def _blocks(facts: ForkFacts) -> Mapping[str, set[str]]:
    """The fields of LayerParameter through which each message is reached."""
    inside: dict[str, set[str]] = defaultdict(set)
    for name, declared in facts.fields.items():
        inside[name.split(".")[0]] |= {fact.kind.rsplit(" ", 1)[-1] for fact in declared}
    found: dict[str, set[str]] = defaultdict(set)
    for name, declared in facts.fields.items():
        message, _, field = name.partition(".")
        if message in ("LayerParameter", "V1LayerParameter"):
            waiting = [fact.kind.rsplit(" ", 1)[-1] for fact in declared]
            while waiting:
                inner = waiting.pop()
                if inner in inside and field not in found[inner]:
                    found[inner].add(field)
                    waiting += inside[inner]
    return found


def _read() -> set[str]:
    messages = caffe_pb2.DESCRIPTOR.message_types_by_name.values()
    return {f"{m.name}.{f.name}" for m in messages for f in m.fields}


@dataclass(frozen=True)
class Field:
    """One field as the page shows it; `forks` is the union of those that declare it."""

    message: str
    name: str
    kinds: str
    neutral: str
    forks: frozenset[int]
    nets: int
    does: str


def _fields(facts: ForkFacts) -> Iterator[Field]:
    read, blocks = _read(), _blocks(facts)
    outside = {f"{_snake(kind)}_param" for kind in OUTSIDE}
    for full, declared in facts.fields.items():
        message, _, name = full.partition(".")
        ways = blocks.get(message, set()) or {name}
        neutral = neutral_value(full)
        if full in read:
            does = "exact"
        elif (message, name) in HARMLESS:
            does = "ignored"
        elif TRAINING_MESSAGES.fullmatch(message) or all(TRAINING.search(way) for way in ways):
            does = "left out"
        elif all(way in outside for way in ways):
            does = "outside"
        else:
            does = f"neutral {neutral}" if neutral else "refused"
        kinds = " or ".join(sorted({fact.kind for fact in declared}))
        owners = frozenset[int]().union(*(fact.forks for fact in declared))
        nets = max(fact.nets for fact in declared)
        yield Field(message, name, kinds, neutral, owners, nets, does)


def _used(fields: Iterable[Field], facts: ForkFacts) -> list[list[str]]:
    """A row for each field that a net writes, the most written first."""
    written = sorted((f for f in fields if f.nets), key=lambda f: (-f.nets, f.message, f.name))
    return [
        [f"{f.message}.{f.name}", f.kinds, f.neutral, _owners(f.forks, facts), str(f.nets), f.does]
        for f in written
    ]


def _unused(fields: Iterable[Field], facts: ForkFacts) -> list[list[str]]:
    """A row for each message and treatment, with the fields that no net writes."""
    groups: dict[tuple[str, str], list[Field]] = defaultdict(list)
    for f in fields:
        if not f.nets:
            groups[f.message, f.does.split(" ")[0]].append(f)
    rows = []
    for (message, does), members in sorted(groups.items()):
        names = ", ".join(f"{f.name} ({f.neutral})" if f.neutral else f.name for f in members)
        owners = frozenset[int]().union(*(f.forks for f in members))
        rows.append([message, names, _owners(owners, facts), does])
    return rows


def page() -> str:
    """The whole page."""
    facts = fork_facts()
    lines = [HEAD, f"## {len(facts.forks)} forks, importers and collections of layers", ""]
    lines += [
        ", ".join(f"{name}" for name in facts.forks) + ".",
        "",
        f"## {len(facts.types)} layer types",
        "",
    ]
    types = sorted(facts.types.items(), key=lambda item: (-item[1].nets, item[0].lower()))
    rows = [(kind, _owners(fact.forks, facts), str(fact.nets or ""), _does(kind)) for kind, fact in types]
    lines += table(("Type", "Forks", "Nets", "Port"), rows)
    fields = list(_fields(facts))
    used = _used(fields, facts)
    lines += [f"## {len(fields)} fields, of which nets write {len(used)}", ""]
    lines += table(("Field", "Kind", "Neutral", "Forks", "Nets", "Port"), used)
    lines += ["## Fields that none of the nets writes", "", "The neutral value stands in brackets.", ""]
    lines += table(("Message", "Fields", "Forks", "Port"), _unused(fields, facts))
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", type=Path)
    what.add_argument("--check", type=Path)
    options = parser.parse_args(arguments)
    if options.write:
        options.write.write_text(page(), "utf-8")
        return 0
    if options.check.read_text("utf-8") == page():
        return 0
    print(f"{options.check} is stale: make docs", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
