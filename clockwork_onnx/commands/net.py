"""clockwork net: write published nets that exist only as generators."""

from __future__ import annotations

from pathlib import Path

import click

from clockwork_onnx.options import json_option, print_json


@click.group("net")
def command() -> None:
    """Write the prototxts of published nets."""


@command.command("fcn8s")
@click.option(
    "--classes",
    type=click.IntRange(1, 4096),
    default=21,
    show_default=True,
    help="21 PASCAL VOC, 40 NYUDv2, 19 Cityscapes.",
)
@click.option(
    "-o", "--output", "folder", type=click.Path(path_type=Path), required=True, help="Folder to write to."
)
@click.option("--force", is_flag=True, help="Replace files that exist.")
@json_option
def fcn8s(classes: int, folder: Path, force: bool, as_json: bool) -> None:
    """The nets of Clockwork Convnets: FCN-8s plain, in stage order, and the truncated baselines."""
    from caffe_port.nets import write_fcn8s

    files = write_fcn8s(folder, classes, force=force)
    if as_json:
        print_json({"files": [str(file) for file in files]})
    else:
        for file in files:
            click.echo(file)
