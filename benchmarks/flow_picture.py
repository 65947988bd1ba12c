"""The picture of docs/flow.md: what skipping shows, what moving the labels shows, and the flow they follow.

python benchmarks/flow_picture.py [docs/images/flow.png]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure

import runtime
from clockwork_onnx.evaluation.datasets.shapes_video import PALETTE, shapes_shot
from clockwork_onnx.evaluation.demo.demo import embedded_bundle
from clockwork_onnx.evaluation.results.plots import png
from runtime.flow.estimators import flow_estimator

SEED, KEY, LATER = 22, 8, 13
"""The shot, the frame on which the network runs, and the one that is shown."""


def coloured(labels: np.ndarray) -> np.ndarray:
    """A label map in the shapes' colours."""
    return np.asarray(np.array(PALETTE, np.uint8)[labels])


def main() -> None:
    """Draw and write it."""
    shot = shapes_shot(SEED, frames=LATER + 1, speed="fast", pan=True)
    frames = shot.frames[KEY:]
    with tempfile.TemporaryDirectory() as folder:
        bundle = embedded_bundle(Path(folder) / "shapes.staged")
        shown = {}
        for schedule in ("skip:16", "warp:16"):
            with runtime.open(bundle.path, device="cpu", schedule=schedule, threads=1) as player:
                shown[schedule] = [step.labels for step in player.play(frames)]
    flow = flow_estimator().estimate(frames[-2], frames[-1])
    angle = (np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi)) % 1
    strength = np.clip(np.hypot(flow[..., 0], flow[..., 1]) / 10, 0, 1)
    wheel = hsv_to_rgb(np.stack([angle, strength, np.ones_like(angle)], axis=-1))
    age = LATER - KEY
    panels = {
        "the frame on which the network ran": frames[0],
        f"{age} frames later": frames[-1],
        "flow to the frame before (hue: direction)": wheel,
        "skip: the old labels stand": coloured(shown["skip:16"][-1]),
        "warp: the old labels follow the flow": coloured(shown["warp:16"][-1]),
        "the true labels": coloured(shot.labels[LATER]),
    }
    figure = Figure(figsize=(7.6, 4.1), layout="constrained")
    for axes, (title, picture) in zip(figure.subplots(2, 3).flat, panels.items(), strict=True):
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(title, fontsize=8)
        axes.set_axis_off()
    Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/flow.png").write_bytes(png(figure, dpi=90))


if __name__ == "__main__":
    main()
