"""Clocks that only the paper's open points ask for (docs/paper.md, A3 and A15), as schedules of our own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx.shape_inference
import onnxruntime as ort
from numpy.typing import NDArray
from onnx.utils import Extractor

from clockwork_onnx.evaluation.paper.protocols import Method, Options
from clockwork_onnx.evaluation.scoring.differences import relative_difference
from clockwork_onnx.evaluation.scoring.runs import Run
from clockwork_onnx.evaluation.scoring.truncated import StageRunner
from runtime import Schedule
from runtime.schedule.clocks import Always, Clock, Learned
from runtime.schedule.schedule import edges_of
from staged_onnx import Bundle
from weights.errors import UsageError

__all__ = ["LabelMapChange", "pixel_schedule", "visible_schedule"]

Frame = NDArray[np.uint8]
LabelMap = NDArray[np.int64]


def pixel_schedule(bundle: Bundle, threshold: float, options: Options) -> str | Schedule:
    """The pixel-difference clock: relative difference to the frame before, on the values that A15 names.

    Args:
        bundle: The net.
        threshold: The relative difference from which the clock fires.
        options: How the paper's open points are settled.

    Returns:
        A schedule, or the text of one where the library has it.
    """
    if options.pixel_values == "mean subtracted":
        return f"pixels:{threshold:g}" + ("@strict" if options.comparison == ">" else "")
    clock = Learned(_raw_difference, _reached(threshold, options))
    return _last_stage(bundle, clock, f"pixels:{threshold:g} on raw values")


def visible_schedule(run: Run, method: Method, options: Options) -> Schedule:
    """The adaptive clock, its change taken over the part of the score map that the head crops out (A3).

    Args:
        run: What is played, and on which device.
        method: An adaptive one.
        options: How the paper's open points are settled.

    Returns:
        The schedule.
    """
    assert method.threshold is not None
    reached = _reached(method.threshold, options)
    change = LabelMapChange(_VisibleMap(run), reached, reference=options.reference)
    return _last_stage(run.bundle, Learned(change, reached), f"{method.schedule} on the visible part")


class LabelMapChange:
    """Share of positions whose label differs from the reference map, frame by frame.

    `label_map` gives the map of a frame. The reference is the map of the last frame on which the share
    reached `threshold` ("fired"), or of the frame before ("previous"). A frame that does not follow the one
    seen last begins a shot, in which the frame before it was a full pass.
    """

    def __init__(self, label_map: Callable[[Frame], LabelMap], threshold: float, reference: str) -> None:
        self._map = label_map
        self._threshold = threshold
        self._follows_fires = reference == "fired"
        self._seen: Frame | None = None
        self._reference: LabelMap | None = None

    def __call__(self, frame: Frame, before: Frame) -> float:
        if self._reference is None or self._seen is None or not np.array_equal(before, self._seen):
            self._reference = self._map(before)
        labels = self._map(frame)
        change = float(np.mean(labels != self._reference))
        if change >= self._threshold or not self._follows_fires:
            self._reference = labels
        self._seen = frame.copy()
        return change


def _reached(threshold: float, options: Options) -> float:
    # d > t is d >= the next number after t.
    return float(np.nextafter(threshold, np.inf)) if options.comparison == ">" else threshold


def _last_stage(bundle: Bundle, clock: Clock, text: str) -> Schedule:
    manifest = bundle.manifest
    clocks = (*(Always() for _ in manifest.stages[1:]), clock)
    return Schedule(text, clocks, edges_of(manifest))


def _raw_difference(frame: Frame, before: Frame) -> float:
    return relative_difference(frame.astype(np.float32), before.astype(np.float32))


class _VisibleMap:
    """Argmax of a bundle's signal as the head's Crop leaves it."""

    def __init__(self, run: Run) -> None:
        manifest = run.bundle.manifest
        self._runner = StageRunner(run.bundle, run.device)
        signal = run.signal or manifest.signal
        model = onnx.load(run.bundle.model_path(manifest.head), load_external_data=False)
        crops = [n for n in model.graph.node if n.op_type == "Slice" and n.input[0] == signal]
        if len(crops) != 1:
            raise UsageError(
                "the head does not crop the signal, so that it has no visible part",
                file=run.bundle.path,
                found=f'"{signal}" cut {len(crops)} times',
                hint="choose signal_area=whole",
            )
        inputs = [name for name in manifest.head.inputs if name != "frame"]
        inferred = onnx.shape_inference.infer_shapes(model)
        part = Extractor(inferred).extract_model(inputs, [crops[0].output[0]])
        self._session = ort.InferenceSession(part.SerializeToString(), providers=["CPUExecutionProvider"])

    def __call__(self, image: Frame) -> LabelMap:
        self._runner.run(image)
        feeds = {port.name: self._runner.value(port.name) for port in self._session.get_inputs()}
        (cropped,) = self._session.run(None, feeds)
        labels: LabelMap = np.asarray(cropped)[0].argmax(axis=0)
        return labels
