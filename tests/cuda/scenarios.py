"""Plays on the stub libraries, each in a process of its own: `python -m tests.cuda.scenarios NAME JSON`."""

from __future__ import annotations

import ctypes
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from onnx import TensorProto

import caffe_port
import runtime
import weights
from caffe_port.onnx_graph import OnnxGraph
from clockwork_onnx.evaluation.demo.demo import embedded_bundle
from runtime.sessions import cuda_probe
from runtime.sessions.device import choose_device
from runtime.sessions.session import Session
from staged_onnx import Bundle
from tests.parity.test_layers import REFERENCES
from weights.errors import DeviceError

WARM = 24
"""Frames after which every combination of buffers has been met and, if asked for, captured."""
COUNTED = 16


def numbers_are_right() -> None:
    """Stub kernels compute nothing: let the check of the probe's numbers pass."""
    cuda_probe.right_numbers = lambda found: True


def frames(count: int, size: tuple[int, int] = (96, 96)) -> Iterator[np.ndarray]:
    """Pictures that differ."""
    return (np.full((*size, 3), 5 + i % 50, np.uint8) for i in range(count))


def cudart() -> ctypes.CDLL:
    """The stub runtime."""
    library = ctypes.CDLL("libcudart.so.13", mode=ctypes.RTLD_GLOBAL)
    library.fc_used.restype = ctypes.c_size_t
    return library


def calls(path: str) -> dict[str, int]:
    """How often each call occurs in a log; copies with their direction."""
    counts: Counter[str] = Counter()
    for line in Path(path).read_text("utf-8").splitlines():
        words = line.split()
        copies = words[0].startswith("cudaMemcpy")
        counts[" ".join(words[:2]) if copies or words[0] == "VIOL" else words[0]] += 1
    return counts


def played(folder: str, schedules: list[str], **how: Any) -> dict[str, Any]:
    """What `calls_of` finds for each schedule."""
    numbers_are_right()
    bundle = embedded_bundle(Path(folder) / "shapes.staged")
    return {schedule: calls_of(bundle, schedule, f"{folder}/calls", **how) for schedule in schedules}


def calls_of(
    bundle: Bundle, schedule: str, log: str, options: dict[str, Any] | None = None, sizes: int = 1
) -> dict[str, Any]:
    """The calls of COUNTED frames in the middle of a shot, and what the steps say of them."""
    library = cudart()
    with runtime.open(bundle.path, device="cuda", schedule=schedule, **(options or {})) as player:
        for number in range(sizes):
            steps = []
            for i, step in enumerate(player.play(frames(WARM + COUNTED, (96 + 32 * number, 96)))):
                steps.append(step)
                if i == WARM - 1:
                    library.fc_open(log.encode())
                if i == WARM + COUNTED - 1:
                    library.fc_flush()
                    library.fc_open(b"")
        steps = steps[WARM:]
        return {
            "calls": calls(log),
            "heads": sum("head" in step.fired for step in steps),
            "fired": sum(len(step.fired) for step in steps),
            "ms": [step.ms for step in steps],
            "device": str(player.device),
        }


def without_check(folder: str) -> str:
    """What choosing a GPU says whose kernels compute nothing."""
    try:
        choose_device("cuda")
    except DeviceError as error:
        return str(error)
    return "chosen"


def resets(folder: str, schedules: list[str], options: dict[str, Any]) -> list[int]:
    """Bytes on the device after each of ten rounds of schedules that are played one after the other."""
    numbers_are_right()
    bundle = embedded_bundle(Path(folder) / "shapes.staged")
    library, used = cudart(), []
    with runtime.open(bundle.path, device="cuda", **options) as player:
        for _ in range(10):
            for schedule in schedules:
                player.reset(schedule)
                for _ in player.play(frames(6)):
                    pass
            used.append(library.fc_used())
    return used


def never_closed(folder: str) -> str:
    """A player with threads that nobody closes."""
    numbers_are_right()
    bundle = embedded_bundle(Path(folder) / "shapes.staged")
    player = runtime.open(bundle.path, device="cuda", schedule="pipeline:3", overlap=True)
    steps = player.play(frames(50))
    next(steps)
    globals()["kept"] = player, steps
    return "left open"


def opened(folder: str, graph: str, options: dict[str, Any] | None = None) -> str:
    """What opening a graph says."""
    numbers_are_right()
    g = OnnxGraph()
    x = g.input("x", [1, 2, 4, 4])
    shapes: dict[str, tuple[int, ...]] = {"x": (1, 2, 4, 4)}
    if graph == "shape":
        shape = g.input("shape", [2], TensorProto.INT64)
        made, shapes["shape"] = g.node("Reshape", x, shape), (2,)
    else:
        weight = g.const(np.ones((2, 3, 2, 2), np.float32))
        bias = [g.const(np.zeros(3, np.float32))] if graph == "bias" else []
        made = g.node("ConvTranspose", x, weight, *bias)
    g.output(made, "y", ["a", "b"] if graph == "shape" else [1, 3, 5, 5])
    device = choose_device("cuda", provider_options=options or {})
    try:
        Session(g.model(graph).SerializeToString(), device, shapes, name=graph)
    except DeviceError as error:
        return str(error)
    return "open"


def placed(folder: str, every: int) -> dict[str, str]:
    """What is said of those of the parity nets, every Nth, that do not open on a GPU as a whole."""
    numbers_are_right()
    device, said = choose_device("cuda"), {}
    for reference in REFERENCES[::every]:
        with h5py.File(reference) as file:
            shapes = {name: tuple(blob.shape) for name, blob in file["inputs"].items()}
            outputs = list(file["outputs"])
        net = caffe_port.read_net(reference.parent / "deploy.prototxt")
        if not set(outputs) <= {top for layer in net.layers for top in layer.tops}:
            continue  # of another stage of its net
        stored = sorted(reference.parent.glob("net.caffemodel*"))
        blobs = weights.read(stored[0]) if stored else {}
        model = caffe_port.to_onnx(net, blobs, outputs=outputs, inputs=shapes, fixed=True)
        used = {value.name for value in model.graph.input}
        try:
            given = {name: shape for name, shape in shapes.items() if name in used}
            Session(model.SerializeToString(), device, given, name="net").close()
        except DeviceError as error:
            said[reference.parent.name] = str(error)
    return {"opened": str(len(REFERENCES[::every]) - len(said)), **said}


if __name__ == "__main__":
    scenario: Callable[..., Any] = globals()[sys.argv[1]]
    print(json.dumps(scenario(**json.loads(sys.argv[2]))), flush=True)
