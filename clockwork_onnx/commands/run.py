"""clockwork run: a bundle over a video, with the pictures and logs that people and programs want."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from clockwork_onnx.commands.run_folder import RunFolder, RunState
from clockwork_onnx.commands.run_many import print_many, run_many, shard_of
from clockwork_onnx.commands.run_outputs import RunOutputs
from clockwork_onnx.commands.run_request import RunRequest
from clockwork_onnx.commands.run_summary import print_summary, summarise_run
from clockwork_onnx.options import (
    NET_SIZE,
    RATE,
    SHARD,
    WholeNumber,
    inputs_option,
    json_option,
    passes_option,
    print_json,
)
from clockwork_onnx.settings import is_quiet
from clockwork_onnx.stopping import Stop, Stopped, stop_on_signals
from weights.errors import UsageError

if TYPE_CHECKING:
    from clockwork_onnx.commands.run_resume import Earlier
    from runtime.densecrf.playing import RefinedPlayer
    from runtime.player import Player
    from runtime.step import Step
    from runtime.video.frames import Frame
    from runtime.video.reader import VideoReader
    from runtime.video.sources import NamedSource


@click.command("run")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("sources", metavar="VIDEO...", nargs=-1, required=True)
@click.option(
    "--schedule", help="oracle, skip:2, alternating, pipeline:3, adaptive:0.25, ... [default: the bundle's]."
)
@click.option("--signal", metavar="BLOB", help="The blob an adaptive clock watches [default: the bundle's].")
@click.option(
    "--crf",
    metavar="NAME|K=V,...|none",
    help="A dense CRF behind the head, its parameters as for clockwork deeplab crf [default: the net's own].",
)
@click.option(
    "--crf-moved",
    type=WholeNumber(0),
    metavar="N",
    help="Begin the CRF with its result on the frame before, moved along the flow, and take N iterations.",
)
@click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N; cuda never falls back."
)
@click.option("--size", type=NET_SIZE, help="Resize frames to this size for the net, not to the bundle's.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    help="Folder for what is asked for below; by itself: overlay, timeline and log; of one picture labels "
    "and overlay.",
)
@click.option("--force", is_flag=True, help="Replace the results of an earlier run in the folder.")
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the run in the folder where it broke off; one that is complete is left as it is.",
)
@click.option(
    "--skip-done", is_flag=True, help="Of several videos, leave alone those that an earlier run completed."
)
@click.option("--shard", type=SHARD, help="Of several videos, the Ith of N parts, for N machines.")
@click.option("--labels", is_flag=True, help="labels/*.png: indexed PNGs at the frame's own size.")
@click.option(
    "--overlay",
    is_flag=True,
    help="overlay.mp4: the labels over the video, with a line of clocks; overlay.png of one picture.",
)
@click.option("--timeline", is_flag=True, help="timeline.png: what fired when.")
@click.option("--log", is_flag=True, help="steps.jsonl: one JSON object per frame.")
@click.option("--report", is_flag=True, help="report.html: one page to show a colleague.")
@click.option("--mat", is_flag=True, help="mat/*_blob_0.mat: the scores, as DeepLab's MatWrite stores them.")
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
@inputs_option
@click.option("--quiet", is_flag=True, help="No progress bar.")
@passes_option
@json_option
def command(
    bundle: Path,
    sources: tuple[str, ...],
    skip_done: bool,
    shard: tuple[int, int] | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Run a BUNDLE over VIDEO: a file, a picture, a folder or glob of them, a camera (0), an rtsp:// address,
    - for standard input.

    Of several, of a folder or glob of videos, and of a list in a text file (NAME.txt, one per line), each is
    played, and its results lie in a folder of its own name in the output folder.
    """
    from runtime.video.sources import list_sources

    request = RunRequest(bundle, sources[0], quiet=quiet or as_json or is_quiet(), **options)
    named = list_sources(sources)
    if [each.source for each in named] != [sources[0]] or skip_done or shard is not None:
        return _run_many(request, shard_of(named, shard), skip_done, as_json)
    with stop_on_signals() as stop:
        summary = _run(request, stop)
    if as_json:
        print_json(summary)
    elif summary.get("already_complete"):
        click.echo(f"{request.folder}: complete already, {summary['frames']} frames")
    else:
        print_summary(summary)
    return 128 + stop.number if summary["interrupted"] and stop.number is not None else 0


def _run_many(request: RunRequest, sources: Sequence[NamedSource], skip_done: bool, as_json: bool) -> int:
    """Play several sources with one player; the exit status."""
    with stop_on_signals() as stop, ExitStack() as stack:
        opened: list[Player | RefinedPlayer] = []

        def run_one(source: str, folder: Path | None, again: bool) -> dict[str, Any]:
            if not opened:
                opened.append(request.open_player())
                stack.callback(opened[0].close)
            opened[0].reset(opened[0].schedule)
            one = replace(request, source=source, folder=folder, force=request.force or again)
            return _run(one, stop, opened[0])

        summary = run_many(sources, request.folder, run_one, skip_done=skip_done)
    if as_json:
        print_json(summary)
    else:
        print_many(summary)
    if summary["interrupted"] and stop.number is not None:
        return 128 + stop.number
    return 2 if summary["failed"] else 0


def _run(asked: RunRequest, stop: Stop, player: Player | RefinedPlayer | None = None) -> dict[str, Any]:
    """Play the source, write what is wanted, and return the summary; the player is opened unless given."""
    with ExitStack() as stack:
        folder = None
        if asked.folder is not None:
            folder = stack.enter_context(RunFolder(asked.folder, asked.mode))
        if player is None:
            player = asked.open_player()
            stack.callback(player.close)
        if folder is None or folder.earlier is None or not asked.resume:
            return _run_from(None, asked, stop, player, folder, None)
        from clockwork_onnx.commands.run_resume import earlier_part

        outputs = asked.wanted(still=False) if asked.is_named else folder.earlier.outputs
        folder.earlier.check_same(RunState(asked.settings(player), outputs), folder.path)
        if folder.earlier.state == "complete":
            return {
                "source": folder.earlier.settings["source"], "frames": folder.earlier.frames,
                "interrupted": False, "already_complete": True,
            }  # fmt: skip
        earlier = earlier_part(folder, outputs, player)
        return _run_from(earlier, asked, stop, player, folder, outputs)


def _run_from(
    earlier: Earlier | None,
    asked: RunRequest,
    stop: Stop,
    player: Player | RefinedPlayer,
    folder: RunFolder | None,
    outputs: tuple[str, ...] | None,
) -> dict[str, Any]:
    """Play from the beginning, or go on where an earlier run broke off, whose outputs are then known."""
    from clockwork_onnx.console import progress
    from runtime.video.shots import mark_shots
    from runtime.video.threads import prefetch

    with ExitStack() as stack:
        reader = stack.enter_context(_open_source(asked, player, earlier))
        if earlier is not None and reader.live is not None:
            raise UsageError("a live source does not come again", file=reader.address, hint="--force")
        if outputs is None:
            outputs = asked.wanted(still=reader.frame_count == 1 and reader.fps is None)
        _announce(asked, player, reader, outputs, earlier)
        written = stack.enter_context(
            RunOutputs(
                folder,
                RunState(asked.settings(player), outputs),
                player,
                reader,
                fps=asked.fps,
                alpha=asked.alpha,
                views={"colours": asked.colours, "line_width": asked.line_width},
                earlier=earlier,
            )
        )
        depth = 4 if reader.live is None else 1  # live frames are to be the newest
        frames = stack.enter_context(closing(prefetch(player.ahead(mark_shots(reader, asked.shots)), depth)))
        began, interrupted = perf_counter(), False
        try:
            steps = _play(player, stop.frames(frames), written, earlier.restart.shot if earlier else 0)
            for _ in progress(steps, total=reader.frame_count, quiet=asked.quiet):
                pass
        except Stopped:
            interrupted = True
        summary = summarise_run(player, written.record, perf_counter() - began, reader, interrupted)
        written.finish(summary)
    summary["outputs"] = {kind: str(path) for kind, path in written.paths.items() if path.exists()}
    return summary


def _announce(
    asked: RunRequest,
    player: Player | RefinedPlayer,
    reader: VideoReader,
    outputs: Sequence[str],
    earlier: Earlier | None,
) -> None:
    """Say on stderr what plays and what a user may miss."""
    from clockwork_onnx.commands.run_player import steps_left_out

    lines = []
    if not asked.quiet:
        lines.append(f"device {player.device} ({player.device.reason}); schedule {player.schedule}")
        lines += steps_left_out(player.bundle.manifest, outputs, asked.crf)
        if earlier is not None:
            lines.append(f"going on at frame {earlier.restart.index}")
    if reader.live is not None and player.schedule.waits and player.schedule.movement is not None:
        lines.append(
            f"clockwork: with {player.schedule} labels of a live source come up to "
            f"{player.schedule.movement.longest} frames late; warp:K does not wait"
        )
    for line in lines:
        click.echo(line, err=True)


def _open_source(asked: RunRequest, player: Player | RefinedPlayer, earlier: Earlier | None) -> VideoReader:
    """The source, from the frame on at which it begins."""
    from runtime.video.bundle_frames import open_frames

    start, most = asked.start, asked.max_frames
    if earlier is not None:
        start = earlier.restart.index
        most = None if most is None else most - earlier.restart.steps
    return open_frames(
        player.bundle.manifest,
        asked.source,
        dict(asked.inputs),
        start=start,
        stride=asked.stride,
        max_frames=most,
        live=asked.live,
        motion=player.reads_motion,
        on_problem=lambda found: click.echo(f"clockwork: {found}", err=True),
    )


def _play(
    player: Player | RefinedPlayer, frames: Any, outputs: RunOutputs, first_shot: int
) -> Iterator[Step]:
    """Play and write; each frame is kept until its step comes out."""
    kept: dict[int, Frame] = {}

    def keep() -> Iterator[Any]:
        for frame in frames:
            kept[frame.index] = frame
            yield frame

    for step in player.play(keep(), first_shot=first_shot):
        outputs.write(step, kept.pop(step.index))
        yield step
