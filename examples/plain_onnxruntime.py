"""Run a bundle without clockwork-onnx: NumPy and ONNX Runtime are enough.

    python examples/plain_onnxruntime.py NAME.staged FRAME.png FRAME.png ...

A bundle is a folder of ordinary ONNX models and a manifest that says how they are wired. Each stage reads the
frame, or values that earlier stages left in a dictionary; which stages run on a frame is up to you. Here each
has a rate: stage i runs on every rates[i]-th frame, and what it left behind is read until it runs again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort


def play(
    bundle: Path, frames: Iterable[np.ndarray], rates: Sequence[int] | None = None
) -> Iterator[np.ndarray]:
    """Yield one label map (uint8, height x width) per frame (uint8, height x width x 3, RGB)."""
    manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
    stages, head = manifest["stages"], manifest["head"]
    rates = rates or [1] * len(stages)
    sessions = {
        part["name"]: ort.InferenceSession(bundle / part["model"], providers=["CPUExecutionProvider"])
        for part in (*stages, head)
    }

    def run(part: dict) -> list[np.ndarray]:
        return sessions[part["name"]].run(part["outputs"], {name: values[name] for name in part["inputs"]})

    values: dict[str, np.ndarray] = {}
    for t, frame in enumerate(frames):
        values["frame"] = frame
        for stage, rate in zip(stages, rates, strict=True):
            if t % rate == 0:
                values.update(zip(stage["outputs"], run(stage), strict=True))
        yield run(head)[0]


if __name__ == "__main__":
    from PIL import Image

    pictures = (np.asarray(Image.open(path).convert("RGB")) for path in sys.argv[2:])
    for path, labels in zip(sys.argv[2:], play(Path(sys.argv[1]), pictures), strict=True):
        Image.fromarray(labels).save(Path(path).with_suffix(".labels.png"))
