"""clockwork run: a bundle over a video, with the pictures and logs that people and programs want."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from clockwork_onnx.console import stdout_console
from clockwork_onnx.options import RATE, WholeNumber, json_option, print_json
from runtime.report.overlay import Overlay
from runtime.report.run_record import RunRecord
from runtime.report.samples import Sample, SampleKeeper, with_oracle
from staged_onnx.palettes import Classes
from weights.errors import UsageError
from weights.whole_file import locked_folder

if TYPE_CHECKING:
    import numpy as np

    from runtime.player import Player
    from runtime.step import Step
    from runtime.video.reader import VideoReader

FALLBACK_FPS = Fraction(15)
"""For image folders, which have no rate of their own."""


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
@click.option("--log", is_flag=True, help="steps.jsonl: one JSON object a frame.")
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
def command(
    bundle: Path,
    source: str,
    schedule: str | None,
    signal: str | None,
    device: str,
    folder: Path | None,
    labels: bool,
    overlay: bool,
    timeline: bool,
    log: bool,
    report: bool,
    views: bool,
    colours: str,
    line_width: float,
    alpha: float,
    start: int,
    stride: int,
    max_frames: int | None,
    live: str | None,
    shots: str | None,
    fps: Fraction | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run a BUNDLE over VIDEO: a file, a picture, a folder or glob of them, camera:0, an rtsp:// address."""
    import runtime
    from clockwork_onnx.console import progress
    from runtime.video.reader import open_video
    from runtime.video.shots import mark_shots
    from runtime.video.threads import prefetch

    wanted = {
        "labels": labels,
        "overlay": overlay,
        "timeline": timeline,
        "log": log,
        "report": report,
        "views": views,
    }
    if any(wanted.values()) and folder is None:
        raise UsageError(
            "where should it be written?",
            found=", ".join(f"--{k}" for k, v in wanted.items() if v),
            expected="-o FOLDER with them",
        )
    by_default = folder is not None and not any(wanted.values())
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UsageError("not a folder", file=folder, expected="a folder, or a new path")

    def problem(found: object) -> None:
        click.echo(f"clockwork: {found}", err=True)

    with ExitStack() as stack:
        player = stack.enter_context(runtime.open(bundle, device=device, schedule=schedule, signal=signal))
        reader = stack.enter_context(
            open_video(
                source, start=start, stride=stride, max_frames=max_frames, live=live, on_problem=problem
            )
        )
        if not quiet and not as_json:
            click.echo(
                f"device {player.device} ({player.device.reason}); schedule {player.schedule}", err=True
            )
        still = reader.frame_count == 1 and reader.fps is None
        if by_default:
            wanted.update({"labels": True, "overlay": True} if still else
                          {"overlay": True, "timeline": True, "log": True})  # fmt: skip
        outputs = stack.enter_context(_Outputs(folder, wanted, player, reader, fps, alpha))
        outputs.view_options = {"colours": colours, "line_width": line_width}
        depth = 4 if reader.live is None else 1  # live frames are to be the newest
        frames = stack.enter_context(closing(prefetch(player.ahead(mark_shots(reader, shots)), depth)))
        steps = _play(player, frames, outputs)
        began = perf_counter()
        interrupted = False
        try:
            for _ in progress(steps, total=reader.frame_count, quiet=quiet or as_json):
                pass
        except KeyboardInterrupt:
            interrupted = True
        seconds = perf_counter() - began
        summary = _summary(player, outputs, seconds, reader, interrupted)
        outputs.finish(summary)
    summary["outputs"] = {kind: str(path) for kind, path in outputs.paths.items() if path.exists()}
    if as_json:
        print_json(summary)
    else:
        _print(summary)
    return 130 if interrupted else 0


def _play(player: Player, frames: Any, outputs: _Outputs) -> Iterator[Step]:
    """Play and write; the image of each frame is kept until its step comes out."""
    images: dict[int, np.ndarray] = {}

    def keep() -> Iterator[Any]:
        for frame in frames:
            images[frame.index] = frame.image
            yield frame

    for step in player.play(keep()):
        outputs.write(step, images.pop(step.index))
        yield step


class _Outputs:
    """Opens each writer at the first step, so that bad input leaves nothing behind."""

    def __init__(
        self,
        folder: Path | None,
        wanted: dict[str, bool],
        player: Player,
        reader: VideoReader,
        fps: Fraction | None,
        alpha: float,
    ) -> None:
        still = reader.frame_count == 1 and reader.fps is None
        names = {
            "labels": "labels",
            "overlay": "overlay.png" if still else "overlay.mp4",
            "timeline": "timeline.png",
            "log": "steps.jsonl",
            "report": "report.html",
            "views": "views",
        }
        self.view_options: dict[str, Any] = {}
        self._folder = folder
        self.paths = {kind: folder / names[kind] for kind, on in wanted.items() if on and folder is not None}
        self.player = player
        self.fps = fps or reader.fps or FALLBACK_FPS
        self._forced = fps is not None
        manifest = player.bundle.manifest
        classes = Classes(manifest.class_names, manifest.palette)
        self._overlay = Overlay(classes, tuple(s.name for s in (*manifest.stages, manifest.head)), alpha)
        self._classes, self._alpha = classes, alpha
        self.record = RunRecord()
        self._samples = SampleKeeper()
        self._stack = ExitStack()
        self._writers: dict[str, Any] = {}

    def __enter__(self) -> _Outputs:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def write(self, step: Step, image: np.ndarray) -> None:
        """Write one step; it is counted, not kept."""
        if not self.record.frames:
            self._open(step, image)
        if "labels" in self._writers:
            self._writers["labels"].write(step.labels, step.name)
        if "log" in self._writers:
            self._writers["log"].write(step)
        if "views" in self._writers:
            self._writers["views"].write(image, step.labels, Path(step.name or f"{step.index:06d}").stem)
        if "overlay" in self.paths and "overlay" not in self._writers:
            _write_picture(self.paths["overlay"], self._overlay.blended(image, step.labels))
        if "overlay" in self._writers:
            picture = self._overlay.draw(image, step.labels, step)
            self._writers["overlay"].write(picture, None if self._forced else step.time)
        if "report" in self.paths:
            self._samples.add(step, image, step.labels)
        self.record.add(step)

    def _open(self, step: Step, image: np.ndarray) -> None:
        from runtime.report.step_log import StepLog
        from runtime.video.writer import LabelWriter, VideoWriter

        for path in self.paths.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        if self._folder is not None:
            # Two runs into one folder would mix their files.
            self._stack.enter_context(locked_folder(self._folder))
        manifest = self.player.bundle.manifest
        if "labels" in self.paths:
            self._writers["labels"] = self._stack.enter_context(
                LabelWriter(self.paths["labels"], manifest.palette)
            )
        if "views" in self.paths:
            from clockwork_onnx.digits.view_writer import ViewWriter

            classes = Classes(manifest.class_names, manifest.palette)
            self._writers["views"] = ViewWriter(self.paths["views"], classes, **self.view_options)
        if "log" in self.paths:
            self._writers["log"] = self._stack.enter_context(StepLog(self.paths["log"]))
        if "overlay" in self.paths and self.paths["overlay"].suffix == ".mp4":
            size = self._overlay.draw(image, step.labels, step).shape[:2]
            self._writers["overlay"] = self._stack.enter_context(
                VideoWriter(self.paths["overlay"], self.fps, size)
            )

    def finish(self, summary: dict[str, Any]) -> None:
        """Draw what needs the whole run."""
        from runtime.report.page import write_report
        from runtime.report.timeline import draw_timeline

        if "views" in self._writers:
            self._writers["views"].finish(str(summary["source"]), f"{summary['schedule']}")
        theta = _theta(self.player)
        if "timeline" in self.paths and self.record.frames:
            draw_timeline(self.record, self.paths["timeline"], theta=theta, title=summary["schedule"])
        if "report" in self.paths and self.record.frames:
            samples = self._beside_the_oracle(summary)
            write_report(
                self.paths["report"],
                self.record,
                summary,
                samples,
                classes=self._classes,
                theta=theta,
                alpha=self._alpha,
            )

    def _beside_the_oracle(self, summary: dict[str, Any]) -> list[Sample]:
        """The frames to show, and the oracle run on them where some are stale; what that cost is said."""
        from runtime.measure.oracle import oracle_labels

        samples = self._samples.samples()
        if all(sample.age == 0 for sample in samples):
            return samples
        began = perf_counter()
        labels = oracle_labels(self.player, [sample.image for sample in samples])
        summary["oracle_samples"] = {"frames": len(samples), "seconds": perf_counter() - began}
        return with_oracle(samples, labels)


def _theta(player: Player) -> float | None:
    """The threshold of the first clock that has one."""
    thetas = (getattr(clock, "theta", None) for clock in player.schedule.clocks)
    return next((theta for theta in thetas if theta is not None), None)


def _write_picture(path: Path, picture: np.ndarray) -> None:
    from PIL import Image

    from weights.whole_file import whole_file

    with whole_file(path) as partial:
        Image.fromarray(picture).save(partial, "PNG")


def _summary(
    player: Player, outputs: _Outputs, seconds: float, reader: VideoReader, interrupted: bool
) -> dict[str, Any]:
    manifest, record = player.bundle.manifest, outputs.record
    macs = {stage.name: stage.macs for stage in (*manifest.stages, manifest.head)}
    frames = record.frames
    per_frame = sum(macs[name] * count for name, count in record.fires.items() if name in macs) / max(
        1, frames
    )
    return {
        "source": reader.address, "frames": frames, "shots": record.shots,
        "schedule": str(player.schedule), "device": str(player.device), "interrupted": interrupted,
        "seconds": seconds,
        "frames_per_second": frames / seconds if seconds else None,
        "fires": {name: record.fires[name] for name in macs},
        "mean_ms": {name: ms.sum / max(1, record.fires[name] if name in macs else frames)
                    for name, ms in record.ms.items()},
        "macs_per_frame": per_frame, "macs_of_oracle": per_frame / max(1, manifest.macs),
        "mean_age": {s.name: record.mean_age(s.name) or 0.0 for s in manifest.stages},
        "mean_signal": record.mean_signal, "signals_that_are_no_numbers": record.no_numbers,
        "live": None if reader.live is None else reader.live.to_json(), "frames_left_out": reader.left_out,
        "problems": [str(problem) for problem in reader.problems],
    }  # fmt: skip


def _print(summary: dict[str, Any]) -> None:
    from rich.table import Table

    console = stdout_console()
    table = Table(box=None, pad_edge=False)
    for head in ("stage", "fires", "share", "mean age", "ms"):
        table.add_column(head, justify="left" if head == "stage" else "right")
    frames = max(1, summary["frames"])
    for name, fires in summary["fires"].items():
        age = summary["mean_age"].get(name)
        ms = summary["mean_ms"].get(name)
        table.add_row(
            name,
            str(fires),
            f"{fires / frames:.0%}",
            "" if age is None else f"{age:.2f}",
            "" if ms is None else f"{ms:.2f}",
        )
    console.print(table)
    others = {name: ms for name, ms in summary["mean_ms"].items() if name not in (*summary["fires"], "total")}
    if others:
        shown = ", ".join(f"{name} {ms:.2f}" for name, ms in sorted(others.items()))
        console.print(f"beside the stages, ms a frame: {shown}")
    rate = summary["frames_per_second"]
    console.print(
        f"{summary['frames']} frames in {summary['seconds']:.1f} s"
        + (f" ({rate:.1f} frames/s)" if rate else "")
        + f", {summary['macs_of_oracle']:.0%} of the oracle's multiply-accumulates; "
        f"{summary['schedule']} on {summary['device']}",
    )
    if summary["live"] is not None:
        counts = summary["live"]
        console.print(
            f"live: {counts['received']} frames received, {counts['dropped']} dropped, "
            f"{counts['reconnections']} reconnections; waited {counts['mean_wait_ms']:.1f} ms on average, "
            f"{counts['longest_wait_ms']:.1f} ms at most"
        )
    if summary["problems"]:
        count, left_out = len(summary["problems"]), summary["frames_left_out"]
        console.print(
            f"{count} problem{'s' if count != 1 else ''}, {left_out} frame{'s' if left_out != 1 else ''} "
            f"left out; the first: {summary['problems'][0]}"
        )
    for path in summary["outputs"].values():
        console.print(f"wrote {path}")
