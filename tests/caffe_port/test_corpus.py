"""Published nets: each is read and measured, or refused in one line; never anything else."""

from __future__ import annotations

import importlib.util
import json
import zlib
from pathlib import Path
from types import ModuleType

import pytest

from caffe_port import infer_shapes, read_net
from tests.support.shared_data import ROOT, shared
from weights.errors import ClockworkError


def corpus() -> ModuleType:
    """benchmarks/corpus.py, which is a script."""
    spec = importlib.util.spec_from_file_location("corpus", ROOT / "benchmarks" / "corpus.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def listed(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "index.jsonl").read_text("utf-8").splitlines()]


def test_sampled_nets_have_shapes_or_a_reason() -> None:
    """One file in ten, the same ones every time."""
    folder = shared("prototxts")
    files = [str(f["file"]) for f in listed(folder) if zlib.crc32(str(f["file"]).encode()) % 10 == 0]
    assert len(files) > 40
    measured = 0
    for name in files:
        path = folder / name
        try:
            net = read_net(path, define={"NUM_LABELS": "21"})
            shapes = infer_shapes(net)
        except ClockworkError as error:
            assert "\n" not in str(error) and str(error).startswith(str(path)), name
            continue
        measured += 1
        assert net.outputs and all(output in shapes for output in net.outputs), name
    assert measured > len(files) / 2


def test_most_sampled_deploy_nets_are_read() -> None:
    folder = shared("prototxts")
    files = [str(f["file"]) for f in listed(folder) if f["kind"] == "deploy"][::9]
    refused = []
    for name in files:
        try:
            infer_shapes(read_net(folder / name))
        except ClockworkError as error:
            refused.append(f"{name}: {error.problem}")
    assert len(refused) <= 0.15 * len(files), refused


SMALL = """
input: "data" input_shape { dim: 2 dim: 3 dim: 8 dim: 8 }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
        convolution_param { num_output: ${NUM_LABELS} kernel_size: 3 } }
layer { name: "d" type: "DetectionOutput" bottom: "c" top: "d" }
"""


def test_a_net_is_converted_and_run(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(SMALL, "utf-8")
    found = corpus().convert(tmp_path / "net.prototxt", run=True)
    assert found["status"] == "converted" and found["defined"] == ["NUM_LABELS"]
    assert found["cut"] == ['DetectionOutput layer "d" cut off: its input "c" is an output']


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SMALL.replace("Convolution", "Oracle"), "unsupported layer type (Oracle)"),
        (SMALL.replace("kernel_size: 3", "kernel_size: 30"), "impossible shape (Convolution)"),
        (SMALL.replace('input: "data"', 'inputs: "data"'), 'unknown field "inputs" in NetParameter'),
    ],
)
def test_a_refusal_is_said_with_its_reason(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "net.prototxt").write_text(text, "utf-8")
    found = corpus().convert(tmp_path / "net.prototxt", run=True)
    assert (found["status"], found["reason"]) == ("refused", reason)


def test_a_shape_that_no_file_states_is_given_and_counted_apart(tmp_path: Path) -> None:
    data = 'layer { name: "data" type: "Data" top: "data" top: "label" }'
    text = data + 'layer { name: "r" type: "ReLU" bottom: "data" top: "r" }'
    (tmp_path / "net.prototxt").write_text(text, "utf-8")
    found = corpus().convert(tmp_path / "net.prototxt", run=True)
    assert found["status"] == "converted" and found["given"] == ["data"]
