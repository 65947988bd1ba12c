"""clockwork advise: the schedules worth having, measured on the user's own video."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clockwork_onnx.options import WholeNumber, inputs_option, json_option, print_json

if TYPE_CHECKING:
    from clockwork_onnx.evaluation.scoring.advice import Advice

COLUMNS = ("schedule", "mean IU", "pixels", "work", "ms per frame", "labels come")


@click.command("advise")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("source", metavar="VIDEO")
@click.option(
    "--schedule",
    "schedules",
    multiple=True,
    help="Measure these instead of the usual ones; give it several times.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--start", type=WholeNumber(0), default=0, help="First frame.")
@click.option("--stride", type=WholeNumber(1), default=1, help="Every Nth frame.")
@click.option(
    "--max-frames", type=WholeNumber(2), default=60, show_default=True, help="Stop after this many frames."
)
@inputs_option
@click.option("--keep", is_flag=True, help="Make the recommendation the bundle's own schedule.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@json_option
def command(
    bundle: Path,
    source: str,
    schedules: tuple[str, ...],
    device: str,
    inputs: tuple[tuple[str, str], ...],
    keep: bool,
    quiet: bool,
    as_json: bool,
    **excerpt: Any,
) -> None:
    """Compare schedules on your own VIDEO, by their agreement with BUNDLE's net on every frame.

    No labels are needed: what counts is how well each schedule keeps to the labels that the whole net gives
    on every frame, and how much of the work and the time it takes for that.
    """
    from clockwork_onnx.console import FrameBar
    from clockwork_onnx.evaluation.scoring.advice import advise, candidates
    from runtime.measure.calibrate import keep_schedule
    from runtime.video.bundle_frames import open_frames
    from staged_onnx import read_bundle

    opened = read_bundle(bundle)
    with ExitStack() as stack:
        reader = stack.enter_context(open_frames(opened.manifest, source, dict(inputs), **excerpt))
        chosen = schedules or tuple(candidates(opened.manifest))
        bar = stack.enter_context(FrameBar(quiet=quiet or as_json))
        advice = advise(opened, reader, chosen, device=device, watch=bar.watch)
    if keep:
        keep_schedule(opened, advice.best)
    if as_json:
        print_json(_json(advice))
    else:
        _print(advice, keep)


def _rows(advice: Advice) -> list[dict[str, Any]]:
    """A row per schedule; without NaN, which JSON has no word for."""
    return [
        {
            "schedule": result.schedule,
            "mean_iu": round(result.scores.mean_iu, 4),
            "pixels": round(result.scores.pixel_accuracy, 4),
            "work": round(result.macs_of_oracle, 4),
            "ms_per_frame": round(sum(result.stage_ms.values()), 2),
            "waits": result.schedule in advice.waits,
        }
        for result in advice.results
    ]


def _json(advice: Advice) -> dict[str, Any]:
    frames = advice.results[0].frames
    return {"frames": frames, "schedules": _rows(advice), "recommended": advice.best, "live": advice.live}


def _print(advice: Advice, kept: bool) -> None:
    from rich.table import Table

    from clockwork_onnx.console import stdout_console

    console = stdout_console()
    table = Table(box=None, pad_edge=False)
    for position, name in enumerate(COLUMNS):
        table.add_column(name, justify="right" if 0 < position < len(COLUMNS) - 1 else "left")
    for row in _rows(advice):
        table.add_row(
            row["schedule"], f"{row['mean_iu']:.3f}", f"{row['pixels']:.1%}", f"{row['work']:.0%}",
            f"{row['ms_per_frame']:.1f}", "late" if row["waits"] else "at once",
        )  # fmt: skip
    console.print(
        f"{advice.results[0].frames} frames; mean IU and pixels: agreement with the oracle's labels"
    )
    console.print(table)
    console.print(f"recommended  --schedule {advice.best}" + (", now the bundle's own" if kept else ""))
    if advice.live != advice.best:
        console.print(f"live         --schedule {advice.live}, whose labels come with each frame")
