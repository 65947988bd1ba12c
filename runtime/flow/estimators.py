"""Dense optical flow between two frames, by whichever estimator is at hand.

An estimator is named by text: `dis` (OpenCV's Dense Inverse Search, the extra [flow], set for moving values),
`dis:ultrafast`, `dis:fast`, `dis:medium` (OpenCV's own presets), `skimage` (scikit-image's iterative
Lucas-Kanade, needs nothing more), or the path of an ONNX model; `auto` is `dis`, or `skimage` where OpenCV is
missing; and `codec` takes a video decoder's motion vectors where they lead from a frame to the one before,
and estimates as `auto` elsewhere. `/N` behind a name estimates at 1/N of the frame's height and width;
without it, presets take frames as they are, and the others reduce large ones.
"""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from os import PathLike, fspath
from threading import Lock
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from runtime.flow.codec import CodecFlow
from runtime.flow.fields import Flow, FlowEstimator, FlowFunction, Picture, resize_flow
from runtime.sessions.graph_files import read_dims
from staged_onnx.flow_export import PIXEL_MEANS
from weights.errors import BundleError, FlowError
from weights.shown import one_line

__all__ = ["DIS_PRESETS", "FlowSource", "flow_estimator"]

DIS_PRESETS = ("ultrafast", "fast", "medium")
DIS_SMALLEST = 12
# `dis` is the preset with the fewest iterations and no smoothing afterwards, but down to a finer scale:
# faster than "medium", and better for moving values (docs/flow.md). Its cost grows with the area, and
# values of large frames are moved on a coarser grid anyway, so those are reduced.
DIS_LONGEST = 480
DIS_FINE_LONGEST = 320
# Lucas-Kanade looks at windows of a few pixels, so its frames are made small enough for motion to fit into
# them; radius and warps were chosen by the accuracy of warped scores on real video (docs/flow.md).
SKIMAGE_LONGEST = 160
SKIMAGE_OPTIONS = {"radius": 4, "num_warp": 4}
LARGEST_REDUCTION = 64
GREY = (0.299, 0.587, 0.114)
FLOWNET_INPUTS = ("data", "data_key")
"""Inputs by which the FlowNet of Deep Feature Flow is known: it takes pictures less PIXEL_MEANS."""


FlowSource = str | PathLike[str] | FlowFunction | FlowEstimator


def flow_estimator(source: FlowSource = "auto") -> FlowEstimator:
    """An estimator by name, ONNX file or function (see the module).

    An ONNX model takes the current and the earlier frame, in this order, as two inputs (uint8 H x W x 3, or
    float32 1 x 3 x H x W of 0 to 255), or as one input of 1 x 6 x H x W; of its outputs the last one with two
    channels is the flow from the current frame to the earlier one (1 x 2 x h x w, 1 x h x w x 2 or h x w x
    2), in pixels of its own grid. It runs on the CPU; frames are resized to a model of fixed size.

    Args:
        source: A name, the path of an ONNX file, a function, or an estimator.

    Returns:
        The estimator; `source` itself where it is one.

    Raises:
        FlowError: An unknown name, a missing library, or a model of another kind.
    """
    if isinstance(source, PathLike):
        return _Onnx(fspath(source))
    if not isinstance(source, str):
        if isinstance(source, FlowEstimator):
            return source
        if callable(source):
            return _Function(source)
        raise FlowError("not a flow estimator", found=type(source).__name__, expected=_NAMES)
    if source.endswith(".onnx"):
        return _Onnx(source)
    if source == "codec":
        return CodecFlow(flow_estimator())
    name, slash, divisor = source.partition("/")
    if slash and not (re.fullmatch(r"[1-9][0-9]?", divisor) and int(divisor) <= LARGEST_REDUCTION):
        raise FlowError(
            "bad reduction of the frames", found=f'"{source}"', expected=f"/1 to /{LARGEST_REDUCTION}"
        )
    reduction = int(divisor) if slash else None
    if name == "auto":
        name = "dis" if find_spec("cv2") is not None else "skimage"
    if name == "dis":
        return _Dis("", reduction)
    if name == "skimage":
        return _Skimage(reduction)
    kind, _, preset = name.partition(":")
    if kind != "dis" or preset not in DIS_PRESETS:
        raise FlowError("unknown flow estimator", found=f'"{source}"', expected=_NAMES)
    return _Dis(preset, reduction)


_NAMES = ", ".join(
    (
        "auto",
        "dis",
        *(f"dis:{p}" for p in DIS_PRESETS),
        "skimage",
        "codec",
        "a path ending in .onnx, a function",
    )
)


class _Estimator:
    """What all estimators share: frames checked before, the flow checked after."""

    name = ""

    def estimate(self, previous: Picture, current: Picture) -> Flow:
        return resize_flow(self.coarse(previous, current), *current.shape[:2])

    def coarse(self, previous: Picture, current: Picture) -> Flow:
        for frame in (previous, current):
            if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
                raise FlowError(
                    f"{self.name} takes frames",
                    found=f"{frame.dtype} {_text(frame.shape)}",
                    expected="uint8 H x W x 3",
                )
        if previous.shape != current.shape:
            raise FlowError(
                "flow between frames of different sizes",
                found=f"{_text(previous.shape)} and {_text(current.shape)}",
                expected="one size",
            )
        flow = np.asarray(self._coarse(previous, current))
        if flow.ndim != 3 or flow.shape[2] != 2 or 0 in flow.shape or flow.dtype.kind != "f":
            raise FlowError(
                f"{self.name} made no flow",
                found=f"{flow.dtype} {_text(flow.shape)}",
                expected="float32 H x W x 2",
            )
        if not np.isfinite(flow).all():
            bad = int((~np.isfinite(flow)).any(axis=2).sum())
            raise FlowError(
                f"the flow of {self.name} is not finite", found=f"{bad} pixels of NaN or infinity"
            )
        return np.ascontiguousarray(flow, np.float32)

    def _coarse(self, previous: Picture, current: Picture) -> Flow:
        raise NotImplementedError


class _Function(_Estimator):
    """A user's function; its flow must have the frames' own size."""

    def __init__(self, function: FlowFunction) -> None:
        self.function = function
        self.name = f"the function {getattr(function, '__name__', type(function).__name__)}"

    def _coarse(self, previous: Picture, current: Picture) -> Flow:
        flow = np.asarray(self.function(previous, current))
        if flow.shape != (*current.shape[:2], 2):
            raise FlowError(
                f"{self.name} made a flow of another size",
                found=_text(flow.shape),
                expected=_text((*current.shape[:2], 2)),
            )
        return flow


class _Dis(_Estimator):
    """Dense Inverse Search (Kroeger et al. 2016) as OpenCV has it. preset: of OpenCV's, or "" for our own."""

    def __init__(self, preset: str, reduction: int | None) -> None:
        self.name = ":".join(filter(None, ("dis", preset))) + (f"/{reduction}" if reduction else "")
        try:
            cv2: Any = import_module("cv2")
        except ImportError:
            raise FlowError(
                "OpenCV is missing",
                found=f'"{self.name}"',
                hint="install the extra [flow] (opencv-python-headless), or use skimage",
            ) from None
        self._own = not preset
        self._reduction = reduction if reduction or self._own else 1
        self._cv2 = cv2
        self._dis = cv2.DISOpticalFlow_create(DIS_PRESETS.index(preset or "ultrafast"))
        self._lock = Lock()  # the object keeps its pyramids from call to call

    def _coarse(self, previous: Picture, current: Picture) -> Flow:
        before, now = (self._grey(frame) for frame in (previous, current))
        if min(now.shape) < DIS_SMALLEST:
            raise FlowError(
                f"frames too small for {self.name}",
                found=_text(now.shape),
                expected=f"{DIS_SMALLEST} pixels or more on each side",
                hint="use skimage",
            )
        with self._lock:
            if self._own:
                self._dis.setFinestScale(0 if max(now.shape) <= DIS_FINE_LONGEST else 1)
            return np.asarray(self._dis.calc(now, before, None))

    def _grey(self, frame: Picture) -> NDArray[np.uint8]:
        grey = self._cv2.cvtColor(np.ascontiguousarray(frame), self._cv2.COLOR_RGB2GRAY)
        reduction = self._reduction or max(1, round(max(grey.shape) / DIS_LONGEST))
        if reduction == 1:
            return np.asarray(grey)
        size = (-(-frame.shape[1] // reduction), -(-frame.shape[0] // reduction))
        return np.asarray(self._cv2.resize(grey, size, interpolation=self._cv2.INTER_AREA))


class _Skimage(_Estimator):
    """Iterative Lucas-Kanade (Le Besnerais and Champagnat 2005) on reduced frames."""

    def __init__(self, reduction: int | None) -> None:
        self.name = "skimage" + (f"/{reduction}" if reduction is not None else "")
        self._reduction = reduction

    def _coarse(self, previous: Picture, current: Picture) -> Flow:
        from skimage.registration import optical_flow_ilk

        before, now = (self._grey(frame) for frame in (previous, current))
        # scikit-image's flow leads from its first frame to its second one, (row, column)
        down, across = optical_flow_ilk(now, before, dtype=np.float32, **SKIMAGE_OPTIONS)
        return np.stack([across, down], axis=-1)

    def _grey(self, frame: Picture) -> Flow:
        height, width = frame.shape[:2]
        reduction = self._reduction or max(1, -(-max(height, width) // SKIMAGE_LONGEST))
        grey = frame @ (np.array(GREY, np.float32) / np.float32(255))
        size = (-(-width // reduction), -(-height // reduction))
        return np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BOX))


class _Onnx(_Estimator):
    """A flow network. Pictures are 0 to 255, but those of FlowNet (`clockwork net flownet`), which by its
    inputs' names has its own mean subtracted.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.name = file
        try:
            self._dims = list(read_dims(file).items())
        except BundleError as error:
            raise FlowError(error.problem, file=file, found=error.found, expected=error.expected) from None
        if len(self._dims) not in (1, 2):
            raise self._refusal(f"{len(self._dims)} inputs")
        self._planes = 6 if len(self._dims) == 1 else 3
        self._mean = PIXEL_MEANS if tuple(name for name, _ in self._dims) == FLOWNET_INPUTS else None
        for _, dims in self._dims:
            picture = len(dims) == 3 and dims[2] in (3, None) and self._planes == 3
            if not picture and not (len(dims) == 4 and dims[1] in (self._planes, None)):
                raise self._refusal(f"an input of {_text(dims)}")
        self._session: ort.InferenceSession | None = None

    def _refusal(self, found: str) -> FlowError:
        return FlowError(
            "not a flow model",
            file=self.file,
            found=found,
            expected="two inputs uint8 H x W x 3 or float32 1 x 3 x H x W, or one of 1 x 6 x H x W, and "
            "an output of two channels",
        )

    def _coarse(self, previous: Picture, current: Picture) -> Flow:
        rows = slice(0, 2) if len(self._dims[0][1]) == 3 else slice(2, 4)
        fixed = self._dims[0][1][rows]
        height, width = (
            d if isinstance(d, int) else s for d, s in zip(fixed, current.shape[:2], strict=True)
        )
        session = self._open()
        frames = [_resized(frame, height, width) for frame in (current, previous)]
        parts = [frames] if self._planes == 6 else [[frame] for frame in frames]
        feeds = {
            port.name: _input(part, _TYPES[port.type], len(port.shape), self._mean)
            for part, port in zip(parts, session.get_inputs(), strict=True)
        }
        try:
            outputs = session.run(None, feeds)
        except Exception as error:  # ONNX Runtime raises many types
            raise FlowError(
                "the flow model failed",
                file=self.file,
                found=f"frames of {height} x {width}: {one_line(error)}",
            ) from None
        return self._of(outputs)

    def _open(self) -> ort.InferenceSession:
        if self._session is None:
            options = ort.SessionOptions()
            options.log_severity_level = 4
            try:
                self._session = ort.InferenceSession(
                    self.file, options, providers=["CPUExecutionProvider"], enable_fallback=0
                )
            except Exception as error:  # ONNX Runtime raises many types
                raise FlowError(
                    "ONNX Runtime cannot open the flow model", file=self.file, found=one_line(error)
                ) from None
            kinds = [port.type for port in self._session.get_inputs()]
            if not set(kinds) <= _TYPES.keys():
                raise self._refusal(f"inputs of {', '.join(kinds)}")
        return self._session

    def _of(self, outputs: list[NDArray[Any]]) -> Flow:
        for array in reversed(outputs):
            flow = array[0] if array.ndim == 4 and array.shape[0] == 1 else array
            if flow.ndim == 3 and flow.dtype.kind == "f":
                if flow.shape[2] == 2:
                    return np.asarray(flow, np.float32)
                if flow.shape[0] == 2:
                    return np.asarray(flow.transpose(1, 2, 0), np.float32)
        raise self._refusal("outputs of " + ", ".join(_text(array.shape) for array in outputs))


_TYPES: dict[str, type[np.generic]] = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}


def _input(
    frames: list[Picture], dtype: type[np.generic], rank: int, mean: tuple[float, ...] | None
) -> NDArray[Any]:
    """What a model takes: the frame as it is, or the channels of one or two frames as planes."""
    if rank == 3:
        return np.ascontiguousarray(frames[0], dtype)
    planes: list[NDArray[Any]] = [frame.transpose(2, 0, 1) for frame in frames]
    if mean is not None:
        planes = [plane - np.array(mean, np.float32).reshape(3, 1, 1) for plane in planes]
    return np.ascontiguousarray(np.concatenate(planes)[np.newaxis], dtype)


def _resized(frame: Picture, height: int, width: int) -> Picture:
    if frame.shape[:2] == (height, width):
        return frame
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR))


def _text(shape: Any) -> str:
    return " x ".join(map(str, shape))
