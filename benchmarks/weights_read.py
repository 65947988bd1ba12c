"""How long weights.read takes for a file of the size of FCN-8s, next to copying the file twice.

    python benchmarks/weights_read.py [--megabytes 540]

Each measurement runs in a process of its own and prints seconds and the peak of resident memory; mapped
pages of the file count there. "touched" sums every number, "unpacked" is a file with a key before each
number.
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
from types import SimpleNamespace

import numpy as np

import weights

# fc6 of VGG16's share of a net: one large blob and many smaller ones.
_SHARES = {"fc6": 0.76, "fc7": 0.12, **{f"conv{i}": 0.12 / 12 for i in range(12)}}


def _make_packed(path: Path, megabytes: int) -> None:
    rng = np.random.default_rng(0)
    blobs = {
        name: (rng.standard_normal(int(megabytes * 1e6 * share / 4), np.float32), np.zeros(64, np.float32))
        for name, share in _SHARES.items()
    }
    layers = [SimpleNamespace(name=name, type="Convolution", bottoms=(), tops=(name,)) for name in blobs]
    weights.write(path, SimpleNamespace(name="synthetic", layers=layers), blobs)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _make_unpacked(path: Path, megabytes: int) -> None:
    count = int(megabytes * 1e6 / 5)
    rows = np.empty((count, 5), np.uint8)
    rows[:, 0] = 5 << 3 | 5
    rows[:, 1:] = np.random.default_rng(0).standard_normal(count, np.float32).view(np.uint8).reshape(-1, 4)
    blob = _message(7, _message(1, _varint(count))) + rows.tobytes()
    path.write_bytes(_message(100, _message(1, b"fc6") + _message(7, blob)))


def _read(path: Path) -> None:
    weights.read(path)


def _read_touched(path: Path) -> None:
    for arrays in weights.read(path).values():
        for array in arrays:
            array.sum()


def _write(path: Path) -> None:
    blobs = weights.read(path)
    layers = [SimpleNamespace(name=name, type="Convolution", bottoms=(), tops=()) for name in blobs]
    weights.write(path.with_name("written.caffemodel"), SimpleNamespace(name="net", layers=layers), blobs)


def _copy_twice(path: Path) -> None:
    # Plain reads and writes: copying within the kernel would not move the bytes at all on some disks.
    for name in ("first.copy", "second.copy"):
        with open(path, "rb") as source, open(path.with_name(name), "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)


_MAKERS = {"packed": _make_packed, "unpacked": _make_unpacked}
_TASKS = {"read": _read, "read, touched": _read_touched, "write": _write, "copy twice": _copy_twice}


def _measure(task: str, path: Path) -> tuple[float, int]:
    """Best of three, each in a fresh process: seconds, and MiB at the peak."""
    runs = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, __file__, "--task", task, "--path", os.fspath(path)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        seconds, peak = done.stdout.split()
        runs.append((float(seconds), int(peak)))
    return min(runs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=540)
    parser.add_argument("--task", choices=_TASKS, help=argparse.SUPPRESS)
    parser.add_argument("--make", choices=_MAKERS, help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        start = time.perf_counter()
        _TASKS[options.task](options.path)
        seconds = time.perf_counter() - start
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        return
    if options.make:
        _MAKERS[options.make](options.path, options.megabytes)
        return
    with tempfile.TemporaryDirectory() as folder:
        files = {kind: Path(folder) / f"{kind}.caffemodel" for kind in _MAKERS}
        # In processes of their own: a child's peak starts from the memory that its parent held.
        for kind, path in files.items():
            subprocess.run(
                [sys.executable, __file__, "--make", kind, "--path", path]
                + ["--megabytes", str(options.megabytes)],
                check=True,
            )
        packed = files["packed"]
        base, _ = _measure("copy twice", packed)
        print(f"{packed.stat().st_size / 1e6:.0f} MB; copying it twice takes {base:.2f} s")
        for kind, task in (
            ("packed", "read"),
            ("packed", "read, touched"),
            ("packed", "write"),
            ("unpacked", "read, touched"),
        ):
            seconds, peak = _measure(task, files[kind])
            print(
                f"{kind + ': ' + task:24} {seconds:6.3f} s, {seconds / base:5.2f} of copying twice, "
                f"peak {peak} MiB"
            )


if __name__ == "__main__":
    main()
