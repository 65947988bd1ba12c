"""DeformableConvolution (arXiv 1703.06211), as MXNet and the Caffe forks that took it over have it.

Sources: apache/mxnet contrib/deformable_convolution-inl.h and nn/deformable_im2col.h; unsky's and
zhanglonghao1992's Deformable-ConvNets-caffe, whose `deformable_convolution_param` this reads: the fields of
`convolution_param` and `deformable_group`.

Bottoms: x (N, C, H, W), and offsets (N, 2 G K, H', W') for G deformable groups and a kernel of K taps. The
channels of x are G groups, one after the other; channel 2 (g K + k) of the offsets moves tap k (row by row
over the kernel) of group g down, the channel after it moves it to the right. With kernel k, stride s, pad p
and dilation d,

    y = W . x(oy s - p + ky d + down, ox s - p + kx d + right)

where x between its points is bilinear, 0 at any place with y < 0, x < 0, y >= H or x >= W, and the last row
and column continue to H and W. ONNX's DeformConv (opset 19) differs at the border: it takes each of the four
corners beyond the edge for 0, so that values fade out between -1 and 0 and between H - 1 and H. Here
GridSample reads the taps, at coordinates that are held at the last row and column and that lie far outside
where the tap is 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers.convolution import Window, window_of
from caffe_port.layers.sampling import as_float, plane_of
from caffe_port.net import Layer, Shape
from caffe_port.registry import Blob, LayerRule, register
from caffe_port.shapes import count
from weights.errors import ShapeError

OUTSIDE = -3.0
"""A normalised coordinate at which GridSample reads zeros, whatever the map's size."""


def _spec(layer: Layer) -> Any:
    return layer.spec.deformable_convolution_param


def _geometry(layer: Layer, bottom: Shape) -> Window:
    """Kernel, stride, pad and dilation, with the channels and groups checked."""
    spec = _spec(layer)
    if len(bottom) != 4 or spec.axis != 1:
        raise ShapeError("a map is needed", found=bottom, expected="(N, C, H, W) and axis 1")
    for name, outputs in (("group", spec.num_output), ("deformable_group", 0)):
        group = getattr(spec, name)
        if group < 1 or bottom[1] % group or outputs % group or spec.num_output < 1:
            raise ShapeError(
                f"{name} does not divide the channels",
                found=f"{name} {group}, {bottom[1]} channels in, num_output {spec.num_output}",
                expected="a common divisor" if outputs else "a divisor of the channels",
            )
    return window_of(spec, bottom)


def deformable_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    x, offsets = bottoms
    w = _geometry(layer, x)
    spatial = tuple(
        (n + 2 * p - e) // s + 1 for n, p, e, s in zip(x[2:], w.pad, w.extent, w.stride, strict=True)
    )
    expected = (x[0], 2 * _spec(layer).deformable_group * count(w.kernel), *spatial)
    if offsets != expected:
        raise ShapeError("the offsets do not fit", found=offsets, expected=expected)
    return ((x[0], _spec(layer).num_output, *spatial),)


def deformable_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    spec = _spec(layer)
    kernel = _geometry(layer, bottoms[0]).kernel
    filler = spec.weight_filler if spec.HasField("weight_filler") else None
    blobs = [Blob((spec.num_output, bottoms[0][1] // spec.group, *kernel), filler, "weight")]
    if spec.bias_term:
        filler = spec.bias_filler if spec.HasField("bias_filler") else None
        blobs.append(Blob((spec.num_output,), filler, "bias"))
    return tuple(blobs)


def deformable_macs(layer: Layer, bottoms: tuple[Shape, ...], tops: tuple[Shape, ...]) -> int:
    return count(tops[0]) * bottoms[0][1] // _spec(layer).group * count(_geometry(layer, bottoms[0]).kernel)


def _axis(
    g: GraphBuilder, moved: str, size: str, length: str, taps: np.ndarray, stride: int, rank: int
) -> tuple[str, str]:
    """Where the taps lie along one axis, normalised, and whether that is inside of the map.

    moved: how far each is moved, (N G, K, H', W'). size: the map's, length: the result's along the axis.
    taps: place of each tap for the result's first point, (K,). rank: axes behind this one.
    """
    numbers = g.node("Range", g.const(0, np.int64), g.node("Squeeze", length), g.const(1, np.int64))
    steps = g.node("Mul", as_float(g, numbers), g.const(np.float32(stride)))
    if rank:
        steps = g.node("Unsqueeze", steps, g.ints(1))
    start = g.node("Add", steps, g.const(taps.astype(np.float32).reshape(-1, 1, 1)))
    place = g.node("Add", moved, start)
    limit = as_float(g, size)
    inside = g.node(
        "And", g.node("GreaterOrEqual", place, g.const(np.float32(0))), g.node("Less", place, limit)
    )
    held = g.node("Min", place, g.node("Sub", limit, g.const(np.float32(1))))
    # the map is read with one more row and column, so that its last place is the limit itself
    scaled = g.node("Mul", held, g.node("Div", g.const(np.float32(2)), limit))
    return g.node("Sub", scaled, g.const(np.float32(1))), inside


def emit_deformable(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    spec = _spec(layer)
    batch, channels, *_ = g.shape(layer.bottoms[0])
    w = _geometry(layer, g.shape(layer.bottoms[0]))
    maps, taps = batch * spec.deformable_group, count(w.kernel)
    planes = (plane_of(g, value, name) for value, name in zip(layer.bottoms, bottoms, strict=True))
    size, result = ((plane.height, plane.width) for plane in planes)

    moves = g.node("Reshape", bottoms[1], g.node("Concat", g.ints(maps, taps, 2), *result, axis=0))
    down, right = (
        g.node("Squeeze", move, g.ints(2))
        for move in g.nodes("Split", moves, g.ints(1, 1), axis=2, outputs=2)
    )
    rows, columns = np.indices(w.kernel).reshape(2, -1)
    places = []
    for axis, (move, taps_at) in enumerate(((down, rows), (right, columns))):
        first = taps_at * w.dilation[axis] - w.pad[axis]
        places.append(_axis(g, move, size[axis], result[axis], first, w.stride[axis], 1 - axis))
    inside = g.node("And", places[0][1], places[1][1])
    y, x = (
        g.node("Unsqueeze", g.node("Where", inside, place, g.const(np.float32(OUTSIDE))), g.ints(-1))
        for place, _ in places
    )
    high = g.node("Mul", g.ints(taps), result[0])
    grid = g.node(
        "Reshape",
        g.node("Concat", x, y, axis=-1),
        g.node("Concat", g.ints(maps), high, result[1], g.ints(2), axis=0),
    )
    zero = g.const(np.float32(0))
    padded = g.node("Pad", bottoms[0], g.ints(0, 0, 0, 0, 0, 0, 1, 1), zero, mode="constant")
    ends = [g.node("Add", length, g.ints(1)) for length in size]
    groups = g.node("Concat", g.ints(maps, channels // spec.deformable_group), *ends, axis=0)
    read = g.node(
        "GridSample", g.node("Reshape", padded, groups), grid,
        mode="bilinear", padding_mode="zeros", align_corners=1,
    )  # fmt: skip
    # (N G, C / G, K H', W') holds the same numbers in the same order as (N, C K, H', W')
    columns_of_taps = g.node(
        "Reshape", read, g.node("Concat", g.ints(batch, channels * taps), *result, axis=0)
    )
    weight = np.ascontiguousarray(blobs[0]).reshape(spec.num_output, -1, 1, 1)
    bias = [g.const(blobs[1])] if len(blobs) > 1 else []
    return (g.node("Conv", columns_of_taps, g.const(weight), *bias, kernel_shape=[1, 1], group=spec.group),)


register(
    LayerRule(
        "DeformableConvolution",
        deformable_shape,
        emit_deformable,
        deformable_blobs,
        deformable_macs,
        bottoms=(2, 2),
        fork="Deformable ConvNets",
        module=__name__,
    )
)
