"""A progress bar on the terminal: frames done, frames a second, time left."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

__all__ = ["ProgressBar"]


class _FrameRate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} frames/s", style="progress.data.speed")


class ProgressBar:
    """Shows how far a run has come, on stderr; use it in a `with` and call `advance` a frame.

    `total`: number of frames, None where it is unknown. Nothing is drawn if `quiet`, or if stderr is
    no terminal, so that logs stay clean.
    """

    def __init__(self, total: int | None, description: str = "", *, quiet: bool = False) -> None:
        self._console = Console(stderr=True)
        count = "{task.completed}" if total is None else "{task.completed} of {task.total}"
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn(count + " frames"),
            _FrameRate(),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._bar.add_task(description, total=total)

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, frames: int = 1) -> None:
        """Counts `frames` more as done."""
        self._bar.advance(self._task, frames)

    def note(self, text: str) -> None:
        """Prints a line on stderr, above the bar where there is one."""
        if self._bar.disable:
            print(text, file=sys.stderr)
        else:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
