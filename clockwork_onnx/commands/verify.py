"""clockwork verify: a model's outputs against reference outputs, a bundle's files against their hashes."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clockwork_onnx.console import stdout_console
from clockwork_onnx.options import NetOptions, json_option, net_options, print_json
from weights.errors import UsageError

if TYPE_CHECKING:
    from runtime.measure.readers import ReadersCompared
    from runtime.measure.verify import Verification


@click.command("verify")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("weights_path", metavar="[WEIGHTS]", required=False)
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    help="HDF5 or npz with inputs/BLOB and outputs/BLOB; needed for anything but a bundle.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=1e-5,
    show_default=True,
    help="max |a - b| / max |b|.",
)
@click.option(
    "--with",
    "readers",
    metavar="READERS",
    help="Compare these with each other: onnxruntime, opencv, openvino; separated by commas.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@net_options
@json_option
def command(
    model: Path,
    weights_path: str | None,
    reference: Path | None,
    tolerance: float,
    readers: str | None,
    device: str,
    reading: NetOptions,
    as_json: bool,
) -> int:
    """Compare MODEL with a REFERENCE, blob by blob; exit status 1 where one is beyond the tolerance.

    MODEL is a plain .onnx, or a prototxt with its WEIGHTS: then any blob of the net can be compared. Of a
    bundle, every file is compared with the SHA-256 that the manifest has of it.

    With --with the programs named run the same model, of one size, on the REFERENCE's inputs or on noise, and
    each output is compared with the REFERENCE's, or ONNX Runtime's. One that is not installed is left out.
    """
    if readers is not None:
        names = [name.strip() for name in readers.split(",") if name.strip()]
        compared = _read_by(names, model, weights_path, reference, tolerance, reading)
        if as_json:
            print_json(compared.to_json())
        else:
            _print_readers(compared)
        return 0 if compared.passed else 1
    if reference is None:
        _verify_bundle(model, as_json)
        return 0
    import caffe_port
    import weights
    from runtime.measure.reference import read_reference
    from runtime.measure.verify import verify
    from runtime.sessions.device import choose_device

    providers = choose_device(device).providers
    if weights_path is None:
        if model.suffix == ".prototxt":
            raise UsageError("a prototxt without weights", file=model, expected="MODEL WEIGHTS, or NAME.onnx")
        found = verify(model, reference, tolerance, providers=providers)
    else:
        net = reading.read(model)
        outputs = list(read_reference(reference).outputs)
        ported = caffe_port.to_onnx(net, weights.read(weights_path), outputs)
        found = verify(ported, reference, tolerance, providers=providers)
    if as_json:
        print_json(found.to_json())
    else:
        _print(found)
    return 0 if found.passed else 1


def _read_by(
    names: list[str],
    model: Path,
    weights_path: str | None,
    reference: Path | None,
    tolerance: float,
    reading: NetOptions,
) -> ReadersCompared:
    """What the readers make of a model, converted for one size first where it is a net."""
    import caffe_port
    import weights
    from caffe_port.convert import draft_onnx
    from runtime.measure.readers import compare_readers
    from runtime.measure.reference import read_reference

    if weights_path is None:
        return compare_readers(model, names, tolerance, reference=reference)
    net = reading.read(model)
    known = read_reference(reference) if reference is not None else None
    shapes = (
        {i.name: known.inputs[i.name].shape for i in net.inputs if i.name in known.inputs} if known else None
    )
    draft = draft_onnx(net, weights.read(weights_path), inputs=shapes, fixed=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{model.stem}.onnx"
        caffe_port.save_model(draft, file)
        return replace(compare_readers(file, names, tolerance, reference=reference), model=str(model))


def _print_readers(found: ReadersCompared) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for head in ("reader", "output", "shape", "relative", "verdict"):
        table.add_column(head, justify="right" if head in ("shape", "relative") else "left")
    for reader in found.readers:
        called = f"{reader.reader} {reader.version}".strip()
        if not reader.installed:
            table.add_row(called, "", "", "", Text("not installed", style="yellow"))
        elif reader.problem:
            table.add_row(
                called, "", "", "", Text("cannot read it", style="red").append(f": {reader.problem}", "")
            )
        for one in reader.outputs:
            shown = Text("passed" if one.passed else "failed", style="green" if one.passed else "red")
            if one.note:
                shown.append(f": {one.note}", style="")
            number = "" if one.max_relative is None else f"{one.max_relative:.2e}"
            table.add_row(called, Text(one.name), "x".join(map(str, one.shape)), number, shown)
    console = stdout_console()
    console.print(table)
    verdict = "passed" if found.passed else "FAILED"
    console.print(f"{verdict}: against {found.against}, relative tolerance {found.tolerance:g}")


def _verify_bundle(path: Path, as_json: bool) -> None:
    """Compare a bundle's files with their hashes; anything else needs a reference."""
    from staged_onnx import check_files, read_bundle

    if not path.is_dir():
        raise UsageError("nothing to compare it with", file=path, expected="--reference FILE, or a bundle")
    count = check_files(read_bundle(path))
    if as_json:
        print_json({"bundle": str(path), "files": count, "verified": True})
    else:
        click.echo(f"{path}: all {count} files are as the manifest lists them")


def _print(found: Verification) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for head in ("blob", "shape", "max error", "relative", "mean error", "verdict"):
        table.add_column(head, justify="left" if head in ("blob", "verdict") else "right")
    for one in found.outputs:
        errors = (one.max_absolute, one.max_relative, one.mean_absolute)
        shown = Text("passed" if one.passed else "failed", style="green" if one.passed else "red")
        if one.note:
            shown.append(f": {one.note}", style="")
        numbers = ("" if e is None else f"{e:.2e}" for e in errors)
        table.add_row(Text(one.name), "x".join(map(str, one.shape)), *numbers, shown)
    console = stdout_console()
    console.print(table)
    if found.not_compared:
        console.print(f"not in the reference: {', '.join(found.not_compared)}")
    verdict = "passed" if found.passed else "FAILED"
    console.print(f"{verdict}: relative tolerance {found.tolerance:g}")
