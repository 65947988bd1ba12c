"""A learned clock's model over values of the cache: any features and the state of the net, by name.

Each input of the model is called after a value of the cache, "frame" included, and gets what lies there when
the clock is asked: of the stages before its own this frame's values, of its own and later ones those that
still stand. With "@fired" behind the name it gets the value as it was when the clock's stage last fired.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import helper

from caffe_port.onnx_graph import OnnxGraph
from runtime.engine.cache import Entry, FeatureCache
from runtime.sessions.device import Device
from runtime.sessions.graph_files import read_dims
from runtime.sessions.memory import allocate, download
from runtime.sessions.session import Binding, Session
from staged_onnx import Manifest
from weights.errors import ScheduleError

__all__ = ["FIRED", "ValuesProbe", "as_written", "names_values"]

FIRED = "@fired"


def names_values(file: str) -> bool:
    """Whether a model names values, rather than taking the frame and the one before."""
    inputs = read_dims(file)
    return not (len(inputs) == 2 and all(len(dims) == 3 and dims[2] in (3, None) for dims in inputs.values()))


def as_written(device: Device) -> Device:
    """A device on which a model is opened as it is written, whatever the precision of the net: its constants
    may be beyond float16.
    """
    return replace(device, precision="fp32")


def _copy_graph(entries: dict[str, Entry]) -> bytes:
    """A graph that hands on each value as it is."""
    g = OnnxGraph()
    for name, entry in entries.items():
        kind = helper.np_dtype_to_tensor_dtype(entry.dtype)
        made = g.node("Identity", g.input(name, list(entry.shape), kind))
        g.output(made, f"kept {name}", list(entry.shape), kind)
    return g.model("copy").SerializeToString()


class ValuesProbe:
    """Asks the model about values of the cache."""

    def __init__(
        self, file: str, stage: str, manifest: Manifest, cache: FeatureCache, device: Device
    ) -> None:
        self.file = file
        made_before = set(manifest.frame_names)
        for spec in manifest.stages:
            if spec.name == stage:
                break
            made_before.update(spec.outputs)
        inputs = list(read_dims(file))
        self.now = {name: self._entry(name, cache) for name in inputs if not name.endswith(FIRED)}
        fired = {
            name: self._entry(name.removesuffix(FIRED), cache) for name in inputs if name.endswith(FIRED)
        }
        late = [name for name, entry in fired.items() if entry.name not in made_before]
        if late:
            raise ScheduleError(
                f"a learned clock of {stage} compares with a value that is made after it is asked",
                file=file,
                found=late[0],
                expected=", ".join(name + FIRED for name in sorted(made_before)),
            )
        self.entries = tuple({e.name: e for e in (*self.now.values(), *fired.values())}.values())
        self.device = as_written(device)
        self.session = Session(
            file, self.device, {n: e.shape for n, e in {**self.now, **fired}.items()}, name="learned clock"
        )
        self._check_types({**self.now, **fired})
        output = next(iter(self.session.outputs.values()))
        shape = output.shape if output.shape is not None else (0,)
        if np.prod(shape) != 1 or len(self.session.outputs) != 1:
            raise ScheduleError(
                "a learned clock's model has other outputs than a clock's",
                file=file,
                expected="one output of one number",
            )
        self.output = output.name
        self.dtype = output.dtype
        self.result = allocate(shape, output.dtype, self.device)
        self.bindings: dict[tuple[int, ...], Binding] = {}
        self.sources = {entry.name: entry for entry in fired.values()}
        self.kept = {name: allocate(e.shape, e.dtype.type, device) for name, e in self.sources.items()}
        self.fired = {name: self.kept[entry.name] for name, entry in fired.items()}
        self.copying: Session | None = None
        self.copies: dict[tuple[int, ...], Binding] = {}
        if self.sources:
            shapes = {name: entry.shape for name, entry in self.sources.items()}
            self.copying = Session(_copy_graph(self.sources), device, shapes, name="learned clock's memory")

    def _entry(self, name: str, cache: FeatureCache) -> Entry:
        if name not in cache.entries:
            raise ScheduleError(
                "a learned clock's model asks for a value that the bundle does not keep",
                file=self.file,
                found=f'"{name}"',
                expected=", ".join(n for n in cache.entries if " " not in n) + f", each also with {FIRED}",
            )
        return cache[name]

    def _check_types(self, entries: dict[str, Entry]) -> None:
        for name, entry in entries.items():
            wanted = self.session.inputs[name].dtype
            if np.dtype(wanted) != entry.dtype:
                raise ScheduleError(
                    "a learned clock's model takes another type than the value has",
                    file=self.file,
                    found=f'"{name}" as {np.dtype(wanted).name}',
                    expected=entry.dtype.name,
                )

    def start(self) -> None:
        """On a shot's first frame every stage fires: keep what lies there now."""
        self.settle(True)

    def measure(self, image: np.ndarray, previous: np.ndarray) -> float:
        """The model's number for this frame.

        Args:
            image: Not read: the frame is a value of the cache.
            previous: Not read.

        Returns:
            The number.

        Raises:
            ScheduleError: The model gave NaN.
        """
        buffers = {name: entry.read(0).buffer for name, entry in self.now.items()}
        key = tuple(buffers.values())
        binding = self.bindings.get(key)
        if binding is None:
            inputs = {name: self.now[name].buffers[buffer] for name, buffer in buffers.items()}
            binding = self.bindings[key] = self.session.bind(
                {**inputs, **self.fired}, {self.output: self.result}
            )
        self.session.run(binding)
        number = float(download(self.result, self.dtype, self.device).reshape(()))
        if np.isnan(number):
            raise ScheduleError("a learned clock's model gave NaN", file=self.file, expected="a number")
        return number

    def settle(self, fired: bool) -> None:
        """Keep what the stage fires on."""
        if not fired or self.copying is None:
            return
        buffers = {name: entry.read(0).buffer for name, entry in self.sources.items()}
        binding = self.copies.get(key := tuple(buffers.values()))
        if binding is None:
            inputs = {name: self.sources[name].buffers[buffer] for name, buffer in buffers.items()}
            outputs = {f"kept {name}": value for name, value in self.kept.items()}
            binding = self.copies[key] = self.copying.bind(inputs, outputs)
        self.copying.run(binding)

    def close(self) -> None:
        """Let go of bindings and sessions."""
        self.bindings.clear()
        self.copies.clear()
        self.session.close()
        if self.copying is not None:
            self.copying.close()
