"""Generators of published nets that were only ever published as generator scripts."""

from __future__ import annotations

from caffe_port.nets.fcn8s import FCN8S_WIDTHS, fcn8s, stage_fcn8s, truncated_fcn, write_fcn8s

__all__ = ["FCN8S_WIDTHS", "fcn8s", "stage_fcn8s", "truncated_fcn", "write_fcn8s"]
