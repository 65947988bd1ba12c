"""Upsample, two layers of one name.

SegNet and ENet (alexgkendall/caffe-segnet, upsample_layer.cpp), two bottoms: every value of bottom 0 goes to
the place that the pooling mask (bottom 1, an index into one plane) names, all others are 0. The plane is
upsample_h x upsample_w, or scale times the bottom, less one row with pad_out_h and one column with pad_out_w.
With overlapping pooling windows the fork keeps whichever value comes last; that is refused.

YOLO v3 (eric612/MobileNet-YOLO, upsample_layer.cpp), one bottom: every value repeated scale x scale times.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers import pooling
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from weights.errors import PrototxtError, ShapeError, UnsupportedError


def _scale(layer: Layer) -> tuple[int, int]:
    spec = layer.spec.upsample_param
    if spec.HasField("scale_h") != spec.HasField("scale_w"):
        raise PrototxtError("half a scale: scale_h and scale_w go together")
    if spec.HasField("scale_h") and spec.HasField("scale"):
        raise PrototxtError("scale is given both ways", expected="scale or scale_h and scale_w")
    return (spec.scale_h, spec.scale_w) if spec.HasField("scale_h") else (spec.scale, spec.scale)


def _stated_plane(layer: Layer) -> tuple[int, int] | None:
    spec = layer.spec.upsample_param
    if spec.HasField("upsample_h") != spec.HasField("upsample_w"):
        raise PrototxtError("half a size: upsample_h and upsample_w go together")
    return (spec.upsample_h, spec.upsample_w) if spec.HasField("upsample_h") else None


def upsample_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    bottom = bottoms[0]
    spec = layer.spec.upsample_param
    if len(bottom) != 4:
        raise ShapeError("Upsample needs four axes", found=bottom, expected="(N, C, H, W)")
    if len(bottoms) == 1:
        if not spec.HasField("scale") or spec.scale < 1:
            raise PrototxtError("no scale", expected="upsample_param { scale: 2 }")
        others = [f.name for f, _ in spec.ListFields() if f.name != "scale"]
        if others:
            raise PrototxtError(
                "fields of SegNet's Upsample without its mask",
                found=", ".join(others),
                expected="a second bottom, or scale alone",
            )
        return ((*bottom[:2], bottom[2] * spec.scale, bottom[3] * spec.scale),)
    if bottoms[1] != bottom:
        raise ShapeError("the mask does not fit", found=bottoms[1], expected=f"the shape {bottom}")
    plane = _stated_plane(layer)
    if plane is None:
        scale = _scale(layer)
        pads = (spec.pad_out_h, spec.pad_out_w)
        if any(pad and s != 2 for pad, s in zip(pads, scale, strict=True)):
            raise PrototxtError("pad_out with a scale other than 2", found=scale)
        plane = (bottom[2] * scale[0] - pads[0], bottom[3] * scale[1] - pads[1])
    return ((*bottom[:2], *plane),)


def _refuse_overlap(g: GraphBuilder, layer: Layer) -> None:
    """Refuse masks in which two windows may name one place."""
    for maker in g.net.layers:
        if layer.bottoms[1] in maker.tops and maker.type == "Pooling":
            window = pooling.window(maker, g.shape(maker.bottoms[0]))
            if any(k > s for k, s in zip(window.kernel, window.stride, strict=True)):
                raise UnsupportedError(
                    "the mask of overlapping pooling windows",
                    found=f'kernel {window.kernel} and stride {window.stride} in "{maker.name}"',
                    expected="kernel <= stride",
                )


def _unpool(g: GraphBuilder, layer: Layer, x: str, mask: str) -> str:
    batch, channels = g.shape(layer.bottoms[0])[:2]
    known = g.dims(layer.tops[0])[2:]
    if None not in known:
        plane = g.ints(*(d for d in known if d is not None))
    else:
        spec = layer.spec.upsample_param
        scaled = g.node("Mul", g.sizes_of(x, 2, 3), g.ints(*_scale(layer)))
        plane = g.node("Sub", scaled, g.ints(int(spec.pad_out_h), int(spec.pad_out_w)))
    count = g.node("ReduceProd", plane, axes=[0], keepdims=1)
    flat = g.ints(0, 0, -1)
    index = g.node("Cast", g.node("Reshape", mask, flat), to=7)
    # Its batch and channels come from x, so that the zeros count as made of the frame and not of constants.
    empty = g.node("ConstantOfShape", g.node("Concat", g.sizes_of(x, 0, 1), count, axis=0))
    filled = g.node("ScatterElements", empty, index, g.node("Reshape", x, flat), axis=2)
    return g.node("Reshape", filled, g.node("Concat", g.ints(batch, channels), plane, axis=0))


def emit_upsample(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    if len(bottoms) == 1:
        scale = float(layer.spec.upsample_param.scale)
        return (
            g.node(
                "Resize",
                bottoms[0],
                "",
                g.const(np.array([1, 1, scale, scale], np.float32)),
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            ),
        )
    _refuse_overlap(g, layer)
    if _stated_plane(layer) is not None:
        g.require_fixed(layer, "writes a plane of a fixed size")
    return (_unpool(g, layer, bottoms[0], bottoms[1]),)


register(
    LayerRule(
        "Upsample",
        upsample_shape,
        emit_upsample,
        bottoms=(1, 2),
        fork="SegNet, ENet, YOLO v3",
        module=__name__,
    )
)
