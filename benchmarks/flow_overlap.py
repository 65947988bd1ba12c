"""What it brings to estimate flow while the network runs, and what a key frame pays for it.

One video, each schedule in turns: once with the flow made where the labels need it ("in line"), once ahead,
in the reader's thread. Printed: the median milliseconds from one frame's labels to the next one's, for key
frames and for the others, what of it was not spent in the stages, and frames per second.

    python benchmarks/flow_overlap.py net.staged VIDEO [--schedule warp:8 ...] [--threads 1] [--rounds 3]
"""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from dataclasses import dataclass, field
from statistics import median

import runtime
from runtime.video.reader import open_video
from runtime.video.threads import prefetch


@dataclass
class Times:
    """Milliseconds by frame: all of them, and those that were not spent in the stages and the head."""

    key: list[tuple[float, float]] = field(default_factory=list)
    between: list[tuple[float, float]] = field(default_factory=list)
    frames: int = 0
    seconds: float = 0.0


def play(player: runtime.Player, source: str, ahead: bool, times: Times) -> None:
    """One run; the first frame's time is not noted."""
    manifest = player.bundle.manifest
    network = [part.name for part in (*manifest.stages, manifest.head)]
    with open_video(source) as reader, closing(prefetch(player.ahead(reader) if ahead else reader)) as frames:
        began = last = time.perf_counter()
        for number, step in enumerate(player.play(frames)):
            now = time.perf_counter()
            if number:
                whole = (now - last) * 1e3
                kind = times.key if manifest.stages[-1].name in step.fired else times.between
                kind.append((whole, whole - sum(step.ms.get(name, 0.0) for name in network)))
            last = now
            times.frames += 1
        times.seconds += last - began


def main() -> None:
    """Print one line per schedule and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("video")
    parser.add_argument("--schedule", action="append")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print(f"{'schedule':36s} {'flow':8s} {'key frame':>9s} {'not net':>8s} {'others':>7s} {'frames/s':>9s}")
    for schedule in given.schedule or ["warp:8", "warp:adaptive:0.2"]:
        found = {False: Times(), True: Times()}
        with runtime.open(given.bundle, device="cpu", schedule=schedule, threads=given.threads) as player:
            for _ in range(given.rounds):
                for ahead, times in found.items():
                    play(player, given.video, ahead, times)
        for ahead, times in found.items():
            whole, rest = (median(column) for column in zip(*times.key, strict=True))
            others = median(each for each, _ in times.between)
            rate = times.frames / times.seconds
            way = "ahead" if ahead else "in line"
            print(f"{schedule:36s} {way:8s} {whole:9.1f} {rest:8.1f} {others:7.1f} {rate:9.1f}")


if __name__ == "__main__":
    main()
