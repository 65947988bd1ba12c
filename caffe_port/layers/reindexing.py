"""BatchReindex (BVLC batch_reindex_layer.cpp): the items of the first bottom that the second one numbers."""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
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


register(LayerRule("BatchReindex", reindex_shape, emit_reindex, bottoms=(2, 2), module=__name__))
