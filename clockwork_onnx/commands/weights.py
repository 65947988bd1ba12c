"""clockwork weights: look into weights files and write them anew."""

from __future__ import annotations

from pathlib import Path

import click

from clockwork_onnx.console import stdout_console
from clockwork_onnx.options import NetOptions, json_option, net_options, print_json
from weights.errors import UsageError
from weights.showing import plain_name


@click.group("weights")
def command() -> None:
    """Look into weights files and write them anew."""


@command.command("show")
@click.argument("path", metavar="FILE")
@json_option
def show(path: str, as_json: bool) -> None:
    """List the layers of a .caffemodel, .h5 or .params FILE with the shapes of their blobs."""
    import weights

    description = weights.describe(path)
    if as_json:
        print_json({
            "file": description.file, "format": description.format, "name": description.name,
            "size": description.size, "parameters": description.parameters,
            "layers": [{"name": layer.name, "type": layer.type, "shapes": [list(s) for s in layer.shapes],
                        **({"arrays": list(layer.arrays)} if layer.arrays else {})}
                       for layer in description.layers],
        })  # fmt: skip
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    arrays = description.format.startswith("MXNet")
    for head in ("layer", "arrays" if arrays else "type", "blobs"):
        table.add_column(head)
    table.add_column("parameters", justify="right")
    for layer in description.layers:
        shapes = ", ".join("x".join(map(str, s)) or "scalar" for s in layer.shapes)
        kind = layer.type or ", ".join(layer.arrays)
        table.add_row(
            plain_name(layer.name), plain_name(kind), shapes, f"{layer.parameters:,}" if layer.shapes else ""
        )
    console = stdout_console()
    console.print(table)
    console.print(
        f"{description.format}, {description.size:,} bytes, {description.parameters:,} parameters",
    )


@command.command("write")
@click.argument("prototxt", type=click.Path(path_type=Path))
@click.argument("sources", metavar="WEIGHTS")
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(path_type=Path),
    required=True,
    help="NAME.caffemodel, or NAME.caffemodel.h5 for HDF5.",
)
@click.option("--force", is_flag=True, help="Replace what exists.")
@net_options
@json_option
def write(
    prototxt: Path,
    sources: str,
    target: Path,
    force: bool,
    reading: NetOptions,
    as_json: bool,
) -> None:
    """Write the weights of PROTOTXT's layers anew, from WEIGHTS (files overlaid, separated by commas)."""
    import weights

    if target.exists() and not force:
        raise UsageError("the file exists", file=target, hint="--force replaces it")
    net = reading.read(prototxt)
    written = weights.write(target, net, weights.read(sources))
    if as_json:
        print_json(
            {
                "file": written.file,
                "size": written.size,
                "layers": list(written.layers),
                "left_over": list(written.left_over),
                "unreadable": list(written.unreadable),
            }
        )
        return
    click.echo(f"wrote {written.file}: {len(written.layers)} layers, {written.size:,} bytes")
    if written.left_over:
        click.echo(f"left out, not in the net: {', '.join(written.left_over)}")
    if written.unreadable:
        click.echo(f"Caffe itself cannot read these from HDF5: {', '.join(written.unreadable)}")
