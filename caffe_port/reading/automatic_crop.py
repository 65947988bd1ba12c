"""AutoCrop: a Crop whose offset follows from the layers between its bottoms.

The layer of FCN's early branches (longjon/caffe, Crop of 2014 and V1's CROP; yun-liu/rcf,
auto_crop_layer.cpp and util/coords.hpp) finds its offset itself, by the coordinate maps of `coord_map`.
Where the fork follows first bottoms only, two paths that disagree are refused here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from caffe_port.coord_map import crop_offset
from caffe_port.net import Layer, Net
from weights.errors import ClockworkError, PrototxtError

__all__ = ["with_offsets"]


def with_offsets(net: Net) -> Net:
    """The net with the offset of every AutoCrop layer written into its `crop_param`.

    Args:
        net: The net.

    Returns:
        The net; all else in it as it was.

    Raises:
        PrototxtError: No layers whose effect on coordinates is known connect the bottoms of such a layer.
        ShapeError: Its bottoms do not fit each other.
    """
    for position, layer in enumerate(net.layers):
        if layer.type == "AutoCrop" and len(layer.bottoms) == 2 and layer.refusal is None:
            solved = _solved(net, layer)
            net = replace(net, layers=(*net.layers[:position], solved, *net.layers[position + 1 :]))
    return net


def _solved(net: Net, layer: Layer) -> Layer:
    spec: Any = type(layer.spec)()
    spec.CopyFrom(layer.spec)
    spec.crop_param.axis = 2
    spec.crop_param.ClearField("offset")
    layer = replace(layer, spec=spec)
    try:
        offsets = crop_offset(net, layer)
    except ClockworkError as error:
        raise error.located(**net.where(layer)) from None
    if offsets is None:
        raise PrototxtError(
            "a crop of blobs that no layers of known effect connect",
            **net.where(layer),
            found=" and ".join(layer.bottoms),
            expected="convolutions, pooling, crops and what works on each point alone between them",
            hint="write a Crop layer with its offset instead",
        )
    spec.crop_param.offset.extend(offsets)
    return layer
