"""LSTM, RNN and LSTMUnit (BVLC recurrent_, lstm_, lstm_unit_, rnn_layer.cpp).

Bottoms: x (T x N x ...), cont (T x N), then x_static (N x ...) where the net has one, and with
`expose_hidden` the first state h_0 (LSTM: and c_0), 1 x N x D. Tops: T x N x D, and with `expose_hidden` the
last state. cont_t is 0 where a sequence starts, so that nothing of the one before is seen:

LSTM  gates_t = W_xc x_t + b_c + W_s x_static + W_hc (cont_t h_{t-1}), cut into i, f, o (sigmoid) and g (tanh)
      c_t = cont_t f_t c_{t-1} + i_t g_t,  h_t = o_t tanh(c_t);  blobs W_xc, b_c, (W_s,) W_hc
RNN   h_t = tanh(W_xh x_t + b_h + W_s x_static + W_hh (cont_t h_{t-1})),  o_t = tanh(W_ho h_t + b_o);
      blobs W_xh, b_h, (W_s,) W_hh, W_ho, b_o

LSTMUnit is one step of the LSTM: c_{t-1}, gates_t, cont_t -> c_t, h_t. The number of steps is known, so the
graph has them one after another. Without `expose_hidden` Caffe keeps the last state for the next pass; the
graph starts every run from zeros, as a fresh net does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Shape
from caffe_port.registry import Blob, LayerRule, register
from caffe_port.shapes import count
from weights.errors import PrototxtError, ShapeError, UnsupportedError

STATES = {"LSTM": 2, "RNN": 1}
GATES = {"LSTM": 4, "RNN": 1}
MAX_STEPS = 10_000


@dataclass(frozen=True)
class Recurrence:
    """Sizes of a recurrent layer: steps, streams, hidden units, lengths of the inputs (0: none)."""

    steps: int
    streams: int
    hidden: int
    length: int
    static_length: int
    exposed: int


def _recurrence(layer: Layer, bottoms: tuple[Shape, ...]) -> Recurrence:
    spec = layer.spec.recurrent_param
    exposed = STATES[layer.type] if spec.expose_hidden else 0
    if len(bottoms) not in (2 + exposed, 3 + exposed) or len(layer.tops) != 1 + exposed:
        raise ShapeError(
            "bottoms or tops do not fit expose_hidden",
            found=f"{len(bottoms)} bottoms, {len(layer.tops)} tops",
            expected=f"{2 + exposed} or {3 + exposed} bottoms and {1 + exposed} tops",
        )
    if spec.num_output < 1:
        raise PrototxtError("no num_output", expected="1 or more")
    x, cont = bottoms[:2]
    if len(x) < 2 or cont != x[:2]:
        raise ShapeError("cont does not fit x", found=f"{cont} and {x}", expected="(T, N) and (T, N, ...)")
    static = bottoms[2] if len(bottoms) == 3 + exposed else None
    if static is not None and (not static or static[0] != x[1]):
        raise ShapeError("x_static does not fit x", found=static, expected=f"({x[1]}, ...)")
    state = (1, x[1], spec.num_output)
    if any(b != state for b in bottoms[len(bottoms) - exposed :]):
        raise ShapeError("a first state does not fit", found=bottoms[-exposed:], expected=state)
    return Recurrence(
        x[0], x[1], spec.num_output, count(x[2:]), count(static[1:]) if static is not None else 0, exposed
    )


def recurrent_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    r = _recurrence(layer, bottoms)
    return ((r.steps, r.streams, r.hidden), *((1, r.streams, r.hidden),) * r.exposed)


def recurrent_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    r = _recurrence(layer, bottoms)
    spec = layer.spec.recurrent_param
    weight = spec.weight_filler if spec.HasField("weight_filler") else None
    bias = spec.bias_filler if spec.HasField("bias_filler") else None
    rows = GATES[layer.type] * r.hidden
    blobs = [Blob((rows, r.length), weight), Blob((rows,), bias, "bias")]
    if r.static_length:
        blobs.append(Blob((rows, r.static_length), weight))
    blobs.append(Blob((rows, r.hidden), weight))
    if layer.type == "RNN":
        blobs += [Blob((r.hidden, r.hidden), weight), Blob((r.hidden,), bias, "bias")]
    return tuple(blobs)


def recurrent_macs(layer: Layer, bottoms: tuple[Shape, ...], tops: tuple[Shape, ...]) -> int:
    r = _recurrence(layer, bottoms)
    rows = GATES[layer.type] * r.hidden
    out = r.hidden * r.hidden if layer.type == "RNN" else 0
    return r.streams * (r.steps * (rows * (r.length + r.hidden) + out) + rows * r.static_length)


def lstm_step(g: GraphBuilder, gates: str, cont: str, memory: str | None, hidden: int) -> tuple[str, str]:
    """One LSTMUnit on N x 4D gates, N x 1 cont and N x D memory (None: zeros) -> memory, output."""
    inner, candidate = g.nodes("Split", gates, g.ints(3 * hidden, hidden), axis=1, outputs=2)
    take, keep, give = g.nodes(
        "Split", g.node("Sigmoid", inner), g.ints(hidden, hidden, hidden), axis=1, outputs=3
    )
    new = g.node("Mul", take, g.node("Tanh", candidate))
    if memory is not None:
        new = g.node("Add", g.node("Mul", g.node("Mul", keep, cont), memory), new)
    return new, g.node("Mul", give, g.node("Tanh", new))


def pieces(g: GraphBuilder, name: str, steps: int, rows: int) -> Sequence[str]:
    """A (steps * rows) x ... value, cut into its steps."""
    if steps == 1:
        return (name,)
    return tuple(g.nodes("Split", name, g.ints(*(rows,) * steps), axis=0, outputs=steps))


def emit_recurrent(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    g.require_fixed(layer, "its steps are laid out one after another")
    r = _recurrence(layer, tuple(g.shape(b) for b in layer.bottoms))
    if r.steps > MAX_STEPS:
        raise UnsupportedError(
            "too long a sequence", found=f"{r.steps} steps", expected=f"at most {MAX_STEPS}"
        )
    weights = [g.const(b) for b in blobs]
    flat = g.node("Reshape", bottoms[0], g.ints(r.steps * r.streams, r.length))
    driven = g.node("Gemm", flat, weights.pop(0), weights.pop(0), transB=1)
    conts = pieces(g, g.node("Reshape", bottoms[1], g.ints(r.steps * r.streams, 1)), r.steps, r.streams)
    static = None
    if r.static_length:
        flat = g.node("Reshape", bottoms[2], g.ints(r.streams, r.static_length))
        static = g.node("Gemm", flat, weights.pop(0), transB=1)
    h: str | None = None
    c: str | None = None
    if r.exposed:
        state = g.ints(r.streams, r.hidden)
        h, *more = (g.node("Reshape", b, state) for b in bottoms[len(bottoms) - r.exposed :])
        c = more[0] if more else None
    else:
        g.notes.append(f'layer "{layer.name}" ({layer.type}): every run starts from a state of zeros')
    outputs = []
    for x, cont in zip(pieces(g, driven, r.steps, r.streams), conts, strict=True):
        gates = x if static is None else g.node("Add", x, static)
        if h is not None:
            gates = g.node("Gemm", g.node("Mul", h, cont), weights[0], gates, transB=1)
        if layer.type == "LSTM":
            c, h = lstm_step(g, gates, cont, c, r.hidden)
            outputs.append(h)
        else:
            h = g.node("Tanh", gates)
            outputs.append(g.node("Tanh", g.node("Gemm", h, weights[1], weights[2], transB=1)))
    joined = outputs[0] if len(outputs) == 1 else g.node("Concat", *outputs, axis=0)
    tops = [g.node("Reshape", joined, g.ints(r.steps, r.streams, r.hidden))]
    for last in (h, c)[: r.exposed]:
        tops.append(g.node("Reshape", str(last), g.ints(1, r.streams, r.hidden)))
    return tuple(tops)


def unit_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    memory, gates, cont = bottoms
    if len(memory) != 3 or gates != (1, memory[1], 4 * memory[2]) or cont != memory[:2] or memory[0] != 1:
        raise ShapeError(
            "bottoms do not fit together", found=bottoms, expected="(1, N, D), (1, N, 4 D) and (1, N)"
        )
    return (memory, memory)


def emit_unit(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    g.require_fixed(layer, "its gates are cut at known places")
    shape = g.shape(layer.bottoms[0])
    streams, hidden = shape[1:]
    memory, gates, cont = (
        g.node("Reshape", b, g.ints(streams, width))
        for b, width in zip(bottoms, (hidden, 4 * hidden, 1), strict=True)
    )
    return tuple(g.node("Reshape", y, g.ints(*shape)) for y in lstm_step(g, gates, cont, memory, hidden))


register(
    *(
        LayerRule(
            kind,
            recurrent_shape,
            emit_recurrent,
            recurrent_blobs,
            recurrent_macs,
            bottoms=(2, 3 + STATES[kind]),
            tops=(1, 1 + STATES[kind]),
            note="every run starts from a state of zeros; expose_hidden carries it from run to run",
            module=__name__,
        )
        for kind in ("LSTM", "RNN")
    ),
    LayerRule("LSTMUnit", unit_shape, emit_unit, bottoms=(3, 3), tops=(2, 2), module=__name__),
)
