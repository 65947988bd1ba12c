"""The bundle by OpenVINO, where it is installed: the player's labels but for near ties."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import runtime
from clockwork_onnx.evaluation.demo.demo import embedded_bundle

SCRIPT = Path(__file__).parents[2] / "examples/deploy/openvino_stages.py"


def test_openvino_gives_the_player_s_labels(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="pip install openvino")
    play = runpy.run_path(str(SCRIPT))["play"]
    bundle = embedded_bundle(tmp_path / "demo.staged")
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (3, 12, 16, 3), np.uint8)
    frames = [np.asarray(Image.fromarray(image).resize((96, 72))) for image in small]
    found = list(play(bundle.path, frames, rates=[1, 1, 2]))
    with runtime.open(bundle.path, device="cpu", schedule="rates:1,1,2") as player:
        expected = [step.labels for step in player.play(frames)]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == np.uint8 and np.mean(ours != theirs) < 0.001
