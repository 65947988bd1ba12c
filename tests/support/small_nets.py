"""Small nets with the topology of the real ones, for tests of several packages."""

from __future__ import annotations

from pathlib import Path

from caffe_port import Net, read_net
from caffe_port.nets import fcn8s, stage_fcn8s

THIN = (4, 6, 8, 10, 12, 14)
"""FCN-8s widths that run in milliseconds."""


def thin_fcn8s(
    folder: Path, *, in_stage_order: bool = False, classes: int = 5, size: tuple[int, int] = (80, 96)
) -> Net:
    """The paper's net with all its pads, skips and crops, but few channels."""
    make = stage_fcn8s if in_stage_order else fcn8s
    file = folder / ("stage-fcn8s.prototxt" if in_stage_order else "fcn8s.prototxt")
    file.write_text(make(classes, widths=THIN, size=size), "utf-8")
    return read_net(file)


def chain(folder: Path, *, softmax: bool = True) -> Net:
    """A net without skips: two convolutions, an upsampling and a softmax."""
    text = """
    name: "chain"
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 16 dim: 24 } } }
    layer { name: "a" type: "Convolution" bottom: "data" top: "a"
            convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 2 } }
    layer { name: "a_relu" type: "ReLU" bottom: "a" top: "a" }
    layer { name: "b" type: "Convolution" bottom: "a" top: "b"
            convolution_param { num_output: 3 kernel_size: 3 pad: 1 } }
    layer { name: "up" type: "Deconvolution" bottom: "b" top: "up"
            convolution_param { num_output: 3 group: 3 kernel_size: 4 stride: 2 pad: 1 bias_term: false
                                weight_filler { type: "bilinear" } } }
    """
    if softmax:
        text += 'layer { name: "prob" type: "Softmax" bottom: "up" top: "prob" }'
    file = folder / "chain.prototxt"
    file.write_text(text, "utf-8")
    return read_net(file)
