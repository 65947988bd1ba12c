"""Does every program that reads ONNX read a model alike? `verify --with`.

ONNX Runtime is the one this package runs on; OpenCV and OpenVINO (extra `[readers]`) are what others bring
their models to. Each reader runs the same file on the same numbers, and each output is compared with the
reference, or with ONNX Runtime's where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from os import PathLike, fspath
from typing import Any

import numpy as np
import onnxruntime as ort

from runtime.measure.reference import read_reference
from runtime.measure.verify import DTYPES, Compared, compare, feeds_of, open_session
from runtime.sessions.session import one_line
from weights.errors import BundleError, UsageError

__all__ = ["READERS", "ReaderResult", "ReadersCompared", "compare_readers"]

Arrays = Mapping[str, np.ndarray]
Run = Callable[[str, Arrays, Sequence[str]], list[np.ndarray]]


@dataclass(frozen=True)
class ReaderResult:
    """What one reader made of a model: its outputs compared, or the problem that it has with the model.

    `installed` is False, and nothing else is known, where the reader is not there.
    """

    reader: str
    version: str
    installed: bool
    outputs: tuple[Compared, ...] = ()
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether it is not there, or gives every output within the tolerance."""
        return not self.problem and all(output.passed for output in self.outputs)


@dataclass(frozen=True)
class ReadersCompared:
    """The readers of one model; `against` is a reference file or "onnxruntime"."""

    model: str
    against: str
    tolerance: float
    readers: tuple[ReaderResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every reader that is installed gives every output within the tolerance."""
        return all(reader.passed for reader in self.readers)

    def to_json(self) -> dict[str, Any]:
        """All of it as one JSON document."""
        return {**asdict(self), "passed": self.passed}


def _by_onnxruntime(model: str, feeds: Arrays, outputs: Sequence[str]) -> list[np.ndarray]:
    session = open_session(model, ["CPUExecutionProvider"])
    return [np.asarray(array) for array in session.run(list(outputs), dict(feeds))]


def _by_opencv(model: str, feeds: Arrays, outputs: Sequence[str]) -> list[np.ndarray]:
    cv2: Any = import_module("cv2")
    net = cv2.dnn.readNetFromONNX(model)
    for name, array in feeds.items():
        net.setInput(array, name)
    return [np.asarray(array) for array in net.forward(list(outputs))]


def _by_openvino(model: str, feeds: Arrays, outputs: Sequence[str]) -> list[np.ndarray]:
    openvino: Any = import_module("openvino")
    # Its CPU plugin takes bfloat16 where the processor has it.
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(dict(feeds))
    return [np.asarray(found[compiled.output(name)]) for name in outputs]


READERS: Mapping[str, tuple[str, Run]] = {
    "onnxruntime": ("onnxruntime", _by_onnxruntime),
    "opencv": ("cv2", _by_opencv),
    "openvino": ("openvino", _by_openvino),
}
"""Reader -> the module it is, and how it runs a model."""


def _version(module: str) -> str | None:
    try:
        found = import_module(module)
    except ImportError:
        return None
    return str(getattr(found, "__version__", "")).split("-")[0]


def _noise(session: ort.InferenceSession, model: str) -> dict[str, np.ndarray]:
    """Normal numbers for every input, which must have a fixed size."""
    rng = np.random.default_rng(0)
    made = {}
    for wanted in session.get_inputs():
        if not all(isinstance(size, int) for size in wanted.shape):
            raise UsageError(
                f'input "{wanted.name}" has an open size',
                file=model,
                found=" x ".join(map(str, wanted.shape)),
                expected="a model of one size (convert --fixed), or --reference with inputs",
            )
        array = rng.normal(0, 1, wanted.shape)
        made[wanted.name] = array.astype(DTYPES.get(wanted.type, np.float32))
    return made


def _as_expected(array: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """OpenCV drops or adds axes of size 1, and has no other numbers than floats for some results."""
    return array.reshape(expected.shape) if array.size == expected.size else array


def _result(reader: str, model: str, feeds: Arrays, expected: Arrays, tolerance: float) -> ReaderResult:
    module, run = READERS[reader]
    version = _version(module)
    if version is None:
        return ReaderResult(reader, "", False)
    result = ReaderResult(reader, version, True)
    try:
        arrays = run(model, feeds, list(expected))
    except Exception as error:  # each reader has errors of its own
        return replace(result, problem=one_line(error))
    compared = (
        compare(name, _as_expected(array, expected[name]), expected[name], tolerance)
        for name, array in zip(expected, arrays, strict=True)
    )
    return replace(result, outputs=tuple(compared))


def compare_readers(
    model: str | PathLike[str],
    readers: Sequence[str],
    tolerance: float = 1e-5,
    *,
    reference: str | PathLike[str] | None = None,
) -> ReadersCompared:
    """Run a model by several readers and compare what they give, by output.

    Args:
        model: An ONNX file.
        readers: Names of READERS; those that are not installed are said to be so, and nothing else.
        tolerance: The greatest max|reader - expected| / max|expected| that passes.
        reference: An HDF5 or npz file with inputs and outputs; without one the inputs are noise, and ONNX
            Runtime's outputs are expected.

    Returns:
        What each reader made of it.

    Raises:
        UsageError: An unknown reader, or noise for a model of open size.
        DataSetError: The reference is not one, or lacks an input or all outputs of the model.
        BundleError: ONNX Runtime cannot open or run the model.
    """
    unknown = [reader for reader in readers if reader not in READERS]
    if unknown or not readers:
        raise UsageError("unknown reader", found=", ".join(unknown) or "none", expected=", ".join(READERS))
    file = fspath(model)
    session = open_session(file, ["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    if reference is not None:
        known = read_reference(reference)
        feeds: dict[str, np.ndarray] = feeds_of(session, known)
        expected = {name: known.outputs[name] for name in names if name in known.outputs}
    if reference is None or not expected:
        if reference is None:
            feeds = _noise(session, file)
        try:
            expected = dict(zip(names, map(np.asarray, session.run(names, feeds)), strict=True))
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            raise BundleError("cannot be run", file=file, found=one_line(error)) from None
        against = "onnxruntime"
    else:
        against = known.file
    results = tuple(_result(reader, file, feeds, expected, tolerance) for reader in readers)
    return ReadersCompared(file, against, tolerance, results)
