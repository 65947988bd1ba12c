"""Whole runs, from a video to label maps on disk: one schedule against another, and where the time goes."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from runtime.player import Player
from runtime.schedule.grammar import parse_schedule
from runtime.sessions.device import Device
from runtime.step import Step
from runtime.video.bundle_frames import open_frames
from runtime.video.reader import VideoReader
from runtime.video.threads import prefetch
from runtime.video.writer import LabelWriter
from staged_onnx import Bundle
from weights.errors import UsageError

__all__ = ["PARTS", "WholeRun", "whole_runs"]

PARTS = ("decode", "flow", "warp", "network", "write")
"""Parts of a run. "flow" is the optical flow's estimation, "warp" all else that moving values takes. Decoding
and flow are done by one thread, writing by another, network and warp by a third: their times overlap."""
_FLOW, _WARP = "flow", frozenset({"path", "residual", "transform", "labels"})


@dataclass(frozen=True)
class WholeRun:
    """What one schedule took.

    frames: of one round. seconds: of one round, the mean. fps: frames per second, from the source to the last
    file written. throughput: times the first schedule's, the median over the rounds. ms: milliseconds per
    frame of each of PARTS, whichever thread did it.
    """

    schedule: str
    frames: int
    seconds: float
    fps: float
    throughput: float
    ms: dict[str, float]


def whole_runs(
    bundle: Bundle,
    device: Device,
    schedules: Sequence[str],
    source: str,
    *,
    more: Mapping[str, str] | None = None,
    rounds: int = 1,
    max_frames: int | None = None,
    signal: str | None = None,
) -> tuple[WholeRun, ...]:
    """Run a video through each schedule, in turns, and write the label maps to a temporary folder.

    Opening sessions is not counted.

    Args:
        bundle: The bundle.
        device: Where it runs.
        schedules: The schedules, as text.
        source: The video, as for `open_frames`.
        more: The sources of the other pictures of a frame, as for `open_frames`.
        rounds: How often each schedule has its turn.
        max_frames: Frames that are played at most.
        signal: The value that adaptive clocks watch, by default the bundle's.

    Returns:
        What each schedule took, in the order of `schedules`.

    Raises:
        UsageError: The source has no frames.
        ClockworkError: Whatever else playing raises.
    """
    with ExitStack() as stack:
        players = []
        for schedule in schedules:
            plan = parse_schedule(schedule, bundle.manifest, signal=signal)
            players.append(stack.enter_context(closing(Player(bundle, device, plan))))
            motion = players[-1].reads_motion
            with open_frames(bundle.manifest, source, more, max_frames=2, motion=motion) as reader:
                if not list(players[-1].play(reader)):
                    raise UsageError("no frames to run", file=source)
        rows = [[_run(player, source, more, max_frames) for player in players] for _ in range(rounds)]
    return tuple(
        _of(str(player.schedule), [row[i] for row in rows], [row[0]["seconds"] for row in rows])
        for i, player in enumerate(players)
    )


def _of(schedule: str, taken: Sequence[Mapping[str, float]], first: Sequence[float]) -> WholeRun:
    """Of one schedule's rounds, and the seconds of the first one's in the same rounds."""
    frames = sum(turn["frames"] for turn in taken)
    seconds = sum(turn["seconds"] for turn in taken)
    throughput = median(theirs / mine["seconds"] for mine, theirs in zip(taken, first, strict=True))
    ms = {part: sum(turn.get(part, 0.0) for turn in taken) / frames * 1e3 for part in PARTS}
    return WholeRun(
        schedule, int(frames) // len(taken), seconds / len(taken), frames / seconds, throughput, ms
    )


def _run(
    player: Player, source: str, more: Mapping[str, str] | None, max_frames: int | None
) -> dict[str, float]:
    """Seconds by part, in all, and the number of frames."""
    spent = defaultdict[str, float](float)
    with tempfile.TemporaryDirectory(prefix="clockwork-bench-") as folder:
        start = time.perf_counter()
        manifest, motion = player.bundle.manifest, player.reads_motion
        with open_frames(manifest, source, more, max_frames=max_frames, motion=motion) as reader:
            writer = LabelWriter(Path(folder) / "labels", player.bundle.manifest.palette)
            with writer, closing(prefetch(player.ahead(_timed(reader, spent)))) as frames:
                for step in player.play(frames):
                    writer.write(step.labels, step.name)
                    _count(step, spent)
        spent["seconds"] = time.perf_counter() - start
        spent["write"] = writer.busy
    return spent


def _timed(reader: VideoReader, spent: dict[str, float]) -> Iterator[object]:
    """The frames, with the time that reading them takes."""
    frames = iter(reader)
    while True:
        start = time.perf_counter()
        frame = next(frames, None)
        spent["decode"] += time.perf_counter() - start
        if frame is None:
            return
        yield frame


def _count(step: Step, spent: dict[str, float]) -> None:
    spent["frames"] += 1
    for name, ms in step.ms.items():
        if name != "total":
            moving = "warp" if name in _WARP else "network"
            spent[_FLOW if name == _FLOW else moving] += ms / 1e3
