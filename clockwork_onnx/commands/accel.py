"""clockwork accel: Accel's demo, on Cityscapes' sequences or on any folder of frames."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clockwork_onnx.options import SIZE, device_option, json_option, print_json
from weights.errors import UsageError

if TYPE_CHECKING:
    from clockwork_onnx.accel.experiment import Played
    from clockwork_onnx.evaluation.datasets.base import DataSet
    from staged_onnx import Bundle

VERSIONS = ("18", "34", "50", "101")


@click.command("accel")
@click.argument("frames", type=click.Path(path_type=Path))
@click.option(
    "--version",
    type=click.Choice(VERSIONS),
    default="18",
    show_default=True,
    help="The ResNet that corrects what was moved.",
)
@click.option(
    "--interval", type=click.IntRange(1, 20), default=1, show_default=True, help="A key frame every K frames."
)
@click.option(
    "--num-ex", "count", type=click.IntRange(1), default=10, show_default=True, help="Snippets to play."
)
@click.option(
    "--avg", "average", is_flag=True, help="Score every distance from the key frame, not the farthest alone."
)
@click.option(
    "--params", metavar="A.params,B.params", help="Weights, the later over the earlier; else random ones."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random weights.")
@click.option(
    "--labels", type=click.Path(path_type=Path), help="Label images named as the frames of a plain folder."
)
@click.option("--size", type=SIZE, default=None, help="Resize frames to HEIGHTxWIDTH for the net.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the bundle here: NAME.staged.")
@click.option("-o", "--output", "folder", type=click.Path(path_type=Path), help="Folder for label images.")
@device_option
@json_option
def command(frames: Path, folder: Path | None, as_json: bool, **given: Any) -> None:
    """Accel's demo on FRAMES: Cityscapes in its original layout, or a folder of frames.

    A snippet is 30 frames; of each, one key frame and the frames between it and the next are played, and the
    labelled frame (number 19) is scored: the one farthest from its key frame, unless --avg is given.
    """
    import runtime
    from clockwork_onnx.accel.experiment import play_snippets
    from runtime.video.writer import LabelWriter

    data = _snippets(frames, given)
    with ExitStack() as stack:
        where = given["keep"] or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "accel.staged"
        bundle = _bundle(where, given)
        player = stack.enter_context(runtime.open(bundle.path, given["device"], f"accel:{given['interval']}"))
        writer = None
        if folder is not None:
            writer = stack.enter_context(LabelWriter(folder, bundle.manifest.palette))
        played: list[Played] = []
        for each in play_snippets(player, data):
            played.append(each)
            if writer is not None:
                writer.write(each.step.labels, f"seg_{each.step.name}")
            if not as_json:
                click.echo(_line(each))
    summary = _summary(played, data, given)
    if as_json:
        print_json(summary)
    else:
        _print(summary)


def _snippets(frames: Path, given: dict[str, Any]) -> DataSet:
    from clockwork_onnx.accel.snippets import cityscapes_snippets, cut_snippets
    from clockwork_onnx.evaluation.datasets import folders
    from clockwork_onnx.evaluation.datasets.base import DataSet, Sample, Shot, list_files
    from runtime.video.images import read_image
    from staged_onnx.palettes import classes

    interval, count, average = given["interval"], given["count"], given["average"]
    if (frames / "gtFine").is_dir():
        return cityscapes_snippets(frames, interval, count, average=average)
    names = classes("cityscapes").names
    if given["labels"] is not None:
        data = folders.read(frames, given["labels"], classes=names)
    elif frames.is_dir():
        samples = tuple(
            Sample(path.stem, lambda path=path: read_image(path))  # type: ignore[misc]
            for path in list_files(frames)
        )
        data = DataSet(frames.name, names, (Shot(frames.name, samples),))
    else:
        raise UsageError(
            "no frames here", file=frames, expected="Cityscapes in its original layout, or a folder of images"
        )
    return cut_snippets(data, interval, count, average=average)


def _bundle(target: Path, given: dict[str, Any]) -> Bundle:
    """The bundle of this version, written unless it is there."""
    import weights
    from caffe_port import nets, random_weights, read_net
    from staged_onnx import Preprocessing, classes, read_bundle
    from staged_onnx.feature_flow import plan_feature_flow
    from staged_onnx.flow_export import PIXEL_MEANS, export_feature_flow

    if (target / "manifest.json").is_file():
        return read_bundle(target)
    files = given["params"].split(",") if given["params"] else []
    size = given["size"] if given["size"] != "native" else None
    with tempfile.TemporaryDirectory() as folder:
        texts = {f"accel-{given['version']}.prototxt": nets.accel(int(given["version"]))}
        (prototxt,) = nets.write_prototxts(Path(folder), texts)
        key_net, net = read_net(prototxt, stages=["key"]), read_net(prototxt)
        if files:
            blobs: Mapping[str, Any] = weights.read(given["params"])
        else:
            blobs = {**random_weights(net, given["seed"]), **random_weights(key_net, given["seed"])}
        plan = plan_feature_flow(key_net, net, size)
        how = Preprocessing(size, "rgb", PIXEL_MEANS)
        return export_feature_flow(
            blobs,
            plan,
            target,
            preprocessing=how,
            classes=classes("cityscapes"),
            weights_files=files,
            whole=False,
        )


def _line(each: Played) -> str:
    kind = "key" if each.is_key else "   "
    text = f"{kind}  {each.step.name}  {each.ms:8.1f} ms  mean {each.mean_ms:8.1f}"
    if each.frame_iu is None or each.mean_iu is None:
        return text
    return f"{text}  mean IU {100 * each.frame_iu:.2f}, of all so far {100 * each.mean_iu:.2f}"


def _summary(played: list[Played], data: DataSet, given: dict[str, Any]) -> dict[str, Any]:
    scored = [each for each in played if each.mean_iu is not None]
    of_classes = zip(data.classes, scored[-1].class_iu, strict=True) if scored else ()
    return {
        "version": int(given["version"]),
        "interval": given["interval"],
        "average": given["average"],
        "weights": given["params"] or f"random, seed {given['seed']}",
        "snippets": len(data.shots),
        "frames": [each.step.name for each in played],
        "key_frames": [each.step.name for each in played if each.is_key],
        "scored": [each.step.name for each in scored],
        "mean_iu": scored[-1].mean_iu if scored else None,
        "class_iu": {name: iu if isfinite(iu) else None for name, iu in of_classes},
        "mean_ms": played[-1].mean_ms,
    }


def _print(summary: dict[str, Any]) -> None:
    for name, value in summary["class_iu"].items():
        click.echo(f"{name:16} " + (f"{100 * value:6.2f}" if value is not None else "     -"))
    if summary["mean_iu"] is not None:
        click.echo(f"mean IU of {len(summary['scored'])} frames: {100 * summary['mean_iu']:.2f}")
    click.echo(f"weights: {summary['weights']}")
