"""What the commands of this room share: the progress bar and some options."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from evaluation.runs import Watch
from evaluation.scoring import StepSeen
from weights.errors import UsageError
from weights.whole_file import file_in_the_way

__all__ = ["Bar", "check_folders", "device_option", "times_option"]

Command = TypeVar("Command", bound=Callable[..., Any])


def device_option(command: Command) -> Command:
    """`--device`: where the stages run."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        help="auto, cpu, cuda or cuda:N; cuda never falls back.",
    )(command)


def times_option(command: Command) -> Command:
    """`--no-times`: leave measured times out, so that every run gives the same."""
    return click.option(
        "--no-times", is_flag=True, help="Leave measured times out: the rest is the same in every run."
    )(command)


def check_folders(*folders: Path | None) -> None:
    """Refuse a place for results that is a file, or lies below one, before any work is done for it."""
    for folder in folders:
        file = file_in_the_way(folder) if folder is not None else None
        if file is not None:
            raise UsageError("not a folder", file=file, expected="a folder, or a new path")


class Bar:
    """A progress bar on stderr, where that is a terminal."""

    def __init__(self, total: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._progress.add_task("", total=total)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def watch(self, schedule: str) -> Watch:
        """What moves the bar on by one frame a step."""

        def advance(seen: StepSeen) -> None:
            del seen
            self._progress.update(self._task, advance=1, description=schedule)

        return advance
