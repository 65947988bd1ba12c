"""Bilinear: a Deconvolution with one separable kernel per channel is two matrix products.

Upsampling in FCN nets is a grouped Deconvolution whose kernels are all the outer product of one triangle with
itself. With k(y, x) = u(y) v(x), stride s and padding p

    out = A X B^T,   A_(j, i) = u(j + p - s i), B_(j, i) = v(j + p - s i), 0 outside the kernel,

for each channel, whatever u and v are. The products run at full speed where the scattered additions of a
ConvTranspose do not; but most of A is zeros, so for large maps the Deconvolution stays.
"""

from __future__ import annotations

from math import prod

import numpy as np
from onnx import NodeProto, helper

from staged_onnx.passes.fixed_graph import FixedGraph
from staged_onnx.passes.map_operators import attributes, whole_map
from staged_onnx.passes.target import Target

__all__ = ["bilinear"]

# Nanoseconds on one core; of onnxruntime-facts: 21 channels, 16 x 16, kernel 64, stride 32.
SCATTERED = 1.4  # an addition of a ConvTranspose
PRODUCT = 1 / 45  # a multiply-accumulate of a matrix product
WRITTEN = 0.5  # a result
EQUAL = 1e-7
"""How far from the outer product a kernel may be, as a share of its largest number."""


def bilinear(graph: FixedGraph, target: Target) -> FixedGraph:
    """Write separable Deconvolutions as matrix products where that is faster.

    Pre-condition: none; other Deconvolutions stay.
    Post-condition: the same inputs and outputs; numbers differ by the rounding of sums of a few products.

    Args:
        graph: Any graph.
        target: Not asked.

    Returns:
        The new graph; the same one where nothing is faster so.
    """
    del target
    nodes: list[NodeProto] = []
    arrays: dict[str, np.ndarray] = {}
    shapes = dict(graph.shapes)
    for node in graph.nodes:
        kernels = _separable(graph, node)
        if kernels is None or not _pays(graph, node):
            nodes.append(node)
            continue
        given, (source, target_shape) = attributes(node), _shapes(graph, node)
        strides, pads = given.get("strides", [1, 1]), given.get("pads", [0, 0, 0, 0])
        rows, columns = (
            _matrix(kernel, strides[axis], pads[axis], source[axis + 2], target_shape[axis + 2])
            for axis, kernel in enumerate(kernels)
        )
        name = node.output[0]
        names = [f"{name}/bilinear/{what}" for what in ("columns", "rows", "wide", "sum")]
        arrays |= {names[0]: np.ascontiguousarray(columns.T), names[1]: rows}
        shapes |= {names[0]: columns.T.shape, names[1]: rows.shape}
        shapes[names[2]] = (*source[:3], target_shape[3])
        biased = len(node.input) > 2 and bool(node.input[2])
        nodes.append(helper.make_node("MatMul", [node.input[0], names[0]], [names[2]], name=names[2]))
        last = names[3] if biased else name
        nodes.append(helper.make_node("MatMul", [names[1], names[2]], [last], name=last))
        if biased:
            bias = f"{name}/bilinear/bias"
            arrays[bias] = graph.array(node.input[2]).reshape(1, -1, 1, 1)
            shapes |= {bias: arrays[bias].shape, last: target_shape}
            nodes.append(helper.make_node("Add", [last, bias], [name], name=name))
    return graph.with_nodes(nodes, arrays, shapes) if arrays else graph


def _shapes(graph: FixedGraph, node: NodeProto) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return graph.shapes[node.input[0]], graph.shapes[node.output[0]]


def _separable(graph: FixedGraph, node: NodeProto) -> tuple[np.ndarray, np.ndarray] | None:
    """The two factors of the kernel that all channels of a Deconvolution have; None where they do not."""
    maps = node.op_type == "ConvTranspose" and all(
        whole_map(graph, n) for n in (*node.input[:1], *node.output)
    )
    if not maps or not all(graph.is_constant(name) for name in node.input[1:]):
        return None
    given, weights = attributes(node), graph.shapes[node.input[1]]
    plain = given.get("auto_pad", b"NOTSET") == b"NOTSET" and not given.get("output_shape")
    if not plain or weights[1] != 1 or given.get("group", 1) != weights[0]:
        return None
    if any(d != 1 for d in given.get("dilations", ())) or any(given.get("output_padding", ())):
        return None
    kernels = graph.array(node.input[1]).astype(np.float64)[:, 0]
    middle = np.unravel_index(np.abs(kernels[0]).argmax(), kernels[0].shape)
    peak = kernels[0][middle]
    if peak == 0:
        return None
    rows, columns = kernels[0][:, middle[1]], kernels[0][middle[0]] / peak
    equal = np.abs(kernels - np.outer(rows, columns)).max() <= EQUAL * abs(peak)
    return (rows, columns) if equal else None


def _pays(graph: FixedGraph, node: NodeProto) -> bool:
    """Whether the products should be faster than the Deconvolution."""
    (_, channels, height, width), result = _shapes(graph, node)
    scattered = SCATTERED * channels * height * width * prod(graph.shapes[node.input[1]][2:])
    multiplied = channels * height * result[3] * (width + result[2])
    return PRODUCT * multiplied + WRITTEN * prod(result) < scattered


def _matrix(kernel: np.ndarray, stride: int, pad: int, inputs: int, results: int) -> np.ndarray:
    """A of the formula above: results x inputs, float32."""
    taps = np.arange(results)[:, None] + pad - stride * np.arange(inputs)[None, :]
    inside = (taps >= 0) & (taps < kernel.size)
    return np.where(inside, kernel[np.clip(taps, 0, kernel.size - 1)], 0).astype(np.float32)
