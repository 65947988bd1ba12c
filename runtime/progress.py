"""A progress bar on the terminal: frames done, frames a second, time left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

__all__ = ["progress"]

T = TypeVar("T")


class _FrameRate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} frames/s", style="progress.data.speed")


def progress(
    items: Iterable[T], total: int | None = None, *, quiet: bool = False, description: str = ""
) -> Iterator[T]:
    """The items, one a frame, with a bar on stderr that counts them while they are used up.

    `total`: how many there will be, None where that is unknown. Nothing is drawn if `quiet`, or if
    stderr is no terminal, so that logs stay clean. Lines printed meanwhile appear above the bar.
    """
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield from items
        return
    count = "{task.completed}" if total is None else "{task.completed} of {task.total}"
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn(count + " frames"),
        _FrameRate(),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task(description, total=total)
        for item in items:
            yield item
            bar.advance(task)
