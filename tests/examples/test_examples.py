"""The examples run as they stand, and say what is true."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import clockwork_onnx as cw
from clockwork_onnx.evaluation.datasets.shapes_video import shapes_shot
from clockwork_onnx.evaluation.demo.demo import embedded_bundle

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def example(name: str) -> ModuleType:
    """The module of an example; the folder is no package."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_port_and_play(tmp_path: Path) -> None:
    found = example("port_and_play").main(tmp_path, frames=8)
    assert (tmp_path / "labelled.mp4").stat().st_size > 1000
    work, agreement = found["warp:4"]
    assert work == pytest.approx(found["skip:4"][0]) and 0.2 < work < 0.3
    assert agreement > found["skip:4"][1]  # at equal work, what follows the picture is nearer
    assert found["alternating"][1] > agreement and found["alternating"][0] > 0.7


@pytest.mark.parametrize(("schedule", "rates"), [("oracle", None), ("rates:1,2,4", (1, 2, 4))])
def test_plain_onnxruntime_gives_the_player_s_labels(
    tmp_path: Path, schedule: str, rates: tuple[int, ...] | None
) -> None:
    bundle = embedded_bundle(tmp_path / "shapes.staged")
    frames = list(shapes_shot(7, frames=6, size=(96, 128), speed="fast").frames)
    with cw.open(bundle.path, device="cpu", schedule=schedule) as player:
        expected = [step.labels.copy() for step in player.play(frames)]
    found = list(example("plain_onnxruntime").play(bundle.path, frames, rates))
    np.testing.assert_array_equal(found, expected)
    assert len({labels.tobytes() for labels in found}) > 1


def test_plain_onnxruntime_does_not_need_this_package() -> None:
    text = (EXAMPLES / "plain_onnxruntime.py").read_text("utf-8")
    assert not {"clockwork_onnx", "staged_onnx", "runtime", "caffe_port", "weights"} & {
        line.split()[1].split(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))
    }


def test_push_frames(tmp_path: Path) -> None:
    fired = example("push_frames").main(tmp_path, frames=3)
    assert [("stage3" in names) for names in fired] == [True, False, True, True, False, True]


def test_notebook(tmp_path: Path) -> None:
    reason = "the notebook runs with nbclient and ipykernel, which the extra [test] brings"
    nbclient = pytest.importorskip("nbclient", reason=reason)
    pytest.importorskip("ipykernel", reason=reason)
    import nbformat

    notebook = nbformat.read(EXAMPLES / "first_steps.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "commit it without outputs"
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": tmp_path}}).execute()
    printed = "".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", ()))
    assert "warp:4: 25% of the frames computed" in printed
