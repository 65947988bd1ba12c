"""clockwork crop-offsets: the offset of every Crop of a net, stated and computed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clockwork_onnx.console import stdout_console
from clockwork_onnx.options import NetOptions, json_option, net_options, print_json
from weights.errors import UsageError
from weights.shown import shown
from weights.whole_file import whole_file

if TYPE_CHECKING:
    from caffe_port.coord_map import CropOffset


@click.command("crop-offsets")
@click.argument("prototxt", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Write the prototxt with the computed offsets, all else as it was.",
)
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@net_options
@json_option
def command(prototxt: Path, output: Path | None, force: bool, reading: NetOptions, as_json: bool) -> int:
    """The offset of every Crop of PROTOTXT: the one that it states, and the one that aligns its bottoms.

    The second follows from kernels, strides, pads and dilations alone, in exact fractions. It is an error
    where the two bottoms have different scales, or the offset would be negative or not whole. Exit status 1
    where no path of layers with a fixed geometry connects the bottoms of a Crop.
    """
    from caffe_port.coord_map import crop_offsets

    if output is not None and output.exists() and not force:
        raise UsageError("the file exists", file=output, hint="--force replaces it")
    rows = crop_offsets(reading.read(prototxt, tolerant=True))
    if output is not None:
        _write_fixed(prototxt, output, rows, dict(reading.define))
    if as_json:
        print_json({"crops": [{"layer": r.layer, "stated": _value(r.stated), "computed": _value(r.computed)}
                              | ({"why": r.why} if r.why else {}) for r in rows]})  # fmt: skip
    else:
        _print(rows, output)
    return 1 if any(r.why for r in rows) else 0


def _value(offsets: tuple[int, ...]) -> int | list[int] | None:
    """One number where it serves all axes."""
    if not offsets:
        return None
    return offsets[0] if len(set(offsets)) == 1 else list(offsets)


def _write_fixed(prototxt: Path, output: Path, rows: tuple[CropOffset, ...], define: dict[str, str]) -> None:
    from caffe_port.reading.crop_text import with_crop_offsets
    from caffe_port.reading.read_net import prototxt_text

    new = {(r.layer, r.top): r.computed for r in rows if r.computed and r.computed != r.stated}
    text = with_crop_offsets(prototxt_text(prototxt, define), new, file=str(prototxt))
    with whole_file(output) as partial:
        partial.write_text(text, "utf-8")


def _print(rows: tuple[CropOffset, ...], output: Path | None) -> None:
    from rich.table import Table

    console = stdout_console()
    if not rows:
        console.print("no Crop in this net")
        return
    table = Table(box=None, pad_edge=False)
    for head in ("layer", "stated", "computed", ""):
        table.add_column(head, justify="left" if head in ("layer", "") else "right")
    for r in rows:
        differs = "" if r.stated == r.computed else r.why or "differs"
        table.add_row(
            shown(r.layer),
            str(_value(r.stated)),
            str(_value(r.computed) if r.computed else "?"),
            differs,
        )
    console.print(table)
    count = sum(bool(r.computed) and r.stated != r.computed for r in rows)
    console.print(f"{len(rows)} Crops, {count} with another offset than computed")
    if output is not None:
        console.print(f"wrote {output}")
