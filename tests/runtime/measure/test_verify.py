"""verify: a model against a reference, and files that are not references."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest

import caffe_port
from runtime.measure.reference import read_reference
from runtime.measure.verify import compare, verify
from weights.errors import BundleError, DataSetError

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 4 dim: 5 } } }
layer { name: "a/b" type: "Power" bottom: "data" top: "a/b" power_param { scale: 2 shift: 1 } }
layer { name: "y" type: "AbsVal" bottom: "a/b" top: "y" }
"""


@pytest.fixture
def model(tmp_path: Path) -> onnx.ModelProto:
    (tmp_path / "net.prototxt").write_text(NET)
    return caffe_port.to_onnx(caffe_port.read_net(tmp_path / "net.prototxt"), {}, outputs=["a/b", "y"])


X = np.linspace(-2, 2, 40, dtype=np.float32).reshape(1, 2, 4, 5)
GOOD = {"inputs/data": X, "outputs/a/b": 2 * X + 1, "outputs/y": np.abs(2 * X + 1)}


def write(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    return path


@pytest.mark.parametrize("name", ["ref.h5", "ref.npz", "ref"])
def test_right_model_passes(tmp_path: Path, model: onnx.ModelProto, name: str) -> None:
    found = verify(model, write(tmp_path / name, GOOD))
    assert found.passed
    assert [o.name for o in found.outputs] == ["a/b", "y"]
    assert all(o.max_relative is not None and o.max_relative <= 1e-6 for o in found.outputs)
    assert json.loads(json.dumps(found.to_json()))["passed"] is True


def test_errors_are_measured(tmp_path: Path, model: onnx.ModelProto) -> None:
    off = GOOD["outputs/y"].copy()
    off[0, 0, 0, 0] += 0.5
    arrays = {"inputs/data": X, "outputs/y": off}
    found = verify(model, write(tmp_path / "ref.h5", arrays), tolerance=0.01)
    (y,) = found.outputs
    assert not found.passed and not y.passed
    assert y.max_absolute == pytest.approx(0.5)
    assert y.max_relative == pytest.approx(0.5 / off.max())
    assert y.mean_absolute == pytest.approx(0.5 / 40)
    assert found.not_compared == ("a/b",)
    assert verify(model, tmp_path / "ref.h5", tolerance=0.2).passed


def test_model_from_a_file(tmp_path: Path, model: onnx.ModelProto) -> None:
    caffe_port.save_model(model, tmp_path / "net.onnx")
    assert verify(tmp_path / "net.onnx", write(tmp_path / "ref.h5", GOOD)).passed


def test_inputs_that_the_model_lacks_are_left_aside(tmp_path: Path, model: onnx.ModelProto) -> None:
    assert verify(model, write(tmp_path / "ref.h5", {**GOOD, "inputs/label": np.zeros(1)})).passed


@pytest.mark.parametrize(
    ("got", "expected", "passed"),
    [
        ([1.0, np.nan], [1.0, np.nan], True),
        ([1.0, -3.4028235e38], [1.0, -3.4028235e38], True),
        ([1.0, 2.0], [1.0, np.nan], False),
        ([1.0, np.nan], [1.0, 2.0], False),
        ([1.0, np.inf], [1.0, -np.inf], False),
        ([0.0, 0.0], [0.0, 0.0], True),
        ([0.0, 1.0], [0.0, 0.0], False),
    ],
)
def test_numbers_that_are_none(got: list[float], expected: list[float], passed: bool) -> None:
    assert compare("y", np.array(got), np.array(expected), 1e-5).passed is passed


def test_other_shape_fails_the_check(tmp_path: Path, model: onnx.ModelProto) -> None:
    arrays = {"inputs/data": X, "outputs/y": np.zeros((1, 2, 4, 4))}
    (y,) = verify(model, write(tmp_path / "ref.h5", arrays)).outputs
    assert not y.passed and y.max_relative is None and "(1, 2, 4, 4)" in y.note


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"inputs/data": X}, "without outputs"),
        ({}, "without outputs"),
        ({"outputs/y": X}, "expected inputs/data"),
        (
            {"inputs/data": X[:, :1], "outputs/y": X},
            r'input "data" has the wrong shape; found \(1, 1, 4, 5\)',
        ),
        ({"inputs/data": X[0], "outputs/y": X}, "wrong shape"),
        ({"inputs/data": X, "outputs/z": X}, "found outputs a/b, y; expected z; convert with --blob z"),
        ({"inputs/data": X, "outputs/y": X, "weights": X}, 'an array "weights"'),
        ({"inputs/data": np.array([b"abc"]), "outputs/y": X}, "holds no numbers"),
    ],
)
@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_references_that_do_not_fit(
    tmp_path: Path, model: onnx.ModelProto, arrays: dict[str, np.ndarray], message: str, suffix: str
) -> None:
    path = write(tmp_path / f"ref{suffix}", arrays)
    if suffix == ".npz" and not arrays:
        message = "empty zip archive"
    with pytest.raises(DataSetError, match=message) as error:
        verify(model, path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_files_that_are_no_reference(tmp_path: Path) -> None:
    for content, message in (
        (b"", "an empty file"),
        (b"<html></html>", "an HTML page"),
        (b"\1\2\3", "unknown"),
    ):
        (tmp_path / "ref.h5").write_bytes(content)
        with pytest.raises(DataSetError, match=message):
            read_reference(tmp_path / "ref.h5")
    with pytest.raises(DataSetError, match="No such file"):
        read_reference(tmp_path / "none.h5")


def test_truncated_files(tmp_path: Path) -> None:
    for name in ("ref.h5", "ref.npz"):
        whole = write(tmp_path / name, GOOD).read_bytes()
        for end in range(1, len(whole), 97):
            (tmp_path / f"cut-{name}").write_bytes(whole[:end])
            with pytest.raises(DataSetError):
                read_reference(tmp_path / f"cut-{name}")


def test_nothing_outside_the_file_is_opened(tmp_path: Path) -> None:
    write(tmp_path / "other.h5", GOOD)
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["inputs"] = h5py.ExternalLink("other.h5", "/inputs")
    with pytest.raises(DataSetError, match="links are not followed"):
        read_reference(tmp_path / "link.h5")
    (tmp_path / "raw").write_bytes(b"\0" * 400)
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("outputs/y", (10,), "f4", external=[(str(tmp_path / "raw"), 0, 40)])
    with pytest.raises(DataSetError, match="kept in another file"):
        read_reference(tmp_path / "external.h5")


def test_sizes_are_checked_before_memory_is_taken(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "ref.h5", "w") as file:
        file.create_dataset("outputs/y", (1 << 40,), "f4", chunks=(1 << 10,))
    with pytest.raises(DataSetError, match="larger than its file can hold"):
        read_reference(tmp_path / "ref.h5")
    header = {"shape": (1 << 40,), "fortran_order": False, "descr": "<f4"}
    with zipfile.ZipFile(tmp_path / "ref.npz", "w") as archive, archive.open("outputs/y.npy", "w") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
    with pytest.raises(DataSetError, match="larger than its file can hold"):
        read_reference(tmp_path / "ref.npz")


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "ref.npz", **{"outputs/y": np.array([{}], dtype=object)})
    with pytest.raises(DataSetError, match="holds no numbers"):
        read_reference(tmp_path / "ref.npz")


def test_models_that_are_none(tmp_path: Path) -> None:
    reference = write(tmp_path / "ref.h5", GOOD)
    (tmp_path / "net.onnx").write_bytes(b"no model")
    (tmp_path / "odd.onnx").write_bytes(b"\1\2\3\4")
    (tmp_path / "x.staged").mkdir()
    (tmp_path / "x.staged" / "manifest.json").write_text("{}")
    for name, words in (
        ("net.onnx", "cannot be opened as an ONNX model; found a text file"),
        ("odd.onnx", "cannot be opened as an ONNX model; found "),
        ("none.onnx", "cannot be read; found No such file or directory; expected an ONNX model"),
        ("x.staged", "not an ONNX model; found a bundle; expected one plain model"),
        (".", "not an ONNX model; found a folder; expected one plain model"),
    ):
        with pytest.raises(BundleError, match=words) as error:
            verify(tmp_path / name, reference)
        assert str(tmp_path / name) in str(error.value)
        assert "ONNXRuntimeError" not in str(error.value) and "\n" not in str(error.value)
