"""The sessions of a bundle at one frame size, opened once and shared by every schedule played at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnxruntime as ort

from runtime.sessions.device import Device
from runtime.sessions.memory import allocate
from runtime.sessions.session import Session
from staged_onnx import Bundle, FeatureFlow, StageSpec
from staged_onnx.passes import Border
from staged_onnx.passes.windows import Window
from weights.errors import BundleError

__all__ = ["StageSession", "StageSessions", "ValueShape"]


@dataclass(frozen=True)
class ValueShape:
    """Shape and type of a carried value at one frame size."""

    shape: tuple[int, ...]
    dtype: type[np.generic]


@dataclass(frozen=True)
class StageSession:
    """A stage or the head, and its session.

    assumed: by name, where a frame can change the values that it reads; elsewhere its graph has taken what
    they hold on every frame for granted.
    """

    spec: StageSpec
    session: Session
    assumed: Mapping[str, Window] = field(default_factory=dict)


class StageSessions:
    """Sessions of all stages and of the head, with every size fixed for frames of `size` (height, width).

    Args:
        bundle: The bundle as it is played.
        device: Where its stages run.
        size: Height and width of the frames.
        profile: A prefix under which each session records the time of its nodes.
        shared: Sessions of another bundle at this size and on this device; stages that are the same in both
            are not opened again, and stay the other's to close.
        moved: Values that somebody besides their stage writes, such as a transform; nothing is known of them
            before a frame.

    Raises:
        BundleError, DeviceError: A session cannot be opened, or stages do not fit each other at this size.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: Device,
        size: tuple[int, int],
        *,
        profile: str | None = None,
        shared: StageSessions | None = None,
        moved: frozenset[str] = frozenset(),
    ) -> None:
        self.device = device
        self.moved = moved
        self.size = size
        manifest = bundle.manifest
        self.values: dict[str, ValueShape] = {
            frame.name: ValueShape(frame.shape(size), frame.dtype) for frame in manifest.frames
        }
        # Buffers that only live until all shapes are known: a stage whose output shapes do not follow from
        # its input shapes is run once; a value that is read before it is made has its manifest's shape.
        probe = {name: allocate(value.shape, value.dtype, device) for name, value in self.values.items()}
        self.stages: list[StageSession] = []
        self._borrowed = {part.spec: part for part in shared.stages} if shared is not None else {}
        self._borders: dict[str, Border] = {}
        for spec in manifest.stages:
            for name in spec.inputs:
                if name not in probe:
                    value = ValueShape(
                        manifest.values[name].shape, np.dtype(manifest.values[name].dtype).type
                    )
                    self.values[name] = value
                    probe[name] = allocate(value.shape, value.dtype, device)
            opened = self._borrowed.get(spec) if spec.name not in bundle.graphs else None
            if opened is not None and any(
                name not in self._borders or self._borders[name].live != live
                for name, live in opened.assumed.items()
            ):
                opened = None
            self.stages.append(opened or self._open(bundle, spec, spec.outputs, profile))
            self._measure(self.stages[-1], probe)
            prepared = self.stages[-1].session.prepared
            found = prepared.borders if prepared is not None else {}
            self._borders |= {name: border for name, border in found.items() if name not in moved}
        self.head = self._open(bundle, manifest.head, manifest.head.outputs, profile)
        self.result = self._result(probe)
        self.key_head: StageSession | None = None
        self.transform: Session | None = None
        if manifest.feature_flow is not None:
            key_head = manifest.feature_flow.head
            self.key_head = self._open(bundle, key_head, key_head.outputs, profile)
            self.transform = self._open_transform(bundle, manifest.feature_flow)
        self._borders.clear()  # known by now to whoever wanted to

    def _result(self, probe: dict[str, ort.OrtValue]) -> ValueShape:
        """Shape and type of what the head gives; labels have the frame's size."""
        session, name = self.head.session, self.head.spec.outputs[0]
        port = session.outputs[name]
        if name != "labels":
            inputs = {value: probe[value] for value in self.head.spec.inputs}
            return ValueShape(port.shape or session.output_shapes(inputs)[name], port.dtype)
        if port.dtype is not np.uint8 or (port.shape or self.size) != self.size:
            raise BundleError(
                'the head\'s "labels" do not fit the frame',
                file=session.file,
                found=f"{np.dtype(port.dtype)} {port.dims}",
                expected=f"uint8 {self.size}",
            )
        return ValueShape(self.size, np.uint8)

    def close(self) -> None:
        """End all sessions, also where somebody still holds this object."""
        for part in (*self.stages, self.head, self.key_head):
            if part is not None and self._borrowed.get(part.spec) is not part:
                part.session.close()
        if self.transform is not None:
            self.transform.close()

    def _open(
        self, bundle: Bundle, spec: StageSpec, outputs: tuple[str, ...], profile: str | None
    ) -> StageSession:
        shapes = {name: self.values[name].shape for name in spec.inputs}
        prefix = f"{profile}{spec.name}" if profile is not None else None
        graph = bundle.graphs.get(spec.name)
        session = Session(
            bundle.model_path(spec) if graph is None else graph, self.device, shapes, name=spec.name,
            folder=None if graph is None else bundle.path, profile=prefix,
            borders={name: self._borders[name] for name in spec.inputs if name in self._borders},
        )  # fmt: skip
        for what, names, ports in (
            ("input", spec.inputs, session.inputs),
            ("output", outputs, session.outputs),
        ):
            missing = [name for name in names if name not in ports]
            extra = [name for name in ports if name not in names] if what == "input" else []
            if missing or extra:
                raise BundleError(
                    f"{what}s of {spec.name} differ from its manifest",
                    file=session.file,
                    found=", ".join(ports),
                    expected=", ".join(names),
                )
        assumed = {name: self._borders[name].live for name in spec.inputs if name in self._borders}
        return StageSession(spec, session, assumed)

    def _open_transform(self, bundle: Bundle, flow: FeatureFlow) -> Session:
        """The graph that moves the features, at this frame size."""
        shapes = {"value": self.values[flow.value].shape}
        shapes |= {name: self.values[name].shape for name in flow.inputs}
        off = {name: shape for name, shape in shapes.items() if shape[2:] != shapes["value"][2:]}
        if off:
            raise BundleError(
                f"flow and features do not fit at a frame of {self.size[0]}x{self.size[1]}",
                file=bundle.path / flow.model,
                found=", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in off.items()),
                expected=f"maps of {'x'.join(map(str, shapes['value'][2:]))}, as the features",
                hint="frames whose height and width are multiples of 4 fit; convert with --size for others",
            )
        session = Session(bundle.path / flow.model, self.device, shapes, name=f"transform of {flow.value}")
        port, value = session.outputs.get("moved"), self.values[flow.value]
        if port is None or port.dtype is not value.dtype or port.shape not in (None, value.shape):
            raise BundleError(
                "the graph that moves the features does not fit them",
                file=session.file,
                found=", ".join(f"{p.name} {p.dims}" for p in session.outputs.values()),
                expected=f'an output "moved", {np.dtype(value.dtype)} {value.shape}',
            )
        return session

    def _measure(self, part: StageSession, probe: dict[str, ort.OrtValue]) -> None:
        shapes = part.session.output_shapes({name: probe[name] for name in part.spec.inputs})
        for name in part.spec.outputs:
            value = ValueShape(shapes[name], part.session.outputs[name].dtype)
            if self.values.setdefault(name, value) != value:
                raise BundleError(
                    f'"{name}" is read before it is made, and its shape depends on the frame',
                    file=part.session.file,
                    found=value.shape,
                    expected=self.values[name].shape,
                )
            if name not in probe:
                probe[name] = allocate(value.shape, value.dtype, self.device)
