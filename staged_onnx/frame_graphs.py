"""Pre-processing as part of the graphs: from the pictures of a frame to the net's inputs.

Picture H x W x 3, RGB -> float -> resized to the net's size (bilinear, pixel centres at half, as OpenCV's
INTER_LINEAR) or left native -> the net's channel order -> (x - mean) * scale, Caffe's transform_param ->
padded or cropped where frames are fitted instead of resized (`fit`). Depth, H x W x 1, goes
the same way; its logarithm is taken first. `outputs` has the other end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import TensorProto

from caffe_port.onnx_graph import OnnxGraph
from staged_onnx.fit import emit_fit, net_size
from weights.errors import UsageError

__all__ = ["FITS", "FRAME", "FrameSpec", "Preprocessing", "emit_preprocessing", "emit_resize", "frame_input"]

FRAME = "frame"
"""The graph input that is the frame which is played, labelled and shown."""

GREY = (0.299, 0.587, 0.114)
"""Weights of R, G, B in grey (ITU-R BT.601), what OpenCV and scikit-image's callers of Caffe used."""

FITS = ("resize", "pad")
"""Ways of bringing a frame to a size that the net takes."""

PLANES = {"bgr": 3, "rgb": 3, "gray": 1, "depth": 1, "log-depth": 1}
"""Channels of the net's input, by what it is made of."""
DEPTH = ("depth", "log-depth")


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes an input of the net.

    size: (height, width) of the net's input, or None to keep the frame's own size. channels: the net's order,
    "bgr", "rgb" or "gray", of an RGB picture; or "depth", a picture of one 16-bit channel as it is, or
    "log-depth", its natural logarithm, with 0 (not measured) taken for 1. mean: one value or one per channel,
    in the net's order, subtracted before the product with `scale`: (x - mean) * scale. fit: a
    frame of another size is resized, or padded with the mean at the bottom and right (of a larger one the
    middle is taken; see `staged_onnx.fit`). multiple, remainder: the sizes, down and across, that the net
    takes where `size` is None: a frame that has none of them is brought to the next larger one.
    """

    size: tuple[int, int] | None = None
    channels: str = "bgr"
    mean: tuple[float, ...] = (0.0,)
    scale: float = 1.0
    fit: str = "resize"
    multiple: tuple[int, int] = (1, 1)
    remainder: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.channels not in PLANES:
            raise UsageError("unknown channel order", found=self.channels, expected=", ".join(PLANES))
        if len(self.mean) not in (1, self.planes):
            raise UsageError(
                "mean does not fit the channels",
                found=f"{len(self.mean)} values",
                expected=f"1 or {self.planes}",
            )
        if self.size is not None and not all(0 < s <= 1 << 15 for s in self.size):
            raise UsageError("bad size", found=self.size, expected="(height, width), each 1 to 32768")
        if self.fit not in FITS:
            raise UsageError("unknown way of fitting frames", found=self.fit, expected=" or ".join(FITS))
        if not all(0 <= r < m <= 1 << 15 for m, r in zip(self.multiple, self.remainder, strict=True)):
            raise UsageError(
                "bad multiple of the frame's size",
                found=f"{self.multiple}, remainders {self.remainder}",
                expected="1 to 32768 down and across, each remainder below its multiple",
            )
        if not all(np.isfinite((*self.mean, self.scale))):
            raise UsageError("mean or scale is not a finite number", found=(*self.mean, self.scale))

    @property
    def planes(self) -> int:
        """Number of channels of the net's input."""
        return PLANES[self.channels]

    @property
    def is_depth(self) -> bool:
        """Whether the picture is one channel of 16 bits, not RGB of 8."""
        return self.channels in DEPTH

    @property
    def changes_size(self) -> bool:
        """Whether the net may see another size than the frame's."""
        return self.size is not None or self.multiple != (1, 1)

    @property
    def pads(self) -> bool:
        """Whether frames are padded or cropped."""
        return self.fit == "pad" and self.changes_size

    def placed_as(self, other: Preprocessing) -> Preprocessing:
        """The same for a picture that is brought to the size of another one, in the other's way.

        Args:
            other: The pre-processing of that one.

        Returns:
            This pre-processing with the other's size and way of fitting.
        """
        return replace(
            self, size=other.size, fit=other.fit, multiple=other.multiple, remainder=other.remainder
        )

    def emit_size(self, g: OnnxGraph, frame: str) -> str:
        """The height and width of the net's input for a frame.

        Args:
            g: The graph.
            frame: The picture, H x W x 3 or x 1.

        Returns:
            Two int64.
        """
        return net_size(g, frame, self.size, self.multiple, self.remainder)

    def to_json(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        return {
            "size": list(self.size) if self.size else None,
            "channels": self.channels,
            "mean": list(self.mean),
            "scale": self.scale,
            **({"fit": self.fit} if self.fit != "resize" else {}),
            **({"multiple": list(self.multiple)} if self.multiple != (1, 1) else {}),
            **({"remainder": list(self.remainder)} if any(self.remainder) else {}),
        }


@dataclass(frozen=True)
class FrameSpec:
    """One picture of a frame: the name under which graphs and players have it, and what becomes of it.

    As an array it is uint8, H x W x 3, RGB, or, where it is depth, uint16, H x W x 1.
    """

    name: str
    preprocessing: Preprocessing

    @property
    def planes(self) -> int:
        """Channels of the array."""
        return 1 if self.preprocessing.is_depth else 3

    @property
    def dtype(self) -> type[np.generic]:
        """Type of the array."""
        return np.uint16 if self.preprocessing.is_depth else np.uint8

    def shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """The shape of the array of a frame.

        Args:
            size: The frame's height and width.

        Returns:
            Height, width and channels.
        """
        return (*size, self.planes)

    def to_json(self) -> dict[str, Any]:
        """The array as it stands in the manifest."""
        kind = "depth" if self.preprocessing.is_depth else "rgb"
        return {"name": self.name, "dtype": np.dtype(self.dtype).name, "layout": "HWC", "channels": kind}


def frame_input(g: OnnxGraph, frame: FrameSpec) -> str:
    """Declare a picture of the frame as an input of the graph.

    Args:
        g: The graph.
        frame: The picture's name and kind.

    Returns:
        The input's name.
    """
    kind = TensorProto.UINT16 if frame.preprocessing.is_depth else TensorProto.UINT8
    return g.input(frame.name, ["height", "width", frame.planes], kind)


def emit_preprocessing(g: OnnxGraph, frame: str, how: Preprocessing) -> str:
    """Nodes from a picture of the frame to the net's input.

    Args:
        g: The graph.
        frame: The picture, H x W x 3 or, for depth, H x W x 1.
        how: What becomes of it.

    Returns:
        float32, 1 x C x h x w.
    """
    x = g.node("Cast", frame, to=TensorProto.FLOAT)
    if how.channels == "log-depth":
        x = g.node("Log", g.node("Max", x, g.const(np.float32(1))))
    x = g.node("Unsqueeze", g.node("Transpose", x, perm=[2, 0, 1]), g.ints(0))
    if how.channels == "gray":
        weights = np.array(GREY, np.float32).reshape(1, 3, 1, 1)
        x = g.node("ReduceSum", g.node("Mul", x, g.const(weights)), g.ints(1), keepdims=1)
    elif how.channels == "bgr":
        x = g.node("Gather", x, g.ints(2, 1, 0), axis=1)
    size = how.emit_size(g, frame) if how.changes_size else ""
    if how.changes_size and not how.pads:
        # A given size is one constant, so that all shapes are known before anything is run.
        sizes = g.ints(1, how.planes, *how.size) if how.size is not None else ""
        x = emit_resize(g, x, sizes or g.node("Concat", g.ints(1, how.planes), size, axis=0))
    if any(how.mean):
        x = g.node("Sub", x, g.const(np.array(how.mean, np.float32).reshape(1, -1, 1, 1)))
    if how.scale != 1:
        x = g.node("Mul", x, g.const(np.float32(how.scale)))
    return emit_fit(g, x, frame, size) if how.pads else x


def emit_resize(g: OnnxGraph, x: str, sizes: str) -> str:
    """A bilinear resize, pixel centres at half.

    Args:
        g: The graph.
        x: 1 x C x h x w.
        sizes: The four new sizes, int64.

    Returns:
        The resized map.
    """
    return g.node("Resize", x, "", "", sizes, mode="linear", coordinate_transformation_mode="half_pixel")
