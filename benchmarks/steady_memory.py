"""Whether a player stays the size it is over many frames: resident memory, file descriptors, threads.

The embedded shapes net plays a shot of the shapes video over and over, forwards and backwards. For each
schedule, one after another and with stages in threads: resident memory after a tenth of the frames and after
all of them, and the file descriptors and threads before the player was opened and after it was closed.

    python benchmarks/steady_memory.py [--frames 2000] [--threads 1]

Exit status 1 where memory grew by more than 2 MiB or something was left behind. Linux only.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import runtime
from clockwork_onnx.evaluation.datasets.shapes_video import shapes_shot
from clockwork_onnx.evaluation.demo.demo import embedded_bundle

SCHEDULES = ("oracle", "skip:2", "alternating", "pipeline:3", "adaptive:0.1", "warp:4")
GROWN = 2.0


def resident() -> float:
    """MiB of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def left_open() -> tuple[int, int]:
    """File descriptors and Python threads now."""
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def back_and_forth(pictures: list[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """`count` frames that never jump."""
    turn = [*pictures, *pictures[-2:0:-1]]
    for i in range(count):
        yield turn[i % len(turn)]


def main() -> int:
    """Print a table; 1 where something grew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        bundle = embedded_bundle(Path(folder) / "shapes.staged")
        pictures = list(shapes_shot(0).frames)
        with runtime.open(bundle.path, "cpu", "oracle") as player:  # libraries load what they load once
            list(player.play(pictures[:2]))
        print(f"{'schedule':14}{'stages':>12}{'early':>10}{'end':>10}{'grown':>8}  descriptors, threads")
        for schedule in SCHEDULES:
            for overlap in (False, True):
                before = left_open()
                with runtime.open(
                    bundle.path, "cpu", schedule, threads=options.threads, overlap=overlap
                ) as player:
                    early = 0.0
                    for step in player.play(back_and_forth(pictures, options.frames)):
                        if step.index == options.frames // 10:
                            early = resident()
                    end = resident()
                after = left_open()
                failed |= end - early > GROWN or after != before
                print(
                    f"{schedule:14}{'in threads' if overlap else 'in turn':>12}{early:8.1f}Mi{end:8.1f}Mi"
                    f"{end - early:+8.2f}  {before} -> {after}"
                )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
