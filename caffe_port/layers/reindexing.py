"""BatchReindex and Filter (BVLC batch_reindex_, filter_layer.cpp).

BatchReindex: the items of the first bottom that the second one numbers. Filter: of every bottom but the last
the items for which the last one is not 0; how many they are is known only when the net runs.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from caffe_port.shapes import count
from weights.errors import ShapeError


def reindex_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    data, index = bottoms
    if len(index) != 1:
        raise ShapeError("the second bottom is no list", found=index, expected="one axis")
    return ((*index, *data[1:]),)


def emit_reindex(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    return (g.node("Gather", bottoms[0], g.node("Cast", bottoms[1], to=7), axis=0),)


def filter_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    *data, selector = bottoms
    if len(layer.tops) != len(data):
        raise ShapeError("tops do not fit the bottoms", found=len(layer.tops), expected=len(data))
    if not selector or count(selector) != selector[0] or any(d[:1] != selector[:1] for d in data):
        raise ShapeError(
            "the last bottom does not say of each item whether it passes",
            found=", ".join(map(str, bottoms)),
            expected="one number an item, and as many items in all bottoms",
        )
    return tuple(data)


def emit_filter(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    passes = g.node("Cast", g.node("Reshape", bottoms[-1], g.ints(-1)), to=9)
    return tuple(g.node("Compress", data, passes, axis=0) for data in bottoms[:-1])


register(
    LayerRule("BatchReindex", reindex_shape, emit_reindex, bottoms=(2, 2), module=__name__),
    LayerRule(
        "Filter",
        filter_shape,
        emit_filter,
        bottoms=(2, None),
        tops=(1, None),
        note="the number of items that pass is counted when the net runs",
        module=__name__,
        counted=0,
    ),
)
