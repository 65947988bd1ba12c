"""When should an adaptive schedule make a full pass? Measures tried, each against fixed intervals.

The network's labels are computed once for every frame, moved from every possible key frame, and scored.
So any rule can be played on paper: it fires where its number, taken from the frames alone, reaches a
threshold. Every rule runs from each of the first STARTS frames, and so do the fixed intervals, since with
few key frames much depends on which ones they are. Printed: mean IU of the fixed intervals, and of each
measure what it has above them at the same share of full passes.

    python benchmarks/warp_adaptive.py shapes
    python benchmarks/warp_adaptive.py net.staged --frames FOLDER --labels FOLDER --map 0,1,... --ignore 11

On shapes (three held-out shots of each kind that moves) it takes three minutes, on 101 CamVid frames four.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

import runtime
from clockwork_onnx.evaluation.datasets import folders
from clockwork_onnx.evaluation.datasets import shapes as shapes_data
from clockwork_onnx.evaluation.datasets.base import DataSet, Shot, remap
from clockwork_onnx.evaluation.datasets.shapes_video import KINDS
from clockwork_onnx.evaluation.demo.demo import embedded_bundle
from clockwork_onnx.evaluation.scoring.metrics import Confusion
from runtime.flow.paths import FlowPaths
from runtime.schedule.grammar import parse_schedule
from runtime.transform import Moment
from staged_onnx import Bundle, read_bundle
from staged_onnx.warp import warp_graph, warp_labels_graph

REACH = 16
STARTS = 12
BUDGETS = (1 / 3, 1 / 4, 1 / 6, 1 / 8, 1 / 10)
TOLERANCES = (8, 16, 24)

Floats = NDArray[np.float32]


@dataclass
class Table:
    """One shot: counts[t, d] of frame t shown by labels d frames old, and what each measure says there."""

    counts: NDArray[np.int64]
    numbers: dict[str, NDArray[np.float64]]


class Warp:
    """Values moved on the CPU, one session a shape."""

    def __init__(self) -> None:
        self._sessions: dict[tuple[object, ...], ort.InferenceSession] = {}

    def __call__(self, value: np.ndarray, flow: Floats) -> np.ndarray:
        key = (value.shape, flow.shape)
        if key not in self._sessions:
            make = warp_labels_graph if value.ndim == 2 else warp_graph
            options = ort.SessionOptions()
            options.intra_op_num_threads = 1
            self._sessions[key] = ort.InferenceSession(
                make(value.shape, flow.shape).SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        return np.asarray(self._sessions[key].run(None, {"value": value, "flow": flow})[0])


def grey(image: NDArray[np.uint8], grid: tuple[int, ...]) -> Floats:
    """Grey levels on a grid."""
    small = Image.fromarray(image).convert("L").resize((grid[1], grid[0]), Image.Resampling.BOX)
    return np.asarray(small, np.float32)


def unexplained(before: Floats, now: Floats, path: Floats, warp: Warp) -> dict[int, float]:
    """Share of pixels that differ by more than each tolerance from where the path leads."""
    gap = np.abs(now - warp(before[None, None], path)[0, 0])
    return {tolerance: float((gap > tolerance).mean()) for tolerance in TOLERANCES}


def measured(path: Floats, direct: dict[int, float], summed: dict[int, float]) -> dict[str, float]:
    """All measures of one path."""
    height, width = path.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    x, y = columns + path[..., 0], rows + path[..., 1]
    lengths = np.hypot(path[..., 0], path[..., 1]) / np.hypot(height, width)
    down, across = (np.abs(np.diff(path, axis=axis)).sum(-1).mean() for axis in (0, 1))
    return {
        **{f"residual of the path > {tolerance}": share for tolerance, share in direct.items()},
        **{f"residuals of the steps > {tolerance}": share for tolerance, share in summed.items()},
        "mean length of the path": float(lengths.mean()),
        "length, 90th percentile": float(np.quantile(lengths, 0.9)),
        "stretching of the path": float(down + across),
        "left the frame": float(((x < 0) | (y < 0) | (x > width - 1) | (y > height - 1)).mean()),
    }


def tabulate(shot: Shot, labels: list[np.ndarray], data: DataSet, motion: FlowPaths, warp: Warp) -> Table:
    """Move every frame's labels to the REACH - 1 frames that follow, and score them there."""
    images = [sample.read_image() for sample in shot.samples]
    classes = len(data.classes)
    counts = np.zeros((len(images), REACH, classes, classes + 1), np.int64)
    numbers: dict[str, NDArray[np.float64]] = {}
    steps: list[dict[int, float]] = [dict.fromkeys(TOLERANCES, 0.0)]
    for t, (image, sample) in enumerate(zip(images, shot.samples, strict=True)):
        for d in range(min(t + 1, REACH)):
            moved, found = labels[t - d], {}
            if d:
                path = motion.path(Moment(None, image, images[t - 1], images[t - d], t, t))
                if path is None:
                    raise SystemExit(f"nothing moves between frames {t - 1} and {t} of {shot.name}")
                now, before = grey(image, path.shape), grey(images[t - d], path.shape)
                direct = unexplained(before, now, path, warp)
                if d == 1:
                    steps.append(direct)
                summed = {n: sum(step[n] for step in steps[t - d + 1 :]) for n in TOLERANCES}
                moved, found = warp(moved, path), measured(path, direct, summed)
            if sample.read_label is not None:
                confusion = Confusion(classes)
                shown = remap(moved, data.prediction_map) if data.prediction_map else moved
                confusion.add(sample.read_label(), shown)
                counts[t, d] = confusion.counts
            for name, number in found.items():
                numbers.setdefault(name, np.zeros((len(images), REACH)))[t, d] = number
    return Table(counts, numbers)


def play(tables: list[Table], numbers: list[NDArray[np.float64]], threshold: float) -> tuple[float, float]:
    """Share of full passes and mean IU of a rule, the mean over all starts."""
    shares, accuracies = [], []
    for start in range(STARTS):
        passes = frames = 0
        total = Confusion(tables[0].counts.shape[2])
        for table, number in zip(tables, numbers, strict=True):
            key = start
            for t in range(start, len(table.counts)):
                if t == start or t - key >= REACH or number[t, t - key] >= threshold:
                    key, passes = t, passes + 1
                total.counts += table.counts[t, t - key]
                frames += 1
        shares.append(passes / frames)
        accuracies.append(total.scores().mean_iu)
    return float(np.mean(shares)), float(np.mean(accuracies))


def curve(tables: list[Table], numbers: list[NDArray[np.float64]], thresholds: Iterator[float]) -> np.ndarray:
    """(share, mean IU) rows by rising share."""
    return np.array(sorted(play(tables, numbers, threshold) for threshold in thresholds))


def main() -> None:
    """Print one line a measure, the best first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle", help="a bundle, or the word shapes")
    parser.add_argument("--frames", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--map", default="")
    parser.add_argument("--ignore", type=int, default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tables = list(read_tables(*read_data(given, Path(folder))))
    ages = [np.broadcast_to(np.arange(REACH), table.counts.shape[:2]).astype(float) for table in tables]
    fixed = curve(tables, ages, iter(range(1, REACH + 1)))
    for interval, (_, accuracy) in enumerate(fixed[::-1], start=1):
        if interval in (1, 2, 3, 4, 6, 8, 10, 12, 16):
            print(f"fixed interval {interval:2d}: {accuracy:.4f}")
    lines = []
    for name in tables[0].numbers:
        numbers = [table.numbers[name] for table in tables]
        seen = np.concatenate([number[number > 0] for number in numbers])
        points = curve(tables, numbers, iter(np.unique(np.quantile(seen, np.linspace(0, 1, 80)))))
        gains = []
        for budget in BUDGETS:
            near = points[np.abs(points[:, 0] - budget) < 0.15 * budget]
            gains.append((near[:, 1] - np.interp(near[:, 0], fixed[:, 0], fixed[:, 1])).mean())
        lines.append((float(np.mean(gains)), name, gains))
    print(
        f"{'above fixed intervals, at passes on':30s} {'mean':>8s}", *(f"   1/{1 / b:<4.0f}" for b in BUDGETS)
    )
    for mean, name, gains in sorted(lines, reverse=True):
        print(f"{name:35s} {mean:+.4f} ", " ".join(f"{gain:+.4f}" for gain in gains))


def read_data(given: argparse.Namespace, folder: Path) -> tuple[Bundle, DataSet]:
    """The bundle and the labelled video."""
    if given.bundle == "shapes":
        kinds = [kind[0] for kind in KINDS if kind[1] != "static"]
        return embedded_bundle(folder / "shapes.staged"), shapes_data.read(rounds=3, kinds=kinds)
    bundle = read_bundle(given.bundle)
    table = [int(entry) for entry in given.map.split(",")] if given.map else None
    count = 1 + max([c for c in table if c != 255] if table else [len(bundle.manifest.class_names) - 1])
    ignored = [] if given.ignore is None else [given.ignore]
    names = [str(i) for i in range(max(count, *(i + 1 for i in ignored)) if ignored else count)]
    data = folders.read(given.frames, given.labels, classes=names, ignored=ignored, prediction_map=table)
    return bundle, data


def read_tables(bundle: Bundle, data: DataSet) -> Iterator[Table]:
    """One table per shot."""
    warp = Warp()
    with runtime.open(bundle.path, device="cpu", schedule="oracle", threads=1) as player:
        for shot in data.shots:
            labels = [step.labels for step in player.play(sample.read_image() for sample in shot.samples)]
            movement = parse_schedule("warp:4", bundle.manifest).movement
            assert movement is not None
            paths = FlowPaths(movement.options, channels=movement.channels, tracks=REACH + 1)
            yield tabulate(shot, labels, data, paths, warp)


if __name__ == "__main__":
    main()
