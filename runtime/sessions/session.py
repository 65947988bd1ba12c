"""One ONNX graph on one device, strict about it, at one fixed set of sizes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike, fspath
from typing import Any
from weakref import WeakSet

import numpy as np
import onnx
import onnxruntime as ort

from runtime.sessions.cuda_stream import CudaGraph, Stopwatch
from runtime.sessions.device import Device, cores
from runtime.sessions.graph_files import Dims, Model, dims_of, one_line, read_graph, read_values
from runtime.sessions.half import half
from runtime.sessions.prepare import Prepared, add_arrays, prepare
from staged_onnx.graph_sizes import check_array_sizes
from staged_onnx.passes import Border, FixedGraph
from weights.errors import BundleError, DeviceError

__all__ = ["Binding", "Port", "Session"]

_log = logging.getLogger(__name__)

Shape = tuple[int, ...]

_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}
_FUSED_BIAS = "fuse_conv_bias"
WARM_RUNS = 2
"""Runs between the same buffers after which a pass allocates nothing any more and can be captured."""
WARM_RUNS = 2
"""Runs between the same buffers after which a pass allocates nothing any more and can be captured."""
# Nodes that compute sizes and indices may run on the CPU beside a GPU; a node on pixels or features may not.
_LIGHT = frozenset(
    {
        "Add", "Cast", "Ceil", "Concat", "Constant", "ConstantOfShape", "Div", "Equal", "Floor", "Gather",
        "Identity", "Max", "Min", "Mod", "Mul", "Not", "Range", "ReduceProd", "Reshape", "Shape", "Size",
        "Slice", "Squeeze", "Sub", "Unsqueeze", "Where",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Port:
    """An input or output of a graph: name, type and dimensions, a symbol where one is not fixed."""

    name: str
    dtype: type[np.generic]
    dims: Dims

    @property
    def shape(self) -> Shape | None:
        """The shape, where every dimension is known."""
        known = tuple(d for d in self.dims if isinstance(d, int))
        return known if len(known) == len(self.dims) else None


class Binding:
    """Where one run of a session reads and writes.

    number: this binding's own among its session's. A CUDA graph, where the provider option asks for one,
    records addresses, so that each binding needs a graph of its own.
    """

    __slots__ = ("__weakref__", "graph", "io", "options", "runs")

    def __init__(self, io: ort.IOBinding, number: int) -> None:
        self.io = io
        self.options = ort.RunOptions()
        self.options.add_run_config_entry("gpu_graph_id", str(number))
        self.graph: CudaGraph | None = None
        self.runs = 0


class Session:
    """An open ONNX Runtime session in which every free dimension is fixed.

    model: a file or a serialised graph. folder: where a serialised graph keeps its weights, if it keeps them
    outside. shapes: the shape of every input by name; the graph's free dimensions are bound to them before it
    is optimised, so that size arithmetic folds away. profile: prefix of the file in which ONNX Runtime
    records every node's time. borders: what is known of the inputs beforehand; where it is given, if only as
    nothing, the graph goes through the device's passes first. Raises BundleError where the file or the shapes
    do not fit and DeviceError where the graph cannot run on the device alone.
    """

    def __init__(
        self,
        model: Model,
        device: Device,
        shapes: Mapping[str, Shape],
        *,
        name: str = "graph",
        folder: str | PathLike[str] | None = None,
        profile: str | None = None,
        borders: Mapping[str, Border] | None = None,
    ) -> None:
        self.name = name
        self._folder = fspath(folder) if folder is not None else None
        self.file = None if isinstance(model, bytes) else fspath(model)
        self.device = device
        proto = read_graph(model)
        sizes = self._sizes(dims_of(proto), shapes)
        try:
            check_array_sizes(proto, shapes)
        except BundleError as error:
            raise error.located(file=self.file or self.name) from None
        if device.options.get(_FUSED_BIAS) == "1":
            self._check_bias(proto)
        source = fspath(model) if not isinstance(model, bytes) else model
        if device.precision == "fp16" and (self.file is not None or self._folder is not None):
            source = half(source, self._folder or os.path.dirname(self.file or ""))
        self._bindings = WeakSet[Binding]()  # they die with whoever made them, and their buffers with them
        self._bound = 0
        self.prepared: Prepared | None = None
        if borders is not None and device.passes:
            self.prepared = self._prepare(source, shapes, borders)
            source, sizes = self.prepared.model, {}
        self._session = self._open(source, sizes, profile)
        if self.prepared is not None:  # the session has copies of them by now
            self.prepared = replace(self.prepared, model=b"", arrays={})
        self.inputs = {p.name: p for p in map(self._port, self._session.get_inputs())}
        self.outputs = {p.name: p for p in map(self._port, self._session.get_outputs())}

    def _prepare(
        self, source: str | bytes, shapes: Mapping[str, Shape], borders: Mapping[str, Border]
    ) -> Prepared:
        def opened(graph: FixedGraph) -> ort.InferenceSession:
            model, arrays = graph.model()
            return self._try(model.SerializeToString(), self._options({}, None, arrays, graph.folder))

        try:
            return prepare(
                source, self._folder, shapes, self.device.passes, opened, borders, cores(self.device)
            )
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
            raise BundleError("a damaged graph", file=self.file, found=one_line(error)) from None

    def _check_bias(self, proto: onnx.ModelProto) -> None:
        """Raise DeviceError for a graph that ONNX Runtime 1.31 opens with fused bias, and fails to run."""
        if any(node.op_type == "ConvTranspose" and len(node.input) > 2 for node in proto.graph.node):
            raise DeviceError(
                f"{self.name} cannot run with {_FUSED_BIAS}",
                file=self.file,
                found="a deconvolution with a bias, which ONNX Runtime does not fuse",
                hint=f"leave {_FUSED_BIAS} out of the provider options",
            )

    def _sizes(self, ports: Mapping[str, Dims], shapes: Mapping[str, Shape]) -> dict[str, int]:
        """The size of every free dimension; raises BundleError where a shape contradicts the graph."""
        sizes: dict[str, int] = {}
        for name, dims in ports.items():
            shape = shapes.get(name)
            fits = shape is not None and len(shape) == len(dims)
            for dim, size in zip(dims, shape or (), strict=False):
                if isinstance(dim, str):
                    fits &= sizes.setdefault(dim, size) == size
                else:
                    fits &= dim in (size, None)
            if not fits:
                raise BundleError(
                    f'input "{name}" of {self.name} does not fit',
                    file=self.file,
                    found="nothing of this name" if shape is None else "x".join(map(str, shape)),
                    expected="x".join(str(sizes.get(d, d)) if isinstance(d, str) else str(d) for d in dims),
                )
        return sizes

    def _open(
        self, model: str | bytes, sizes: Mapping[str, int], profile: str | None
    ) -> ort.InferenceSession:
        if self.device.kind == "cpu":
            return self._try(model, self._options(sizes, profile))
        strict = self._options(sizes, profile)
        strict.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        try:
            session = self._try(model, strict)
        except DeviceError as error:
            if "fallback to CPU EP" not in str(error):
                raise
            # ONNX Runtime itself places nodes that compute sizes on the CPU: see whether there are others.
            lenient = self._options(sizes, profile)
            lenient.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
            session = self._try(model, lenient)
            heavy = sorted({op for op, where in _placements(session) if where.startswith("CPU")} - _LIGHT)
            if heavy:
                raise self._not_alone(f"{', '.join(heavy[:8])} would run on the CPU") from None
        if session.get_providers()[0] != "CUDAExecutionProvider":
            raise DeviceError(f"{self.name} did not open on {self.device}", found=session.get_providers()[0])
        session.disable_fallback()
        self._check_inputs(session, model)
        return session

    def _check_inputs(self, session: ort.InferenceSession, model: str | bytes) -> None:
        """Raise DeviceError for an input whose elements ONNX Runtime reads on the CPU: what is bound to it is
        copied there once, when it is bound, and never again. One of which only the shape is read is harmless.
        """
        places = zip(session.get_inputs(), session.get_input_memory_infos(), strict=True)
        kept = [port.name for port, place in places if place.name == "Cpu"]
        if kept:
            read = read_values(read_graph(model).graph)
            kept = [name for name in kept if name in read]
        if kept:
            raise self._not_alone(f"{', '.join(kept)} is read on the CPU")

    def _not_alone(self, found: str) -> DeviceError:
        return DeviceError(
            f"{self.name} cannot run on {self.device} alone",
            file=self.file,
            found=found,
            hint="use device cpu",
        )

    def _options(
        self,
        sizes: Mapping[str, int],
        profile: str | None,
        arrays: Mapping[str, np.ndarray] | None = None,
        folder: str | None = None,
    ) -> ort.SessionOptions:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = self.device.threads
        options.inter_op_num_threads = 1
        if not self.device.spin:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if self.prepared is not None:
            arrays, folder = self.prepared.arrays, self.prepared.folder
        folder = folder or self._folder
        if folder is not None:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        if arrays:
            add_arrays(options, arrays)
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = profile
        for dim, size in sizes.items():
            options.add_free_dimension_override_by_name(dim, size)
        return options

    def _try(self, model: str | bytes, options: ort.SessionOptions) -> ort.InferenceSession:
        try:
            return ort.InferenceSession(model, options, providers=self.device.providers, enable_fallback=0)
        except Exception as error:  # ONNX Runtime raises many types
            kind = BundleError if self.device.kind == "cpu" else DeviceError
            raise kind(
                f"ONNX Runtime cannot open {self.name}", file=self.file, found=one_line(error)
            ) from None

    def _port(self, node: Any) -> Port:
        if node.type not in _DTYPES:
            raise BundleError(
                f'"{node.name}" of {self.name} has a type that no stage has', file=self.file, found=node.type
            )
        return Port(node.name, _DTYPES[node.type], tuple(node.shape))

    def output_shapes(self, inputs: Mapping[str, ort.OrtValue]) -> dict[str, Shape]:
        """Shapes of all outputs; runs the graph once where they do not follow from the inputs' shapes."""
        known = {name: shape for name, port in self.outputs.items() if (shape := port.shape) is not None}
        if len(known) == len(self.outputs):
            return known
        binding = self._binding(-1)  # -1: no CUDA graph, the outputs lie anywhere
        for name, value in inputs.items():
            binding.io.bind_ortvalue_input(name, value)
        for name in self.outputs:
            binding.io.bind_output(name, self.device.kind, self.device.index)
        self.run(binding)
        values = zip(self.outputs, binding.io.get_outputs(), strict=True)
        return {name: tuple(value.shape()) for name, value in values}

    def _binding(self, number: int) -> Binding:
        binding = Binding(self._session.io_binding(), number)
        if self.device.stream is not None:
            binding.options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        return binding

    def bind(self, inputs: Mapping[str, ort.OrtValue], outputs: Mapping[str, ort.OrtValue]) -> Binding:
        """Fix where the graph reads and writes; good for any number of runs.

        Args:
            inputs: Buffers by input name; others are passed over.
            outputs: Buffers by output name.

        Returns:
            What `run` takes.
        """
        self._bound += 1
        binding = self._binding(self._bound)
        self._bindings.add(binding)
        for name in self.inputs:
            binding.io.bind_ortvalue_input(name, inputs[name])
        for name, value in outputs.items():
            binding.io.bind_ortvalue_output(name, value)
        return binding

    def run(self, binding: Binding) -> Stopwatch | None:
        """Run the graph once; returns when the outputs are written or, on a GPU, when it is handed over.

        Args:
            binding: Where it reads and writes, from `bind`.

        Returns:
            What tells how long work takes that was handed over; else None.

        Raises:
            DeviceError: It fails.
        """
        stream = self.device.stream
        if stream is None:
            self._run(binding)
            return None
        with stream.lock:
            watch = Stopwatch(stream)
            watch.start()
            if binding.graph is not None:
                binding.graph.launch()
            else:
                self._run(binding)
            watch.stop()
            binding.runs += 1
            if self.device.graphs and binding.runs == WARM_RUNS:
                binding.graph = self._captured(binding)
        return watch

    def _captured(self, binding: Binding) -> CudaGraph | None:
        """The run as a CUDA graph; None, with a warning, where it does what cannot be captured."""
        assert self.device.stream is not None
        try:
            return self.device.stream.capture(lambda: self._run(binding))
        except DeviceError as error:
            _log.warning("%s runs without a CUDA graph: %s", self.name, error.found or error)
            return None

    def _run(self, binding: Binding) -> None:
        try:
            self._session.run_with_iobinding(binding.io, binding.options)
            return
        except Exception as error:  # ONNX Runtime raises many types
            found = one_line(error)
        # raised out here, it does not carry ONNX Runtime's frames, which would keep the session alive
        raise DeviceError(f"{self.name} failed", file=self.file, found=found)

    def close(self) -> None:
        """End the session and its threads, also where somebody still holds this object or a binding."""
        for binding in self._bindings:
            del binding.io
        self._bindings.clear()
        del self._session

    def end_profile(self) -> str:
        """Stop recording times and return the record's path."""
        return str(self._session.end_profiling())


def _placements(session: ort.InferenceSession) -> list[tuple[str, str]]:
    """(operator, provider) of every node of a session that recorded its assignment."""
    return [
        (node.op_type, part.ep_name)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    ]
