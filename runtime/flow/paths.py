"""How cached values follow the picture: the path that flow adds up to, and how well that fits.

Flow is estimated between neighbouring frames. What a value is moved by is the path, the flow's sum along the
way from this frame back to the one that the value was computed on; so the value itself is interpolated once,
however often it was moved. Flow needs nothing but frames, so it can be estimated ahead, in a thread, while
the network is at work on the frame before (`FlowPaths.ahead`).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.flow.codec import CodecFlow
from runtime.flow.estimators import FlowSource, flow_estimator
from runtime.flow.fields import Flow, Picture, resize_flow
from runtime.flow.options import FlowOptions, grid_of
from runtime.flow.pairs import PairFlows
from runtime.flow.path_graphs import PathGraphs
from runtime.transform import Moment, Seen

__all__ = ["MEASURES", "FlowPaths"]

T = TypeVar("T")

TOLERANCE = 16
"""Grey levels (of 255) by which a pixel may differ from where it came from and still count as explained."""
CONSISTENCY = (0.01, 0.5)
"""Forward and backward flow agree where |f + b|^2 <= a (|f|^2 + |b|^2) + b (Sundaram et al. 2010)."""
MEASURES = ("residual", "distance")
"""What can be measured of a path."""
BLEND_DECAY = 10.0
"""Grey levels of residual over which the weight of a key frame falls to 1/e, between two of them."""
FUSE_DECAY = 20.0
"""The same for what was moved to a key frame."""
READY = 16
"""Flows made ahead that are kept for their frames."""


@dataclass(frozen=True, eq=False)
class _Place:
    """Where the path from a source has got to on one frame.

    path: None as long as nothing has moved since the source. moved: something has since the frame before.
    """

    image: Picture
    path: Flow | None = None
    moved: bool = False
    hidden: NDArray[np.float32] | None = None


@dataclass(eq=False)
class _Track:
    """The path from one source frame to the newest one; `places` on the way where frames wait."""

    source: Picture
    place: _Place
    places: dict[int, _Place] = field(default_factory=dict)
    step: tuple[Picture, Flow] | None = None
    unexplained: float = 0.0


class FlowPaths:
    """The flow paths of any number of sources, each told apart by the frame that it starts from.

    Args:
        options: Which flow, on which grid.
        tracks: How many sources are followed at a time.
        both: Whether values are moved from a later frame too, so that flow is estimated both ways.
        flow: The estimator to use instead of the options'.
    """

    def __init__(
        self,
        options: FlowOptions | None = None,
        *,
        tracks: int = 4,
        both: bool = False,
        flow: FlowSource | None = None,
    ) -> None:
        self.options = options or FlowOptions()
        self.tracks = tracks
        estimator = flow_estimator(self.options.flow if flow is None else flow)
        self._pairs = PairFlows(estimator, both=both or self.options.occlusion != "border")
        self._graphs = PathGraphs()
        self._tracks: OrderedDict[int, _Track] = OrderedDict()
        self._later: dict[int, tuple[Picture, Flow | None]] = {}
        self._later_image: Picture | None = None
        self._measured: tuple[Picture, Picture, float] | None = None
        self._sizes: dict[tuple[int, int], tuple[int, int]] = {}
        self._lock = Lock()

    @property
    def reads_motion(self) -> bool:
        """Whether flow comes from a decoder's motion vectors."""
        return isinstance(self._pairs.estimator, CodecFlow)

    @property
    def counts(self) -> dict[str, int]:
        """How many pairs of frames had their flow from the stream, and how many not, by the reason; empty for
        estimators that look at pictures alone.
        """
        return dict(self._pairs.estimator.counts) if isinstance(self._pairs.estimator, CodecFlow) else {}

    def frame_of(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the frames that a path's grid was last made for."""
        return self._sizes[grid]

    def ahead(
        self, frames: Iterable[T], is_key: Callable[[int], bool] | None = None, most: int = READY
    ) -> Iterator[T]:
        """The frames; before one is handed on, its flow is estimated, where a value may need it.

        Read this in a thread of its own (`runtime.video.threads.prefetch`) to have the flow of the next frame
        made while the network is at work. Frames may not be written over after they were handed out.

        Args:
            frames: As a player takes them.
            is_key: Whether values are computed anew on a shot's frame at this position, where that is known.
            most: Frames that may wait for their flow to be used.

        Returns:
            The same frames, in order.
        """
        if self.options.start == "key":
            return iter(frames)
        return self._pairs.ahead(frames, is_key, most)

    # -- what a transform's feed and a clock ask for -------------------------------------------------------

    def path(self, moment: Moment) -> Flow | None:
        """The path from this frame back to the source: h x w x 2, (x, y) in pixels of its grid.

        None where nothing at all has moved since the frame before: what stands may stand. Notes the
        milliseconds of the flow and of the path in `moment.ms`, wherever and whenever they were spent.
        """
        place = self._follow(moment)
        return place.path if place.moved else None

    def step(self, moment: Moment) -> Flow | None:
        """The path from this frame to the one before, as `path` has it."""
        to = Seen(moment.frame, moment.image, moment.after)
        pair = self._pairs.of(moment.previous, moment.image, to)
        moment.ms["flow"] = moment.ms.get("flow", 0.0) + pair.ms
        return resize_flow(pair.flow, *self._grid(moment)) if pair.flow.any() else None

    def whole_path(self, moment: Moment) -> Flow | None:
        """As `path`, but None only where nothing has moved since the source."""
        return self._follow(moment).path

    def earlier_path(self, moment: Moment) -> Flow | None:
        """As `path`, with zeros as long as nothing has moved since the source."""
        place = self._follow(moment)
        if not place.moved:
            return None
        return place.path if place.path is not None else self.still(moment)

    def later_path(self, moment: Moment) -> Flow:
        """The path from this frame to the later one that a value is blended from, on the same grid."""
        path = self._path_to_later(moment)
        return path if path is not None else self.still(moment)

    def share_of_earlier(self, moment: Moment) -> NDArray[np.float32]:
        """How much of a blend comes from the earlier of two key frames: 1 x 1 x h x w.

        With a and b frames to the earlier and the later one, and r their residuals, the weights are
        b / (a + b) exp(-r / BLEND_DECAY) and a / (a + b) exp(-r / BLEND_DECAY), and this is the first one's
        share of their sum.
        """
        earlier, later = self.earlier_path(moment), self.later_path(moment)
        began = time.perf_counter()
        of_earlier = self._graphs.residual(
            moment.image, moment.source, earlier if earlier is not None else self.still(moment)
        )
        of_later = self._graphs.residual(moment.image, moment.until[-1].image, later)
        odds = len(moment.since) / len(moment.until) * np.exp((of_earlier - of_later) / BLEND_DECAY)
        share = (1 / (1 + odds)).astype(np.float32)[np.newaxis, np.newaxis]
        _note(moment, "residual", began)
        return share

    def share_of_moved(self, moment: Moment) -> NDArray[np.float32] | None:
        """The weight of what was moved against what is fresh: 1 x 1 x h x w; None where nothing has moved.

        It is fuse * exp(-residual / FUSE_DECAY).
        """
        path = self.whole_path(moment)
        if path is None:
            return None
        began = time.perf_counter()
        residual = self._graphs.residual(moment.image, moment.source, path)
        share = (self.options.fuse * np.exp(-residual / FUSE_DECAY)).astype(np.float32)
        _note(moment, "residual", began)
        return share[np.newaxis, np.newaxis]

    def sureness(self, moment: Moment, source: Picture, path: Flow) -> NDArray[np.float32]:
        """How well a path from this frame to a source explains it, 0 to 1: exp(-residual / BLEND_DECAY)."""
        return np.exp(-self._graphs.residual(moment.image, source, path) / BLEND_DECAY).astype(np.float32)

    def hidden(self, moment: Moment) -> NDArray[np.float32]:
        """1 where something has come into view since the source, 0 elsewhere: 1 x 1 x h x w."""
        hidden = self._follow(moment).hidden
        return hidden if hidden is not None else np.zeros((1, 1, *self._grid(moment)), np.float32)

    def residual(self, moment: Moment) -> float:
        """Share of the grid's pixels that the flow does not explain, summed over the steps of the path.

        A pixel is not explained whose grey level differs by more than TOLERANCE from the one that its flow
        leads to. Steps on which nobody asked do not count.
        """
        self._follow(moment)
        track = self._track(moment)
        if track.step is not None:
            began = time.perf_counter()
            track.unexplained += self._unexplained(*track.step, moment)
            track.step = None
            _note(moment, "residual", began)
        return track.unexplained

    def distance(self, moment: Moment) -> float:
        """Mean length of the path, as a share of the frame's diagonal."""
        path = self._follow(moment).path
        if path is None:
            return 0.0
        lengths = np.hypot(path[..., 0], path[..., 1])
        return float(lengths.mean() / np.hypot(*self._grid(moment)))

    def measure(self, name: str, moment: Moment) -> float:
        """What a clock measures of a value's path.

        Args:
            name: One of MEASURES.
            moment: The frame, as the value sees it.

        Returns:
            The number.
        """
        return self.residual(moment) if name == "residual" else self.distance(moment)

    # -- inside --------------------------------------------------------------------------------------------

    def grid_at(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the paths of frames of this size."""
        return grid_of(size, self.options.path_scale(size))

    def _grid(self, moment: Moment) -> tuple[int, int]:
        size = (moment.image.shape[0], moment.image.shape[1])
        grid = self.grid_at(size)
        self._sizes[grid] = size
        return grid

    def still(self, moment: Moment) -> Flow:
        """A path along which nothing moves."""
        return np.zeros((*self._grid(moment), 2), np.float32)

    def _track(self, moment: Moment) -> _Track:
        """The track from the moment's source; the least used of the others is forgotten for a new one."""
        with self._lock:
            track = self._tracks.get(id(moment.source))
            if track is None or track.source is not moment.source:
                track = _Track(moment.source, _Place(moment.source))
                self._tracks[id(moment.source)] = track
                while len(self._tracks) > self.tracks:
                    self._tracks.popitem(last=False)
            self._tracks.move_to_end(id(moment.source))
        return track

    def _follow(self, moment: Moment) -> _Place:
        """Where the path from the moment's source has got to on this frame."""
        track = self._track(moment)
        if track.place.image is moment.image:
            return track.place
        known = track.places.get(id(moment.image))
        if known is not None and known.image is moment.image:
            return known
        if not moment.since:
            self._advance(track, Seen(moment.frame, moment.image, moment.after), moment)
            return track.place
        self._pairs.kept = max(self._pairs.kept, 2 * (len(moment.since) + len(moment.until)))
        images = [seen.image for seen in moment.since]
        reached = next((i for i, image in enumerate(images) if image is track.place.image), -1)
        for seen in moment.since[reached + 1 :]:
            self._advance(track, seen, moment)
            track.places[id(seen.image)] = track.place
        return track.place

    def _advance(self, track: _Track, to: Seen, moment: Moment) -> None:
        """Lengthen a track by a step to a frame: from the one before where it is known, else the source."""
        grid, place = self._grid(moment), track.place
        follows = bool(moment.since) or place.image is moment.previous
        chained = self.options.start == "previous" and follows
        start = place.image if chained else track.source
        pair = self._pairs.of(start, to.image, to if follows and chained else None)
        moment.ms["flow"] = moment.ms.get("flow", 0.0) + pair.ms
        began = time.perf_counter()
        flow = pair.flow
        track.step = (start, flow)
        if not chained:
            track.unexplained = 0.0
        moved = bool(flow.any()) or (not chained and place.path is not None)
        occlusion = self.options.occlusion
        seen = self._seen(flow, pair.forward) if pair.forward is not None and occlusion != "border" else None
        if seen is not None and occlusion == "previous":
            flow = np.where(seen[..., np.newaxis], flow, np.float32(0))
        path = place.path
        if chained and path is not None:
            path = self._graphs.longer(path, flow) if moved else path
        elif moved:
            path = resize_flow(flow, *grid)
        hidden = place.hidden
        if seen is not None and occlusion == "fresh":
            hidden = self._hide(hidden if chained else None, seen, resize_flow(flow, *grid))
        track.place = _Place(to.image, path, moved, hidden)
        _note(moment, "path", began)

    def _path_to_later(self, moment: Moment) -> Flow | None:
        """The path to the last frame of `until`; None where nothing moves on the way."""
        images = [moment.image, *(seen.image for seen in moment.until)]
        if self._later_image is not images[-1]:
            self._later_image = images[-1]
            self._later.clear()
        known = self._later.get(id(moment.image))
        if known is not None and known[0] is moment.image:
            return known[1]
        path: Flow | None = None
        for i in reversed(range(len(images) - 1)):
            known = self._later.get(id(images[i]))
            if known is None or known[0] is not images[i]:
                known = (images[i], self._longer_to_later(path, images, i, moment))
                self._later[id(images[i])] = known
            path = known[1]
        return path

    def _longer_to_later(
        self, path: Flow | None, images: list[Picture], i: int, moment: Moment
    ) -> Flow | None:
        """The path from the ith image to the last one, from that of the image after it."""
        if self.options.start == "key":
            pair = self._pairs.of(images[-1], images[i])
            flow, path = pair.flow, None
        else:
            pair = self._pairs.of(images[i], images[i + 1], moment.until[i])
            assert pair.forward is not None
            flow = pair.forward
        moment.ms["flow"] = moment.ms.get("flow", 0.0) + pair.ms
        began = time.perf_counter()
        if flow.any():
            path = (
                self._graphs.longer(path, flow)
                if path is not None
                else resize_flow(flow, *self._grid(moment))
            )
        _note(moment, "path", began)
        return path

    def _seen(self, flow: Flow, forward: Flow) -> NDArray[np.bool_]:
        """Where the flow stays in the frame and the forward flow leads back."""
        height, width = flow.shape[:2]
        rows, columns = np.mgrid[:height, :width]
        x, y = columns + flow[..., 0], rows + flow[..., 1]
        inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        back = self._graphs.warp(forward.transpose(2, 0, 1)[np.newaxis], flow)[0].transpose(1, 2, 0)
        gap, lengths = (((flow + back) ** 2).sum(-1), (flow**2).sum(-1) + (back**2).sum(-1))
        return np.asarray(inside & (gap <= CONSISTENCY[0] * lengths + CONSISTENCY[1]))

    def _unexplained(self, start: Picture, flow: Flow, moment: Moment) -> float:
        """What the newest step adds to the residual; the same for every track that takes this step."""
        known = self._measured
        if known is not None and known[0] is start and known[1] is moment.image:
            return known[2]
        grid = self._grid(moment)
        before, now = (self._graphs.grey(image, grid) for image in (start, moment.image))
        came_from = self._graphs.warp(before[np.newaxis, np.newaxis], resize_flow(flow, *grid))[0, 0]
        share = float((np.abs(now - came_from) > TOLERANCE).mean())
        self._measured = (start, moment.image, share)
        return share

    def _hide(
        self, before: NDArray[np.float32] | None, seen: NDArray[np.bool_], step: Flow
    ) -> NDArray[np.float32]:
        """What has come into view on this step, and before it as far as it is still there."""
        height, width = step.shape[:2]
        image = Image.fromarray((~seen).astype(np.uint8) * np.uint8(255)).resize((width, height))
        now = (np.asarray(image) > 127).astype(np.float32)[np.newaxis, np.newaxis]
        if before is not None:
            now = np.maximum(now, (self._graphs.warp(before, step) > 0.5).astype(np.float32))
        return now


def _note(moment: Moment, name: str, began: float) -> None:
    moment.ms[name] = moment.ms.get(name, 0.0) + (time.perf_counter() - began) * 1e3
