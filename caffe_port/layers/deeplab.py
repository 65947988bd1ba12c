"""Layers of DeepLab and PSPNet that change the size of a map.

Interp (yjxiong/caffe and deeplab-public-ver2, interp_layer.cpp; PSPNet the same): the bottom is cropped by
pad_beg and pad_end (0 or negative) to n rows, then resampled bilinearly with corners on corners,
value at i (n - 1) / (m - 1). The new size m is (n - 1) / shrink_factor + 1, or (n - 1) zoom_factor + 1, or
height x width, or shrink and then zoom; in this order, by which fields are given. With use_blob_size
(lzx1413/CAFFE_SSD, interp_layer.cpp) it is the second bottom's.

BilinearInterpolation (ctensmeyer/caffe, bilinear_layer.cpp): the same to the size of the second bottom.

Padding (DeepLab v1, padding_layer.cpp): zeros on both spatial axes, pad_beg before and pad_end behind, or, if
both are negative, a crop.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from weights.errors import PrototxtError, ShapeError

END = 2**31 - 1


def _need_map(bottom: Shape) -> None:
    if len(bottom) != 4:
        raise ShapeError("a map is needed", found=bottom, expected="(N, C, H, W)")


def _rule(layer: Layer) -> tuple[int, int, tuple[int, int] | None]:
    """Shrink factor, zoom factor, and the stated size that counts where neither is given alone."""
    spec = layer.spec.interp_param
    shrink, zoom = spec.HasField("shrink_factor"), spec.HasField("zoom_factor")
    size = (spec.height, spec.width) if spec.HasField("height") and spec.HasField("width") else None
    if spec.pad_beg > 0 or spec.pad_end > 0:
        raise PrototxtError(
            "positive padding in Interp",
            found=f"{spec.pad_beg} and {spec.pad_end}",
            expected="0 or less, as the fork demands",
        )
    if (shrink and spec.shrink_factor < 1) or (zoom and spec.zoom_factor < 1):
        raise PrototxtError("zoom or shrink factor below 1")
    if shrink != zoom:
        return (spec.shrink_factor if shrink else 1, spec.zoom_factor if zoom else 1, None)
    if size is None and not shrink:
        raise PrototxtError("no new size", expected="zoom_factor, shrink_factor, or height and width")
    if size is not None and min(size) < 1:
        raise PrototxtError("bad height or width", found=size, expected="1 or more")
    return (spec.shrink_factor, spec.zoom_factor, size)


def interp_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    bottom = bottoms[0]
    _need_map(bottom)
    spec = layer.spec.interp_param
    if spec.use_blob_size != (len(bottoms) == 2):
        raise ShapeError(
            "use_blob_size does not fit the bottoms",
            found=f"{len(bottoms)} bottoms",
            expected="two with use_blob_size, else one",
        )
    if spec.use_blob_size:
        _need_map(bottoms[1])
        return ((*bottom[:2], *bottoms[1][2:]),)
    shrink, zoom, size = _rule(layer)
    cropped = [n + spec.pad_beg + spec.pad_end for n in bottom[2:]]
    if min(cropped) < 1:
        raise ShapeError(
            "cropped to nothing", found=bottom, expected=f"more than {-spec.pad_beg - spec.pad_end}"
        )
    return ((*bottom[:2], *(size or (((n - 1) // shrink) * zoom + 1 for n in cropped))),)


def _cropped(g: GraphBuilder, x: str, before: int, behind: int) -> str:
    if not before and not behind:
        return x
    ends = behind if behind else END
    return g.node("Slice", x, g.ints(-before, -before), g.ints(ends, ends), g.ints(2, 3))


def align_corners(g: GraphBuilder, x: str, sizes: str) -> str:
    """Bilinear resampling with corners on corners to `sizes`, an int64 vector (N, C, H, W)."""
    return str(
        g.node("Resize", x, "", "", sizes, mode="linear", coordinate_transformation_mode="align_corners")
    )


def emit_interp(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = layer.spec.interp_param
    top = g.shape(layer.tops[0])
    x = _cropped(g, bottoms[0], spec.pad_beg, spec.pad_end)
    if spec.use_blob_size:
        return (
            align_corners(g, x, g.node("Concat", g.ints(*top[:2]), g.sizes_of(bottoms[1], 2, 3), axis=0)),
        )
    shrink, zoom, size = _rule(layer)
    if size is None and shrink == zoom == 1:
        return (x,)
    if size is not None or None not in g.dims(layer.tops[0]):
        return (align_corners(g, x, g.ints(*top)),)
    steps = g.node("Sub", g.sizes_of(x, 2, 3), g.ints(1, 1))
    for op, factor in (("Div", shrink), ("Mul", zoom)):
        if factor != 1:
            steps = g.node(op, steps, g.ints(factor, factor))
    plane = g.node("Add", steps, g.ints(1, 1))
    return (align_corners(g, x, g.node("Concat", g.ints(*top[:2]), plane, axis=0)),)


def bilinear_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    for bottom in bottoms:
        _need_map(bottom)
    if min(bottoms[1][2:]) < 2:
        raise ShapeError("a size of 1 divides by 0 in this layer", found=bottoms[1], expected="2 or more")
    return ((*bottoms[0][:2], *bottoms[1][2:]),)


def emit_bilinear(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    top = g.shape(layer.tops[0])
    if None not in g.dims(layer.tops[0]):
        return (align_corners(g, bottoms[0], g.ints(*top)),)
    sizes = g.node("Concat", g.ints(*top[:2]), g.sizes_of(bottoms[1], 2, 3), axis=0)
    return (align_corners(g, bottoms[0], sizes),)


def padding_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    _need_map(bottoms[0])
    spec = layer.spec.padding_param
    if spec.pad_beg * spec.pad_end < 0:
        raise PrototxtError(
            "padding on one side and a crop on the other",
            found=f"pad_beg {spec.pad_beg}, pad_end {spec.pad_end}",
            expected="one sign for both",
        )
    return ((*bottoms[0][:2], *(n + spec.pad_beg + spec.pad_end for n in bottoms[0][2:])),)


def emit_padding(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    before, behind = layer.spec.padding_param.pad_beg, layer.spec.padding_param.pad_end
    if before <= 0 and behind <= 0:
        return (_cropped(g, bottoms[0], before, behind),)
    pads = g.ints(0, 0, before, before, 0, 0, behind, behind)
    return (g.node("Pad", bottoms[0], pads, g.const(np.float32(0)), mode="constant"),)


register(
    LayerRule(
        "Interp", interp_shape, emit_interp, bottoms=(1, 2), fork="DeepLab, PSPNet, ICNet", module=__name__
    ),
    LayerRule(
        "BilinearInterpolation",
        bilinear_shape,
        emit_bilinear,
        bottoms=(2, 2),
        fork="ctensmeyer/caffe",
        module=__name__,
    ),
    LayerRule("Padding", padding_shape, emit_padding, fork="DeepLab v1", module=__name__),
)
