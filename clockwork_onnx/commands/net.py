"""clockwork net: write the prototxts of published nets, and make nets out of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from clockwork_onnx.options import SIZE, NetOptions, json_option, net_options, print_json
from weights.errors import UsageError
from weights.shown import shown
from weights.whole_file import whole_file

ACCEL_VERSIONS = ("18", "34", "50", "101")


@click.group("net")
def command() -> None:
    """Write the prototxts of published nets, or make a classifier fully convolutional."""


CLASSES = click.IntRange(1, 4096)
FORCE = click.option("--force", is_flag=True, help="Replace files that exist.")
OUTPUT = click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write.")


def _write(output: Path, text: str, force: bool, as_json: bool) -> None:
    if output.exists() and not force:
        raise UsageError("the file exists", file=output, hint="--force replaces it")
    with whole_file(output) as partial:
        partial.write_text(text, "utf-8")
    if as_json:
        print_json({"file": str(output)})
    else:
        click.echo(f"wrote {output}")


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


def _a_size(ctx: click.Context, param: click.Parameter, value: Any) -> tuple[int, int] | None:
    if value == "native":
        raise click.BadParameter("a prototxt has a size of its own; write HEIGHTxWIDTH", ctx, param)
    return value if value is None else (value[0], value[1])


_size = click.option(
    "--size",
    type=SIZE,
    callback=_a_size,
    default="1024x2048",
    show_default=True,
    help="HEIGHTxWIDTH of the frames.",
)


def _other_size(text: str) -> Callable[..., Any]:
    """`--size` for a net that has one already."""
    return click.option("--size", type=SIZE, callback=_a_size, help=text)


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


@command.command("fcn")
@click.argument("name", metavar="NAME")
@click.option("--classes", type=CLASSES, help="Other than the published number.")
@_other_size("Height and width of the input, if not those of its data.")
@click.option("--dropout", is_flag=True, help="With the Dropout layers of the training files.")
@click.option("--grouped", is_flag=True, help="Upsample with one kernel per class.")
@OUTPUT
@FORCE
@json_option
def fcn(
    name: str,
    classes: int | None,
    size: tuple[int, int] | None,
    dropout: bool,
    grouped: bool,
    output: Path,
    force: bool,
    as_json: bool,
) -> None:
    """A net of fcn.berkeleyvision.org as it is deployed, e.g. voc-fcn16s or siftflow-fcn8s."""
    from caffe_port.nets import fcn as make

    text = make(name, classes=classes, size=size, with_dropout=dropout, grouped=grouped)
    _write(output, text, force, as_json)


@command.command("digits-fcn-alexnet")
@click.option("--classes", type=CLASSES, default=21, show_default=True, help="Background included.")
@_other_size("Height and width of the input.  [default: 500x356]")
@click.option("--suffix", default="", help="Of the names of score_fr and upscore, e.g. _21classes.")
@click.option("--all-in-one", is_flag=True, help="One file for training, validation and deployment.")
@OUTPUT
@FORCE
@json_option
def digits(
    classes: int,
    size: tuple[int, int] | None,
    suffix: str,
    all_in_one: bool,
    output: Path,
    force: bool,
    as_json: bool,
) -> None:
    """DIGITS' FCN-AlexNet."""
    from caffe_port.nets.digits_fcn_alexnet import SIZE as PUBLISHED
    from caffe_port.nets.digits_fcn_alexnet import digits_fcn_alexnet

    shape = size or PUBLISHED
    text = digits_fcn_alexnet(classes, all_in_one=all_in_one, suffix=suffix, size=shape)
    _write(output, text, force, as_json)


@command.command("convolutionalise")
@click.argument("prototxt", metavar="OLD.prototxt", type=click.Path(path_type=Path))
@OUTPUT
@click.option("--classes", type=CLASSES, help="A new score layer, score_fr, for so many classes.")
@click.option(
    "--pad",
    type=click.IntRange(0, 4096),
    help="Of the first convolution.  [default: 100, or the least above that fits every size]",
)
@_other_size("Height and width that the new net states.  [default: 500x500]")
@click.option("--score", metavar="BLOB", help="Make scores of this blob.  [default: the last output]")
@FORCE
@net_options
@json_option
def convolutionalise(
    prototxt: Path,
    output: Path,
    classes: int | None,
    pad: int | None,
    size: tuple[int, int] | None,
    score: str | None,
    force: bool,
    reading: NetOptions,
    as_json: bool,
) -> None:
    """Make a classifier fully convolutional: fully connected layers slide, scores are upsampled and cropped.

    Its weights: clockwork weights transplant OLD.prototxt OLD.caffemodel NEW.prototxt -o NEW.caffemodel
    """
    from caffe_port.nets.convolutionalise import convolutionalise as make

    if output.exists() and not force:
        raise UsageError("the file exists", file=output, hint="--force replaces it")
    made = make(reading.read(prototxt), classes=classes, pad=pad, size=size, output=score)
    with whole_file(output) as partial:
        partial.write_text(made.text, "utf-8")
    if as_json:
        print_json({
            "file": str(output), "changed": [{"layer": a, "now": b} for a, b in made.changed],
            "score": made.score, "stride": made.stride, "pad": made.pad, "offset": made.offset,
        })  # fmt: skip
        return
    for name, now in made.changed:
        click.echo(f"{shown(name)}: {now}")
    click.echo(
        f"scores of {shown(made.score)} every {made.stride} pixels; first pad {made.pad}, crop {made.offset}"
    )
    click.echo(f"wrote {output}")
