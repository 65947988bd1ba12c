"""Flow between pairs of frames: estimated once, when it is needed or ahead of that in a thread."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

import numpy as np

from runtime.flow.codec import CodecFlow, turned_round
from runtime.flow.fields import Flow, FlowEstimator, Picture
from runtime.transform import Seen
from runtime.video.frames import pictures_of

__all__ = ["Pair", "PairFlows"]

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Pair:
    """flow: backward, from the second picture of a pair to the first; forward: from the first to the second,
    where that was asked for. ms: what it took, 0 from the second time on that somebody asks.
    """

    flow: Flow
    forward: Flow | None
    ms: float


class PairFlows:
    """The flow of pairs of frames.

    Args:
        estimator: What estimates it, for one pair at a time.
        both: Whether the forward flow is needed too.
    """

    def __init__(self, estimator: FlowEstimator, *, both: bool = False) -> None:
        self.estimator = estimator
        self.both = both
        self.kept = 2
        """How many pairs are remembered."""
        self._known: OrderedDict[tuple[int, int], tuple[Picture, Picture, Pair]] = OrderedDict()
        self._ready: OrderedDict[int, tuple[Any, Pair]] = OrderedDict()
        self._lock = Lock()
        self._estimating = Lock()

    def of(self, first: Picture, second: Picture, seen: Seen | None = None) -> Pair:
        """The flow of a pair of pictures.

        Args:
            first: The earlier picture.
            second: The later one.
            seen: The second picture as it was played, if the first one is of the frame before: its flow may
                have been made ahead, or may come with it.

        Returns:
            The flow, and how long it took.
        """
        frame = seen.frame if seen is not None else None
        key = (id(first), id(second))
        with self._lock:
            known = self._known.get(key)
            ready = self._ready.pop(id(frame), None) if frame is not None else None
        if known is not None and known[0] is first and known[1] is second:
            return Pair(known[2].flow, known[2].forward, 0.0)
        pair = ready[1] if ready is not None and ready[0] is frame else None
        if pair is None:
            pair = self._make(first, second, seen.after if seen is not None else None, frame)
        with self._lock:
            self._known[key] = (first, second, pair)
            while len(self._known) > self.kept:
                self._known.popitem(last=False)
        return pair

    def ahead(self, frames: Iterable[T], is_key: Callable[[int], bool] | None, most: int) -> Iterator[T]:
        """The frames; before one is handed on, its flow from the frame before is estimated.

        Args:
            frames: The frames, in order.
            is_key: Whether nothing is moved to a shot's frame at this position, where that is known.
            most: How many flows are kept until somebody asks for them.

        Yields:
            Each frame.
        """
        before: Any = None
        after: Any = None
        position = 0
        for frame in frames:
            image: Any = pictures_of(frame)[0]
            is_frame = isinstance(image, np.ndarray) and image.ndim == 3
            follows = before is not None and is_frame and image.shape == before.shape
            position = position + 1 if follows and not getattr(frame, "shot_start", False) else 0
            if position > 0 and not (is_key is not None and is_key(position)):
                pair = self._make(before, image, after, frame)
                with self._lock:
                    self._ready[id(frame)] = (frame, pair)
                    while len(self._ready) > most:
                        self._ready.popitem(last=False)
            before, after = (image if is_frame else None), frame
            yield frame

    def _make(self, first: Picture, second: Picture, before: object, frame: object) -> Pair:
        """before, frame: what was played with the pictures, None where they are not neighbours."""
        with self._estimating:
            began = time.perf_counter()
            if isinstance(self.estimator, CodecFlow):
                size = (second.shape[0], second.shape[1])
                found = self.estimator.from_stream(before, frame, size)
                if found is not None:
                    turned = turned_round(found) if self.both else None
                    return Pair(found, turned, (time.perf_counter() - began) * 1e3)
            flow = self.estimator.coarse(first, second)
            forward = self.estimator.coarse(second, first) if self.both else None
            return Pair(flow, forward, (time.perf_counter() - began) * 1e3)
