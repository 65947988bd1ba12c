"""What it brings to estimate flow while the network runs, and what a key frame pays for it.

One video, each schedule in turns: once with the flow made where the labels need it ("in line"), once ahead,
in the reader's thread. Printed: the median milliseconds from one frame's labels to the next one's, for key
frames and for the others, and frames a second.

    python benchmarks/flow_overlap.py net.staged VIDEO [--schedule warp:8 ...] [--threads 1] [--rounds 3]
"""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from dataclasses import dataclass, field
from statistics import median

import runtime
from runtime.background import prefetch
from runtime.video import open_video


@dataclass
class Times:
    """Milliseconds by frame."""

    key: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)
    frames: int = 0
    seconds: float = 0.0


def play(player: runtime.Player, source: str, ahead: bool, times: Times) -> None:
    """One run; the first frame's time is not noted."""
    deepest = player.bundle.manifest.stages[-1].name
    with open_video(source) as reader, closing(prefetch(player.ahead(reader) if ahead else reader)) as frames:
        began = last = time.perf_counter()
        for number, step in enumerate(player.play(frames)):
            now = time.perf_counter()
            if number:
                (times.key if deepest in step.fired else times.between).append((now - last) * 1e3)
            last = now
            times.frames += 1
        times.seconds += last - began


def main() -> None:
    """Print one line a schedule and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("video")
    parser.add_argument("--schedule", action="append")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print(f"{'schedule':28s} {'flow':8s} {'key frame':>10s} {'others':>8s} {'frames/s':>9s}")
    for schedule in given.schedule or ["warp:8", "warp:adaptive:0.2"]:
        found = {False: Times(), True: Times()}
        with runtime.open(given.bundle, device="cpu", schedule=schedule, threads=given.threads) as player:
            for _ in range(given.rounds):
                for ahead, times in found.items():
                    play(player, given.video, ahead, times)
        for ahead, times in found.items():
            print(
                f"{schedule:28s} {'ahead' if ahead else 'in line':8s} {median(times.key):10.1f} "
                f"{median(times.between):8.1f} {times.frames / times.seconds:9.1f}"
            )


if __name__ == "__main__":
    main()
