"""Whether a player stays the size it is over many frames: resident memory, file descriptors, threads.

The embedded shapes net, or a tiny one, plays a shot of the shapes video over and over, forwards and
backwards. For each schedule, one after another and with stages in threads: resident memory after the first
frames and after all, the growth from the former to the most there was since, and the file descriptors and
threads before the player was opened, at both moments, and after it was closed.

    python benchmarks/steady_memory.py [--frames 2000] [--early 200] [--most 2] [--crop 88 120] [--tiny]
        [--in-turn] [--threads 1] [SCHEDULE ...]

Exit status 1 where memory grew by more than `--most` MiB or something was left behind. Linux only.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import runtime
from caffe_port import random_weights, read_net
from clockwork_onnx.evaluation.datasets.shapes_video import shapes_shot
from clockwork_onnx.evaluation.demo.demo import embedded_bundle
from staged_onnx import Bundle, export, plan

SCHEDULES = ("oracle", "skip:2", "alternating", "pipeline:3", "adaptive:0.1", "warp:4")


def resident() -> float:
    """MiB of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def left_open() -> tuple[int, int]:
    """File descriptors and threads of this process now; a thread that was joined takes a moment to go."""
    time.sleep(0.1)
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))


def tiny_bundle(path: Path) -> Bundle:
    """A net of three stages that takes next to no time, so that a hundred thousand frames are minutes."""
    text = 'input: "data" input_shape { dim: 1 dim: 3 dim: 24 dim: 32 }\n'
    for name, bottom in (("a", "data"), ("b", "a"), ("c", "b")):
        text += (
            f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" '
            "convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }\n"
        )
    text += 'layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" bottom: "c" top: "sum" }\n'
    prototxt = path.with_suffix(".prototxt")
    prototxt.write_text(text)
    net = read_net(prototxt)
    return export(net, random_weights(net), plan(net, ["a", "b", "c"]), path)


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
    parser.add_argument("schedules", nargs="*", default=SCHEDULES, metavar="SCHEDULE")
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--early", type=int, default=200, help="frames after which growth counts")
    parser.add_argument("--most", type=float, default=2.0, help="MiB of growth")
    parser.add_argument("--crop", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), default=(None, None))
    parser.add_argument("--tiny", action="store_true", help="three convolutions instead of the shapes net")
    parser.add_argument("--in-turn", action="store_true", help="no stages in threads")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        bundle = (tiny_bundle if options.tiny else embedded_bundle)(Path(folder) / "net.staged")
        height, width = options.crop
        pictures = [np.ascontiguousarray(frame[:height, :width]) for frame in shapes_shot(0).frames]
        for schedule in ("oracle", "warp:2"):  # libraries load once what they load
            with runtime.open(bundle.path, "cpu", schedule) as player:
                list(player.play(pictures[:3]))
        shape = " x ".join(map(str, pictures[0].shape[:2]))
        print(f"{options.frames} frames of {shape}, early: {options.early}")
        print(f"{'schedule':14}{'stages':>12}{'early':>10}{'end':>10}{'grown':>8}  descriptors, threads")
        for schedule in options.schedules:
            for overlap in (False,) if options.in_turn else (False, True):
                before = left_open()
                with runtime.open(
                    bundle.path, "cpu", schedule, threads=options.threads, overlap=overlap
                ) as player:
                    early, most, open_early = 0.0, 0.0, before
                    for step in player.play(back_and_forth(pictures, options.frames)):
                        if step.index == options.early:
                            early, open_early = resident(), left_open()
                        elif step.index > options.early and step.index % 1000 == 0:
                            most = max(most, resident())
                    end, open_end = resident(), left_open()
                after = left_open()
                grown = max(most, end) - early
                failed |= grown > options.most or after != before or open_end > open_early
                print(
                    f"{schedule:14}{'in threads' if overlap else 'in turn':>12}{early:8.1f}Mi{end:8.1f}Mi"
                    f"{grown:+8.2f}  {before} -> {open_early} -> {open_end} -> {after}",
                    flush=True,
                )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
