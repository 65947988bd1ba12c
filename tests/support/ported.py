"""Small nets, written in a test, ported and run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort

from caffe_port import random_weights
from caffe_port.convert import to_onnx
from caffe_port.net import Net
from caffe_port.reading.read_net import read_net
from caffe_port.shapes import infer_shapes


def read_text(text: str, folder: Path, **options: object) -> Net:
    """The net of a prototxt text."""
    path = folder / "net.prototxt"
    path.write_text(text, "utf-8")
    return read_net(path, **options)  # type: ignore[arg-type]


def one_layer(kind: str, bottoms: Mapping[str, tuple[int, ...]], rest: str = "", tops: str = "y") -> str:
    """A net of inputs and one layer called "l" that reads them; `tops` are separated by spaces."""
    shapes = "".join(
        f'input: "{name}" input_shape {{ {" ".join(f"dim: {d}" for d in shape)} }} '
        for name, shape in bottoms.items()
    )
    ends = " ".join([*(f'bottom: "{b}"' for b in bottoms), *(f'top: "{t}"' for t in tops.split())])
    return f'{shapes} layer {{ name: "l" type: "{kind}" {ends} {rest} }}'


def run(
    net: Net,
    feeds: Mapping[str, np.ndarray],
    blobs: Mapping[str, tuple[np.ndarray, ...]] | None = None,
    **options: object,
) -> dict[str, np.ndarray]:
    """The net's outputs by ONNX Runtime on the CPU, their shapes checked against the shape rules."""
    model = to_onnx(net, random_weights(net) if blobs is None else blobs, **options)  # type: ignore[arg-type]
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    wanted = {i.name for i in session.get_inputs()}
    found = session.run(names, {k: v.astype(np.float32) for k, v in feeds.items() if k in wanted})
    outputs = dict(zip(names, found, strict=True))
    shapes = infer_shapes(net, {k: v.shape for k, v in feeds.items()})
    for name, array in outputs.items():
        assert array.shape == shapes[name], name
    return outputs


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal float32 noise."""
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)
