"""Where the data that cannot be committed lies, and how a test skips without it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("CLOCKWORK_SHARED", ROOT.parent / "shared"))


def shared(path: str) -> Path:
    """The file or folder `path` of the shared data; skips the test, with the reason, where it is absent."""
    full = SHARED / path
    if not full.exists():
        pytest.skip(f"needs {path} under {SHARED} (set CLOCKWORK_SHARED)")
    return full
