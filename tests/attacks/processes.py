"""Real `clockwork` processes for tests that stop them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, sleep

ROOT = Path(__file__).parents[2]
SECONDS = 300


def clockwork(*words: str | Path) -> subprocess.Popen[str]:
    """A `clockwork` process under way."""
    command = [sys.executable, "-m", "clockwork_onnx", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def finished(process: subprocess.Popen[str], expected: int = 0) -> tuple[str, str]:
    """What a process printed on standard output and standard error, once it has ended as expected."""
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == expected, (process.returncode, out, err)
    return out, err


def wait_until(there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something is so, while the process goes on."""
    end = monotonic() + SECONDS
    while not there():
        assert process.poll() is None, process.communicate()
        assert monotonic() < end, "nothing happened"
        sleep(0.01)


def content(folder: Path, but: Sequence[str] = ()) -> dict[str, bytes]:
    """Every file under a folder, but those of some names."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in but)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
