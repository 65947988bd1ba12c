"""Frames that come one at a time, from a camera's callback or a queue: push each, and take its labels.

    python examples/push_frames.py FOLDER

The player keeps what it computed from one frame to the next. Say when a shot ends (the camera was switched,
the stream was interrupted): the next frame is then computed in full.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import clockwork_onnx as cw
from clockwork_onnx.evaluation.datasets.shapes_video import shapes_shot
from clockwork_onnx.evaluation.demo.demo import embedded_bundle


def main(folder: Path, frames: int = 6) -> list[tuple[str, ...]]:
    """Returns the stages that ran on each frame."""
    bundle = embedded_bundle(folder / "shapes-fcn8s.staged")
    fired = []
    with cw.open(bundle.path, schedule="alternating") as player:
        for seed in (1, 2):
            for image in shapes_shot(seed, frames=frames).frames:
                step = player.step(image)
                seen = [player.manifest.class_names[i] for i in np.unique(step.labels)]
                print(f"frame {step.index}: {', '.join(step.fired)} ran; sees {', '.join(seen)}")
                fired.append(step.fired)
            player.end_shot()
    return fired


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example-out"))
