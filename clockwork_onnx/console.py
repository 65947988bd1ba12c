"""What the commands print: tables on standard output, and one progress bar on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import click

from clockwork_onnx.settings import is_quiet
from weights.shown import visible

if TYPE_CHECKING:
    from rich.console import Console

    from clockwork_onnx.evaluation.scoring.runs import Watch

__all__ = ["PIPE_WIDTH", "FrameBar", "progress", "stdout_console"]

PIPE_WIDTH = 4000
"""Columns of a pipe or a file, in which nothing is to be cut or wrapped; rich would take 80."""

BEAT = 30.0
"""Seconds between two lines on a long job without a terminal."""

T = TypeVar("T")


def stdout_console() -> Console:
    """Standard output without highlighting and markup: what is printed may hold names out of files.

    Whatever a terminal would act upon in a text is shown as an escape; only rich itself moves the cursor.
    """
    from rich.console import Console
    from rich.segment import Segment

    class SafeConsole(Console):
        def render(self, *arguments: Any, **options: Any) -> Iterator[Segment]:
            for segment in super().render(*arguments, **options):
                yield segment if segment.control else Segment(visible(segment.text), segment.style)

    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return SafeConsole(width=width, highlight=False, markup=False)


class _Heartbeat:
    """A line now and then on a long job that nobody watches: frames done, their rate, time left."""

    def __init__(self, total: int | None, what: str) -> None:
        self._total, self._what = total, what
        self._done = 0
        self._began = self._said = monotonic()

    def frame(self, what: str | None = None) -> None:
        """One frame is done."""
        self._done += 1
        self._what = what if what is not None else self._what
        now = monotonic()
        if now - self._said < BEAT:
            return
        self._said = now
        rate = self._done / (now - self._began)
        of = f" of {self._total}" if self._total is not None else ""
        left = f", {(self._total - self._done) / rate / 60:.1f} min left" if self._total is not None else ""
        what = f"{self._what}: " if self._what else ""
        click.echo(f"clockwork: {what}{self._done}{of} frames, {rate:.1f} frames/s{left}", err=True)


class FrameBar:
    """A progress bar on standard error: frames done, frames per second, time left.

    Where standard error is not a terminal, a line every half minute takes its place, so that logs stay short.
    Nothing is drawn where `quiet`. Lines printed meanwhile appear above the bar.

    Args:
        total: How many frames there will be; None where that is unknown.
        quiet: Draw nothing.
        description: What stands before the bar.
    """

    def __init__(self, total: int | None = None, *, quiet: bool = False, description: str = "") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        count = "{task.completed}" if total is None else "{task.completed} of {task.total}"
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn(count + " frames"),
            TextColumn("{task.fields[rate]}", style="progress.data.speed"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=quiet or is_quiet() or not console.is_terminal,
        )
        self._task = self._progress.add_task(description, total=total, rate="")
        self._beat = None if quiet or is_quiet() or console.is_terminal else _Heartbeat(total, description)

    def __enter__(self) -> FrameBar:
        if not self._progress.disable:  # rich before 14.2 ends a bar that it does not draw with a blank line
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._progress.disable:
            self._progress.stop()

    def advance(self, description: str | None = None) -> None:
        """One frame is done; `description` replaces what stands before the bar."""
        if self._beat is not None:
            self._beat.frame(description)
        if self._progress.disable:
            return
        task = self._progress.tasks[0]
        speed = task.finished_speed or task.speed
        rate = "" if speed is None else f"{speed:.1f} frames/s"
        self._progress.update(self._task, advance=1, description=description, rate=rate)

    def watch(self, schedule: str) -> Watch:
        """A watcher for the steps of a schedule: moves the bar on by one frame per step."""
        return lambda seen: self.advance(schedule)


def progress(
    items: Iterable[T], total: int | None = None, *, quiet: bool = False, description: str = ""
) -> Iterator[T]:
    """The items, one per frame, with a `FrameBar` that counts them as they are used up.

    Args:
        items: The items.
        total: How many there will be, where that is known.
        quiet: Show nothing.
        description: What stands before the bar.

    Yields:
        Each item.
    """
    with FrameBar(total, quiet=quiet, description=description) as bar:
        for item in items:
            yield item
            bar.advance()
