"""Port Caffe networks to ONNX with Caffe's numbers: prototxt -> Net -> ONNX."""

from __future__ import annotations

from caffe_port.convert import to_onnx
from caffe_port.fillers import random_weights
from caffe_port.net import Input, Layer, Net
from caffe_port.reading.read_net import read_net
from caffe_port.save import save_model
from caffe_port.shapes import infer_shapes

__all__ = ["Input", "Layer", "Net", "infer_shapes", "random_weights", "read_net", "save_model", "to_onnx"]
