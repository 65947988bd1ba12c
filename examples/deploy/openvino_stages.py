"""Run a bundle by OpenVINO: the stages on Intel's processors and graphics, as plain_onnxruntime.py runs them.

    pip install openvino numpy pillow
    python examples/deploy/openvino_stages.py NAME.staged FRAME.png FRAME.png ...

OpenVINO reads the stages' ONNX files themselves, weights included. Labels may differ from ONNX Runtime's
where two classes are nearly equal, since sums are rounded in another order.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import openvino as ov


def play(
    bundle: Path, frames: Iterable[np.ndarray], rates: Sequence[int] | None = None, device: str = "CPU"
) -> Iterator[np.ndarray]:
    """Yield one label map (uint8, height x width) per frame (uint8, height x width x 3, RGB)."""
    manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
    stages, head = manifest["stages"], manifest["head"]
    rates = rates or [1] * len(stages)
    core = ov.Core()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # else some processors count in bfloat16
    compiled = {
        part["name"]: core.compile_model(bundle / part["model"], device, exact) for part in (*stages, head)
    }

    def run(part: dict) -> list[np.ndarray]:
        found = compiled[part["name"]]({name: values[name] for name in part["inputs"]})
        return [np.array(found[name]) for name in part["outputs"]]

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
