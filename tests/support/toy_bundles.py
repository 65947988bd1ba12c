"""Toy bundles, written by hand: the arithmetic of each stage tells which frame its input came from.

The chain has N stages. Each value is 1 x 1 x H x W: the frame's red channel, with the stages' marks
added, 1000 for the first stage, 2000 for the second and so on, so that a value reads e.g. 3017: made by
stages one and two where the frame's red is 17. All stages but the last also make a score map, 1 x CLASSES
x H x W, whose best class is red modulo CLASSES. The head adds up the reds of all stages modulo 256, so
that a label tells the whole provenance in one byte.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8
CLASSES = 4
FRAME = helper.make_tensor_value_info("frame", UINT8, ["height", "width", 3])


def frame_of(red: int, size: tuple[int, int] = (4, 6)) -> np.ndarray:
    """A frame of one colour."""
    image = np.zeros((*size, 3), np.uint8)
    image[..., 0] = red
    return image


class Graph:
    """A graph in the making: nodes and constants by name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def __call__(self, op: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        name = out or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def const(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def model(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "toy", list(inputs), list(outputs), self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return model

    def red(self) -> str:
        """The frame's red channel, 1 x 1 x H x W."""
        red = self("Slice", "frame", *(self.const([n], np.int64) for n in (0, 1, 2)))
        return self(
            "Unsqueeze",
            self("Transpose", self("Cast", red, to=FLOAT), perm=[2, 0, 1]),
            self.const([0], np.int64),
        )


def value_info(name: str, channels: int = 1) -> Any:
    return helper.make_tensor_value_info(name, FLOAT, [1, channels, f"{name}_d2", f"{name}_d3"])


def stage_model(number: int, source: str, scores: bool) -> onnx.ModelProto:
    """Stage n (from 1): v<n> = its input + 1000 n; score<n> of class c = -|c - red mod CLASSES|."""
    g = Graph()
    x = g.red() if source == "frame" else source
    g("Add", x, g.const(1000.0 * number), out=f"v{number}")
    outputs = [value_info(f"v{number}")]
    if scores:
        best = g("Mod", g("Mod", x, g.const(1000.0), fmod=1), g.const(float(CLASSES)), fmod=1)
        classes = g.const(np.arange(CLASSES).reshape(1, CLASSES, 1, 1))
        g("Neg", g("Abs", g("Sub", classes, best)), out=f"score{number}")
        outputs.append(value_info(f"score{number}", CLASSES))
    return g.model([FRAME if source == "frame" else value_info(source)], outputs)


def head_model(values: Sequence[str], reads_frame: bool) -> onnx.ModelProto:
    """labels = sum of (value mod 1000) over the values, modulo 256, at the frame's size."""
    g = Graph()
    reds = [g("Mod", value, g.const(1000.0), fmod=1) for value in values]
    total = g("Sum", *reds) if len(reds) > 1 else reds[0]
    if reads_frame:
        total = g("Add", total, g("Mul", g.red(), g.const(0.0)))
    g(
        "Cast",
        g("Mod", g("Squeeze", total, g.const([0, 1], np.int64)), g.const(256.0), fmod=1),
        out="labels",
        to=UINT8,
    )
    inputs = [value_info(value) for value in values]
    if reads_frame:
        inputs.append(FRAME)
    return g.model(inputs, [helper.make_tensor_value_info("labels", UINT8, ["height", "width"])])


def stage_json(name: str, inputs: Sequence[str], outputs: Sequence[str], **more: Any) -> dict[str, Any]:
    return {
        "name": name, "model": f"{name}.onnx", "inputs": list(inputs), "outputs": list(outputs), "macs": 1,
        "parameters": 0, "layers": [name], "cut": outputs[0], "reads_pixels": "frame" in inputs, **more,
    }  # fmt: skip


def write_bundle(
    path: Path,
    stages: Sequence[tuple[dict[str, Any], onnx.ModelProto]],
    head: tuple[dict[str, Any], onnx.ModelProto],
    *,
    signal: str = "",
    schedule: str = "oracle",
    size: tuple[int, int] = (4, 6),
    values: dict[str, list[int]] | None = None,
    classes: int = CLASSES,
    mean: Sequence[float] = (0.0,),
    channels: str = "rgb",
    whole: onnx.ModelProto | None = None,
) -> Path:
    """Write a bundle folder from the JSON of its stages and their models."""
    path.mkdir(parents=True)
    for spec, model in (*stages, head):
        onnx.save(model, path / spec["model"])
    if whole is not None:
        onnx.save(whole, path / "whole.onnx")
    carried = [value for spec, _ in stages for value in spec["outputs"]]
    shapes = {v: [1, CLASSES if v.startswith("score") else 1, *size] for v in carried} | (values or {})
    numbers = range(classes)
    manifest = {
        "format": "clockwork-bundle", "format_version": 1, "created_by": "toy", "name": path.stem,
        "source": {},
        "frame": {"name": "frame", "dtype": "uint8", "layout": "HWC", "channels": "rgb"},
        "preprocessing": {"size": None, "channels": channels, "mean": list(mean), "scale": 1.0},
        "reference_size": list(size), "stages": [spec for spec, _ in stages], "head": head[0],
        "values": {name: {"shape": shape} for name, shape in shapes.items()},
        "classes": {"names": [f"c{i}" for i in numbers], "palette": [[i, i, i] for i in numbers]},
        "schedule": schedule, "signal": signal, "whole": "whole.onnx" if whole is not None else "",
    }  # fmt: skip
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def chain(path: Path, count: int = 3, *, reads_frame: bool = False, **options: Any) -> Path:
    """A chain of `count` stages and a head over all of them; the last stage makes no score map."""
    stages, source = [], "frame"
    for number in range(1, count + 1):
        scores = number < count
        outputs = [f"v{number}", *([f"score{number}"] if scores else [])]
        stages.append((stage_json(f"stage{number}", [source], outputs), stage_model(number, source, scores)))
        source = f"v{number}"
    values = [f"v{number}" for number in range(1, count + 1)]
    inputs = [*values, *(["frame"] if reads_frame else [])]
    head = (stage_json("head", inputs, ["labels"]), head_model(values, reads_frame))
    options.setdefault("signal", f"score{count - 1}" if count > 1 else "")
    return write_bundle(path, stages, head, **options)
