"""What `clockwork run` says at the end: counts, times, shares, and what went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clockwork_onnx.console import stdout_console

if TYPE_CHECKING:
    from rich.console import Console

    from runtime.densecrf.playing import RefinedPlayer
    from runtime.player import Player
    from runtime.report.run_record import RunRecord
    from runtime.video.reader import VideoReader

__all__ = ["flow_sentence", "print_summary", "summarise_run"]


def summarise_run(
    player: Player | RefinedPlayer, record: RunRecord, seconds: float, reader: VideoReader, interrupted: bool
) -> dict[str, Any]:
    """The run as JSON data.

    Args:
        player: What played it.
        record: What it counted and timed.
        seconds: How long it took.
        reader: What it read.
        interrupted: Whether it was ended before the video.

    Returns:
        JSON values by name; what could not be measured is None.
    """
    manifest = player.bundle.manifest
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
        "mean_delay": record.delay_sum / max(1, frames), "longest_delay": record.longest_delay,
        "flow_from": player.flow_counts,
        "live": None if reader.live is None else reader.live.to_json(), "frames_left_out": reader.left_out,
        "problems": [str(problem) for problem in reader.problems],
    }  # fmt: skip


def print_summary(summary: dict[str, Any]) -> None:
    """The run as people read it."""
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
        console.print(f"beside the stages, ms per frame: {shown}")
    rate = summary["frames_per_second"]
    console.print(
        f"{summary['frames']} frames in {summary['seconds']:.1f} s"
        + (f" ({rate:.1f} frames/s)" if rate else "")
        + f", {summary['macs_of_oracle']:.0%} of the oracle's multiply-accumulates; "
        f"{summary['schedule']} on {summary['device']}",
    )
    if summary["longest_delay"]:
        console.print(
            f"labels waited for the next key frame: {summary['mean_delay']:.1f} frames on average, "
            f"{summary['longest_delay']} at most"
        )
    if summary["flow_from"]:
        console.print(flow_sentence(summary["flow_from"]))
    _print_problems(console, summary)
    for path in summary["outputs"].values():
        console.print(f"wrote {path}")


def flow_sentence(counts: dict[str, int]) -> str:
    """From where the flow came with `@flow=codec`, and why not from the stream.

    Args:
        counts: As `Player.flow_counts`.

    Returns:
        One sentence.
    """
    from runtime.flow.codec import FROM_STREAM

    others = {reason: count for reason, count in counts.items() if reason != FROM_STREAM}
    estimated = sum(others.values())
    text = f"flow of {counts.get(FROM_STREAM, 0)} frames from the stream's motion vectors"
    if not estimated:
        return text
    reasons = ", ".join(
        f"{reason} ({count})" for reason, count in sorted(others.items(), key=lambda r: -r[1])
    )
    return f"{text}, of {estimated} estimated from the pictures: {reasons}"


def _print_problems(console: Console, summary: dict[str, Any]) -> None:
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
