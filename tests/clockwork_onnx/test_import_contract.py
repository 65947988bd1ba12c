"""The import contract of pyproject.toml holds, and an import upward breaks it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter", reason="import-linter is in the extra [dev]")

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("clockwork_onnx", "runtime", "staged_onnx", "caffe_port", "weights", "tools")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """`lint-imports` in a folder that holds the packages and pyproject.toml."""
    script = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    return subprocess.run(
        [sys.executable, "-c", script, "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "400"},
    )


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The packages' Python files, to be changed at will."""
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package,
            tmp_path / package,
            ignore=lambda folder, names: [
                n for n in names if not n.endswith(".py") and not (Path(folder) / n).is_dir()
            ],
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_contract_holds(copied: Path) -> None:
    result = lint_imports(copied)
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(
    ("module", "upward"),
    [
        ("weights/files.py", "import caffe_port.net"),
        ("caffe_port/net.py", "from staged_onnx.planning import Plan"),
        ("staged_onnx/manifest.py", "from runtime.step import Step"),
        ("runtime/step.py", "import clockwork_onnx.cli"),
        ("runtime/sessions/session.py", "from runtime.player import Player"),
    ],
)
def test_import_upward_breaks_it(copied: Path, module: str, upward: str) -> None:
    with (copied / module).open("a") as file:
        file.write(f"\n{upward}\n")
    result = lint_imports(copied)
    assert result.returncode == 1, result.stdout
    assert "is not allowed to import" in result.stdout
