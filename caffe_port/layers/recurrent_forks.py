"""Recurrent layers of forks, as ONNX's LSTM and GRU; every sequence starts from a state of zeros.

Lstm has blobs W (4H x I), R (4H x H), b (4H), with gates i, f, o, g in that order: c_t = f c_{t-1} + i g,
h_t = o tanh(c_t). tianzhi0549/CTPN (lstm_layer.cpp) reads T x N x I and makes T x N x H.
junhyukoh/caffe-lstm (lstm_layer.cpp) reads (T N) x ... with N the `batch_size` and makes (T N) x H; its
second bottom, where given, is 0 where a sequence starts. A bottom of three axes and no batch_size is CTPN's.

GRU (wss321/video-caffe, gru_layer.cpp) has blobs W_zr (2H x I), R_zr (2H x H), R_o (H x H), W_o (H x I; the
fork makes it H x H), b_zr (2H), b_o (1 x H): h_t = (1 - z) tanh(W_o x + R_o (r h_{t-1}) + b_o) + z h_{t-1}.
Synopsys's GRU has a `recurrent_param` and other blobs; it is refused.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers.recurrent import MAX_STEPS, lstm_step, pieces
from caffe_port.net import Layer, Shape
from caffe_port.registry import Blob, LayerRule, register
from caffe_port.shapes import count
from weights.errors import PrototxtError, ShapeError, UnsupportedError

Blobs = tuple[np.ndarray, ...]
ONNX_GATES = (0, 2, 1, 3)
"""Where ONNX's gates i, o, f, c are among the fork's i, f, o, g."""


def _steps_first(layer: Layer, x: Shape) -> bool:
    """Whether the bottom is T x N x I (CTPN), else (T N) x ... (junhyukoh)."""
    return len(x) == 3 and not layer.spec.lstm_param.HasField("batch_size")


def _sizes(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[int, int, int, int]:
    """Steps, streams, length of the input, hidden units."""
    spec, x = layer.spec.lstm_param, bottoms[0]
    if spec.num_output < 1:
        raise PrototxtError("no num_output", expected="1 or more")
    if _steps_first(layer, x):
        steps, streams, length = x[0], x[1], x[2]
    else:
        streams = spec.batch_size
        if streams < 1 or not x or x[0] % streams:
            raise ShapeError("batch_size does not divide the bottom", found=f"{streams}, bottom {x}")
        steps, length = x[0] // streams, count(x[1:])
    if len(bottoms) == 2 and count(bottoms[1]) != steps * streams:
        raise ShapeError(
            "the second bottom does not fit", found=bottoms, expected=f"{steps * streams} numbers"
        )
    return steps, streams, length, spec.num_output


def lstm_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    steps, streams, _, hidden = _sizes(layer, bottoms)
    return ((steps, streams, hidden) if _steps_first(layer, bottoms[0]) else (steps * streams, hidden),)


def lstm_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    spec = layer.spec.lstm_param
    _, _, length, hidden = _sizes(layer, bottoms)
    weight = spec.weight_filler if spec.HasField("weight_filler") else None
    bias = spec.bias_filler if spec.HasField("bias_filler") else None
    return (
        Blob((4 * hidden, length), weight),
        Blob((4 * hidden, hidden), weight),
        Blob((4 * hidden,), bias, "bias"),
    )


def lstm_macs(layer: Layer, bottoms: tuple[Shape, ...], tops: tuple[Shape, ...]) -> int:
    steps, streams, length, hidden = _sizes(layer, bottoms)
    return steps * streams * 4 * hidden * (length + hidden)


def _reordered(array: np.ndarray, hidden: int) -> np.ndarray:
    gates = array.reshape(4, hidden, -1)[list(ONNX_GATES)]
    return gates.reshape(array.shape)


def _in_steps(g: GraphBuilder, layer: Layer, x: str, cont: str, blobs: Blobs) -> str:
    """The sequence laid out step by step, because `cont` may break it anywhere: (T N) x H."""
    g.require_fixed(layer, "its steps are laid out one after another")
    steps, streams, length, hidden = _sizes(layer, tuple(g.shape(b) for b in layer.bottoms))
    if steps > MAX_STEPS:
        raise UnsupportedError("too long a sequence", found=f"{steps} steps", expected=f"at most {MAX_STEPS}")
    flat = g.node("Reshape", x, g.ints(steps * streams, length))
    driven = g.node("Gemm", flat, g.const(blobs[0]), g.const(blobs[2]), transB=1)
    conts = pieces(g, g.node("Reshape", cont, g.ints(steps * streams, 1)), steps, streams)
    recurrent = g.const(blobs[1])
    h: str | None = None
    c: str | None = None
    out = []
    for gates, kept in zip(pieces(g, driven, steps, streams), conts, strict=True):
        # The fork asks whether the number is 0, not how much it is.
        going = g.node("Cast", g.node("Cast", kept, to=9), to=1)
        if h is not None:
            gates = g.node("Add", gates, g.node("Mul", g.node("Gemm", h, recurrent, transB=1), going))
        c, h = lstm_step(g, gates, going, c, hidden)
        out.append(h)
    return g.node("Concat", *out, axis=0) if len(out) > 1 else out[0]


def emit_lstm(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    x = g.shape(layer.bottoms[0])
    spec = layer.spec.lstm_param
    hidden = spec.num_output
    g.notes.append(f'layer "{layer.name}" (Lstm): every run starts from a state of zeros')
    if len(bottoms) == 2:
        y = _in_steps(g, layer, *bottoms, blobs)
        top = (x[0], x[1], hidden) if _steps_first(layer, x) else (-1, hidden)
        return (g.node("Reshape", y, g.ints(*top)),)
    sequence = bottoms[0]
    if not _steps_first(layer, x):
        sequence = g.node("Reshape", sequence, g.ints(-1, spec.batch_size, count(x[1:])))
    matrices = [g.const(_reordered(b, hidden)[None]) for b in blobs[:2]]
    bias = g.const(np.concatenate([_reordered(blobs[2], hidden), np.zeros(4 * hidden, np.float32)])[None])
    y = g.nodes("LSTM", sequence, *matrices, bias, outputs=1, hidden_size=hidden)[0]
    if _steps_first(layer, x):
        return (g.node("Squeeze", y, g.ints(1)),)
    return (g.node("Reshape", y, g.ints(-1, hidden)),)


def _gru(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, int]:
    if layer.spec.HasField("recurrent_param"):
        raise UnsupportedError(
            "Synopsys's GRU", found="recurrent_param", expected="gru_param, as wss321/video-caffe has it"
        )
    x, hidden = bottoms[0], layer.spec.gru_param.num_output
    if len(x) != 3 or hidden < 1 or x[2] != hidden:
        raise ShapeError(
            "the bottom does not fit num_output",
            found=f"{x}, num_output {hidden}",
            expected=f"(T, N, {hidden})",
        )
    return x, hidden


def gru_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    return (_gru(layer, bottoms)[0],)


def gru_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    _, hidden = _gru(layer, bottoms)
    spec = layer.spec.gru_param
    weight = spec.weight_filler if spec.HasField("weight_filler") else None
    bias = spec.bias_filler if spec.HasField("bias_filler") else None
    both, one = (2 * hidden, hidden), (hidden, hidden)
    biases = (Blob((2 * hidden,), bias, "bias"), Blob((1, hidden), bias, "bias"))
    return (Blob(both, weight), Blob(both, weight), Blob(one, weight), Blob(one, weight), *biases)


def gru_macs(layer: Layer, bottoms: tuple[Shape, ...], tops: tuple[Shape, ...]) -> int:
    return count(bottoms[0]) * 6 * layer.spec.gru_param.num_output


def emit_gru(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    gates_x, gates_h, out_h, out_x, gates_b, out_b = blobs
    hidden = layer.spec.gru_param.num_output
    weight = g.const(np.concatenate([gates_x, out_x])[None])
    recurrent = g.const(np.concatenate([gates_h, out_h])[None])
    bias = g.const(np.concatenate([gates_b, out_b.reshape(-1), np.zeros(3 * hidden, np.float32)])[None])
    y = g.nodes("GRU", bottoms[0], weight, recurrent, bias, outputs=1, hidden_size=hidden)[0]
    return (g.node("Squeeze", y, g.ints(1)),)


register(
    LayerRule(
        "Lstm",
        lstm_shape,
        emit_lstm,
        lstm_blobs,
        lstm_macs,
        bottoms=(1, 2),
        fork="junhyukoh, CTPN",
        note="every run starts from a state of zeros",
        module=__name__,
    ),
    LayerRule("GRU", gru_shape, emit_gru, gru_blobs, gru_macs, fork="wss321/video-caffe", module=__name__),
)
