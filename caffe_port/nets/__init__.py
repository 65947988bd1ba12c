"""Generators of nets that were only ever published as code or as training files."""

from __future__ import annotations

from caffe_port.nets.digits_fcn_alexnet import digits_fcn_alexnet
from caffe_port.nets.fcn import FCNS, VGG16_WIDTHS, fcn
from caffe_port.nets.fcn8s import fcn8s, stage_fcn8s, truncated_fcn, write_fcn8s
from caffe_port.nets.feature_flow import ACCEL_VERSIONS, accel, dff_deeplab
from caffe_port.nets.flownet import flownet
from caffe_port.nets.prototxt_text import write_prototxts

__all__ = [
    "ACCEL_VERSIONS",
    "FCNS",
    "VGG16_WIDTHS",
    "accel",
    "dff_deeplab",
    "digits_fcn_alexnet",
    "fcn",
    "fcn8s",
    "flownet",
    "stage_fcn8s",
    "truncated_fcn",
    "write_fcn8s",
    "write_prototxts",
]
