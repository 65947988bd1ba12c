"""Pre-processing as part of the graphs: from a uint8 frame to the net's input.

Frame H x W x 3, RGB -> float -> resized to the net's size (bilinear, pixel centres at half, as OpenCV's
INTER_LINEAR) or left native -> the net's channel order -> (x - mean) * scale, Caffe's transform_param ->
padded or cropped to the net's size where frames are fitted instead of resized (`fit`). `outputs` has the
other end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto

from caffe_port.onnx_graph import OnnxGraph
from staged_onnx.fit import emit_fit
from weights.errors import UsageError

__all__ = ["Preprocessing", "emit_preprocessing", "emit_resize"]

GREY = (0.299, 0.587, 0.114)
"""Weights of R, G, B in grey (ITU-R BT.601), what OpenCV and scikit-image's callers of Caffe used."""


@dataclass(frozen=True)
class Preprocessing:
    """How a frame becomes the net's input.

    size: (height, width) of the net's input, or None to keep the frame's own size. channels: the net's order,
    "bgr", "rgb" or "gray". mean: one value or one per channel, in the net's order, subtracted before the
    product with `scale`: (x - mean) * scale on pixel values 0 to 255. fit: frames are padded or cropped to
    `size` instead of resized (see `staged_onnx.fit`).
    """

    size: tuple[int, int] | None = None
    channels: str = "bgr"
    mean: tuple[float, ...] = (0.0,)
    scale: float = 1.0
    fit: bool = False

    def __post_init__(self) -> None:
        if self.channels not in ("bgr", "rgb", "gray"):
            raise UsageError("unknown channel order", found=self.channels, expected="bgr, rgb or gray")
        planes = 1 if self.channels == "gray" else 3
        if len(self.mean) not in (1, planes):
            raise UsageError(
                "mean does not fit the channels", found=f"{len(self.mean)} values", expected=f"1 or {planes}"
            )
        if self.size is not None and not all(0 < s <= 1 << 15 for s in self.size):
            raise UsageError("bad size", found=self.size, expected="(height, width), each 1 to 32768")
        if self.fit and self.size is None:
            raise UsageError("nothing to fit frames to", found="no size", expected="(height, width)")
        if not all(np.isfinite((*self.mean, self.scale))):
            raise UsageError("mean or scale is not a finite number", found=(*self.mean, self.scale))

    @property
    def planes(self) -> int:
        """Number of channels of the net's input."""
        return 1 if self.channels == "gray" else 3

    def to_json(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        return {
            "size": list(self.size) if self.size else None,
            "channels": self.channels,
            "mean": list(self.mean),
            "scale": self.scale,
            **({"fit": True} if self.fit else {}),
        }


def emit_preprocessing(g: OnnxGraph, frame: str, how: Preprocessing) -> str:
    """Nodes from the frame (uint8, H x W x 3) to the net's input (float32, 1 x C x h x w)."""
    x = g.node("Cast", frame, to=TensorProto.FLOAT)
    x = g.node("Unsqueeze", g.node("Transpose", x, perm=[2, 0, 1]), g.ints(0))
    if how.channels == "gray":
        weights = np.array(GREY, np.float32).reshape(1, 3, 1, 1)
        x = g.node("ReduceSum", g.node("Mul", x, g.const(weights)), g.ints(1), keepdims=1)
    elif how.channels == "bgr":
        x = g.node("Gather", x, g.ints(2, 1, 0), axis=1)
    if how.size is not None and not how.fit:
        x = emit_resize(g, x, g.ints(1, how.planes, *how.size))
    if any(how.mean):
        x = g.node("Sub", x, g.const(np.array(how.mean, np.float32).reshape(1, -1, 1, 1)))
    if how.scale != 1:
        x = g.node("Mul", x, g.const(np.float32(how.scale)))
    if how.size is not None and how.fit:
        x = emit_fit(g, x, frame, how.planes, how.size)
    return x


def emit_resize(g: OnnxGraph, x: str, sizes: str) -> str:
    """Bilinear resize of 1 x C x h x w to `sizes`, pixel centres at half."""
    return g.node("Resize", x, "", "", sizes, mode="linear", coordinate_transformation_mode="half_pixel")
