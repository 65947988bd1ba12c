"""The coverage page, made from the rules: python -m tools.layers_page --write docs/layers.md

`--write` runs the nets under tests/parity and writes the largest error of each layer type into the page;
`--check` exits with 1 where the page is not what the code says (what was measured and which tests there are
aside, since they change with every test).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from caffe_port.convert import to_onnx
from caffe_port.reading.detached import OUTSIDE
from caffe_port.reading.read_net import read_net
from caffe_port.reading.schema import HARMLESS
from caffe_port.registry import LayerRule, all_rules
from caffe_port.shared_memory import IN_PLACE
from weights.errors import UnsupportedError
from weights.reading import read

__all__ = ["figures_in", "main", "measure", "page", "table"]

ROOT = Path(__file__).resolve().parents[1]
PARITY = ROOT / "tests" / "parity"
HEAD = """\
# Layers

Made by `python -m tools.layers_page --write docs/layers.md` from the rules in `caffe_port/layers/`; do
not edit.

**Status** is `exact` where the ONNX graph computes Caffe's formula, and `approximated` where it does not
quite; the note then says how far. A type that is not listed is refused by name. **Error** is the largest
max|ONNX - reference| / max|reference| over all nets under `tests/parity/` that contain the layer, measured
on the CPU; the reference is real Caffe, or the program named. **Tests** says where the layer is tested.
"""
OUTSIDE_HEAD = """\
## Layers that stay outside the graph

Their inputs become outputs of the model; where the net goes on with their result, it becomes an input. Those
that the table above has too stay in the graph where it is asked for (`--postprocess`).
"""
DROPPED = """\
## Layers that are left out or become inputs

Data layers (every type that ends in `Data`, `MatRead`, `Python` layers that read nothing) become inputs.
Loss, accuracy and evaluation layers are left out, with the labels that only they read. `Silence` is left out.
"""
IN_PLACE_HEAD = """\
## Layers that may work in place

Caffe lets any layer write its top over its bottom, and what most then give is no formula's: they read what
they have just written. Those listed here read a number before they write over it; others are refused in
place, and so is a net in which one blob is changed through another that shares its memory (Split, Reshape,
Flatten) and then read.
"""
HARMLESS_HEAD = """\
## Fields that are read and ignored

Any other field that is not BVLC Caffe 1.0's or listed in `caffe_port/proto/caffe.proto` is refused by name.
"""


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_row(*head), _row(*("---" for _ in head)), *(_row(*row) for row in rows), ""]


def _tests_by_type() -> dict[str, list[str]]:
    """The test files that name a layer type in quotes."""
    found: dict[str, list[str]] = {}
    for file in sorted((ROOT / "tests" / "caffe_port").rglob("test_*.py")):
        for name in set(re.findall(r"[\"'](\w+)[\"']", file.read_text("utf-8"))):
            found.setdefault(name, []).append(file.name)
    return found


def _cases_by_type() -> dict[str, list[str]]:
    """The parity nets that contain a layer type."""
    found: dict[str, list[str]] = {}
    for file in sorted(PARITY.glob("*/*/deploy.prototxt")):
        for name in set(re.findall(r"type:\s*[\"'](\w+)[\"']", file.read_text("utf-8"))):
            found.setdefault(name, []).append(file.parent.name)
    return found


def _rules() -> list[LayerRule]:
    """BVLC Caffe's layers first, then the forks'."""
    return sorted(all_rules(), key=lambda rule: (not rule.fork.startswith("BVLC"), rule.type.lower()))


def page(figures: Mapping[str, str]) -> str:
    """The whole page, with `figures` (by layer type) in the column of measured errors."""
    tests, cases = _tests_by_type(), _cases_by_type()
    rows = []
    for rule in _rules():
        where = [f"parity: {len(cases[rule.type])}"] if rule.type in cases else []
        where += [f"`{name}`" for name in tests.get(rule.type, ())]
        module = rule.module.rsplit(".", 1)[-1]
        rows.append(
            (
                f"[{rule.type}](../caffe_port/layers/{module}.py)",
                rule.fork,
                rule.status,
                rule.note,
                figures.get(rule.type, ""),
                ", ".join(where),
            )
        )
    lines = [HEAD, *table(("Layer", "Fork", "Status", "Note", "Error", "Tests"), rows), OUTSIDE_HEAD]
    outside = sorted((kind, known.fork, known.does) for kind, known in OUTSIDE.items())
    lines += [*table(("Layer", "Fork", "What it does"), outside), DROPPED]
    lines += [IN_PLACE_HEAD, ", ".join(f"`{kind}`" for kind in sorted(IN_PLACE)) + "\n", HARMLESS_HEAD]
    harmless = sorted((f"`{message}.{field}`", why) for (message, field), why in HARMLESS.items())
    lines += table(("Field", "Why"), harmless)
    return "\n".join(lines).rstrip() + "\n"


def figures_in(text: str) -> dict[str, str]:
    """The measured errors that a page holds, by layer type."""
    rows = re.findall(r"^\| \[(\w+)\]\([^)]*\) \|(?:(?:\\\||[^|])*\|){3} ([^|]*) \|", text, re.MULTILINE)
    return {kind: figure for kind, figure in rows if figure}


def _lasting(text: str) -> str:
    """The page without the last two columns of its table of layers."""
    return re.sub(r"^(\| \[.*) \| [^|]*\| [^|]*\|$", r"\1", text, flags=re.MULTILINE)


def _references() -> Iterator[Path]:
    yield from sorted(PARITY.glob("*/*/reference*.h5"))


def measure() -> dict[str, str]:
    """Run every parity net and return the largest error of each layer type as text, e.g. "2.4e-07"."""
    # Rooms below runtime hold no sessions; this is no part of the package's work but of its documentation.
    h5py, np, ort = (import_module(name) for name in ("h5py", "numpy", "onnxruntime"))
    options = ort.SessionOptions()
    options.log_severity_level = 4
    largest: dict[str, tuple[float, str]] = {}
    for reference in _references():
        folder = reference.parent
        with h5py.File(reference) as file:
            inputs = {name: np.asarray(blob[()]) for name, blob in file["inputs"].items()}
            expected = {name: np.asarray(blob[()]) for name, blob in file["outputs"].items()}
            reader = bytes(file.attrs.get("reader", b"")).decode()
            stages = tuple(filter(None, bytes(file.attrs.get("stages", b"")).decode().split(",")))
        try:
            net = read_net(folder / "deploy.prototxt", stages=stages)
        except UnsupportedError:
            continue
        stored = sorted(folder.glob("net.caffemodel*"))
        shapes = {i.name: inputs[i.name].shape for i in net.inputs}
        model = to_onnx(net, read(stored[0]) if stored else {}, list(expected), inputs=shapes, fixed=True)
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        feeds = {i.name: inputs[i.name] for i in session.get_inputs()}
        error = 0.0
        for got, wanted in zip(session.run(list(expected), feeds), expected.values(), strict=True):
            usual = np.abs(wanted) <= 1e30
            difference = np.abs(got[usual].astype(np.float64) - wanted[usual]).max(initial=0.0)
            error = max(error, float(difference / max(1e-30, np.abs(wanted[usual]).max(initial=0.0))))
        for kind in {layer.type for layer in net.layers}:
            largest[kind] = max(largest.get(kind, (-1.0, "")), (error, reader))
    return {
        kind: f"{error:.1e}" + ("" if "BVLC" in reader else f" ({reader})")
        for kind, (error, reader) in largest.items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print, write or check the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="measure, and write the page to FILE")
    parser.add_argument("--check", type=Path, metavar="FILE", help="exit with 1 where FILE is not current")
    options = parser.parse_args(arguments)
    if options.write:
        options.write.write_text(page(measure()), "utf-8")
    elif options.check:
        text = options.check.read_text("utf-8")
        if _lasting(text) != _lasting(page({})):
            print(f"{options.check} is not current: python -m tools.layers_page --write {options.check}")
            return 1
    else:
        print(page({}), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
