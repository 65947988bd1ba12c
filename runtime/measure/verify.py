"""Comparing an ONNX model with what the net it was made from answered: `verify`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from runtime.measure.reference import Reference, read_reference
from runtime.sessions.graph_files import one_line
from weights.errors import BundleError, DataSetError
from weights.identify import identify

__all__ = ["Compared", "Verification", "verify"]

ODD = 1e30
"""Numbers beyond this are no results: Caffe leaves -FLT_MAX where a MAX window is empty."""

DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


@dataclass(frozen=True)
class Compared:
    """One output. Errors are |model - reference|, `max_relative` the largest divided by max |reference|
    (by 1 where the reference is all zeros).

    They are None, and `note` says why, where the two cannot be compared: shapes differ, or NaN, infinity or
    -FLT_MAX stand at different places.
    """

    name: str
    shape: tuple[int, ...]
    max_absolute: float | None
    max_relative: float | None
    mean_absolute: float | None
    passed: bool
    note: str = ""


@dataclass(frozen=True)
class Verification:
    """A model against a reference; `not_compared` are outputs of the model that the reference lacks."""

    model: str
    reference: str
    tolerance: float
    outputs: tuple[Compared, ...]
    not_compared: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every output is within the tolerance."""
        return all(output.passed for output in self.outputs)

    def to_json(self) -> dict[str, Any]:
        """All of it as one JSON document."""
        return {**asdict(self), "passed": self.passed}


def open_session(
    model: onnx.ModelProto | str | PathLike[str], providers: Sequence[Any]
) -> ort.InferenceSession:
    """A session of a model or its file; raises BundleError for what ONNX Runtime cannot open."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else fspath(model)
    kind = _kind(source) if isinstance(source, str) else None
    try:
        return ort.InferenceSession(source, options, providers=list(providers))
    except Exception as error:  # ONNX Runtime's errors have no base of their own
        raise BundleError(
            "cannot be opened as an ONNX model",
            file=None if isinstance(source, bytes) else source,
            found=kind or one_line(error),
        ) from None


def _kind(file: str) -> str | None:
    """What a file is, as far as its first bytes tell; raises BundleError for what cannot be read at all."""
    if Path(file).is_dir():
        raise BundleError(
            "not an ONNX model",
            file=file,
            found="a bundle" if (Path(file) / "manifest.json").is_file() else "a folder",
            expected="one plain model NAME.onnx",
            hint="convert the net with -o NAME.onnx, or give PROTOTXT and WEIGHTS",
        )
    try:
        with open(file, "rb") as stream:
            head = stream.read(4096)
    except OSError as error:
        raise BundleError(
            "cannot be read", file=file, found=error.strerror or error, expected="an ONNX model"
        ) from None
    known = identify(head)
    return known[0] if known is not None else None


def feeds_of(session: ort.InferenceSession, reference: Reference) -> dict[str, np.ndarray]:
    """The reference's inputs that the session wants; raises DataSetError where one is missing or misfits."""
    feeds = {}
    for wanted in session.get_inputs():
        array = reference.inputs.get(wanted.name)
        if array is None:
            raise DataSetError(
                "an input of the model is missing",
                file=reference.file,
                found=", ".join(f"inputs/{n}" for n in reference.inputs) or "no inputs",
                expected=f"inputs/{wanted.name}",
            )
        fits = len(array.shape) == len(wanted.shape) and all(
            not isinstance(w, int) or w == g for w, g in zip(wanted.shape, array.shape, strict=True)
        )
        if not fits:
            raise DataSetError(
                f'input "{wanted.name}" has the wrong shape',
                file=reference.file,
                found=array.shape,
                expected=" x ".join(map(str, wanted.shape)),
                hint="convert the net for this size: --shape, or --fixed left out",
            )
        feeds[wanted.name] = np.asarray(array, DTYPES.get(wanted.type, np.float32), order="C")
    return feeds


def compare(name: str, got: np.ndarray, expected: np.ndarray, tolerance: float) -> Compared:
    """One output against the reference; passed where max_relative <= tolerance."""
    if got.shape != expected.shape:
        return Compared(
            name, got.shape, None, None, None, False, f"shape {got.shape}, reference {expected.shape}"
        )
    a, b = got.astype(np.float64), expected.astype(np.float64)
    odd = ~(np.abs(b) <= ODD)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    strange = int(np.count_nonzero(~same & (odd | ~(np.abs(a) <= ODD))))
    if strange:
        note = f"{strange} of {a.size} numbers are NaN, infinite or beyond {ODD:g} in one only"
        return Compared(name, got.shape, None, None, None, False, note)
    difference, scale = np.abs(a[~odd] - b[~odd]), np.abs(b[~odd]).max(initial=0.0)
    largest = float(difference.max(initial=0.0))
    relative = largest / (float(scale) or 1.0)
    mean = float(difference.mean()) if difference.size else 0.0
    return Compared(name, got.shape, largest, relative, mean, relative <= tolerance)


def verify(
    model: onnx.ModelProto | str | PathLike[str],
    reference: str | PathLike[str],
    tolerance: float = 1e-5,
    *,
    providers: Sequence[Any] = ("CPUExecutionProvider",),
) -> Verification:
    """Run a model on the inputs of a reference and compare the outputs, by blob name.

    Inputs that the model does not have are left aside (labels of layers that were dropped).

    Args:
        model: The model, or its file.
        reference: An HDF5 or npz file with arrays inputs/NAME and outputs/NAME.
        tolerance: The greatest max|model - reference| / max|reference| that passes.
        providers: ONNX Runtime's execution providers, in order of preference.

    Returns:
        The difference of each output, and the outputs of the model that the reference does not have.

    Raises:
        DataSetError: The reference is not one, lacks an input, or holds an output that the model does not
            have.
        BundleError: The model cannot be opened or run.
    """
    known = read_reference(reference)
    session = open_session(model, providers)
    name = session.get_modelmeta().graph_name if isinstance(model, onnx.ModelProto) else fspath(model)
    outputs = [o.name for o in session.get_outputs()]
    unknown = [output for output in known.outputs if output not in outputs]
    if unknown:
        raise DataSetError(
            f"the model lacks what the reference {known.file} holds",
            file=name or None,
            found=f"outputs {', '.join(outputs)}",
            expected=", ".join(known.outputs),
            hint=f"convert with {' '.join(f'--blob {output}' for output in known.outputs)}",
        )
    wanted = list(known.outputs)
    feeds = feeds_of(session, known)
    try:
        got = session.run(wanted, feeds)
    except Exception as error:
        raise BundleError("cannot be run", file=name, found=one_line(error)) from None
    compared = tuple(
        compare(output, np.asarray(array), known.outputs[output], tolerance)
        for output, array in zip(wanted, got, strict=True)
    )
    return Verification(name, known.file, tolerance, compared, tuple(o for o in outputs if o not in wanted))
