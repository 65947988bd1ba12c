"""clockwork inspect: what a net is made of and whether each layer ports exactly; or what a bundle is."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clockwork_onnx.commands.bundle_summary import bundle_summary, print_bundle
from clockwork_onnx.commands.pass_summary import pass_summary, print_passes
from clockwork_onnx.console import stdout_console
from clockwork_onnx.options import NetOptions, json_option, net_options, print_json
from weights.errors import BundleError, UsageError
from weights.whole_file import check_folder, whole_file

if TYPE_CHECKING:
    from caffe_port import Net
    from caffe_port.inspection import Inspection
    from clockwork_onnx.net_picture import Row
    from staged_onnx import Plan

STYLES = {"exact": "green", "approximated": "yellow", "unsupported": "red"}


@click.command("inspect")
@click.argument("prototxt", metavar="PROTOTXT|BUNDLE", type=click.Path(path_type=Path))
@click.argument("weights_path", metavar="[WEIGHTS]", required=False)
@click.option("--passes", is_flag=True, help="Of a bundle: what the passes on a CPU save in each stage, too.")
@click.option(
    "--graph",
    type=click.Path(path_type=Path),
    metavar="FILE.svg",
    help="Draw the net: layers coloured by stage, carried values with their bytes.",
)
@click.option("--cut", "cuts", multiple=True, metavar="BLOB", help="For --graph: cut at this blob; repeat.")
@click.option("--stages", type=click.IntRange(1, 16), help="For --graph: as many stages of balanced cost.")
@net_options
@json_option
def command(
    prototxt: Path,
    weights_path: str | None,
    passes: bool,
    graph: Path | None,
    cuts: tuple[str, ...],
    stages: int | None,
    reading: NetOptions,
    as_json: bool,
) -> int:
    """List the layers of PROTOTXT: type, shapes, parameters, multiply-accumulates and a verdict each.

    With WEIGHTS also which of the net's weights were found, are missing or were left over. Exit status 1
    where a layer or its weights stand in the way of a conversion.

    Of a BUNDLE: its stages, the values that it carries from frame to frame, and its pre-processing.
    """
    import weights
    from caffe_port.inspection import inspect_net
    from clockwork_onnx.net_picture import bundle_rows, net_rows
    from staged_onnx import read_bundle

    if prototxt.is_dir():
        if weights_path is not None:
            raise UsageError("a bundle has its weights already", file=prototxt, found=weights_path)
        bundle = read_bundle(prototxt)
        summary = bundle_summary(bundle)
        if graph is not None:
            _draw(graph, bundle.manifest.name, bundle_rows(bundle.manifest))
        if passes:
            summary["passes"] = pass_summary(bundle)
        if as_json:
            print_json(summary)
        else:
            print_bundle(stdout_console(), summary)
            if passes:
                print_passes(stdout_console(), summary["passes"])
        return 0
    if passes:
        raise UsageError("passes are taken when a bundle is opened", file=prototxt, found="--passes")
    if prototxt.suffix.lower() == ".onnx" and prototxt.is_file():
        raise UsageError(
            "nothing to inspect",
            file=prototxt,
            found="an ONNX model",
            expected="a prototxt or a bundle NAME.staged",
            hint="clockwork verify compares an ONNX model with reference outputs",
        )
    net = reading.read(prototxt, tolerant=True)
    found = inspect_net(net, weights.read(weights_path) if weights_path is not None else None)
    if graph is not None:
        _draw(graph, net.name or prototxt.stem, net_rows(net, *_planned(net, found, cuts, stages)))
    if as_json:
        print_json(found.to_json())
    else:
        _print(found)
    return 0 if found.converts else 1


def _planned(
    net: Net, found: Inspection, cuts: tuple[str, ...], stages: int | None
) -> tuple[Plan | None, dict[str, tuple[int, ...]]]:
    """How the net is cut for a picture, None where it cannot be and nobody asked; and its values' shapes."""
    import staged_onnx
    from weights.errors import ClockworkError

    known = {n: s for layer in found.layers for n, s in zip(layer.tops, layer.top_shapes, strict=True)}
    shapes = {n: s for n, s in {**found.inputs, **known}.items() if s is not None}
    try:
        if cuts:
            return staged_onnx.plan(net, cuts=list(cuts)), shapes
        for count in (stages,) if stages is not None else (3, 2, 1):
            with suppress(BundleError) if stages is None else nullcontext():
                return staged_onnx.plan(net, stages=count), shapes
    except ClockworkError:
        if cuts or stages is not None:
            raise
    return None, shapes


def _draw(path: Path, title: str, rows: list[Row]) -> None:
    """Write the picture, whole or not at all."""
    from clockwork_onnx.net_picture import draw

    check_folder(path.parent)
    with whole_file(path) as partial:
        partial.write_text(draw(title, rows), encoding="utf-8")


def _shape(shape: Any) -> str:
    return "?" if shape is None else "x".join(map(str, shape)) or "scalar"


def _number(count: int | None, unit: float = 1, digits: int = 0) -> str:
    return "" if not count else f"{count / unit:,.{digits}f}"


def _print(found: Inspection) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for head, justify in (
        ("layer", "left"),
        ("type", "left"),
        ("tops", "left"),
        ("parameters", "right"),
        ("MMAC", "right"),
        ("verdict", "left"),
    ):
        table.add_column(head, justify=justify)  # type: ignore[arg-type]
    for layer in found.layers:
        verdict = Text(layer.verdict, style=STYLES[layer.verdict])
        if layer.weights in ("missing", "wrong"):
            verdict.append(f" (weights {layer.weights})", style="red")
        tops = ", ".join(f"{n} {_shape(s)}" for n, s in zip(layer.tops, layer.top_shapes, strict=True))
        table.add_row(
            Text(layer.name),
            Text(layer.type),
            Text(tops),
            _number(layer.parameters),
            _number(layer.macs, 1e6, 2),
            verdict,
        )
    console = stdout_console()
    console.print(table)
    for layer in found.layers:
        if layer.why:
            # Below the table: one long reason would widen every row.
            console.print(
                Text(f"{layer.name} ({layer.type}): ", style=STYLES[layer.verdict]).append(layer.why, "")
            )
    verdicts = [layer.verdict for layer in found.layers]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in STYLES if v in verdicts)
    lines = [
        f"{len(found.layers)} layers: {counts}; {found.parameters:,} parameters, "
        f"{found.macs / 1e9:,.3f} GMAC at the prototxt's size",
        "inputs   " + ", ".join(f"{n} {_shape(s)}" for n, s in found.inputs.items()),
        "outputs  " + ", ".join(f"{n} {_shape(s)}" for n, s in found.outputs.items()),
    ]
    if found.fixed_size:
        lines.append(f"one size {found.fixed_size}")
    if found.weights is not None:
        lines.append(f"weights  {len(found.weights.found)} layers found")
        if found.weights.missing:
            lines.append(f"missing  {', '.join(found.weights.missing)}")
        lines += [f"wrong    {line}" for line in found.weights.wrong.values()]
        if found.weights.left_over:
            lines.append(f"left over in the file  {', '.join(found.weights.left_over)}")
        lines += [f"note     {note}" for note in found.weights.notes]
    lines += [f"note     {note}" for note in found.notes]
    for line in lines:
        console.print(line)
