"""clockwork convert: prototxt + weights -> one plain ONNX model or a bundle of stages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clockwork_onnx.commands.bundle_summary import bundle_summary, described, print_stages
from clockwork_onnx.commands.convert_flow import read_key_net, write_flow_bundle
from clockwork_onnx.console import stdout_console
from clockwork_onnx.options import (
    MEAN,
    PICTURE,
    SIZE,
    NetOptions,
    WholeNumber,
    json_option,
    net_options,
    print_json,
)

if TYPE_CHECKING:
    from clockwork_onnx.api import Conversion
    from staged_onnx import Preprocessing

SHOWN = 6
"""Left-out layers that are named before the rest is counted."""


@click.command("convert")
@click.argument("prototxt", type=click.Path(path_type=Path))
@click.argument("weights_path", metavar="[WEIGHTS]", required=False)
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(path_type=Path),
    required=True,
    help="NAME.onnx: one plain model. NAME.staged: a bundle of stages.",
)
@click.option(
    "--cut", "cuts", multiple=True, metavar="BLOB", help="Cut at this blob; repeat, shallow to deep."
)
@click.option(
    "--stages", type=click.IntRange(1, 16), help="Choose the cuts: this many stages of balanced cost."
)
@click.option(
    "--size",
    type=SIZE,
    default=None,
    help="Bring frames to this size for the net, or keep their own [default: the prototxt's size; native for "
    "a net that crops to its input or makes pictures].",
)
@click.option(
    "--fit",
    type=click.Choice(["resize", "pad"]),
    help="Frames of a size that the net does not take are resized, or padded with the mean [default: "
    "resize; pad with --size native, and for DeepLab's ImageSegData].",
)
@click.option(
    "--channels",
    type=click.Choice(["bgr", "rgb", "gray"]),
    default=None,
    help="The net's channel order [default: bgr, gray for one channel, rgb for Accel and DFF].",
)
@click.option(
    "--mean",
    type=MEAN,
    default=None,
    help="Subtracted first, in the net's channel order; a .binaryproto or .npy file serves too [default: "
    "what the prototxt says, else 0; for Accel and DFF theirs].",
)
@click.option(
    "--scale",
    type=float,
    default=None,
    help="Multiplied after the mean is subtracted: (x - mean) * scale [default: what the prototxt says, "
    "else 1].",
)
@click.option(
    "--input",
    "inputs",
    type=PICTURE,
    multiple=True,
    help="What a further picture per frame is, of a net that takes several: its channels (bgr, rgb, gray, "
    "depth, log-depth), mean and scale. Repeat per input but the first.",
)
@click.option(
    "--classes",
    metavar="SET|FILE|N",
    help="cityscapes, camvid, voc, nyud, a names file or a number.",
)
@click.option(
    "--blob",
    "outputs",
    multiple=True,
    metavar="BLOB",
    help="Blobs to give out (.onnx) or the one that holds the scores (.staged) [default: the net's outputs].",
)
@click.option(
    "--kind",
    type=click.Choice(["labels", "scores", "picture", "map", "vector"]),
    help="What a bundle gives for a frame [default: follows from the net, and is said].",
)
@click.option(
    "--schedule",
    default=None,
    help="Default schedule of the bundle [default: follows from the net, and is said].",
)
@click.option("--signal", metavar="BLOB", help="The blob an adaptive clock watches.")
@click.option("--no-whole", is_flag=True, help="Leave out the un-staged model that `bench` compares with.")
@click.option(
    "--random-weights",
    type=WholeNumber(),
    metavar="SEED",
    help="Use weights made from the fillers instead of a file.",
)
@click.option("--fixed", is_flag=True, help=".onnx: freeze the input size.")
@click.option("--force", is_flag=True, help="Replace what exists.")
@net_options
@json_option
def command(
    prototxt: Path,
    weights_path: str | None,
    target: Path,
    reading: NetOptions,
    as_json: bool,
    no_whole: bool,
    inputs: tuple[tuple[str, Preprocessing], ...],
    **options: Any,
) -> None:
    """Port a Caffe net to ONNX.

    PROTOTXT describes the net; WEIGHTS is its .caffemodel or .h5 (several files, separated by commas, are
    overlaid).
    """
    from clockwork_onnx.api import convert
    from staged_onnx.feature_flow import is_feature_flow

    net = reading.read(prototxt)
    if target.suffix.lower() == ".staged" and is_feature_flow(net):
        key_net = read_key_net(reading, prototxt)
        summary = write_flow_bundle(
            net, key_net, weights_path, target, whole=not no_whole, options={**options, "inputs": inputs}
        )
    else:
        done = convert(net, weights_path, target, whole=not no_whole, more=dict(inputs), **options)
        summary = _summary(done)
    if as_json:
        print_json(summary)
    else:
        _print(summary)


def _summary(done: Conversion) -> dict[str, Any]:
    left_out = [{"name": name, "type": kind} for name, kind in done.left_out]
    if done.bundle is not None:
        return {
            **bundle_summary(done.bundle),
            "left_out": left_out,
            "chosen": list(done.chosen),
            "notes": list(done.notes),
            "preprocessing_from": dict(done.origins),
        }
    return {
        "model": str(done.path),
        "inputs": dict(done.inputs),
        "outputs": dict(done.outputs),
        "left_out": left_out,
        "fixed_size": done.fixed_size,
        "notes": list(done.notes),
    }


def _print(summary: dict[str, Any]) -> None:
    console = stdout_console()
    if "model" in summary:
        for what in ("inputs", "outputs"):
            shown = ", ".join(f"{n} {' x '.join(map(str, d))}" for n, d in summary[what].items())
            console.print(f"{what:8} {shown}")
        if summary["fixed_size"]:
            console.print(f"one size {summary['fixed_size']}")
    else:
        print_stages(console, summary)
        for name, text in described(summary["preprocessing"], summary.get("preprocessing_from", {})):
            console.print(f"{name:8} {text}")
        console.print(f"signal   {summary['signal'] or 'none'}")
    if summary["left_out"]:
        first = [f"{layer['name']} ({layer['type']})" for layer in summary["left_out"][:SHOWN]]
        more = len(summary["left_out"]) - len(first)
        listed = ", ".join(first) + (f" and {more} more" if more else "")
        console.print(f"left out {listed}: nothing that is given out needs it")
    for line in summary.get("chosen", ()):
        console.print(f"chosen   {line}")
    for note in (*summary.get("why", ()), *summary["notes"]):
        console.print(f"note     {note}")
    console.print(f"wrote    {summary.get('model') or summary['bundle']}")
