"""Sensors at work: the sessions, references and buffers behind what the clocks measure."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from runtime.engine.cache import Entry, FeatureCache, Version
from runtime.engine.learned_probe import ValuesProbe, as_written, names_values
from runtime.engine.probe_graphs import sensor_graph
from runtime.engine.transform_runner import TransformRunner
from runtime.flow.paths import FlowPaths
from runtime.schedule.clocks import Drift, Learned, Measured, Sensor
from runtime.sessions.device import Device
from runtime.sessions.graph_files import read_dims
from runtime.sessions.memory import allocate, download
from runtime.sessions.session import Binding, Session
from staged_onnx import Manifest
from weights.errors import ScheduleError

__all__ = ["Probe", "mean_of", "measure_of", "open_probe"]


class Probe(Protocol):
    """One thing that the clock of one stage measures."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The values of the cache that it looks at."""

    def start(self) -> None:
        """A shot's first frame, on which every stage fires: keep what later frames are compared with."""

    def measure(self, image: np.ndarray, previous: np.ndarray) -> float:
        """The number for this frame. Its value must be complete in the cache.

        Args:
            image: The frame, uint8 height x width x 3, RGB.
            previous: The frame before it.

        Returns:
            The number.
        """

    def settle(self, fired: bool) -> None:
        """The stage has fired, or not: renew the reference if it is due."""

    def close(self) -> None:
        """Let go of bindings and of the session."""


def open_probe(
    what: Measured,
    stage: str,
    manifest: Manifest,
    cache: FeatureCache,
    device: Device,
    transforms: TransformRunner | None = None,
    paths: FlowPaths | None = None,
) -> Probe:
    """The probe for what the clock of a stage measures.

    Args:
        what: What is measured.
        stage: The stage's name.
        manifest: The bundle's.
        cache: Where the values lie.
        device: Where they lie and are measured.
        transforms: What moves the cache's values, for a Drift.
        paths: What they follow, for a Drift.

    Returns:
        The probe, its sessions open.

    Raises:
        ScheduleError: The probe cannot work.
    """
    if isinstance(what, Drift):
        if transforms is None or paths is None or not transforms.moves(what.value):
            raise ScheduleError(
                f"the clock of {stage} watches how a value is moved", found=f'"{what.value}" is not moved'
            )
        return _DriftProbe(what, transforms, paths)
    if isinstance(what, Learned):
        if callable(what.model):
            return _CallableProbe(what)
        if names_values(str(what.model)):
            return ValuesProbe(str(what.model), stage, manifest, cache, device)
        return _ModelProbe(what, cache, device)
    return _SensorProbe(what, stage, manifest, cache, device)


def measure_of(sensor: Sensor, shape: tuple[int, ...], manifest: Manifest) -> str:
    """The measure of a sensor on a value.

    Args:
        sensor: The sensor.
        shape: The value's shape.
        manifest: The bundle's, which says how many classes there are.

    Returns:
        "argmax", "relative" or "peak".

    Raises:
        ScheduleError: The measure needs channels and there are none.
    """
    measure = sensor.measure
    if measure == "auto":
        classes = len(manifest.class_names)
        scores = len(shape) == 4 and shape[1] > 1 and classes in (0, shape[1])
        measure = "argmax" if scores else "relative"
    if measure in ("argmax", "peak") and (len(shape) != 4 or shape[1] < 2):
        raise ScheduleError(
            f'"{sensor.value}" is no score map',
            found="x".join(map(str, shape)),
            expected="N x C x h x w with 2 channels or more",
            hint="watch another blob: --signal BLOB",
        )
    return measure


def mean_of(value: str, manifest: Manifest) -> tuple[float, ...]:
    """The net's mean for a picture, in the order of the picture's channels, such as R, G, B.

    Args:
        value: A value of the cache.
        manifest: The bundle's.

    Returns:
        One number or one per channel; 0 for what is not a picture, and for a logarithm of depth.
    """
    for frame in manifest.frames:
        if frame.name == value:
            how = frame.preprocessing
            if how.channels == "log-depth":
                return (0.0,)  # the mean is one of logarithms
            return how.mean[::-1] if how.channels == "bgr" else how.mean
    return (0.0,)


class _SensorProbe:
    """Measures a value of the cache against a reference, which is an entry of the cache too."""

    def __init__(
        self, sensor: Sensor, stage: str, manifest: Manifest, cache: FeatureCache, device: Device
    ) -> None:
        self.sensor = sensor
        self.entry = cache[sensor.value]
        self.entries = (self.entry,)
        shape = self.entry.shape
        measure = measure_of(sensor, shape, manifest)
        built = sensor_graph(measure, shape, self.entry.dtype.type, mean=mean_of(sensor.value, manifest))
        inputs = {"value": shape}
        if built.snapshot_shape is not None:
            inputs["reference"] = built.snapshot_shape
        self.session = Session(built.model, device, inputs, name=f"signal of {stage}")
        self.device = device
        self.change = allocate((), np.float64, device)
        self.reference: Entry | None = None
        if built.snapshot_shape is not None:
            name = f"reference {stage} {sensor.value} {sensor.measure} {sensor.reference}"
            self.reference = cache.add(
                Entry(name, built.snapshot_shape, built.snapshot_dtype, device, moved=True)
            )
        self.draft: Version | None = None
        self.bindings: dict[tuple[int, ...], Binding] = {}

    def start(self) -> None:
        if self.reference is not None:
            self._run()
            self.settle(True)

    def measure(self, image: np.ndarray, previous: np.ndarray) -> float:
        self._run()
        return float(download(self.change, np.float64, self.device))

    def _run(self) -> None:
        now = self.entry.read(0)
        buffers: tuple[int, ...] = (now.buffer,)
        reference = self.reference
        if reference is not None:
            # before there is a reference the number means nothing, and nobody looks at it
            old = reference.current or reference.write(now.position, now.index)
            self.draft = reference.draft(now.position, now.index, reading=old)
            buffers = (now.buffer, old.buffer, self.draft.buffer)
        binding = self.bindings.get(buffers)
        if binding is None:
            inputs = {"value": self.entry.buffers[now.buffer]}
            outputs = {"change": self.change}
            if reference is not None:
                inputs["reference"] = reference.buffers[buffers[1]]
                outputs["snapshot"] = reference.buffers[buffers[2]]
            binding = self.bindings[buffers] = self.session.bind(inputs, outputs)
        self.session.run(binding)

    def settle(self, fired: bool) -> None:
        if self.reference is not None and (fired or self.sensor.reference == "previous"):
            assert self.draft is not None
            self.reference.adopt(self.draft)

    def close(self) -> None:
        self.bindings.clear()
        self.session.close()


class _DriftProbe:
    """Measures how a value has been moved."""

    entries = ()

    def __init__(self, drift: Drift, transforms: TransformRunner, paths: FlowPaths) -> None:
        self.drift = drift
        self.transforms = transforms
        self.paths = paths

    def start(self) -> None:
        """It keeps nothing."""

    def measure(self, image: np.ndarray, previous: np.ndarray) -> float:
        return self.paths.measure(self.drift.measure, self.transforms.moment(self.drift.value))

    def settle(self, fired: bool) -> None:
        """The transforms know the frame on which the value was computed."""

    def close(self) -> None:
        """It holds nothing."""


class _CallableProbe:
    """Asks a function on the host about this frame and the one before."""

    entries = ()

    def __init__(self, clock: Learned) -> None:
        self.clock = clock

    def start(self) -> None:
        """It keeps nothing."""

    def measure(self, image: np.ndarray, previous: np.ndarray) -> float:
        number = float(self.clock.model(image, previous))  # type: ignore[operator]
        if np.isnan(number):
            raise ScheduleError("a learned clock's function returned NaN", expected="a number")
        return number

    def settle(self, fired: bool) -> None:
        """It keeps nothing."""

    def close(self) -> None:
        """It holds nothing."""


class _ModelProbe:
    """Asks an ONNX model about this frame and the one before, both where they lie."""

    def __init__(self, clock: Learned, cache: FeatureCache, device: Device) -> None:
        self.frame = cache["frame"]
        self.entries = (self.frame,)
        file = str(clock.model)
        names = list(read_dims(file))
        if len(names) != 2:
            raise ScheduleError(
                "a learned clock's model takes the frame and the one before",
                file=file,
                found=f"{len(names)} inputs",
                expected="2 inputs, uint8 height x width x 3",
            )
        self.names = names
        self.session = Session(
            file, as_written(device), dict.fromkeys(names, self.frame.shape), name="learned clock"
        )
        output = next(iter(self.session.outputs.values()))
        shape = output.shape if output.shape is not None else (0,)
        if (
            np.prod(shape) != 1
            or len(self.session.outputs) != 1
            or any(port.dtype is not np.uint8 for port in self.session.inputs.values())
        ):
            raise ScheduleError(
                "a learned clock's model has other inputs or outputs than a clock's",
                file=file,
                expected="two inputs, uint8 height x width x 3, and one output of one number",
            )
        self.output = output.name
        self.device = self.session.device
        self.dtype = output.dtype
        self.result = allocate(shape, output.dtype, self.device)
        self.bindings: dict[tuple[int, ...], Binding] = {}

    def start(self) -> None:
        """The frame before is an older version of the frame's own entry."""

    def measure(self, image: np.ndarray, previous: np.ndarray) -> float:
        now = self.frame.read(0)
        before = self.frame.before or now
        key = (now.buffer, before.buffer)
        binding = self.bindings.get(key)
        if binding is None:
            inputs = dict(zip(self.names, (self.frame.buffers[b] for b in key), strict=True))
            binding = self.bindings[key] = self.session.bind(inputs, {self.output: self.result})
        self.session.run(binding)
        return float(download(self.result, self.dtype, self.device).reshape(()))

    def settle(self, fired: bool) -> None:
        """It keeps nothing."""

    def close(self) -> None:
        self.bindings.clear()
        self.session.close()
