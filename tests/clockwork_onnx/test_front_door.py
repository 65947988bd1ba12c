"""`import clockwork_onnx as cw`: few names, imported late; files of the user's that hide ours are named."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import caffe_port
import clockwork_onnx as cw
import weights
from clockwork_onnx.shadowing import PACKAGES
from tests.support.small_nets import thin_fcn8s

ROOT = Path(cw.__file__).resolve().parent.parent


def python(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A script in `folder` and what it says."""
    (folder / "script.py").write_text(script, "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, env=environment
    )


def loaded_after(statement: str, folder: Path) -> set[str]:
    """Top-level modules that a statement loads in a fresh interpreter."""
    script = f"import sys\nbefore = set(sys.modules)\n{statement}\nprint(*(set(sys.modules) - before))"
    result = python(script, folder)
    assert result.returncode == 0, result.stderr
    return {name.split(".")[0] for name in result.stdout.split()}


HEAVY = {"numpy", "onnx", "onnxruntime", "h5py", "av", "skimage", "matplotlib", "rich", "google", "cv2"}


@pytest.mark.parametrize("statement", ["import clockwork_onnx", "import clockwork_onnx as cw; dir(cw)"])
def test_importing_the_front_door_loads_nothing_heavy(statement: str, tmp_path: Path) -> None:
    loaded = loaded_after(statement, tmp_path)
    assert "clockwork_onnx" in loaded
    assert not loaded & {*HEAVY, "click", *PACKAGES}


def test_reading_a_net_does_not_load_the_runtime(tmp_path: Path) -> None:
    loaded = loaded_after("import clockwork_onnx as cw; cw.read_net, cw.read_weights", tmp_path)
    assert {"caffe_port", "weights"} <= loaded
    assert not loaded & {"onnxruntime", "runtime", "staged_onnx", "av"}


def test_help_of_the_command_loads_nothing_heavy(tmp_path: Path) -> None:
    statement = "from clockwork_onnx.cli import run; import io, contextlib\n"
    statement += "with contextlib.redirect_stdout(io.StringIO()): assert run(['--help']) == 0"
    loaded = loaded_after(statement, tmp_path)
    assert "click" in loaded
    assert not loaded & HEAVY


def test_every_name_is_there_and_the_stub_lists_the_same() -> None:
    stub = ast.parse(Path(cw.__file__).with_suffix(".pyi").read_text("utf-8"))
    imported = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(imported) == set(cw.__all__)
    for name in cw.__all__:
        module, attribute = imported[name]
        assert getattr(cw, name) is getattr(__import__(str(module), fromlist=[attribute]), attribute)
        assert name in dir(cw)
    assert cw.__version__ == weights.__version__
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        cw.opne  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize("kind", ["module", "package"])
def test_a_module_of_the_user_s_that_hides_ours_is_named(name: str, kind: str, tmp_path: Path) -> None:
    culprit = tmp_path / (f"{name}.py" if kind == "module" else name)
    if kind == "module":
        culprit.write_text("BATCH = 4\n")
    else:
        culprit.mkdir()
        (culprit / "__init__.py").write_text("")
    for script in ("import clockwork_onnx", f"import {name}\nimport clockwork_onnx"):
        result = python(script, tmp_path)
        assert result.returncode == 1
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("ImportError")]
        assert f"'{name}' hides" in line and str(culprit) in line and str(ROOT / name) in line


def test_a_plain_folder_hides_ours_only_where_python_takes_it(tmp_path: Path) -> None:
    """A folder without __init__.py beside the script: a regular package further along the path wins."""
    (tmp_path / "runtime").mkdir()
    assert python("import clockwork_onnx as cw; cw.open", tmp_path).returncode == 0
    result = python(
        "import sys, types, importlib.machinery as m\n"
        "sys.modules['runtime'] = found = types.ModuleType('runtime')\n"
        "found.__spec__ = spec = m.ModuleSpec('runtime', None, is_package=True)\n"
        f"spec.submodule_search_locations = [{str(tmp_path / 'runtime')!r}]\n"
        "import clockwork_onnx",
        tmp_path,
    )
    assert result.returncode == 1 and str(tmp_path / "runtime") in result.stderr


def test_a_missing_package_is_said_so(tmp_path: Path) -> None:
    result = python("import sys\nsys.modules['weights'] = None\nimport clockwork_onnx", tmp_path)
    assert result.returncode == 1
    assert "its package 'weights' is missing" in result.stderr.splitlines()[-1]


@pytest.fixture
def fcn(tmp_path: Path) -> tuple[Path, Path]:
    net = thin_fcn8s(tmp_path)
    weights.write(tmp_path / "net.caffemodel", net, caffe_port.random_weights(net, seed=1))
    return Path(net.file), tmp_path / "net.caffemodel"


def test_convert_and_open(fcn: tuple[Path, Path], tmp_path: Path) -> None:
    done = cw.convert(*fcn, tmp_path / "net.staged", cuts=["pool3", "pool4", "upscore2"], schedule="skip:2")
    assert done.bundle is not None and done.path == tmp_path / "net.staged" and not done.chosen
    frames = [np.full((64, 96, 3), 40 * i, np.uint8) for i in range(3)]
    with cw.open(done.path, device="cpu") as player:
        steps = list(player.play(frames))
    assert [bool(step.fired) for step in steps] == [True, False, True]
    assert steps[0].labels.shape == (64, 96)


def test_convert_takes_a_net_and_arrays(fcn: tuple[Path, Path], tmp_path: Path) -> None:
    done = cw.convert(cw.read_net(fcn[0]), cw.read_weights(fcn[1]), tmp_path / "net.onnx", outputs=["pool3"])
    assert done.bundle is None and list(done.outputs) == ["pool3"] and (tmp_path / "net.onnx").is_file()
    with pytest.raises(cw.ClockworkError, match=r"found stages, scale; expected -o NAME\.staged"):
        cw.convert(*fcn, tmp_path / "other.onnx", stages=2, scale=2.0)
    assert not (tmp_path / "other.onnx").exists()
