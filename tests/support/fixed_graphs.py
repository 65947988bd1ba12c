"""Random graphs of map operators, and running a fixed graph as it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime as ort
from hypothesis import strategies as st
from onnx import ModelProto, helper

from caffe_port.onnx_graph import OnnxGraph
from staged_onnx.passes import FixedGraph

LARGEST = 90
"""Rows or columns that a map of a random graph has at most."""


def run_fixed(
    graph: FixedGraph, feeds: Mapping[str, np.ndarray], *, threads: int = 1, optimised: bool = True
) -> dict[str, np.ndarray]:
    """The graph's outputs, by ONNX Runtime on the CPU."""
    model, beside = graph.model()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", graph.folder)
    values = [ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array)) for array in beside.values()]
    options.add_external_initializers(list(beside), values)
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in graph.outputs]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def on_empty_frame(graph: FixedGraph, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Values of a graph where its inputs are zeros, or what their borders hold."""
    feeds = {}
    for value in graph.inputs:
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        known = graph.borders.get(value.name)
        feeds[value.name] = np.zeros(graph.shapes[value.name], dtype) if known is None else known.values
    return run_fixed(graph.giving(names), feeds)


class _Writer:
    """Adds random operators to a graph; `maps` are what they may read: name, channels, height, width."""

    def __init__(self, draw: st.DrawFn, channels: Sequence[int]) -> None:
        self.draw = draw
        self.g = OnnxGraph()
        self.rng = np.random.default_rng(draw(st.integers(0, 1 << 16)))
        self.channels = channels
        size = draw(st.integers(8, 70)), draw(st.integers(8, 70))
        self.maps = [(self.g.input("data", [1, 3, *size]), 3, *size)]

    def some(self, *choices: int) -> int:
        return self.draw(st.sampled_from(choices))

    def pick(self) -> tuple[str, int, int, int]:
        """Mostly the last map, so that graphs grow deep."""
        back = self.draw(st.sampled_from([1, 1, 1, 2, 3]))
        return self.maps[-min(back, len(self.maps))]

    def weights(self, *shape: int) -> str:
        scale = np.sqrt(2 / max(1, np.prod(shape[1:])))
        return self.g.const(self.rng.standard_normal(shape) * scale)

    def conv(self) -> None:
        x, c, h, w = self.pick()
        out, dilation = self.draw(st.sampled_from(self.channels)), self.some(1, 1, 1, 2)
        kernel, stride = self.some(1, 2, 3, 3, 5), self.some(1, 1, 2)
        pads = [self.some(0, 1, 1, 2, 12) for _ in range(2)] * 2
        extent = (kernel - 1) * dilation + 1
        sizes = [(s + 2 * p - extent) // stride + 1 for s, p in zip((h, w), pads, strict=False)]
        group = c if out == c and self.draw(st.booleans()) else 1
        if not all(1 <= s <= LARGEST for s in sizes):
            return
        y = self.g.node(
            "Conv", x, self.weights(out, c // group, kernel, kernel), self.weights(out), group=group,
            strides=[stride] * 2, pads=pads, dilations=[dilation] * 2, kernel_shape=[kernel] * 2,
        )  # fmt: skip
        if self.draw(st.booleans()):
            y = self.g.node("Relu", y)
        self.maps.append((y, out, *sizes))

    def pool(self) -> None:
        x, c, h, w = self.pick()
        kernel, stride, ceil = self.some(2, 3), self.some(1, 2, 2), self.some(0, 1)
        pad = self.some(0, 0, 1)
        sizes = []
        for s in (h, w):
            size = (s + 2 * pad - kernel + (stride - 1 if ceil else 0)) // stride + 1
            sizes.append(size - 1 if ceil and (size - 1) * stride >= s + pad else size)
        if min(sizes) < 1:
            return
        kind = self.draw(st.sampled_from(["MaxPool", "AveragePool"]))
        more = {"count_include_pad": 1} if kind == "AveragePool" else {}
        y = self.g.node(
            kind, x, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, ceil_mode=ceil, **more
        )
        self.maps.append((y, c, *sizes))

    def deconv(self) -> None:
        x, c, h, w = self.pick()
        kernel, stride, pad = self.some(2, 4, 5), self.some(1, 2), self.some(0, 1)
        sizes = [(s - 1) * stride + kernel - 2 * pad for s in (h, w)]
        if not all(1 <= s <= LARGEST for s in sizes):
            return
        group = self.some(1, c)
        y = self.g.node(
            "ConvTranspose", x, self.weights(c, c // group, kernel, kernel), group=group,
            strides=[stride] * 2, pads=[pad] * 4, kernel_shape=[kernel] * 2,
        )  # fmt: skip
        self.maps.append((y, c, *sizes))

    def crop(self) -> None:
        x, c, h, w = self.pick()
        top, left = self.draw(st.integers(0, h - 1)), self.draw(st.integers(0, w - 1))
        down, right = self.draw(st.integers(top + 1, h)), self.draw(st.integers(left + 1, w))
        y = self.g.node("Slice", x, self.g.ints(top, left), self.g.ints(down, right), self.g.ints(2, 3))
        self.maps.append((y, c, down - top, right - left))

    def pointwise(self) -> None:
        x, c, h, w = self.pick()
        other = self.maps[-self.some(1, 2, 3) % len(self.maps)]
        if other[2:] == (h, w) and self.draw(st.booleans()):
            self.maps.append((self.g.node("Concat", x, other[0], axis=1), c + other[1], h, w))
        elif other[1:] == (c, h, w) and other[0] != x:
            self.maps.append((self.g.node("Add", x, other[0]), c, h, w))
        else:
            add = self.g.const(self.rng.standard_normal((1, c, 1, 1)))
            self.maps.append((self.g.node(self.draw(st.sampled_from(["Add", "Mul"])), x, add), c, h, w))

    def softmax(self) -> None:
        """An operator that stays whole."""
        x, c, h, w = self.pick()
        self.maps.append((self.g.node("Softmax", x, axis=1), c, h, w))


@st.composite
def map_graphs(
    draw: st.DrawFn, channels: Sequence[int] = (2, 3, 16), ends: int = 2
) -> tuple[ModelProto, dict[str, tuple[int, ...]]]:
    """A model of random operators with one input, and the shapes of that input and of all outputs."""
    writer = _Writer(draw, channels)
    steps = [writer.conv, writer.conv, writer.conv, writer.pool, writer.deconv, writer.crop, writer.pointwise,
             writer.softmax]  # fmt: skip
    writer.conv()
    for step in draw(st.lists(st.sampled_from(steps), min_size=2, max_size=9)):
        step()
    shapes = {"data": (1, *writer.maps[0][1:])}
    for i, (value, *dims) in enumerate(writer.maps[-draw(st.integers(1, ends)) :]):
        shapes[f"out{i}"] = (1, *dims)
        writer.g.output(value, f"out{i}", [1, *dims])
    return writer.g.model("random"), shapes
