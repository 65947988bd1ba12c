"""Toy bundles, small enough that the output of every stage can be told by hand.

`chain` is written node by node: N stages, and the arithmetic of each tells which frame its input came from.
Each value is 1 x 1 x H x W: the frame's red channel, with the stages' marks added, 1000 for the first stage,
2000 for the second and so on, so that a value reads e.g. 3017: made by stages one and two where the frame's
red is 17. All stages but the last also make a score map, 1 x CLASSES x H x W, whose best class is red modulo
CLASSES. The head adds up the reds of all stages modulo 256, so that a label tells the whole provenance in one
byte.

`toy_bundle` is ported from a prototxt and has three stages. A pixel's channels are multiplied by 1 in stage
1, by 2 in stage 2 and by 4 in stage 3, and the head adds the three up: the label is the brightest channel
(BGR: 0 blue, 1 green, 2 red), and the deepest stage decides.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

import caffe_port
import staged_onnx
from caffe_port.onnx_graph import OnnxGraph
from staged_onnx import Bundle, Classes

FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8
CLASSES = 4


# -- the chain, by hand ----------------------------------------------------------------------------------


def frame_of(red: int, size: tuple[int, int] = (4, 6)) -> np.ndarray:
    """A frame of one colour."""
    image = np.zeros((*size, 3), np.uint8)
    image[..., 0] = red
    return image


def frame_input(g: OnnxGraph, name: str = "frame") -> str:
    """Declare the frame, uint8 H x W x 3."""
    return g.input(name, ["height", "width", 3], UINT8)


def value_dims(name: str, channels: int = 1) -> list[int | str]:
    """The dimensions of a carried value."""
    return [1, channels, f"{name}_d2", f"{name}_d3"]


def value_input(g: OnnxGraph, name: str, channels: int = 1) -> str:
    """Declare a carried value as an input."""
    return g.input(name, value_dims(name, channels))


def value_output(g: OnnxGraph, value: str, name: str, channels: int = 1) -> None:
    """Hand out a carried value."""
    g.output(value, name, value_dims(name, channels))


def labels_output(g: OnnxGraph, value: str) -> None:
    """Hand out the label map, from H x W of any type."""
    g.output(g.node("Cast", value, to=UINT8), "labels", ["height", "width"], UINT8)


def red_of(g: OnnxGraph, frame: str = "frame") -> str:
    """The frame's red channel, 1 x 1 x H x W."""
    red = g.node("Slice", frame, g.ints(0), g.ints(1), g.ints(2))
    planes = g.node("Transpose", g.node("Cast", red, to=FLOAT), perm=[2, 0, 1])
    return g.node("Unsqueeze", planes, g.ints(0))


def stage_model(number: int, source: str, scores: bool) -> onnx.ModelProto:
    """Stage n (from 1): v<n> = its input + 1000 n; score<n> of class c = -|c - red mod CLASSES|."""
    g = OnnxGraph()
    x = red_of(g, frame_input(g)) if source == "frame" else value_input(g, source)
    value_output(g, g.node("Add", x, g.const(1000.0 * number)), f"v{number}")
    if scores:
        red = g.node("Mod", x, g.const(1000.0), fmod=1)
        best = g.node("Mod", red, g.const(float(CLASSES)), fmod=1)
        classes = g.const(np.arange(CLASSES).reshape(1, CLASSES, 1, 1))
        score = g.node("Neg", g.node("Abs", g.node("Sub", classes, best)))
        value_output(g, score, f"score{number}", CLASSES)
    return g.model("toy")


def head_model(values: Sequence[str], reads_frame: bool) -> onnx.ModelProto:
    """labels = sum of (value mod 1000) over the values, modulo 256, at the frame's size."""
    g = OnnxGraph()
    reds = [g.node("Mod", value_input(g, value), g.const(1000.0), fmod=1) for value in values]
    total = g.node("Sum", *reds) if len(reds) > 1 else reds[0]
    if reads_frame:
        total = g.node("Add", total, g.node("Mul", red_of(g, frame_input(g)), g.const(0.0)))
    labels_output(g, g.node("Mod", g.node("Squeeze", total, g.ints(0, 1)), g.const(256.0), fmod=1))
    return g.model("toy")


def stage_json(name: str, inputs: Sequence[str], outputs: Sequence[str], **more: Any) -> dict[str, Any]:
    """A stage as it stands in the manifest."""
    return {
        "name": name,
        "model": f"{name}.onnx",
        "inputs": list(inputs),
        "outputs": list(outputs),
        "macs": 1,
        "parameters": 0,
        "layers": [name],
        "cut": outputs[0],
        "reads_pixels": "frame" in inputs,
        **more,
    }


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
        "format": "clockwork-bundle",
        "format_version": 1,
        "created_by": "toy",
        "name": path.stem,
        "source": {},
        "frame": {"name": "frame", "dtype": "uint8", "layout": "HWC", "channels": "rgb"},
        "preprocessing": {"size": None, "channels": channels, "mean": list(mean), "scale": 1.0},
        "reference_size": list(size),
        "stages": [spec for spec, _ in stages],
        "head": head[0],
        "values": {name: {"shape": shape} for name, shape in shapes.items()},
        "classes": {"names": [f"c{i}" for i in numbers], "palette": [[i, i, i] for i in numbers]},
        "schedule": schedule,
        "signal": signal,
        "whole": "whole.onnx" if whole is not None else "",
    }
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


# -- the brightest channel, ported -----------------------------------------------------------------------

TOY_CLASSES = ("blue", "green", "red")
TOY_COLOURS = ((0, 0, 255), (0, 255, 0), (255, 0, 0))

_CONVOLUTION = """
layer { name: "%s" type: "Convolution" bottom: "%s" top: "%s"
  convolution_param { num_output: 3 kernel_size: 1 bias_term: false } }"""

_LAYERS = (("c1", "data"), ("s1", "c1"), ("c2", "c1"), ("s2", "c2"), ("c3", "c2"), ("s3", "c3"))

TOY_PROTOTXT = (
    'name: "toy"\n'
    'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }'
    + "".join(_CONVOLUTION % (name, bottom, name) for name, bottom in _LAYERS)
    + '\nlayer { name: "score" type: "Eltwise" bottom: "s1" bottom: "s2" bottom: "s3" top: "score" }\n'
)


def toy_bundle(folder: Path) -> Bundle:
    """Write the net of the brightest channel into `folder`, and its bundle `toy.staged`."""
    prototxt = folder / "toy.prototxt"
    prototxt.write_text(TOY_PROTOTXT)
    net = caffe_port.read_net(prototxt)
    scale = {"s1": 1.0, "s2": 2.0, "s3": 4.0}
    blobs = {
        name: (np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1) * np.float32(scale.get(name, 1.0)),)
        for name, _ in _LAYERS
    }
    return staged_onnx.export(
        net,
        blobs,
        staged_onnx.plan(net, cuts=["c1", "c2", "s3"]),
        folder / "toy.staged",
        classes=Classes(TOY_CLASSES, TOY_COLOURS),
    )


def toy_frame(label: int, size: tuple[int, int] = (8, 8)) -> np.ndarray:
    """An RGB frame of one colour, whose label is `label` everywhere."""
    frame = np.zeros((*size, 3), np.uint8)
    frame[:, :, 2 - label] = 200
    return frame
