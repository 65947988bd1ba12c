"""clockwork convert: prototxt + weights -> one plain ONNX model or a bundle of stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from clockwork_onnx.commands.bundle_summary import bundle_summary, print_stages
from clockwork_onnx.console import stdout_console
from clockwork_onnx.options import (
    NUMBERS,
    SIZE,
    NetOptions,
    WholeNumber,
    json_option,
    net_options,
    print_json,
)
from weights.errors import UsageError
from weights.whole_file import check_folder

if TYPE_CHECKING:
    from caffe_port import Net


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
    help="Resize frames to this size for the net, or keep their own [default: native where the net "
    "permits it, else the prototxt's size].",
)
@click.option(
    "--channels",
    type=click.Choice(["bgr", "rgb", "gray"]),
    default=None,
    help="The net's channel order [default: bgr, or gray for one channel].",
)
@click.option(
    "--mean", type=NUMBERS, default=None, help="Subtracted first, in the net's channel order [default: 0]."
)
@click.option(
    "--scale",
    type=float,
    default=1.0,
    show_default=True,
    help="Multiplied after the mean: (x - mean) * scale.",
)
@click.option(
    "--classes",
    "class_table",
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
@click.option("--schedule", default="alternating", show_default=True, help="Default schedule of the bundle.")
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
@click.pass_context
def command(
    ctx: click.Context,
    prototxt: Path,
    weights_path: str | None,
    target: Path,
    outputs: tuple[str, ...],
    random_weights: int | None,
    fixed: bool,
    force: bool,
    reading: NetOptions,
    as_json: bool,
    **bundle_options: Any,
) -> None:
    """Port a Caffe net: PROTOTXT and WEIGHTS (a .caffemodel or .h5; several separated by commas) to ONNX."""
    import caffe_port
    import weights

    suffix = target.suffix.lower()
    if suffix not in (".onnx", ".staged"):
        raise UsageError(
            "what should be written?", found=str(target), expected="-o NAME.onnx or -o NAME.staged"
        )
    check_folder(target.parent)
    if (weights_path is None) == (random_weights is None):
        raise UsageError(
            "where do the weights come from?",
            found="both" if weights_path is not None else "neither",
            expected="WEIGHTS, or --random-weights SEED",
        )
    given = [
        n for n in bundle_options if ctx.get_parameter_source(n) is click.core.ParameterSource.COMMANDLINE
    ]
    if suffix == ".onnx" and given:
        raise UsageError(
            "cuts, pre-processing and classes belong to a bundle",
            file=target,
            found=", ".join(given),
            expected="-o NAME.staged with them, or -o NAME.onnx without",
            hint="a plain model takes the net's own input; --shape sets its size",
        )
    net = reading.read(prototxt)
    blobs: Mapping[str, tuple[np.ndarray, ...]]
    if weights_path is not None:
        blobs = weights.read(weights_path)
    else:
        blobs = caffe_port.random_weights(net, seed=random_weights or 0)
    if suffix == ".onnx":
        summary = _plain(net, blobs, target, outputs, fixed, force)
    else:
        files = weights_path.split(",") if weights_path else []
        summary = _bundle(net, blobs, target, outputs, files, force, **bundle_options)
    if as_json:
        print_json(summary)
    else:
        _print(summary)


def _plain(
    net: Net,
    blobs: Mapping[str, tuple[np.ndarray, ...]],
    target: Path,
    outputs: tuple[str, ...],
    fixed: bool,
    force: bool,
) -> dict[str, Any]:
    import caffe_port
    from caffe_port.convert import ancestors, draft_onnx

    if target.exists() and not force:
        raise UsageError("the file exists", file=target, hint="--force replaces it")
    draft = draft_onnx(net, blobs, outputs=list(outputs) or None, fixed=fixed)
    model = draft.model
    facts = {p.key: p.value for p in model.metadata_props}
    summary = {
        "model": str(target),
        "inputs": {i.name: _dims(i) for i in model.graph.input},
        "outputs": {o.name: _dims(o) for o in model.graph.output},
        "left_out": _left_out(net, (layer.key for layer in ancestors(net, outputs or net.outputs))),
        "fixed_size": facts.get("caffe.fixed_size", ""),
        "notes": [line for line in facts.get("caffe.notes", "").split("\n") if line],
    }
    caffe_port.save_model(draft, target)
    return summary


def _left_out(net: Net, used: Iterable[str]) -> list[dict[str, str]]:
    """The layers of the net that the model does without, given the keys of those it has."""
    keys = frozenset(used)
    return [{"name": layer.name, "type": layer.type} for layer in net.layers if layer.key not in keys]


def _dims(value: Any) -> list[int | str]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def _bundle(
    net: Net,
    blobs: Mapping[str, tuple[np.ndarray, ...]],
    target: Path,
    outputs: tuple[str, ...],
    files: list[str],
    force: bool,
    *,
    cuts: tuple[str, ...],
    stages: int | None,
    size: Any,
    channels: str | None,
    mean: tuple[float, ...] | None,
    scale: float,
    class_table: str | None,
    schedule: str,
    signal: str | None,
    no_whole: bool,
) -> dict[str, Any]:
    import staged_onnx
    from caffe_port.shapes import measure
    from runtime.schedule.grammar import parse_schedule
    from staged_onnx.export import check_target, input_shape, picture_input

    check_target(target, force)
    if bool(cuts) == (stages is not None):
        raise UsageError(
            "where should the net be cut?",
            found="both" if cuts else "neither",
            expected="--cut BLOB (repeat) or --stages N",
        )
    if len(outputs) > 1:
        raise UsageError("a bundle has one score map", found=", ".join(outputs), expected="one --blob")
    picture = picture_input(net)
    if size is None:
        fixed = measure(net, input_shape(net, None)).fixed
        size = (picture.shape[2], picture.shape[3]) if fixed else "native"
    resized = None if size == "native" else size
    how = staged_onnx.Preprocessing(
        resized, channels or ("gray" if picture.shape[1] == 1 else "bgr"), mean or (0.0,), scale
    )
    table = staged_onnx.classes(class_table) if class_table else None
    plan = staged_onnx.plan(
        net,
        cuts=list(cuts) or None,
        stages=stages,
        output=outputs[0] if outputs else None,
        inputs=input_shape(net, resized),
    )
    bundle = staged_onnx.export(
        net,
        blobs,
        plan,
        target,
        preprocessing=how,
        classes=table,
        schedule=schedule,
        signal=signal,
        weights_files=files,
        whole=not no_whole,
        force=force,
        check=lambda manifest: parse_schedule(schedule, manifest, files=False),
    )
    used = (key for stage in (*bundle.manifest.stages, bundle.manifest.head) for key in stage.layers)
    return {**bundle_summary(bundle), "left_out": _left_out(net, used)}


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
        console.print(f"signal   {summary['signal'] or 'none'}")
    if summary["left_out"]:
        first = [f"{layer['name']} ({layer['type']})" for layer in summary["left_out"][:SHOWN]]
        more = len(summary["left_out"]) - len(first)
        listed = ", ".join(first) + (f" and {more} more" if more else "")
        console.print(f"left out {listed}: nothing that is given out needs it")
    for note in (*summary.get("why", ()), *summary["notes"]):
        console.print(f"note     {note}")
    console.print(f"wrote    {summary.get('model') or summary['bundle']}")
