"""Facts about Caffe forks from copies of their sources.

    python -m tools.collect_forks FORKS [NETS ...] -o caffe_port/proto/forks.tsv

FORKS has one folder `owner+repository` per fork, NETS the same of published nets; both stay outside this
repository. What is taken are facts only: which layer types a fork registers, which message fields its
caffe.proto declares with which type and default, and how many different published nets write them.

The table has one line per fact, tab-separated:

    fork   number  owner/repository
    type   name    numbers of forks   nets that use it
    field  Message.name  kind  default  numbers of forks   nets that write it

Numbers are written as ranges ("0-3,7"); a field whose forks disagree on kind or default has several lines.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from hashlib import md5
from pathlib import Path

from caffe_port.reading.text_format import Block, parse_text
from caffe_port.reading.upgrade import V1_TYPES
from weights.errors import ClockworkError

__all__ = ["fields_of", "main", "ranges", "types_of"]

_REGISTERED = re.compile(
    r"^[ \t]*(?:REGISTER_LAYER_CLASS|REGISTER_LAYER_CREATOR|EXPORT_LAYER_MODULE_CLASS)\(\s*(\w+)",
    re.MULTILINE,
)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\w.+-]+|[{}=;\[\],]')
_LABELS = ("optional", "required", "repeated")
_MAX_BYTES = 4 << 20

Field = tuple[str, str, str]
"""Message.name, kind ("repeated uint32"), default as written ("" for none)."""


def _uncommented(text: str) -> str:
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.DOTALL)


def _text(path: Path) -> str:
    return path.read_bytes()[:_MAX_BYTES].decode("utf-8", "replace")


def fields_of(proto: str) -> Iterator[Field]:
    """Every field that a .proto file declares, nested messages by their own name."""
    tokens = _TOKEN.findall(_uncommented(proto))
    inside: list[tuple[str, str]] = []
    position = 0
    while position < len(tokens):
        token = tokens[position]
        if token in ("message", "enum", "oneof", "extend") and tokens[position + 2 : position + 3] == ["{"]:
            inside.append((token, tokens[position + 1]))
            position += 3
        elif token == "{":
            inside.append(("", ""))
            position += 1
        elif token == "}":
            inside = inside[:-1]
            position += 1
        elif token in _LABELS and inside and inside[-1][0] == "message":
            end = tokens.index(";", position)
            yield _declared(inside[-1][1], tokens[position:end])
            position = end + 1
        else:
            position += 1


def _declared(message: str, words: list[str]) -> Field:
    label, kind, name = words[:3]
    default = words[words.index("default") + 2] if "default" in words else ""
    kind = kind.rsplit(".", 1)[-1]
    return f"{message}.{name}", f"repeated {kind}" if label == "repeated" else kind, default.strip('"')


def types_of(sources: Iterable[str], protos: Iterable[str]) -> set[str]:
    """Layer types that a fork registers, and those of its V1 enumeration by their later name."""
    found = {name for source in sources for name in _REGISTERED.findall(_uncommented(source))}
    for proto in protos:
        for body in re.findall(r"enum\s+LayerType\s*\{(.*?)\}", _uncommented(proto), re.DOTALL):
            found |= {V1_TYPES.get(name, name) for name in re.findall(r"(\w+)\s*=\s*\d+", body)}
    return found - {"", "NONE", "type"}


def _protos(folder: Path) -> list[str]:
    texts = [_text(path) for path in sorted(folder.rglob("*.proto"))]
    return [text for text in texts if re.search(r"message\s+LayerParameter\b", text)]


def _sources(folder: Path) -> Iterator[str]:
    for suffix in ("*.cpp", "*.cu", "*.hpp"):
        yield from (_text(path) for path in sorted(folder.rglob(suffix)) if "/test/" not in path.as_posix())


def _nets(folders: Iterable[Path]) -> Iterator[Block]:
    """Every net once, however many repositories have a copy of it."""
    seen = set()
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and "prototx" in p.name):
            text = _text(path)
            key = md5(re.sub(r"\s+", " ", re.sub(r"#[^\n]*", "", text)).encode()).digest()
            if key in seen:
                continue
            seen.add(key)
            try:
                root = parse_text(text, path.name)
            except ClockworkError:
                continue
            if root.blocks("layer") or root.blocks("layers"):
                yield root


def _written(block: Block, message: str, kinds: Mapping[str, set[str]]) -> Iterator[str]:
    """The fields that a block writes, each as Message.name."""
    for entry in block.entries:
        yield f"{message}.{entry.name}"
        if isinstance(entry.value, Block):
            for inner in kinds.get(f"{message}.{entry.name}", ()):
                yield from _written(entry.value, inner, kinds)


def _reached(roots: Iterable[str], kinds: Mapping[str, set[str]]) -> set[str]:
    """The messages that a layer can hold, directly or inside others."""
    inside: dict[str, set[str]] = defaultdict(set)
    for field, types in kinds.items():
        inside[field.split(".")[0]] |= types
    reached: set[str] = set()
    waiting = list(roots)
    while waiting:
        message = waiting.pop()
        if message in inside and message not in reached:
            reached.add(message)
            waiting += inside[message]
    return reached


def ranges(numbers: Iterable[int]) -> str:
    """Whole numbers in order, runs of them as "first-last"."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def _facts(forks: Path, nets: list[Path]) -> Iterator[str]:
    types: dict[str, set[int]] = defaultdict(set)
    fields: dict[Field, set[int]] = defaultdict(set)
    kinds: dict[str, set[str]] = defaultdict(set)
    names: list[str] = []
    for folder in sorted((p for p in forks.iterdir() if p.is_dir()), key=lambda p: p.name.lower()):
        protos = _protos(folder)
        own = types_of(_sources(folder), protos)
        if not protos and not own:
            continue
        number = len(names)
        names.append(folder.name.replace("+", "/", 1))
        for name in own:
            types[name].add(number)
        for field in {f for proto in protos for f in fields_of(proto)}:
            fields[field].add(number)
            kinds[field[0]].add(field[1].rsplit(" ", 1)[-1])
    reached = _reached(("LayerParameter", "V1LayerParameter", "V0LayerParameter"), kinds)
    fields = {field: forks for field, forks in fields.items() if field[0].split(".")[0] in reached}
    used_types: Counter[str] = Counter()
    used_fields: Counter[str] = Counter()
    for root in _nets([forks, *nets]):
        layers = [("LayerParameter", b) for b in root.blocks("layer")]
        layers += [("V1LayerParameter", b) for b in root.blocks("layers")]
        used_types.update({V1_TYPES.get(b.text("type"), b.text("type")) for _, b in layers} - {""})
        used_fields.update({f for message, b in layers for f in _written(b, message, kinds)})
    yield from (f"fork\t{number}\t{name}" for number, name in enumerate(names))
    for name in sorted(types, key=str.lower):
        yield f"type\t{name}\t{ranges(types[name])}\t{used_types[name]}"
    for name in sorted(used_types.keys() - types.keys(), key=str.lower):
        if re.fullmatch(r"\w+", name) and used_types[name] > 1:
            yield f"type\t{name}\t\t{used_types[name]}"
    for field in sorted(fields):
        yield "\t".join(("field", *field, ranges(fields[field]), str(used_fields[field[0]])))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("forks", type=Path, help="folder of forks' sources")
    parser.add_argument("nets", type=Path, nargs="*", help="folders of published nets")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    lines = list(_facts(arguments.forks, arguments.nets))
    arguments.output.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
