"""clockwork weights: look into weights files, write them anew, net surgery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from clockwork_onnx.console import stdout_console
from clockwork_onnx.options import NetOptions, json_option, net_options, print_json
from weights.errors import UsageError
from weights.shown import shown
from weights.whole_file import whole_file

if TYPE_CHECKING:
    from caffe_port import Net
    from caffe_port.transplant import Transplanted

OUTPUT = click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(path_type=Path),
    required=True,
    help="NAME.caffemodel, or NAME.caffemodel.h5 for HDF5.",
)
FORCE = click.option("--force", is_flag=True, help="Replace what exists.")


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
        table.add_row(shown(layer.name), shown(kind), shapes, f"{layer.parameters:,}" if layer.shapes else "")
    console = stdout_console()
    console.print(table)
    console.print(
        f"{description.format}, {description.size:,} bytes, {description.parameters:,} parameters",
    )


@command.command("write")
@click.argument("prototxt", type=click.Path(path_type=Path))
@click.argument("sources", metavar="WEIGHTS")
@OUTPUT
@FORCE
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

    _check_free(force, target)
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


def _check_free(force: bool, *files: Path) -> None:
    for file in files:
        if file.exists() and not force:
            raise UsageError("the file exists", file=file, hint="--force replaces it")


def _renames(pairs: tuple[str, ...]) -> dict[str, str]:
    renames: dict[str, str] = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not equals or not old or not new or old in renames:
            raise UsageError("bad --rename", found=pair, expected="OLD=NEW, each OLD once")
        renames[old] = new
    return renames


@command.command("transplant")
@click.argument("old_prototxt", metavar="OLD.prototxt", type=click.Path(path_type=Path))
@click.argument("old_weights", metavar="OLD.caffemodel")
@click.argument("new_prototxt", metavar="NEW.prototxt", type=click.Path(path_type=Path))
@OUTPUT
@click.option("--rename", "renames", multiple=True, metavar="A=B", help="Layer A of the old net goes to B.")
@click.option(
    "--classes",
    type=click.IntRange(1, 4096),
    help="Score so many classes instead: NEW with them is written beside the weights.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of random fillers of new layers.")
@FORCE
@net_options
@json_option
def transplant(
    old_prototxt: Path,
    old_weights: str,
    new_prototxt: Path,
    target: Path,
    renames: tuple[str, ...],
    classes: int | None,
    seed: int,
    force: bool,
    reading: NetOptions,
    as_json: bool,
) -> None:
    """Net surgery: the weights of one net for another, layer by layer by name.

    A fully connected layer's weights serve a convolution of as many numbers; layers that only the new net
    has get what their fillers say, else zeros, as in Caffe; layers that only the old one has are dropped.
    With --classes the first classes of a score layer are the old ones.
    """
    import weights
    from caffe_port import read_net
    from caffe_port.nets.rewriting import scoring_layers, with_classes
    from caffe_port.transplant import transplant_net

    beside = target.with_name(target.name.split(".")[0] + ".prototxt")
    _check_free(force, target, *([beside] if classes is not None else []))
    if classes is not None and beside.resolve() == new_prototxt.resolve():
        raise UsageError("would replace the net that is read", file=beside, hint="give -o another name")
    # The shapes and stages given are those of the new net; the old one only says what its weights are for.
    old, new = read_net(old_prototxt, define=dict(reading.define), tolerant=True), reading.read(new_prototxt)
    text: str | None = None
    extend: tuple[str, ...] = ()
    if classes is not None:
        extend = tuple(layer.key for layer in scoring_layers(new))
        text = with_classes(new, classes)
        new = _read_text(text, beside)
    made = transplant_net(
        old, weights.read(old_weights), new, rename=_renames(renames), extend=extend, seed=seed
    )
    written = weights.write(target, new, made.blobs)
    if text is not None:
        with whole_file(beside) as partial:
            partial.write_text(text, "utf-8")
    files = [written.file, *([str(beside)] if text is not None else [])]
    if as_json:
        print_json({"files": files, **_moves(made)})
        return
    _print_moves(made)
    for file in files:
        click.echo(f"wrote {file}")


def _read_text(text: str, name: Path) -> Net:
    """The net of a prototxt that is not written yet."""
    import tempfile

    from caffe_port import read_net

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, name.name)
        file.write_text(text, "utf-8")
        return read_net(file)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "x".join(map(str, shape or ())) or "scalar"


def _moves(made: Transplanted) -> dict[str, list[dict[str, object]]]:
    """Where every blob came from or went, for --json."""
    rows: dict[str, list[dict[str, object]]] = {
        name: [
            {"layer": m.target, "blob": m.index, "shape": list(m.made or ()), "from": m.source,
             "from_shape": list(m.found)}
            for m in getattr(made, name)
        ]
        for name in ("copied", "coerced", "extended")
    }  # fmt: skip
    rows["filled"] = [
        {"layer": f.layer, "blob": f.index, "shape": list(f.shape), "how": f.how} for f in made.filled
    ]
    rows["dropped"] = [{"from": m.source, "blob": m.index, "from_shape": list(m.found)} for m in made.dropped]
    return rows


HOW = {"coerced": "flat copy of {}", "extended": "{} and more classes"}
"""How a blob that did not keep its shape came to be, for people."""


def _print_moves(made: Transplanted) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for head in ("layer", "blob", "shape", "from", "how"):
        table.add_column(head)
    rows = {(f.layer, f.index): (_shape(f.shape), "", f.how) for f in made.filled}
    for how in ("copied", "coerced", "extended"):
        for m in getattr(made, how):
            said = how if how == "copied" else HOW[how].format(_shape(m.found))
            rows[m.target, m.index] = (_shape(m.made), m.source, said)
    for layer, arrays in made.blobs.items():
        for index in range(len(arrays)):
            shape, source, how = rows[layer, index]
            table.add_row(shown(layer), str(index), shape, shown(source), how)
    for m in made.dropped:
        table.add_row("", str(m.index), _shape(m.found), shown(m.source), "dropped")
    stdout_console().print(table)


@command.command("interp")
@click.argument("prototxt", type=click.Path(path_type=Path))
@click.argument("sources", metavar="WEIGHTS")
@OUTPUT
@click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="NAME",
    help="A Deconvolution to fill; repeat. [default: those with 'up' in their names]",
)
@FORCE
@net_options
@json_option
def interp(
    prototxt: Path,
    sources: str,
    target: Path,
    layers: tuple[str, ...],
    force: bool,
    reading: NetOptions,
    as_json: bool,
) -> None:
    """Put bilinear upsampling into the Deconvolutions of PROTOTXT: one kernel from each channel to its own.

    As FCN's surgery does it: centred for every kernel size, which Caffe's own filler is not for 3 or 63.
    """
    import weights
    from caffe_port.transplant import initial_weights

    _check_free(force, target)
    net = reading.read(prototxt)
    ups = {x.key for x in net.layers if x.type == "Deconvolution"}
    chosen = layers or tuple(x.key for x in net.layers if x.key in ups and "up" in x.key)
    if not chosen or not set(chosen) <= ups:
        raise UsageError(
            "no such Deconvolution",
            file=prototxt,
            found=", ".join(sorted(set(chosen) - ups)) or "none with 'up' in its name",
            expected=", ".join(sorted(ups)) or "a net with one",
            hint="--layer NAME",
        )
    blobs: Mapping[str, tuple[np.ndarray, ...]] = weights.read(sources)
    empty, _ = initial_weights(net)
    filled = weights.interp({name: tuple(np.zeros_like(a) for a in empty[name]) for name in chosen}, chosen)
    written = weights.write(target, net, {**blobs, **filled})
    if as_json:
        print_json({"file": written.file, "layers": list(chosen)})
    else:
        for name in chosen:
            click.echo(f"{shown(name)}: bilinear {_shape(filled[name][0].shape)}")
        click.echo(f"wrote {written.file}")


@command.command("catalogue")
@click.argument("text", required=False, default="")
@json_option
def list_catalogue(text: str, as_json: bool) -> None:
    """List published Caffe nets: all, or those whose name holds TEXT. Nothing is downloaded.

    With each file's home, size and SHA-256; --json adds its pre-processing and classes where they are known.
    """
    from weights.catalogue import catalogue

    found = catalogue(text)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for head in ("net", "file", "bytes", "SHA-256", "licence"):
        table.add_column(head, justify="right" if head == "bytes" else "left", overflow="fold")
    for one in found:
        net = one.family.net or one.family.name
        table.add_row(Text(net), Text(one.name), f"{one.size:,}", one.sha256[:12], Text(one.family.licence))
    console = stdout_console()
    console.print(table)
    for home in dict.fromkeys(one.home for one in found):
        console.print(f"from {home}", soft_wrap=True)
    console.print(f"{len(found)} files")


@command.command("identify")
@click.argument("path", metavar="FILE")
@json_option
def identify(path: str, as_json: bool) -> int:
    """Say which published net FILE is, by its SHA-256 or its layers; exit status 1 where neither is known."""
    from weights.catalogue import recognise

    found = recognise(path)
    known = bool(found.published or found.net)
    if as_json:
        print_json(asdict(found))
        return 0 if known else 1
    for one in found.published:
        click.echo(f"published {shown(one.path)} of {one.home}: SHA-256 {one.sha256}")
    if found.net:
        click.echo(f"net       {found.net}, by its layers")
    if found.doubt:
        click.echo(f"doubt     {found.doubt}")
    facts = found.family
    for head, fact in (
        ("licence", facts and facts.licence),
        ("input", facts and facts.preprocessing),
        ("classes", facts and facts.classes),
    ):
        if fact:
            click.echo(f"{head:9} {fact}")
    if not known:
        click.echo("unknown: neither its content nor its layers are in the catalogue")
    return 0 if known else 1
