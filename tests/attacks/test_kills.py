"""Finding D12: a command killed at any moment leaves the old or the new, never something else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import caffe_port.save
from tests.attacks.kills import conversions, cut_off, undisturbed

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(
    "CLOCKWORK_KILLS" not in os.environ, reason="takes minutes: CLOCKWORK_KILLS says how many kills"
)
@pytest.mark.parametrize("kind", ["bundle", "model", "run"])
def test_killed_commands(tmp_path: Path, kind: str) -> None:
    count = os.environ["CLOCKWORK_KILLS"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.attacks.kills", str(tmp_path), kind, "--count", count],
        cwd=ROOT, capture_output=True, text=True, timeout=3600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{kind} {{'killed': {count}")
    # Hidden files aside, nothing but what was asked for and weights called by their content.
    names = {p.name for p in tmp_path.iterdir() if not p.name.startswith((".", "net.", "0.", "1."))}
    assert all(n.endswith(".data") for n in names - {"v.mp4", "out", "whole"})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kind", ["bundle", "model"])
def test_conversions_cut_off_before_every_rename(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caffe_port.save, "LARGEST_FILE", caffe_port.save.LARGEST_FILE)  # restored at the end
    (first, second), version = conversions(kind, tmp_path)
    undisturbed(second)
    new = version()
    undisturbed(first)
    old = version()
    moment = 0
    while cut_off(second, moment):
        assert version() in (old, new)
        undisturbed(first)
        moment += 1
    assert moment > 0 and version() == new
