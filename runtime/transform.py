"""The third way to update a cache entry: not kept, not recomputed, but transformed.

A transform writes a new version of a value from versions that the cache holds, of this value or of others,
and from arrays made for this frame, such as a path along the optical flow. Everything that moves or mixes
values is a setting of this one mechanism: which versions are read, when, and by which graph.

| | reads | when |
|---|---|---|
| moved along the path from where it was computed (Deep Feature Flow, `warp`) | "source" | kept |
| moved from frame to frame (Accel) | "newest" | kept |
| blended from the key frames before and after (`between`) | "earlier" and "source" | kept |
| what is fresh mixed with what was moved (`@fuse`) | "newest" and "earlier" | fired |

Whoever reads the value reads the transformed version, and its provenance stays the frame that the first
version read was computed on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

__all__ = ["VERSIONS", "Feed", "Moment", "Read", "Seen", "Transform"]

VERSIONS = ("newest", "source", "earlier")
"""Versions that a transform may read: the newest one, moved or not; the one that was last computed, not
moved; and the one computed before that."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame that was played, with anything attached to it, its picture (uint8, height x width x 3), and the
    frame played before it, None at the start of a shot.
    """

    frame: Any
    image: np.ndarray
    after: Any


@dataclass(frozen=True, eq=False)
class Moment:
    """What a feed may look at: this frame, the one before, and those that the value was computed on.

    frame: whatever the caller played, and after: what it played before that. The images are the same objects
    as long as they are the same frames. source: the frame that the value which is moved was computed on.
    since: the frames after the source up to this one, and until: those after this one up to the later one
    that the value is blended from; both are known where frames wait for a key frame, and empty elsewhere. ms:
    milliseconds by name, for a feed to note what it spent outside of its own call, too; they come out with
    the step's.
    """

    frame: Any
    image: np.ndarray
    previous: np.ndarray
    source: np.ndarray
    position: int
    index: int
    since: tuple[Seen, ...] = ()
    until: tuple[Seen, ...] = ()
    ms: dict[str, float] = field(default_factory=dict)
    after: Any = None


@dataclass(frozen=True)
class Feed:
    """An array made on the host for each frame on which a transform needs it, uploaded once.

    Feeds of one name are one feed. The array must keep its shape and type as long as the frame size stays.
    Where `make` returns None there is nothing to be done: the value stays as it is.
    """

    name: str
    make: Callable[[Moment], np.ndarray | None]


@dataclass(frozen=True)
class Read:
    """A version that a transform reads: the graph's input `name` is this version of this value."""

    name: str
    value: str
    version: str = "source"


@dataclass(frozen=True)
class Transform:
    """How a new version of a carried value is made of others.

    Args:
        value: The value that is written.
        graph: Called once per frame size with the value's shape, the type of the first version read, and the
            shapes of what is read and fed by the names of the graph's inputs; returns a model with these
            inputs and the output `moved`, like the value. None stands for the bundle's own graph that moves
            this value.
        feeds: Inputs made on the host.
        reads: Inputs from the cache; where nothing is said, the newest version of the value as `value`, which
            moves it on from frame to frame.
        when: "kept", on frames on which the stage that makes the value does not fire, or "fired", right after
            it has fired; what is then written counts as computed on this frame.
    """

    value: str
    graph: Callable[[tuple[int, ...], np.dtype, Mapping[str, tuple[int, ...]]], onnx.ModelProto] | None
    feeds: tuple[Feed, ...] = ()
    reads: tuple[Read, ...] = ()
    when: str = "kept"

    def __post_init__(self) -> None:
        if not self.reads:
            object.__setattr__(self, "reads", (Read("value", self.value, "newest"),))

    def reads_version(self, version: str) -> bool:
        """Whether the transform reads a version of some value.

        Args:
            version: "source", "newest" or "earlier".

        Returns:
            True where any of its reads has that version.
        """
        return any(read.version == version for read in self.reads)
