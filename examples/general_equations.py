"""The general equations of Clockwork Convnets (section 4.2), and its Table 2 as settings of one player.

    y_H(t) = f_T(C_H(t) o f_H(y_H(t-1)) + C_I(t) o f_I(x(t)))
    y_O(t) = f_O(C_O(t) o f_H(y_H(t)))

| net       | f_I                | f_H      | f_O  | f_T      | C_I | C_H   | C_O |
|-----------|--------------------|----------|------|----------|-----|-------|-----|
| SRN       | W_I                | W_H      | tanh | tanh     | 1   | 1     | 1   |
| clock RN  | W_I                | W_H      | tanh | tanh     | C   | C     | C   |
| clock FCN | layers of a net    | identity | ReLU | identity | C   | not C | 1   |

x(t) is the frame. A stage computes when its clock fires, and its value stands otherwise. A stage that reads
what a later one makes reads it from before the frame: that is y_H(t-1), zeros in the beginning. So the three
nets are the same stages under different schedules. Each is checked here against a loop in NumPy.

    python examples/general_equations.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from caffe_port.onnx_graph import OnnxGraph
from runtime.player import Player
from runtime.schedule.grammar import parse_schedule
from runtime.sessions.device import choose_device
from staged_onnx import Bundle, Manifest, Preprocessing, StageSpec, ValueSpec

RNG = np.random.default_rng(5)
FRAMES = RNG.integers(0, 256, (12, 1, 2, 3), np.uint8)
"""x(t): twelve frames of two pixels, six numbers each."""
UNITS = 4
W_I = RNG.normal(size=(6, UNITS)).astype(np.float32)
W_H = RNG.normal(size=(UNITS, UNITS)).astype(np.float32)
W_1, W_2 = RNG.normal(size=(6, 5)).astype(np.float32), RNG.normal(size=(5, UNITS)).astype(np.float32)
FAST, SLOW = slice(0, 2), slice(2, 4)
"""The two modules of the clock RN's hidden state, computed on every frame and on every third."""

Function = Callable[..., str]
Stage = tuple[str, Sequence[str], str, Function]
"""A stage's name, what it reads, what it makes, and its function: (graph, inputs) -> value."""


def x_of(frame: np.ndarray) -> np.ndarray:
    """x(t) of one frame: its numbers, 0 to 1."""
    return frame.reshape(1, 6).astype(np.float32) / 255


def input_part(g: OnnxGraph, frame: str, weights: np.ndarray = W_I) -> str:
    """f_I(x(t)) = x(t) W_I as a graph."""
    x = g.node("Reshape", g.node("Cast", frame, to=TensorProto.FLOAT), g.ints(1, 6))
    return g.node("MatMul", g.node("Div", x, g.const(255.0)), g.const(weights))


def _head(g: OnnxGraph, value: str, frame: str) -> str:
    """A bundle ends in labels; here they are of no interest."""
    mean = g.node("Cast", g.node("ReduceMean", value, keepdims=0), to=TensorProto.UINT8)
    return g.node("Expand", mean, g.sizes_of(frame, 0, 1))


def _write(folder: Path, stages: Sequence[Stage], sizes: dict[str, int]) -> Bundle:
    """The stages as a bundle: one ONNX file each, and a manifest that says what each reads and makes."""
    last = stages[-1][2]
    specs = []
    for name, inputs, output, function in [*stages, ("head", (last, "frame"), "labels", _head)]:
        g = OnnxGraph()
        read = [
            g.input(i, ["height", "width", 3], TensorProto.UINT8)
            if i == "frame"
            else g.input(i, [1, sizes[i]])
            for i in inputs
        ]
        made = function(g, *read)
        if output == "labels":
            g.output(made, output, ["height", "width"], TensorProto.UINT8)
        else:
            g.output(made, output, [1, sizes[output]])
        onnx.save(g.model(name), folder / f"{name}.onnx")
        specs.append(StageSpec(name, f"{name}.onnx", tuple(inputs), (output,), 1, 0, ()))
    values = {name: ValueSpec((1, size)) for name, size in sizes.items()}
    manifest = Manifest(
        "net", tuple(specs[:-1]), specs[-1], values, Preprocessing(), (1, 2), (), (), "oracle", ""
    )
    return Bundle(folder, manifest)


def played(
    stages: Sequence[Stage], sizes: dict[str, int], schedule: str, wanted: Sequence[str]
) -> list[np.ndarray]:
    """The values `wanted`, side by side, after every frame."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        bundle = _write(Path(folder), stages, sizes)
        clocks = parse_schedule(schedule, bundle.manifest)
        with Player(bundle, choose_device("cpu", threads=1), clocks) as player:
            for _ in player.play(FRAMES):
                entries = [player.cache[name] for name in wanted]
                read = [np.array(e.buffers[e.read(0).buffer].numpy()) for e in entries]
                found.append(np.concatenate(read, axis=1))
    return found


def recall(g: OnnxGraph, *hidden: str) -> str:
    """f_H(y_H) = y_H W_H, of a hidden state in one piece or in modules."""
    whole = g.node("Concat", *hidden, axis=1) if len(hidden) > 1 else hidden[0]
    return g.node("MatMul", whole, g.const(W_H))


def simple_recurrent_net() -> float:
    """SRN: everything on every frame. Returns the largest difference from the loop."""
    stages: list[Stage] = [
        ("recall", ("y_H",), "recalled", recall),
        ("update", ("recalled", "frame"), "y_H",
         lambda g, recalled, frame: g.node("Tanh", g.node("Add", recalled, input_part(g, frame)))),
        ("output", ("y_H",), "y_O", lambda g, y: g.node("Tanh", recall(g, y))),
    ]  # fmt: skip
    worst, hidden = 0.0, np.zeros((1, UNITS), np.float32)
    sizes = {"y_H": UNITS, "recalled": UNITS, "y_O": UNITS}
    for frame, found in zip(FRAMES, played(stages, sizes, "oracle", ["y_O"]), strict=True):
        hidden = np.tanh(hidden @ W_H + x_of(frame) @ W_I)
        worst = max(worst, float(np.abs(found - np.tanh(hidden @ W_H)).max()))
    return worst


def clock_recurrent_net() -> float:
    """Clock RN: C = (1, 1, every 3rd, every 3rd) for input, hidden state and output alike."""

    def update(units: slice) -> Function:
        def module(g: OnnxGraph, recalled: str, frame: str) -> str:
            mine = g.node("Gather", recalled, g.const(np.arange(UNITS)[units], np.int64), axis=1)
            return g.node("Tanh", g.node("Add", mine, input_part(g, frame, W_I[:, units])))

        return module

    def output(units: slice) -> Function:
        def module(g: OnnxGraph, *hidden: str) -> str:
            mine = g.node("Gather", recall(g, *hidden), g.const(np.arange(UNITS)[units], np.int64), axis=1)
            return g.node("Tanh", mine)

        return module

    stages: list[Stage] = [
        ("recall", ("h_fast", "h_slow"), "recalled", recall),
        ("fast", ("recalled", "frame"), "h_fast", update(FAST)),
        ("slow", ("recalled", "frame"), "h_slow", update(SLOW)),
        ("output_slow", ("h_fast", "h_slow"), "o_slow", output(SLOW)),
        ("output_fast", ("h_fast", "h_slow"), "o_fast", output(FAST)),
    ]
    sizes = {"h_fast": 2, "h_slow": 2, "recalled": UNITS, "o_fast": 2, "o_slow": 2}
    found = played(stages, sizes, "rates:1,1,3,3,1", ["o_fast", "o_slow"])
    worst, hidden, out = 0.0, np.zeros((1, UNITS), np.float32), np.zeros((1, UNITS), np.float32)
    for t, (frame, made) in enumerate(zip(FRAMES, found, strict=True)):
        clock = np.array([[1, 1, t % 3 == 0, t % 3 == 0]], np.float32)
        hidden = clock * np.tanh(hidden @ W_H + x_of(frame) @ W_I) + (1 - clock) * hidden
        out = clock * np.tanh(hidden @ W_H) + (1 - clock) * out
        worst = max(worst, float(np.abs(made - out).max()))
    return worst


def clock_fcn() -> float:
    """Clock FCN: compute or persist, every second frame; the output follows on every frame."""

    def layers(g: OnnxGraph, frame: str) -> str:
        return g.node("MatMul", g.node("Relu", input_part(g, frame, W_1)), g.const(W_2))

    stages: list[Stage] = [
        ("layers", ("frame",), "y_H", layers),
        ("output", ("y_H",), "y_O", lambda g, y: g.node("Relu", y)),
    ]
    worst, hidden = 0.0, np.zeros((1, UNITS), np.float32)
    found = played(stages, {"y_H": UNITS, "y_O": UNITS}, "rates:2,1", ["y_O"])
    for t, (frame, made) in enumerate(zip(FRAMES, found, strict=True)):
        clock = np.float32(t % 2 == 0)
        hidden = (1 - clock) * hidden + clock * (np.maximum(x_of(frame) @ W_1, 0) @ W_2)
        worst = max(worst, float(np.abs(made - np.maximum(hidden, 0)).max()))
    return worst


def main() -> dict[str, float]:
    """The largest difference between player and loop over all frames, for each net of the table."""
    found = {"SRN": simple_recurrent_net(), "clock RN": clock_recurrent_net(), "clock FCN": clock_fcn()}
    for name, difference in found.items():
        print(f"{name:10s} differs from its loop by at most {difference:.1e}")
    return found


if __name__ == "__main__":
    main()
