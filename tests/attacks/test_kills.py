"""Finding D12: a writer killed at any moment leaves the old or the new, never something else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_writers(tmp_path: Path) -> None:
    count = os.environ.get("CLOCKWORK_KILLS", "12")
    done = subprocess.run(
        [sys.executable, "-m", "tests.attacks.kills", str(tmp_path), "--count", count],
        cwd=ROOT, capture_output=True, text=True, timeout=3600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("bundle {") and "\nmodel {" in done.stdout
    # Hidden files aside, nothing but the bundle, the model and weights called by their content.
    names = {p.name for p in tmp_path.iterdir() if not p.name.startswith(".")}
    assert {"net.staged", "net.onnx", "net.prototxt"} <= names
    assert all(n.endswith(".data") for n in names - {"net.staged", "net.onnx", "net.prototxt"})
