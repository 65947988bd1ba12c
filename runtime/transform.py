"""The third update rule of a cache entry: not kept, not recomputed, but moved.

On a frame on which the stage that makes a value does not fire, a transform writes a new version of it: a
small graph on the value and on arrays made for this frame, such as a warp by optical flow. Chained, it moves
what the frame before left (Accel's rule); unchained, it moves what the stage last computed and leaves that as
it is (Deep Feature Flow's rule). Whoever reads the value reads the moved version, and its provenance stays
the frame that it was computed on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

__all__ = ["Feed", "Moment", "Transform"]


@dataclass(frozen=True, eq=False)
class Moment:
    """What a feed may look at: this frame, the one before, and the one that the value was computed on.

    frame: whatever the caller played, with anything attached to it. The images are uint8, height x width
    x 3; they are the same objects as long as they are the same frames. ms: milliseconds by name, for a
    feed to note what it spent outside of its own call, too; they come out with the step's.
    """

    frame: Any
    image: np.ndarray
    previous: np.ndarray
    source: np.ndarray
    position: int
    index: int
    ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Feed:
    """An array made on the host for each frame on which a transform needs it, uploaded once.

    Feeds of one name are one feed. The array must keep its shape and type as long as the frame size stays.
    Where `make` returns None there is nothing to be moved: the value stays as it is.
    """

    name: str
    make: Callable[[Moment], np.ndarray | None]


@dataclass(frozen=True)
class Transform:
    """How a carried value is moved when its stage does not fire.

    graph: called once a frame size with the value's shape and type and the shapes of the feeds by name;
    returns a model with the inputs `value` and one a feed, and the output `moved`, like `value`.
    """

    value: str
    graph: Callable[[tuple[int, ...], np.dtype, Mapping[str, tuple[int, ...]]], onnx.ModelProto]
    feeds: tuple[Feed, ...] = ()
    chained: bool = True
