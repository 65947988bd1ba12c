"""`clockwork demo`: the embedded net, ported and played with every schedule."""

from __future__ import annotations

from pathlib import Path

import click

from clockwork_onnx.console import FrameBar, stdout_console
from clockwork_onnx.evaluation.demo.demo import demo_frames, run_demo
from clockwork_onnx.options import check_folders, device_option, json_option, print_json

__all__ = ["command"]


@click.command("demo")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("clockwork-demo"),
    show_default=True,
    help="Folder for the bundle, the overlay video, the plots and the JSON report.",
)
@click.option(
    "--inputs",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Play nothing: write the demo's prototxt, caffemodel and a video to FOLDER, to try things with.",
)
@device_option
@json_option
def command(out: Path, inputs: Path | None, device: str, as_json: bool) -> None:
    """Port the embedded shapes net and play generated video with every schedule."""
    if inputs is not None:
        _write_inputs(inputs, as_json)
        return
    check_folders(out)
    with FrameBar(demo_frames()) as bar:
        result = run_demo(out, device=device, progress=bar.watch)
    if as_json:
        print_json(result.as_json())
        return
    out_console = stdout_console()
    out_console.print(result.summary.table().rich())
    pairs = ((name, found.scores.mean_iu) for name, found in result.moving.items())
    out_console.print("Mean IU on the moving shots: " + ", ".join(f"{n} {iu:.3f}" for n, iu in pairs))
    for sentence in result.summary.findings():
        out_console.print(sentence)
    out_console.print("Written: " + ", ".join(str(path) for path in result.files))


def _write_inputs(folder: Path, as_json: bool) -> None:
    from clockwork_onnx.evaluation.demo.inputs import write_inputs

    check_folders(folder)
    found = {name: str(path) for name, path in vars(write_inputs(folder)).items()}
    if as_json:
        print_json(found)
        return
    for path in found.values():
        click.echo(f"wrote {path}")
