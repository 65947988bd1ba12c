"""A bundle that several tests of schedules play."""

from __future__ import annotations

from pathlib import Path

import pytest

import staged_onnx
from caffe_port import random_weights
from tests.support.small_nets import thin_fcn8s


@pytest.fixture(scope="module")
def fcn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thin FCN-8s with random weights."""
    folder = tmp_path_factory.mktemp("fcn")
    net = thin_fcn8s(folder)
    plan = staged_onnx.plan(net, ["pool3", "pool4", "upscore2"])
    how = staged_onnx.Preprocessing(None, "bgr", (60.0,), 0.05)
    staged_onnx.export(net, random_weights(net, seed=3), plan, folder / "fcn.staged", preprocessing=how)
    return folder / "fcn.staged"
