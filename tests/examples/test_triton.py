"""The model for Triton's Python backend, with a stand-in for Triton: a cache per sequence, typed answers."""

from __future__ import annotations

import json
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

import runtime
from tests.support.toy_bundles import toy_bundle, toy_frame

FOLDER = Path(__file__).parents[2] / "examples/deploy/triton/clockwork"


def backend() -> ModuleType:
    """As much of triton_python_backend_utils as the model uses."""
    module = ModuleType("triton_python_backend_utils")
    module.Tensor = lambda name, array: SimpleNamespace(name=name, as_numpy=lambda: array)  # type: ignore[attr-defined]
    module.TritonError = lambda text: text  # type: ignore[attr-defined]
    module.InferenceResponse = (  # type: ignore[attr-defined]
        lambda tensors=(), error=None: SimpleNamespace(tensors=tensors, error=error)
    )
    module.get_input_tensor_by_name = lambda request, name: request[name]  # type: ignore[attr-defined]
    return module


def request(sequence: int, frame: Any, *, start: bool = False, end: bool = False) -> dict[str, Any]:
    values = {"frame": frame, "CORRID": np.array([sequence], np.uint64), "START": np.array([int(start)]),
              "END": np.array([int(end)])}  # fmt: skip
    return {name: SimpleNamespace(as_numpy=lambda value=value: value) for name, value in values.items()}


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", backend())
    toy_bundle(tmp_path).path.rename(tmp_path / "bundle.staged")
    made = runpy.run_path(str(FOLDER / "1/model.py"))["TritonPythonModel"]()
    settings = {"schedule": {"string_value": "skip:3"}, "device": {"string_value": "cpu"}}
    config = json.dumps({"parameters": settings})
    made.initialize({"model_config": config, "model_repository": str(tmp_path)})
    yield made
    made.finalize()
    assert not made.players


def test_each_sequence_keeps_its_own_cache(model: Any) -> None:
    frames = {1: [0, 1, 1, 1], 2: [1, 0, 0, 0]}
    answers: dict[int, list[np.ndarray]] = {1: [], 2: []}
    for t in range(4):
        asked = [request(s, toy_frame(frames[s][t]), start=t == 0, end=t == 3) for s in (1, 2)]
        for sequence, answer in zip((1, 2), model.execute(asked), strict=True):
            answers[sequence].append(np.array(answer.tensors[0].as_numpy()))
    for sequence, labels in frames.items():
        with runtime.open(model.bundle, device="cpu", schedule="skip:3") as player:
            expected = [step.labels for step in player.play([toy_frame(label) for label in labels])]
        assert all(np.array_equal(a, e) for a, e in zip(answers[sequence], expected, strict=True))
    assert not model.players


def test_a_sequence_that_starts_again_is_computed_anew_and_old_ones_are_forgotten(model: Any) -> None:
    model.execute([request(7, toy_frame(0), start=True)])
    (answer,) = model.execute([request(7, toy_frame(1), start=True)])
    assert (answer.tensors[0].as_numpy() == 1).all()
    for sequence in range(100, 120):
        model.execute([request(sequence, toy_frame(0), start=True)])
    assert len(model.players) == 16 and 7 not in model.players


def test_what_is_no_frame_is_answered_with_an_error(model: Any) -> None:
    bad, good = model.execute([request(1, np.zeros((4, 4), np.uint8)), request(2, toy_frame(0))])
    assert "not a frame" in bad.error and good.error is None


def test_the_configuration_is_one_that_triton_reads() -> None:
    package = find_spec("tritonclient")
    if package is None or package.origin is None:
        pytest.skip("pip install tritonclient, which has Triton's messages")
    messages = Path(package.origin).parent / "grpc/model_config_pb2.py"
    config = SimpleNamespace(**runpy.run_path(str(messages)))
    read = text_format.Parse((FOLDER / "config.pbtxt").read_text("utf-8"), config.ModelConfig())
    assert read.backend == "python" and [i.name for i in read.input] == ["frame"]
    assert {c.name for c in read.sequence_batching.control_input} == {"START", "END", "CORRID"}
