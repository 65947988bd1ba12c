"""Bundles may hold every operator that a layer is lowered to."""

from __future__ import annotations

import re
from pathlib import Path

import caffe_port.layers
from caffe_port.layers.activation_forks import FUNCTIONS
from staged_onnx.graph_check import OPERATORS


def test_every_operator_of_a_layer_is_allowed() -> None:
    folder = Path(caffe_port.layers.__file__).parent
    sources = "".join(file.read_text("utf-8") for file in sorted(folder.glob("*.py")))
    written = set(re.findall(r"g\.nodes?\(\s*\"(\w+)\"", sources)) | set(FUNCTIONS.values())

    assert written - OPERATORS == set()
    assert len(written) > 50
