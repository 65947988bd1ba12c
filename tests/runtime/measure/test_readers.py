"""Several readers of one model: what each gives, what each cannot, and what is not installed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from caffe_port.onnx_graph import OnnxGraph
from clockwork_onnx.cli import main
from runtime.measure import readers
from runtime.measure.readers import READERS, compare_readers
from weights.errors import DataSetError, UsageError


def model(folder: Path, *, size: int | str = 4) -> Path:
    """y = relu(x), z = 2 x."""
    g = OnnxGraph()
    x = g.input("x", [1, 3, size, 4])
    g.output(g.node("Relu", x), "y", [1, 3, size, 4])
    g.output(g.node("Mul", x, g.const(np.float32(2))), "z", [1, 3, size, 4])
    path = folder / "net.onnx"
    onnx.save(g.model("net"), path)
    return path


def test_onnxruntime_agrees_with_itself(tmp_path: Path) -> None:
    found = compare_readers(model(tmp_path), ["onnxruntime"])
    (result,) = found.readers
    assert found.passed and found.against == "onnxruntime"
    assert result.version == onnxruntime.__version__
    assert [(o.name, o.max_relative) for o in result.outputs] == [("y", 0.0), ("z", 0.0)]


def test_opencv_reads_it_alike(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    found = compare_readers(model(tmp_path), ["opencv"])
    assert found.passed and [o.name for o in found.readers[0].outputs] == ["y", "z"]


def test_a_reader_that_is_not_there_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        readers, "READERS", {**READERS, "openvino": ("no_such_module", READERS["openvino"][1])}
    )
    found = compare_readers(model(tmp_path), ["onnxruntime", "openvino"])
    assert found.passed and not found.readers[1].installed and not found.readers[1].outputs


def _wrong(model: str, feeds: object, outputs: object) -> list[np.ndarray]:
    return [np.zeros((1, 3, 4, 4), np.float32), np.zeros((1, 3, 4, 5), np.float32)]


def _broken(model: str, feeds: object, outputs: object) -> list[np.ndarray]:
    raise RuntimeError("no kernel\nfor this")


def test_what_differs_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    added = {"zeros": ("numpy", _wrong), "broken": ("numpy", _broken)}
    monkeypatch.setattr(readers, "READERS", {**READERS, **added})
    found = compare_readers(model(tmp_path), ["zeros", "broken"])
    zeros, broken = found.readers
    assert not found.passed and not zeros.passed and not broken.passed
    assert zeros.outputs[0].max_relative == 1.0 and "shape (1, 3, 4, 5)" in zeros.outputs[1].note
    assert "no kernel" in broken.problem and "\n" not in broken.problem


def test_a_reference_gives_inputs_and_what_is_expected(tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 48, dtype=np.float32).reshape(1, 3, 4, 4)
    reference = tmp_path / "r.npz"
    np.savez(reference, **{"inputs/x": x, "outputs/y": np.maximum(x, 0) + 0.5})
    found = compare_readers(model(tmp_path), ["onnxruntime"], reference=reference)
    assert found.against == str(reference) and not found.passed
    assert [o.name for o in found.readers[0].outputs] == ["y"]
    np.savez(reference, **{"outputs/y": x})
    with pytest.raises(DataSetError, match="an input of the model is missing"):
        compare_readers(model(tmp_path), ["onnxruntime"], reference=reference)


def test_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown reader; found tensorrt; expected onnxruntime, opencv"):
        compare_readers(model(tmp_path), ["tensorrt"])
    with pytest.raises(UsageError, match='input "x" has an open size'):
        compare_readers(model(tmp_path, size="height"), ["onnxruntime"])


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def exit_status(*arguments: str) -> object:
        with pytest.raises(SystemExit) as ended:
            main(["verify", str(model(tmp_path)), *arguments])
        return ended.value.code

    assert not exit_status("--with", "onnxruntime, onnxruntime")
    assert "passed: against onnxruntime" in capsys.readouterr().out
    monkeypatch.setattr(readers, "READERS", {**READERS, "broken": ("numpy", _broken)})
    assert exit_status("--with", "broken", "--json") == 1
    assert "no kernel" in json.loads(capsys.readouterr().out)["readers"][0]["problem"]
