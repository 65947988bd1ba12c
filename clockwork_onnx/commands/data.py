"""clockwork data: prepare data sets and look at them."""

from __future__ import annotations

from pathlib import Path

import click

from clockwork_onnx.options import json_option, print_json
from weights.errors import UsageError


@click.group("data")
def command() -> None:
    """Prepare data sets and look at them."""


@command.command("prepare-voc")
@click.argument("archive", metavar="TAR", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "folder", type=click.Path(path_type=Path), required=True, help="Folder to make."
)
@click.option("--year", type=click.IntRange(2007, 2012), default=2012, show_default=True)
@click.option("--force", is_flag=True, help="Replace a folder that exists.")
@json_option
def prepare(archive: Path, folder: Path, year: int, force: bool, as_json: bool) -> None:
    """Unpack PASCAL VOC's segmentation pictures: {train,val}/{images,labels} and their lists.

    Nothing else of the archive reaches the disk.
    """
    from clockwork_onnx.digits.prepare_voc import prepare_voc

    made = prepare_voc(archive, folder, year=year, force=force)
    if as_json:
        print_json({"folder": made.folder, "pictures": made.counts})
    else:
        said = ", ".join(f"{count} {split}" for split, count in made.counts.items())
        click.echo(f"wrote {made.folder}: {said} pictures")


@command.command("show")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The page.  [default: DIR.html]")
@click.option(
    "--classes",
    metavar="voc|camvid|...|N|FILE",
    help="Names and colours.  [default: DIR/classes.txt, or voc]",
)
@click.option("--most", type=click.IntRange(1, 500), default=24, show_default=True, help="Pictures to show.")
@click.option("--force", is_flag=True, help="Replace a page that exists.")
@json_option
def show(
    folder: Path, output: Path | None, classes: str | None, most: int, force: bool, as_json: bool
) -> None:
    """One page of a data set: image, label and overlay of some pictures, and the frequency of each class."""
    from clockwork_onnx.digits.browse import count_classes, find_pairs, write_data_page
    from staged_onnx.palettes import classes as named

    pairs = find_pairs(folder)
    page = output or folder.resolve().with_name(folder.resolve().name + ".html")
    if page.exists() and not force:
        raise UsageError("the file exists", file=page, hint="--force replaces it")
    listed = folder / "classes.txt"
    names = named(classes or (listed if listed.is_file() else "voc"))
    found = count_classes(pairs)
    write_data_page(page, pairs, found, names, title=folder.resolve().name, most=most)
    if as_json:
        print_json({
            "page": str(page), "pictures": len(pairs),
            "labels": [{"label": k, "pixels": int(found.pixels[k]), "pictures": int(found.pictures[k])}
                       for k in found.pixels.nonzero()[0].tolist()],
        })  # fmt: skip
    else:
        click.echo(f"wrote {page}: {len(pairs)} pictures")
