"""The generalised clockwork equations, and the three nets of the paper's Table 2 as settings of one player.

    y_H(t) = f_T(C_H(t) o f_H(y_H(t-1)) + C_I(t) o f_I(x(t)))
    y_O(t) = f_O(C_O(t) o f_H(y_H(t)))

Direct loops in NumPy on one side, toy stages under a schedule on the other. A stage that reads what a later
stage makes reads it from before the frame, and zeros in the beginning: that is the hidden state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx

from caffe_port.onnx_graph import OnnxGraph
from runtime.player import Player
from runtime.schedule.grammar import parse_schedule
from runtime.sessions.device import choose_device
from staged_onnx import Bundle, Manifest, Preprocessing, StageSpec, ValueSpec
from tests.support.toy_bundles import FLOAT, UINT8, frame_input, labels_output

RNG = np.random.default_rng(5)
XS = RNG.integers(0, 256, (9, 1, 2, 3), np.uint8)
HIDDEN = 4
W_I = RNG.normal(size=(6, HIDDEN)).astype(np.float32)
W_H = RNG.normal(size=(HIDDEN, HIDDEN)).astype(np.float32)

Stage = tuple[str, Sequence[str], str, Callable[..., str]]
"""A stage's name, what it reads, what it makes, and its function: (graph, inputs) -> value."""


def x_of(frame: np.ndarray) -> np.ndarray:
    return frame.reshape(1, 6).astype(np.float32) / 255


def read_x(g: OnnxGraph, frame: str) -> str:
    """x(t) as a graph: the frame's six numbers, 0 to 1."""
    return g.node("Div", g.node("Reshape", g.node("Cast", frame, to=FLOAT), g.ints(1, 6)), g.const(255.0))


def mean_as_labels(g: OnnxGraph, last: str, frame: str) -> str:
    mean = g.node("Cast", g.node("ReduceMean", last, keepdims=0), to=UINT8)
    return g.node("Expand", mean, g.sizes_of(frame, 0, 1))


def outputs(path: Path, stages: Sequence[Stage], sizes: dict[str, int], schedule: str) -> list[np.ndarray]:
    """What the last stage's value is after every frame."""
    last = stages[-1][2]
    specs = []
    for name, inputs, output, function in [*stages, ("head", (last, "frame"), "labels", mean_as_labels)]:
        g = OnnxGraph()
        read = [frame_input(g) if i == "frame" else g.input(i, [1, sizes[i]]) for i in inputs]
        made = function(g, *read)
        if output == "labels":
            labels_output(g, made)
        else:
            g.output(made, output, [1, sizes[output]])
        onnx.save(g.model(name), path / f"{name}.onnx")
        specs.append(StageSpec(name, f"{name}.onnx", tuple(inputs), (output,), 1, 0, ()))
    values = {name: ValueSpec((1, size)) for name, size in sizes.items()}
    manifest = Manifest(
        "toy", tuple(specs[:-1]), specs[-1], values, Preprocessing(), (1, 2), (), (), "oracle", ""
    )
    found = []
    device = choose_device("cpu", threads=1)
    with Player(Bundle(path, manifest), device, parse_schedule(schedule, manifest)) as player:
        for _ in player.play(XS):
            entry = player.cache[last]
            found.append(np.array(entry.buffers[entry.read(0).buffer].numpy()))
    return found


def test_simple_recurrent_network(tmp_path: Path) -> None:
    """f_I = W_I, f_H = W_H, f_O = f_T = tanh; C_I = C_H = C_O = 1."""

    def update(g: OnnxGraph, recalled: str, frame: str) -> str:
        driven = g.node("MatMul", read_x(g, frame), g.const(W_I))
        return g.node("Tanh", g.node("Add", recalled, driven))

    stages: list[Stage] = [
        ("recall", ("y_H",), "recalled", lambda g, y: g.node("MatMul", y, g.const(W_H))),
        ("update", ("recalled", "frame"), "y_H", update),
        ("output", ("y_H",), "y_O", lambda g, y: g.node("Tanh", g.node("MatMul", y, g.const(W_H)))),
    ]
    sizes = {"y_H": HIDDEN, "recalled": HIDDEN, "y_O": HIDDEN}
    y_H = np.zeros((1, HIDDEN), np.float32)
    for x, found in zip(XS, outputs(tmp_path, stages, sizes, "oracle"), strict=True):
        y_H = np.tanh(1 * (y_H @ W_H) + 1 * (x_of(x) @ W_I))
        np.testing.assert_allclose(found, np.tanh(y_H @ W_H), atol=1e-6)


def test_clockwork_recurrent_network(tmp_path: Path) -> None:
    """The same functions with the clock C for all three: a module of the hidden state is computed when
    its own clock fires and stands otherwise. Two modules of two units, at rates 1 and 3.
    """

    def joined(g: OnnxGraph, h1: str, h2: str) -> str:
        return g.node("MatMul", g.node("Concat", h1, h2, axis=1), g.const(W_H))

    def module(units: slice) -> Callable[..., str]:
        def update(g: OnnxGraph, recalled: str, frame: str) -> str:
            mine = g.node("Gather", recalled, g.const(np.arange(HIDDEN)[units], np.int64), axis=1)
            driven = g.node("MatMul", read_x(g, frame), g.const(W_I[:, units]))
            return g.node("Tanh", g.node("Add", mine, driven))

        return update

    stages: list[Stage] = [
        ("recall", ("h1", "h2"), "recalled", joined),
        ("module1", ("recalled", "frame"), "h1", module(slice(0, 2))),
        ("module2", ("recalled", "frame"), "h2", module(slice(2, 4))),
        ("output", ("h1", "h2"), "y_O", lambda g, h1, h2: g.node("Tanh", joined(g, h1, h2))),
    ]
    sizes = {"h1": 2, "h2": 2, "recalled": HIDDEN, "y_O": HIDDEN}
    y_H = np.zeros((1, HIDDEN), np.float32)
    found = outputs(tmp_path, stages, sizes, "rates:1,1,3,1")
    for t, (x, y_O) in enumerate(zip(XS, found, strict=True)):
        clock = np.array([[1, 1, t % 3 == 0, t % 3 == 0]], np.float32)
        y_H = clock * np.tanh(y_H @ W_H + x_of(x) @ W_I) + (1 - clock) * y_H
        np.testing.assert_allclose(y_O, np.tanh(y_H @ W_H), atol=1e-6)


def test_clockwork_fcn(tmp_path: Path) -> None:
    """f_I = a composition of layers, f_H = f_T = identity, f_O = ReLU; C_I = C, C_H = not C, C_O = 1:
    compute or persist.
    """
    w1, w2 = RNG.normal(size=(6, 5)).astype(np.float32), RNG.normal(size=(5, HIDDEN)).astype(np.float32)

    def layers(g: OnnxGraph, frame: str) -> str:
        inner = g.node("Relu", g.node("MatMul", read_x(g, frame), g.const(w1)))
        return g.node("MatMul", inner, g.const(w2))

    stages: list[Stage] = [
        ("layers", ("frame",), "y_H", layers),
        ("output", ("y_H",), "y_O", lambda g, y: g.node("Relu", y)),
    ]
    y_H = np.zeros((1, HIDDEN), np.float32)
    found = outputs(tmp_path, stages, {"y_H": HIDDEN, "y_O": HIDDEN}, "rates:2,1")
    for t, (x, y_O) in enumerate(zip(XS, found, strict=True)):
        c = np.float32(t % 2 == 0)
        y_H = (1 - c) * y_H + c * (np.maximum(x_of(x) @ w1, 0) @ w2)
        np.testing.assert_allclose(y_O, np.maximum(y_H, 0), atol=1e-6)
