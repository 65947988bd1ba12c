"""Writers killed at random moments: `python -m tests.attacks.kills FOLDER --count 200`.

A child writes one of two versions of a bundle, or of a model with its weights beside it, over the other one,
and is killed with SIGKILL. Whatever has the final name afterwards must be the one version or the other,
whole.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import onnx

import caffe_port
import caffe_port.save
import staged_onnx
from caffe_port import Net
from caffe_port.convert import draft_onnx

LAYERS = "".join(
    f'layer {{ name: "c{i}" type: "Convolution" bottom: "{b}" top: "c{i}" '
    "convolution_param { num_output: 64 kernel_size: 3 pad: 1 } }\n"
    for i, b in enumerate(("x", "c0", "c1", "c2"))
)


def _net(folder: Path) -> Net:
    file = folder / "net.prototxt"
    file.write_text('input: "x" input_shape { dim: 1 dim: 3 dim: 16 dim: 16 }\n' + LAYERS)
    return caffe_port.read_net(file)


def _bundle_version(path: Path) -> str:
    bundle = staged_onnx.read_bundle(path)
    staged_onnx.check_files(bundle)
    return str(sorted((name, spec.sha256) for name, spec in bundle.manifest.files.items()))


def _model_version(path: Path) -> str:
    onnx.checker.check_model(str(path))
    digest = hashlib.sha256()
    for tensor in onnx.load(path).graph.initializer:
        digest.update(tensor.raw_data)
    return digest.hexdigest()


def killed(write: Callable[[int], None], version: Callable[[], str], count: int, seed: int) -> dict[str, int]:
    """Let a child write version 0 or 1 and kill it, `count` times; checks what is there after each kill.

    Returns:
        How many children were killed in time and how many had ended, and how often the version changed.
    """
    rng = random.Random(seed)
    versions, spent = [], 0.0
    for number in (0, 1):
        began = time.monotonic()
        write(number)
        spent = time.monotonic() - began
        versions.append(version())
    assert versions[0] != versions[1]
    outcome = {"killed": 0, "ended": 0, "old": 0, "new": 0}
    now = versions[1]
    for _ in range(count):
        number = 1 - versions.index(now)
        child = os.fork()
        if not child:
            write(number)
            os._exit(0)
        time.sleep(rng.uniform(0, 1.3 * spent))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        outcome["killed" if os.WIFSIGNALED(status) else "ended"] += 1
        found = version()
        assert found in versions, "neither the old nor the new"
        outcome["old" if found == now else "new"] += 1
        now = found
    return outcome


def main() -> None:
    """Kill writers of both kinds and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200)
    options = parser.parse_args()
    net = _net(options.folder)
    blobs = [caffe_port.random_weights(net, seed) for seed in (0, 1)]
    plan = staged_onnx.plan(net, cuts=["c0", "c1"])
    bundle, model = options.folder / "net.staged", options.folder / "net.onnx"
    caffe_port.save.LARGEST_FILE = 64 << 20  # as if it were too large for one file

    def export(number: int) -> None:
        staged_onnx.export(net, blobs[number], plan, bundle, force=True)

    def save(number: int) -> None:
        caffe_port.save_model(draft_onnx(net, blobs[number]), model)

    for name, write, version in (
        ("bundle", export, lambda: _bundle_version(bundle)),
        ("model", save, lambda: _model_version(model)),
    ):
        print(name, killed(write, version, options.count, seed=0), flush=True)
        for left in options.folder.glob(".*"):  # what a killed writer left: hidden, under names of its own
            shutil.rmtree(left) if left.is_dir() else left.unlink()


if __name__ == "__main__":
    sys.exit(main())
