"""clockwork net: write published nets that exist only as generators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from clockwork_onnx.options import SIZE, json_option, print_json

ACCEL_VERSIONS = ("18", "34", "50", "101")


@click.group("net")
def command() -> None:
    """Write the prototxts of published nets."""


def _written(run: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say where files go and how they are listed."""
    folder = click.Path(path_type=Path)
    run = json_option(run)
    run = click.option("--force", is_flag=True, help="Replace files that exist.")(run)
    return click.option("-o", "--output", "folder", type=folder, required=True, help="Folder to write to.")(
        run
    )


def _classes(default: int, text: str) -> Callable[..., Any]:
    return click.option(
        "--classes", type=click.IntRange(1, 4096), default=default, show_default=True, help=text
    )


def _a_size(ctx: click.Context, param: click.Parameter, value: Any) -> tuple[int, int]:
    if value == "native":
        raise click.BadParameter("a prototxt has a size of its own; write HEIGHTxWIDTH", ctx, param)
    return (value[0], value[1])


_size = click.option(
    "--size",
    type=SIZE,
    callback=_a_size,
    default="1024x2048",
    show_default=True,
    help="HEIGHTxWIDTH of the frames.",
)


def _list(files: list[Path], as_json: bool) -> None:
    if as_json:
        print_json({"files": [str(file) for file in files]})
    else:
        for file in files:
            click.echo(file)


@command.command("fcn8s")
@_classes(21, "21 PASCAL VOC, 40 NYUDv2, 19 Cityscapes.")
@_written
def fcn8s(classes: int, folder: Path, force: bool, as_json: bool) -> None:
    """The nets of Clockwork Convnets: FCN-8s plain, in stage order, and the truncated baselines."""
    from caffe_port.nets import write_fcn8s

    _list(write_fcn8s(folder, classes, force=force), as_json)


@command.command("flownet")
@_size
@_written
def flownet(size: tuple[int, int], folder: Path, force: bool, as_json: bool) -> None:
    """The light FlowNet-S of Deep Feature Flow and Accel, with its scale map."""
    from caffe_port import nets

    texts = {"flownet.prototxt": nets.flownet(size=size)}
    _list(nets.write_prototxts(folder, texts, force=force), as_json)


@command.command("dff-deeplab")
@_classes(19, "19 Cityscapes.")
@_size
@_written
def dff_deeplab(classes: int, size: tuple[int, int], folder: Path, force: bool, as_json: bool) -> None:
    """Deep Feature Flow with DeepLab: key frames with `--net-stage key`, the others without."""
    from caffe_port import nets

    texts = {"dff-deeplab.prototxt": nets.dff_deeplab(classes, size=size)}
    _list(nets.write_prototxts(folder, texts, force=force), as_json)


@command.command("accel")
@click.option(
    "--version", type=click.Choice(ACCEL_VERSIONS), default="18", show_default=True,
    help="The ResNet that corrects what was moved.",
)  # fmt: skip
@_classes(19, "19 Cityscapes.")
@_size
@_written
def accel(
    version: str, classes: int, size: tuple[int, int], folder: Path, force: bool, as_json: bool
) -> None:
    """Accel: key frames and the frames between in one prototxt."""
    from caffe_port import nets

    texts = {f"accel-{version}.prototxt": nets.accel(int(version), classes, size=size)}
    _list(nets.write_prototxts(folder, texts, force=force), as_json)
