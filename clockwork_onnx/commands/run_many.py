"""`clockwork run` over several videos: one open player, a folder for each video, one summary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clockwork_onnx.commands.run_folder import read_state
from weights.errors import ClockworkError, UsageError

if TYPE_CHECKING:
    from runtime.video.sources import NamedSource

__all__ = ["print_many", "run_many", "shard_of"]

SKIPPED, DONE, FAILED = "skipped", "done", "failed"

RunOne = Callable[[str, Path | None, bool], dict[str, Any]]
"""Plays one source into a folder, over an unfinished earlier run where the last is true."""


def shard_of(sources: Sequence[NamedSource], shard: tuple[int, int] | None) -> tuple[NamedSource, ...]:
    """The Ith of N parts of the sources, I from 1: every Nth one, so that neighbours part."""
    if shard is None:
        return tuple(sources)
    number, count = shard
    return tuple(sources[number - 1 :: count])


def run_many(
    sources: Sequence[NamedSource], folder: Path | None, run_one: RunOne, *, skip_done: bool
) -> dict[str, Any]:
    """Play sources one after the other. One that fails is said, and the others go on.

    Args:
        sources: What is played.
        folder: Where each gets a folder of its name; None: nothing is written.
        run_one: Plays one.
        skip_done: Leave alone what an earlier run has completed, and do again what it has not.

    Returns:
        The summary as JSON data.
    """
    if skip_done and folder is None:
        raise UsageError("what has been done?", found="--skip-done", expected="-o FOLDER with it")
    videos: list[dict[str, Any]] = []
    interrupted = False
    for position, each in enumerate(sources, 1):
        target = folder / each.name if folder is not None else None
        entry: dict[str, Any] = {"name": each.name, "folder": str(target) if target is not None else None}
        videos.append(entry)
        try:
            earlier = read_state(target) if skip_done and target is not None else None
            if earlier is not None and earlier.state == "complete":
                entry |= {"status": SKIPPED, "frames": earlier.frames}
                continue
            click.echo(f"[{position}/{len(sources)}] {each.name}", err=True)
            entry |= {"status": DONE, **run_one(each.source, target, earlier is not None)}
        except ClockworkError as error:
            entry |= {"status": FAILED, "error": str(error)}
            click.echo(f"clockwork: error: {error}", err=True)
            continue
        if entry["interrupted"]:
            interrupted = True
            break
    played = [entry for entry in videos if entry["status"] == DONE]
    return {
        "videos": videos,
        "frames": sum(entry["frames"] for entry in played),
        "seconds": sum(entry["seconds"] for entry in played),
        **{word: sum(entry["status"] == word for entry in videos) for word in (DONE, SKIPPED, FAILED)},
        "left": len(sources) - len(videos),
        "interrupted": interrupted,
    }


def print_many(summary: dict[str, Any]) -> None:
    """The summary as people read it."""
    from rich.table import Table

    from clockwork_onnx.console import stdout_console

    console = stdout_console()
    table = Table(box=None, pad_edge=False)
    for name in ("video", "frames", "frames/s", "work", "problems", ""):
        table.add_column(name, justify="left" if name in ("video", "") else "right")
    for entry in summary["videos"]:
        rate, work = entry.get("frames_per_second"), entry.get("macs_of_oracle")
        table.add_row(
            entry["name"],
            str(entry.get("frames", "")),
            f"{rate:.1f}" if rate else "",
            f"{work:.0%}" if work is not None else "",
            str(len(entry["problems"]) or "") if "problems" in entry else "",
            "" if entry["status"] == DONE else entry["status"],
        )
    console.print(table)
    left = f", {summary['left']} left" if summary["left"] else ""
    console.print(
        f"videos   {summary['done']} done, {summary['skipped']} skipped, {summary['failed']} failed{left}; "
        f"{summary['frames']} frames in {summary['seconds']:.1f} s"
    )
