"""A net of three stages whose every output can be told by hand, as a bundle.

A pixel's channels are multiplied by 1 in stage 1, by 2 in stage 2 and by 4 in stage 3, and the head adds the
three up: the label is the brightest channel (BGR: 0 blue, 1 green, 2 red), and the deepest stage decides.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import caffe_port
import staged_onnx
from staged_onnx import Bundle, Classes

TOY_CLASSES = ("blue", "green", "red")
TOY_COLOURS = ((0, 0, 255), (0, 255, 0), (255, 0, 0))

_CONVOLUTION = """
layer { name: "%s" type: "Convolution" bottom: "%s" top: "%s"
  convolution_param { num_output: 3 kernel_size: 1 bias_term: false } }"""

_LAYERS = (("c1", "data"), ("s1", "c1"), ("c2", "c1"), ("s2", "c2"), ("c3", "c2"), ("s3", "c3"))

PROTOTXT = (
    'name: "toy"\n'
    'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }'
    + "".join(_CONVOLUTION % (name, bottom, name) for name, bottom in _LAYERS)
    + '\nlayer { name: "score" type: "Eltwise" bottom: "s1" bottom: "s2" bottom: "s3" top: "score" }\n'
)


def toy_bundle(folder: Path) -> Bundle:
    """Write the toy net into `folder`, and its bundle `toy.staged`."""
    prototxt = folder / "toy.prototxt"
    prototxt.write_text(PROTOTXT)
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
