"""How far an earlier run in a folder came, and where it can go on.

A frame is finished when every file that grows frame by frame has it: the log, the label map, the overlay.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from clockwork_onnx.commands.run_folder import OLD, RunFolder
from runtime.report.step_log import StepRecord, finished_steps
from runtime.schedule.restart import Restart, RestartFinder
from weights.errors import VideoError
from weights.whole_file import growing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runtime.densecrf.playing import RefinedPlayer
    from runtime.player import Player

__all__ = ["Earlier", "earlier_part"]


@dataclass(frozen=True)
class Earlier:
    """What an earlier run left that stays.

    restart: where to go on; the frame there is finished. log: the steps so far, `bytes` of which stay.
    overlay: the frames so far, None where there is no overlay.
    """

    restart: Restart
    log: Path
    bytes: int
    overlay: Path | None

    def steps(self) -> Iterator[StepRecord]:
        """The steps that stay."""
        return (step for step, _ in islice(finished_steps(self.log), self.restart.steps + 1))


def earlier_part(folder: RunFolder, outputs: Sequence[str], player: Player | RefinedPlayer) -> Earlier | None:
    """What stays of the run that broke off.

    The log and the overlay get the names of files that grow.

    Args:
        folder: The run's folder.
        outputs: Which files the run writes.
        player: Has the schedule that is to go on.

    Returns:
        What stays; None where the run has to begin anew, that is where nothing is finished, and for
        `--report` and `--views`, which are made of frames of the whole run that are not kept.
    """
    log = growing(folder.log)
    if not log.exists() and folder.log.exists():
        folder.log.rename(log)
    if {"report", "views"} & set(outputs):
        return None
    overlay, drawn = _overlay(folder.path) if "overlay" in outputs else (None, None)
    finder = RestartFinder(player.schedule, player.bundle.manifest)
    found, kept, before = None, 0, None
    for count, (step, end) in enumerate(finished_steps(log)):
        if drawn is not None and count >= drawn:
            break
        if "labels" in outputs and not (folder.path / "labels" / f"{step.name}.png").is_file():
            break
        if "mat" in outputs and not (folder.path / "mat" / f"{step.name}_blob_0.mat").is_file():
            break
        finder.add(step)
        if finder.last != before:
            found, kept, before = finder.last, end, finder.last
    return None if found is None else Earlier(found, log, kept, overlay)


def _overlay(folder: Path) -> tuple[Path | None, int | None]:
    """The overlay of which most can be played, under the name of an old one, and its number of frames.

    A picture in place of a video is drawn at the first frame: that it is there says that it is whole.
    """
    if (folder / "overlay.png").exists():
        return None, None
    name = folder / "overlay.mp4"
    old = name.with_name(f"overlay{OLD}.mp4")
    frames, best = max((_frames(path), path) for path in (old, name, growing(name)))
    if frames and best != old:
        best.replace(old)
    return (old if frames else None), frames


def _frames(path: Path) -> int:
    """How many frames of a video can be read until something is wrong."""
    from runtime.video.reader import open_video

    count = 0
    try:
        with open_video(path) as frames:
            for _ in frames:
                if frames.problems:
                    break
                count += 1
    except VideoError:
        pass
    return count
