"""`clockwork` killed at random moments: `python -m tests.attacks.kills FOLDER --count 200 [KIND ...]`.

A child runs the command line and is killed with SIGKILL. `bundle` and `model` convert one of two files of
weights onto the result of the other, and whatever has the final name afterwards must be the one or the other,
whole. `run` labels a video, with --resume after a kill and --force after an end: every file under a final
name must be whole and what an undisturbed run writes, and what still grows must be readable.
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

import av
import numpy as np
import onnx
from PIL import Image

import caffe_port
import caffe_port.save
import staged_onnx
import weights
from clockwork_onnx import cli
from clockwork_onnx.commands.run_folder import read_state
from runtime.report.step_log import StepRecord, finished_steps, read_steps
from tests.support.video_files import moving_bar, write_video

LAYERS = "".join(
    f'layer {{ name: "c{i}" type: "Convolution" bottom: "{b}" top: "c{i}" '
    "convolution_param { num_output: 64 kernel_size: 3 pad: 1 } }\n"
    for i, b in enumerate(("x", "c0", "c1", "c2"))
)
FRAMES = 24


def _files(folder: Path) -> tuple[Path, list[Path]]:
    """A prototxt and two files of weights for it."""
    prototxt = folder / "net.prototxt"
    prototxt.write_text('input: "x" input_shape { dim: 1 dim: 3 dim: 16 dim: 16 }\n' + LAYERS)
    net = caffe_port.read_net(prototxt)
    files = [folder / f"{seed}.caffemodel" for seed in (0, 1)]
    for seed, file in enumerate(files):
        # The biases are small and stay in the graph: an old graph with new weights is neither version.
        made = {
            name: (w, b + np.float32(seed)) for name, (w, b) in caffe_port.random_weights(net, seed).items()
        }
        weights.write(file, net, made)
    return prototxt, files


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


def _command(words: list[str]) -> None:
    """Run the command line and say nothing."""
    with open(os.devnull, "w") as nothing:
        for stream in (1, 2):
            os.dup2(nothing.fileno(), stream)
    os._exit(cli.run(words))


def killed(words: list[str], seconds: float) -> bool:
    """Start a command line, kill it after some seconds; whether it was killed in time."""
    child = os.fork()
    if not child:
        _command(words)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"{words} ended with {status >> 8}"
    return os.WIFSIGNALED(status)


def cut_off(words: list[str], moment: int) -> bool:
    """Run a command line that ends without a word when it is about to rename a file or folder for the
    `moment`th time (from 0); whether it came to that.
    """
    child = os.fork()
    if not child:
        left = iter(range(moment))

        def ending(rename: Callable[..., None]) -> Callable[..., None]:
            def renamed(*names: object) -> None:
                if next(left, None) is None:
                    os._exit(77)
                rename(*names)

            return renamed

        os.replace, os.rename = ending(os.replace), ending(os.rename)
        _command(words)
    _, status = os.waitpid(child, 0)
    assert os.WEXITSTATUS(status) in (0, 77), f"{words} ended with {status >> 8}"
    return os.WEXITSTATUS(status) == 77


def undisturbed(words: list[str]) -> float:
    """Run a command line to its end; how many seconds it took."""
    began = time.monotonic()
    child = os.fork()
    if not child:
        _command(words)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"{words} ended with {status >> 8}"
    return time.monotonic() - began


def conversions(kind: str, folder: Path) -> tuple[list[list[str]], Callable[[], str]]:
    """Two commands that write a "bundle" or a "model" onto each other's, and what tells which is there."""
    prototxt, files = _files(folder)
    caffe_port.save.LARGEST_FILE = 64 << 20  # as if it were too large for one file
    cuts = ["--cut", "c0", "--cut", "c1", "--cut", "c2"] if kind == "bundle" else []
    target = folder / ("net.staged" if kind == "bundle" else "net.onnx")
    version = _bundle_version if kind == "bundle" else _model_version
    return [
        ["convert", str(prototxt), str(file), "-o", str(target), "--force", *cuts] for file in files
    ], lambda: version(target)


def kill_converts(
    commands: list[list[str]], version: Callable[[], str], count: int, rng: random.Random
) -> dict[str, int]:
    """Convert to version 0 or 1 until `count` were killed in time; checks what is there after each."""
    versions, spent = [], 0.0
    for command in commands:
        spent = undisturbed(command)
        versions.append(version())
    assert versions[0] != versions[1]
    outcome = {"killed": 0, "ended": 0, "old": 0, "new": 0}
    now = versions[1]
    while outcome["killed"] < count:
        number = 1 - versions.index(now)
        in_time = killed(commands[number], rng.uniform(0, 1.3 * spent))
        outcome["killed" if in_time else "ended"] += 1
        found = version()
        assert found in versions, "neither the old nor the new"
        outcome["old" if found == now else "new"] += 1
        now = found
    return outcome


def _told(step: StepRecord) -> tuple[object, ...]:
    return step.index, step.shot, step.fired, sorted(step.ages.items()), step.signal, step.name


def _check_results(out: Path, whole: Path) -> str:
    """Everything under a final name is whole and right; returns the run's state."""
    if not (out / "run.json").exists():
        assert not [p for p in out.rglob("*") if p.is_file() and not p.name.startswith(".")]
        return "none"
    state = read_state(out)
    assert state is not None
    for label in (out / "labels").glob("[!.]*.png"):
        assert label.read_bytes() == (whole / "labels" / label.name).read_bytes(), label
    steps = [_told(step) for step in read_steps(whole / "steps.jsonl")]
    if (out / "steps.jsonl").exists():
        assert [_told(step) for step in read_steps(out / "steps.jsonl")] == steps
    grown = [_told(step) for step, _ in finished_steps(out / "steps.part.jsonl")]
    assert grown == steps[: len(grown)]
    for overlay in out.glob("overlay*.mp4"):
        if overlay.stat().st_size > 4096 or overlay.name == "overlay.mp4":
            with av.open(str(overlay)) as container:
                frames = sum(1 for _ in container.decode(video=0))
            assert 0 < frames <= FRAMES and (overlay.name != "overlay.mp4" or frames == FRAMES), overlay
    if (out / "timeline.png").exists():
        with Image.open(out / "timeline.png") as picture:
            assert np.asarray(picture).shape[2] in (3, 4)
    if state.state == "complete":
        names = {str(p.relative_to(whole)) for p in whole.rglob("*") if p.is_file()}
        assert {str(p.relative_to(out)) for p in out.rglob("[!.]*") if p.is_file()} == names
        assert (out / "timeline.png").read_bytes() == (whole / "timeline.png").read_bytes()
        assert len(list((out / "labels").glob("[!.]*.png"))) == FRAMES
    return state.state


def kill_runs(bundle: Path, folder: Path, count: int, rng: random.Random) -> dict[str, int]:
    """Label a video until `count` runs were killed in time; checks what is there after each."""
    video = write_video(folder / "v.mp4", moving_bar(FRAMES))
    out, whole = folder / "out", folder / "whole"
    asked = ["run", str(bundle), str(video), "--labels", "--overlay", "--log", "--timeline", "--quiet"]
    asked += ["--device", "cpu", "--schedule", "rates:1,2,4", "-o"]
    spent = undisturbed([*asked, str(whole)])
    outcome = {"killed": 0, "ended": 0, "none": 0, "running": 0, "complete": 0}
    state = "none"
    while outcome["killed"] < count:
        mode = "--force" if state == "complete" else "--resume"
        in_time = killed([*asked, str(out), mode], rng.uniform(0, 1.3 * spent))
        outcome["killed" if in_time else "ended"] += 1
        state = _check_results(out, whole)
        assert in_time or state == "complete"
        outcome[state] += 1
    undisturbed([*asked, str(out), "--resume"])
    assert _check_results(out, whole) == "complete"
    return outcome


def main() -> None:
    """Kill commands of every kind and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("kinds", nargs="*", help="bundle, model, run; all by default")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    for kind in options.kinds or ("bundle", "model", "run"):
        if kind == "run":
            commands, _ = conversions("bundle", options.folder)
            undisturbed(commands[0])
            outcome = kill_runs(options.folder / "net.staged", options.folder, options.count, rng)
        else:
            outcome = kill_converts(*conversions(kind, options.folder), options.count, rng)
        print(kind, outcome, flush=True)
        for left in options.folder.glob(".*"):  # what a killed writer left: hidden, under names of its own
            shutil.rmtree(left) if left.is_dir() else left.unlink()


if __name__ == "__main__":
    sys.exit(main())
