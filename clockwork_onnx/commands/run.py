"""clockwork run: a bundle over a video, with the pictures and logs that people and programs want."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from clockwork_onnx.commands.run_outputs import KINDS, RunOutputs
from clockwork_onnx.commands.run_summary import print_summary, summarise_run
from clockwork_onnx.options import RATE, WholeNumber, json_option, print_json
from weights.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from runtime.player import Player
    from runtime.step import Step


@click.command("run")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("source", metavar="VIDEO")
@click.option(
    "--schedule", help="oracle, skip:2, alternating, pipeline:3, adaptive:0.25, ... [default: the bundle's]."
)
@click.option("--signal", metavar="BLOB", help="The blob an adaptive clock watches [default: the bundle's].")
@click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N; cuda never falls back."
)
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    help="Folder for what is asked for below; by itself: overlay, timeline and log; of one picture labels "
    "and overlay.",
)
@click.option("--labels", is_flag=True, help="labels/*.png: indexed PNGs at the frame's own size.")
@click.option(
    "--overlay",
    is_flag=True,
    help="overlay.mp4: the labels over the video, with a line of clocks; overlay.png of one picture.",
)
@click.option("--timeline", is_flag=True, help="timeline.png: what fired when.")
@click.option("--log", is_flag=True, help="steps.jsonl: one JSON object per frame.")
@click.option("--report", is_flag=True, help="report.html: one page to show a colleague.")
@click.option("--views", is_flag=True, help="views/: each frame as DIGITS draws it, and one page.")
@click.option(
    "--colours",
    type=click.Choice(["dataset", "paired", "none"]),
    default="dataset",
    show_default=True,
    help="Colour map of the views.",
)
@click.option(
    "--line-width",
    type=click.FloatRange(0, 64),
    default=3,
    show_default=True,
    help="Of the views, in pixels.",
)
@click.option(
    "--alpha", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Strength of the overlay."
)
@click.option("--start", type=WholeNumber(0), default=0, help="First frame.")
@click.option("--stride", type=WholeNumber(1), default=1, help="Every Nth frame.")
@click.option("--max-frames", type=WholeNumber(1), help="Stop after this many frames.")
@click.option(
    "--live", type=click.Choice(["drop", "queue"]), help="When frames come faster than they are taken."
)
@click.option(
    "--shots",
    metavar="auto|N,N,...",
    help="Detect shot changes, or give their first frames: each starts anew.",
)
@click.option(
    "--fps", type=RATE, help="Frame rate of the overlay where the source has none, e.g. 30000/1001."
)
@click.option("--quiet", is_flag=True, help="No progress bar.")
@json_option
def command(bundle: Path, source: str, quiet: bool, as_json: bool, **options: Any) -> int:
    """Run a BUNDLE over VIDEO: a file, a picture, a folder or glob of them, camera:0, an rtsp:// address."""
    request = _Request(bundle, source, quiet=quiet or as_json, **options)
    summary = _run(request)
    if as_json:
        print_json(summary)
    else:
        print_summary(summary)
    return 130 if summary["interrupted"] else 0


@dataclass(frozen=True)
class _Request:
    """What was asked for; `quiet`: nothing is shown while it runs."""

    bundle: Path
    source: str
    quiet: bool
    schedule: str | None
    signal: str | None
    device: str
    folder: Path | None
    labels: bool
    overlay: bool
    timeline: bool
    log: bool
    report: bool
    views: bool
    colours: str
    line_width: float
    alpha: float
    start: int
    stride: int
    max_frames: int | None
    live: str | None
    shots: str | None
    fps: Fraction | None

    def __post_init__(self) -> None:
        named = [kind for kind in KINDS if getattr(self, kind)]
        if named and self.folder is None:
            raise UsageError(
                "where should it be written?",
                found=", ".join(f"--{kind}" for kind in named),
                expected="-o FOLDER with them",
            )
        if self.folder is not None and self.folder.exists() and not self.folder.is_dir():
            raise UsageError("not a folder", file=self.folder, expected="a folder, or a new path")

    def wanted(self, still: bool) -> dict[str, bool]:
        """What is to be written; where only the folder is named, what suits a video or a single picture."""
        wanted = {kind: bool(getattr(self, kind)) for kind in KINDS}
        if self.folder is not None and not any(wanted.values()):
            wanted |= dict.fromkeys(("labels", "overlay") if still else ("overlay", "timeline", "log"), True)
        return wanted


def _run(asked: _Request) -> dict[str, Any]:
    """Play the source, write what is wanted, and return the summary."""
    import runtime
    from clockwork_onnx.console import progress
    from runtime.video.reader import open_video
    from runtime.video.shots import mark_shots
    from runtime.video.threads import prefetch

    with ExitStack() as stack:
        player = stack.enter_context(
            runtime.open(asked.bundle, device=asked.device, schedule=asked.schedule, signal=asked.signal)
        )
        reader = stack.enter_context(
            open_video(
                asked.source,
                start=asked.start,
                stride=asked.stride,
                max_frames=asked.max_frames,
                live=asked.live,
                on_problem=lambda found: click.echo(f"clockwork: {found}", err=True),
            )
        )
        if not asked.quiet:
            click.echo(
                f"device {player.device} ({player.device.reason}); schedule {player.schedule}", err=True
            )
        wanted = asked.wanted(still=reader.frame_count == 1 and reader.fps is None)
        outputs = stack.enter_context(
            RunOutputs(asked.folder, wanted, player, reader, asked.fps, asked.alpha)
        )
        outputs.view_options = {"colours": asked.colours, "line_width": asked.line_width}
        depth = 4 if reader.live is None else 1  # live frames are to be the newest
        frames = stack.enter_context(closing(prefetch(player.ahead(mark_shots(reader, asked.shots)), depth)))
        began, interrupted = perf_counter(), False
        try:
            for _ in progress(_play(player, frames, outputs), total=reader.frame_count, quiet=asked.quiet):
                pass
        except KeyboardInterrupt:
            interrupted = True
        summary = summarise_run(player, outputs.record, perf_counter() - began, reader, interrupted)
        outputs.finish(summary)
    summary["outputs"] = {kind: str(path) for kind, path in outputs.paths.items() if path.exists()}
    return summary


def _play(player: Player, frames: Any, outputs: RunOutputs) -> Iterator[Step]:
    """Play and write; the image of each frame is kept until its step comes out."""
    images: dict[int, np.ndarray] = {}

    def keep() -> Iterator[Any]:
        for frame in frames:
            images[frame.index] = frame.image
            yield frame

    for step in player.play(keep()):
        outputs.write(step, images.pop(step.index))
        yield step
