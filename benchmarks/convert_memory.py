"""Memory and time of converting a 540 MB FCN-8s, next to copying its caffemodel twice.

    python benchmarks/convert_memory.py

Three ways: `plain`, what `clockwork convert -o x.onnx` does; `bundle`, what `clockwork convert -o x.staged`
does (which writes the net twice: as stages, and whole for comparison); `model`, `to_onnx` followed by
`save_model`, which has to build the message in memory. Each runs in a process of its own; memory is its peak
resident size, imports and mapped pages of the file included.

Exits with 1 where a limit is passed: for all, 2.5 times the weights; for the two ways of the command, 3 times
the time of copying twice, for each copy of the net that they write.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import caffe_port
import staged_onnx
import weights
from caffe_port.convert import draft_onnx
from caffe_port.nets import fcn8s

CUTS = ("pool3", "pool4", "upscore2")
MEMORY_LIMIT, TIME_LIMIT = 2.5, 3.0


def _make(folder: Path) -> None:
    (folder / "net.prototxt").write_text(fcn8s(21), "utf-8")
    net = caffe_port.read_net(folder / "net.prototxt")
    weights.write(folder / "net.caffemodel", net, caffe_port.random_weights(net, seed=0))


def _copy_twice(folder: Path) -> None:
    # Plain reads and writes: copying within the kernel would not move the bytes at all on some disks.
    for name in ("first.copy", "second.copy"):
        with open(folder / "net.caffemodel", "rb") as source, open(folder / name, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)


def _plain(folder: Path) -> None:
    net, blobs = caffe_port.read_net(folder / "net.prototxt"), weights.read(folder / "net.caffemodel")
    caffe_port.save_model(draft_onnx(net, blobs), folder / "plain.onnx")


def _model(folder: Path) -> None:
    net, blobs = caffe_port.read_net(folder / "net.prototxt"), weights.read(folder / "net.caffemodel")
    caffe_port.save_model(caffe_port.to_onnx(net, blobs), folder / "model.onnx")


def _bundle(folder: Path) -> None:
    net, blobs = caffe_port.read_net(folder / "net.prototxt"), weights.read(folder / "net.caffemodel")
    staged_onnx.export(net, blobs, staged_onnx.plan(net, CUTS), folder / "net.staged", force=True)


TASKS = {"make": _make, "copy twice": _copy_twice, "plain": _plain, "bundle": _bundle, "model": _model}
WRITTEN = {"plain": 1, "bundle": 2, "model": None}


def _measure(task: str, folder: Path, runs: int = 3) -> tuple[float, float]:
    """The best of some runs: seconds, imports left out, and the peak in bytes."""
    found = []
    for _ in range(runs):
        done = subprocess.run(
            [sys.executable, __file__, "--task", task, "--folder", os.fspath(folder)],
            check=True,
            capture_output=True,
            text=True,
        )
        seconds, peak = done.stdout.split()
        found.append((float(seconds), float(peak)))
    return min(found)


def main() -> int:
    """Print one line per way; 1 where one passes a limit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        start = time.perf_counter()
        TASKS[options.task](options.folder)
        print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _measure("make", folder, 1)
        size = (folder / "net.caffemodel").stat().st_size
        base, _ = _measure("copy twice", folder)
        print(f"{size / 1e6:.0f} MB; copying it twice takes {base:.2f} s")
        failed = False
        for task, copies in WRITTEN.items():
            seconds, peak = _measure(task, folder)
            failed |= peak > MEMORY_LIMIT * size
            failed |= copies is not None and seconds > TIME_LIMIT * copies * base
            print(
                f"{task:8} {seconds:5.2f} s, {seconds / base:4.2f} of copying twice; "
                f"peak {peak / 1e6:.0f} MB, {peak / size:.2f} of the weights"
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
