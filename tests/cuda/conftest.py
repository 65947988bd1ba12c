"""The CUDA provider on stub libraries: no numbers, but placement, copies and waits are real."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

STUB = Path(__file__).with_name("stub")
HEADERS = (
    os.environ.get("CUDA_INCLUDE", ""),
    f"{sys.prefix}/cuda-headers/nvidia/cu13/include",
    "/usr/local/cuda/include",
)


def headers() -> str | None:
    """The folder with the headers that the stubs are built with."""
    needed = ("driver_types.h", "crt/host_defines.h")
    return next((f for f in HEADERS if f and all(Path(f, name).is_file() for name in needed)), None)


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stub libraries, built once."""
    if sys.platform != "linux" or shutil.which("g++") is None:
        pytest.skip("the stub CUDA libraries are built with g++ on Linux")
    include = headers()
    if include is None:
        pytest.skip("no headers of CUDA 13 to build the stub libraries with: make cuda-headers")
    folder = tmp_path_factory.mktemp("cuda-stub")
    subprocess.run(
        ["bash", str(STUB / "build.sh"), str(folder)], env={**os.environ, "CUDA_INCLUDE": include}, check=True
    )
    return folder


@pytest.fixture(scope="session")
def on_stubs(stubs: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Run a function of `tests.cuda.scenarios` in a process of its own on the stubs; gives what it returns.

    `on_stubs(name, environment={...}, **arguments)`; the process's messages are in `on_stubs.messages`.
    """

    def run(name: str, environment: dict[str, str] | None = None, **arguments: Any) -> Any:
        given = json.dumps({"folder": str(tmp_path_factory.mktemp(name)), **arguments})
        path = f"{stubs}:{os.environ.get('LD_LIBRARY_PATH', '')}"
        done = subprocess.run(
            [sys.executable, "-m", "tests.cuda.scenarios", name, given],
            env={**os.environ, "LD_LIBRARY_PATH": path, **(environment or {})},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=120,
        )
        run.messages = done.stderr  # type: ignore[attr-defined]
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run
