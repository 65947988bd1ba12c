"""How cached values follow the picture: flow between frames, the path it adds up to, and how well that fits.

Flow is estimated between neighbouring frames. What a value is moved by is the path, the flow's sum along the
way from this frame back to the one that the value was computed on; so the value itself is interpolated once,
however often it was moved. Flow needs nothing but frames, so it can be estimated ahead, in a thread, while
the network is at work on the frame before (`FlowPaths.ahead`).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from runtime.flow.estimators import Flow, FlowEstimator, FlowSource, flow_estimator, resize_flow
from runtime.flow.options import FlowOptions, grid_of
from runtime.transform import Moment
from staged_onnx.warp import path_graph, warp_graph

__all__ = ["MEASURES", "FlowPaths"]

T = TypeVar("T")

TOLERANCE = 16
"""Grey levels (of 255) by which a pixel may differ from where it came from and still count as explained."""
CONSISTENCY = (0.01, 0.5)
"""Forward and backward flow agree where |f + b|^2 <= a (|f|^2 + |b|^2) + b (Sundaram et al. 2010)."""
MEASURES = ("residual", "distance")
"""What can be measured of a path."""
_READY = 16


class _Track:
    """The path from the newest frame back to one source frame."""

    def __init__(self, source: NDArray[np.uint8]) -> None:
        self.source = source
        self.image = source
        self.path: Flow | None = None
        self.moved = False
        self.hidden: NDArray[np.float32] | None = None
        self.step: tuple[NDArray[np.uint8], Flow] | None = None
        self.unexplained = 0.0


class FlowPaths:
    """The flow paths of any number of sources, each told apart by the frame that it starts from.

    Args:
        options: Which flow, on which grid.
        channels: Of the values that the grid's scale is to suit.
        tracks: How many sources are followed at a time.
        flow: The estimator to use instead of the options'.
    """

    def __init__(
        self,
        options: FlowOptions | None = None,
        *,
        channels: int = 1,
        tracks: int = 4,
        flow: FlowSource | None = None,
    ) -> None:
        self.options = options or FlowOptions()
        self.channels = channels
        self.tracks = tracks
        self.estimator: FlowEstimator = flow_estimator(self.options.flow if flow is None else flow)
        self._tracks: OrderedDict[int, _Track] = OrderedDict()
        self._ready: OrderedDict[int, tuple[Any, Flow, Flow | None, float]] = OrderedDict()
        self._sessions: dict[tuple[Any, ...], ort.InferenceSession] = {}
        self._last: tuple[Any, Any, Flow, Flow | None] | None = None
        self._measured: tuple[Any, Any, float] | None = None
        self._greys: tuple[Any, NDArray[np.float32]] | None = None
        self._sizes: dict[tuple[int, int], tuple[int, int]] = {}
        self._lock = Lock()
        self._estimating = Lock()

    def scale_for(self, size: tuple[int, int]) -> Fraction:
        """The scale of the grid at a frame size (height, width)."""
        return self.options.scale_for(size, self.channels)

    def frame_of(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the frames that a path's grid was last made for."""
        return self._sizes[grid]

    # -- what a transform's feed and a clock ask for -------------------------------------------------------

    def path(self, moment: Moment) -> Flow | None:
        """The path from this frame back to the source: h x w x 2, (x, y) in pixels of its grid.

        None where nothing at all has moved since the frame before: what stands may stand. Notes the
        milliseconds of the flow and of the path in `moment.ms`, wherever and whenever they were spent.
        """
        track = self._follow(moment)
        return track.path if track.moved else None

    def hidden(self, moment: Moment) -> NDArray[np.float32]:
        """1 where something has come into view since the source, 0 elsewhere: 1 x 1 x h x w."""
        track = self._follow(moment)
        height, width = self._grid(moment)
        if track.hidden is None:
            track.hidden = np.zeros((1, 1, height, width), np.float32)
        return track.hidden

    def residual(self, moment: Moment) -> float:
        """Share of the grid's pixels that the flow does not explain, summed over the steps of the path.

        A pixel is not explained whose grey level differs by more than TOLERANCE from the one that its flow
        leads to. Steps on which nobody asked do not count.
        """
        track = self._follow(moment)
        if track.step is not None:
            began = time.perf_counter()
            track.unexplained += self._unexplained(*track.step, moment)
            track.step = None
            _note(moment, "residual", began)
        return track.unexplained

    def distance(self, moment: Moment) -> float:
        """Mean length of the path, as a share of the frame's diagonal."""
        track = self._follow(moment)
        if track.path is None:
            return 0.0
        lengths = np.hypot(track.path[..., 0], track.path[..., 1])
        return float(lengths.mean() / np.hypot(*self._grid(moment)))

    def measure(self, name: str, moment: Moment) -> float:
        """One of MEASURES, by name."""
        return self.residual(moment) if name == "residual" else self.distance(moment)

    # -- flow ahead of time --------------------------------------------------------------------------------

    def ahead(self, frames: Iterable[T], is_key: Callable[[int], bool] | None = None) -> Iterator[T]:
        """The frames; before one is handed on, its flow is estimated, where a value may need it.

        is_key: whether values are computed anew on a shot's frame at this position, where that is known.
        Read this in a thread of its own (`runtime.video.threads.prefetch`) to have the flow of the next frame
        made while the network is at work. Frames may not be written over after they were handed out.
        """
        before: Any = None
        position = 0
        for frame in frames:
            image: Any = getattr(frame, "image", frame)
            is_frame = isinstance(image, np.ndarray) and image.ndim == 3
            follows = before is not None and is_frame and image.shape == before.shape
            position = position + 1 if follows and not getattr(frame, "shot_start", False) else 0
            needed = position > 0 and not (is_key is not None and is_key(position))
            if needed and self.options.start == "previous":
                flow, forward, ms = self._estimate(before, image)
                with self._lock:
                    self._ready[id(frame)] = (frame, flow, forward, ms)
                    while len(self._ready) > _READY:
                        self._ready.popitem(last=False)
            before = image if is_frame else None
            yield frame

    # -- inside --------------------------------------------------------------------------------------------

    def _grid(self, moment: Moment) -> tuple[int, int]:
        size = (moment.image.shape[0], moment.image.shape[1])
        grid = grid_of(size, self.scale_for(size))
        self._sizes[grid] = size
        return grid

    def _follow(self, moment: Moment) -> _Track:
        """The track from the moment's source, brought up to this frame."""
        with self._lock:
            track = self._tracks.get(id(moment.source))
            if track is None or track.source is not moment.source:
                track = self._tracks[id(moment.source)] = _Track(moment.source)
                while len(self._tracks) > self.tracks:
                    self._tracks.popitem(last=False)
            self._tracks.move_to_end(id(moment.source))
        if track.image is not moment.image:
            self._advance(track, moment)
        return track

    def _advance(self, track: _Track, moment: Moment) -> None:
        grid = self._grid(moment)
        chained = self.options.start == "previous" and track.image is moment.previous
        flow, forward, ms = self._flow_of(moment, moment.previous if chained else moment.source)
        moment.ms["flow"] = moment.ms.get("flow", 0.0) + ms
        began = time.perf_counter()
        track.image = moment.image
        track.step = (moment.previous if chained else moment.source, flow)
        if not chained:
            track.unexplained = 0.0
        track.moved = bool(flow.any()) or (not chained and track.path is not None)
        seen = self._seen(flow, forward) if forward is not None else None
        if seen is not None and self.options.occlusion == "previous":
            flow = np.where(seen[..., np.newaxis], flow, np.float32(0))
        if chained and track.path is not None:
            track.path = self._longer(track.path, flow) if track.moved else track.path
        elif track.moved:
            track.path = resize_flow(flow, *grid)
        if seen is not None and self.options.occlusion == "fresh":
            self._hide(track, seen, resize_flow(flow, *grid), chained)
        _note(moment, "path", began)

    def _flow_of(self, moment: Moment, start: NDArray[np.uint8]) -> tuple[Flow, Flow | None, float]:
        with self._lock:
            ready = self._ready.pop(id(moment.frame), None)
            last = self._last
        if last is not None and last[0] is start and last[1] is moment.image:
            return (*last[2:], 0.0)
        if ready is not None and ready[0] is moment.frame and start is moment.previous:
            found = ready[1:]
        else:
            found = self._estimate(start, moment.image)
        self._last = (start, moment.image, *found[:2])
        return found

    def _estimate(
        self, previous: NDArray[np.uint8], current: NDArray[np.uint8]
    ) -> tuple[Flow, Flow | None, float]:
        with self._estimating:
            began = time.perf_counter()
            flow = self.estimator.coarse(previous, current)
            forward = None
            if self.options.occlusion != "border":
                forward = self.estimator.coarse(current, previous)
            return flow, forward, (time.perf_counter() - began) * 1e3

    def _seen(self, flow: Flow, forward: Flow) -> NDArray[np.bool_]:
        """Where the flow stays in the frame and the forward flow leads back."""
        height, width = flow.shape[:2]
        rows, columns = np.mgrid[:height, :width]
        x, y = columns + flow[..., 0], rows + flow[..., 1]
        inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        back = self._warp(forward.transpose(2, 0, 1)[np.newaxis], flow)[0].transpose(1, 2, 0)
        gap, lengths = (((flow + back) ** 2).sum(-1), (flow**2).sum(-1) + (back**2).sum(-1))
        return np.asarray(inside & (gap <= CONSISTENCY[0] * lengths + CONSISTENCY[1]))

    def _unexplained(self, start: NDArray[np.uint8], flow: Flow, moment: Moment) -> float:
        """What the newest step adds to the residual; the same for every track that takes this step."""
        known = self._measured
        if known is not None and known[0] is start and known[1] is moment.image:
            return known[2]
        grid = self._grid(moment)
        before = self._greys[1] if self._greys is not None and self._greys[0] is start else _grey(start, grid)
        now = _grey(moment.image, grid)
        self._greys = (moment.image, now)
        came_from = self._warp(before[np.newaxis, np.newaxis], resize_flow(flow, *grid))[0, 0]
        share = float((np.abs(now - came_from) > TOLERANCE).mean())
        self._measured = (start, moment.image, share)
        return share

    def _hide(self, track: _Track, seen: NDArray[np.bool_], step: Flow, chained: bool) -> None:
        height, width = step.shape[:2]
        image = Image.fromarray((~seen).astype(np.uint8) * np.uint8(255)).resize((width, height))
        now = (np.asarray(image) > 127).astype(np.float32)[np.newaxis, np.newaxis]
        if chained and track.hidden is not None:
            now = np.maximum(now, (self._warp(track.hidden, step) > 0.5).astype(np.float32))
        track.hidden = now

    def _longer(self, path: Flow, flow: Flow) -> Flow:
        key = ("path", path.shape, flow.shape)
        grid = (path.shape[0], path.shape[1])
        session = self._session(key, lambda: path_graph(flow.shape, grid))
        return np.asarray(session.run(None, {"path": path, "flow": flow})[0])

    def _warp(self, value: NDArray[np.float32], flow: Flow) -> NDArray[np.float32]:
        value = np.ascontiguousarray(value)
        key = ("warp", value.shape, flow.shape)
        session = self._session(key, lambda: warp_graph(value.shape, flow.shape))
        return np.asarray(session.run(None, {"value": value, "flow": flow})[0])

    def _session(self, key: tuple[Any, ...], build: Callable[[], onnx.ModelProto]) -> ort.InferenceSession:
        with self._lock:
            if key not in self._sessions:
                options = ort.SessionOptions()
                options.intra_op_num_threads = options.inter_op_num_threads = 1
                self._sessions[key] = ort.InferenceSession(
                    build().SerializeToString(), options, providers=["CPUExecutionProvider"]
                )
            return self._sessions[key]


def _grey(image: NDArray[np.uint8], grid: tuple[int, int]) -> NDArray[np.float32]:
    """Grey levels on a grid, each the mean of its pixels."""
    grey = Image.fromarray(image).convert("L")
    if grey.size != (grid[1], grid[0]):
        grey = grey.resize((grid[1], grid[0]), Image.Resampling.BOX)
    return np.asarray(grey, np.float32)


def _note(moment: Moment, name: str, began: float) -> None:
    moment.ms[name] = moment.ms.get(name, 0.0) + (time.perf_counter() - began) * 1e3
