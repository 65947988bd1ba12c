"""A learned clock: when to renew the deep scores, trained on how far old ones still agree with the oracle.

The paper proposes a clock that is learned from features and the state of the net and does not train one. Here
is the simplest there is. The net plays a video twice: whole on every frame, and with the deep stage's first
result left standing. The share of pixels on which the two differ is what the clock has to foresee from what a
player has at hand: how far the scores of pool3 and pool4 are from those on which the deep stage fired. Least
squares gives the weights, and the clock is an ONNX model whose inputs are called after values of the cache.

    python examples/learned_clock.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx

import runtime
from caffe_port.onnx_graph import OnnxGraph
from clockwork_onnx.evaluation.datasets.shapes_video import shapes_shot
from clockwork_onnx.evaluation.demo.demo import embedded_bundle

WATCHED = ("score_pool3", "score_pool4")
CHANNELS = 7
TRAINING = ((100_001, "fast"), (100_002, "slow"), (100_003, "fast"))
"""Seeds and speeds of the videos that the clock learns from."""


def changed(now: np.ndarray, fired: np.ndarray) -> float:
    """The share of positions whose best class is another one."""
    return float(np.mean(now.argmax(axis=1) != fired.argmax(axis=1)))


def features(now: Sequence[np.ndarray], fired: Sequence[np.ndarray]) -> list[float]:
    """What the clock goes by: the changed share of each watched map."""
    return [changed(a, b) for a, b in zip(now, fired, strict=True)]


def observed(bundle: Path, frames: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Features of every frame against the first, and the pixels that old deep scores get wrong."""
    with runtime.open(bundle, device="cpu", schedule="oracle") as player:
        truth = [step.labels.copy() for step in player.play(frames)]
    rows, wrong, fired = [], [], None
    with runtime.open(bundle, device="cpu", schedule="never") as player:
        for step, oracle in zip(player.play(frames), truth, strict=True):
            entries = [player.cache[name] for name in WATCHED]
            now = [np.array(e.buffers[e.read(0).buffer].numpy()) for e in entries]
            fired = fired or now
            rows.append(features(now, fired))
            wrong.append(float(np.mean(step.labels != oracle)))
    return np.array(rows[1:]), np.array(wrong[1:])


def train(bundle: Path, frames: int = 12) -> np.ndarray:
    """Weights of the features, and a constant, by least squares over the training videos."""
    seen = [observed(bundle, shapes_shot(seed, frames, speed=speed).frames) for seed, speed in TRAINING]
    rows = np.concatenate([rows for rows, _ in seen])
    wrong = np.concatenate([wrong for _, wrong in seen])
    design = np.column_stack([rows, np.ones(len(rows))])
    weights, *_ = np.linalg.lstsq(design, wrong, rcond=None)
    return np.asarray(weights)


def write_clock(path: Path, weights: np.ndarray) -> None:
    """The clock as an ONNX model: the share of pixels that it expects to be wrong."""
    g = OnnxGraph()
    terms = [g.const(np.float32(weights[-1]))]
    for name, weight in zip(WATCHED, weights, strict=False):
        best = [
            g.node("ArgMax", g.input(value, [1, CHANNELS, f"{name}_h", f"{name}_w"]), axis=1)
            for value in (name, f"{name}@fired")
        ]
        same = g.node("Cast", g.node("Equal", *best), to=onnx.TensorProto.FLOAT)
        share = g.node("Sub", g.const(1.0), g.node("ReduceMean", same, keepdims=0))
        terms.append(g.node("Mul", share, g.const(np.float32(weight))))
    g.output(g.node("Sum", *terms), "expected_wrong", [])
    onnx.save(g.model("learned clock"), path)


def judged(bundle: Path, schedule: str, frames: Sequence[np.ndarray]) -> tuple[float, float]:
    """How often the deep stage fires, and on what share of pixels the labels are the oracle's."""
    with runtime.open(bundle, device="cpu", schedule="oracle") as player:
        truth = [step.labels.copy() for step in player.play(frames)]
    with runtime.open(bundle, device="cpu", schedule=schedule) as player:
        steps = [(step.fired, step.labels.copy()) for step in player.play(frames)]
    fired = float(np.mean(["stage3" in names for names, _ in steps]))
    return fired, float(np.mean([np.mean(a == b) for (_, a), b in zip(steps, truth, strict=True)]))


def main(folder: Path, frames: int = 12) -> dict[str, tuple[float, float]]:
    """Train, write `clock.onnx` into `folder`, and play two unseen videos with it."""
    bundle = embedded_bundle(folder / "shapes.staged").path
    weights = train(bundle, frames)
    write_clock(folder / "clock.onnx", weights)
    print("weights of", ", ".join(WATCHED), "and the constant:", np.round(weights, 3))
    found = {}
    for speed in ("static", "fast"):
        video = shapes_shot(7, frames, speed=speed).frames
        found[speed] = judged(bundle, f"learned:{folder / 'clock.onnx'}:0.03", video)
        fired, agreement = found[speed]
        print(f"{speed:6s} fires on {fired:.0%} of the frames, {agreement:.1%} of the pixels as the oracle's")
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        main(Path(place))
