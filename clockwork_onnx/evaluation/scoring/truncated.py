"""Run a bundle's stages by hand: for values that a player keeps to itself, and for nets cut off early."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from fractions import Fraction
from time import perf_counter
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from runtime.sessions.device import choose_device
from runtime.sessions.memory import allocate, download, upload
from runtime.sessions.session import Session
from runtime.step import Step
from runtime.video.frames import Frame
from staged_onnx import Bundle
from weights.errors import UsageError

__all__ = ["StageRunner", "TruncatedPlayer", "graphs_of", "has_scores_of"]


def has_scores_of(bundle: Bundle, stages: int) -> bool:
    """Whether the first stages of a net make scores: whether the head reads anything of them.

    Args:
        bundle: The bundle.
        stages: How many stages.

    Returns:
        True where a net of these stages alone has scores.
    """
    made = {name for stage in bundle.manifest.stages[:stages] for name in stage.outputs}
    return not made.isdisjoint(bundle.manifest.head.inputs)


def graphs_of(bundle: Bundle) -> dict[str, onnx.ModelProto]:
    """The graph of each stage and of the head, without weights, by name and in order."""
    parts = (*bundle.manifest.stages, bundle.manifest.head)
    return {part.name: onnx.load(bundle.model_path(part), load_external_data=False) for part in parts}


def _with_outputs(model: onnx.ModelProto, blobs: Collection[str]) -> onnx.ModelProto:
    """The graph with those of the blobs that it makes among its outputs."""
    made = {name for node in model.graph.node for name in node.output}
    known = {output.name for output in model.graph.output}
    for blob in blobs:
        if blob in made - known:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(blob))
    return model


class _Opened:
    """Sessions and buffers for one frame size. Deeper values than are run stay zero."""

    def __init__(
        self, bundle: Bundle, device: Any, size: tuple[int, int], blobs: Collection[str] = ()
    ) -> None:
        graphs = graphs_of(bundle) if blobs else {}
        self.device = device
        self.dtypes: dict[str, type[np.generic]] = {"frame": np.uint8}
        self.buffers: dict[str, ort.OrtValue] = {"frame": allocate((*size, 3), np.uint8, device)}
        self.runs: dict[str, tuple[Session, ort.IOBinding]] = {}
        for part in (*bundle.manifest.stages, bundle.manifest.head):
            inputs = {name: self.buffers[name] for name in part.inputs}
            shapes = {name: tuple(value.shape()) for name, value in inputs.items()}
            graph = graphs.get(part.name)
            model = _with_outputs(graph, blobs).SerializeToString() if graph else bundle.model_path(part)
            folder = bundle.model_path(part).parent if graph else None
            session = Session(model, device, shapes, name=part.name, folder=folder)
            self.dtypes |= {name: port.dtype for name, port in session.outputs.items()}
            outputs = {
                name: allocate(shape, session.outputs[name].dtype, device)
                for name, shape in session.output_shapes(inputs).items()
            }
            self.buffers |= outputs
            self.runs[part.name] = (session, session.bind(inputs, outputs))

    def value(self, name: str) -> NDArray[Any]:
        return download(self.buffers[name], self.dtypes[name], self.device)

    def run(self, name: str) -> float:
        """One pass of a stage or of the head; milliseconds."""
        session, binding = self.runs[name]
        before = perf_counter()
        watch = session.run(binding)
        return 1e3 * (perf_counter() - before) if watch is None else watch.ms


class StageRunner:
    """All stages on every frame, with every carried value to look at.

    Args:
        bundle: What to run.
        device: As for `runtime.open`.
        stages: Run only so many, and the head: what that would read from deeper ones is zero.
        blobs: Values inside of stages or the head that are to be looked at, too.

    Raises:
        UsageError: The net has not so many stages.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: str = "auto",
        stages: int | None = None,
        blobs: Collection[str] = (),
    ) -> None:
        count = len(bundle.manifest.stages)
        if stages is not None and not 1 <= stages <= count:
            raise UsageError(
                "a net cannot be cut off there", found=f"{stages} stages", expected=f"1 to {count}"
            )
        self.bundle = bundle
        self.device = choose_device(device)
        self.fired = tuple(part.name for part in bundle.manifest.stages[:stages]) + (
            bundle.manifest.head.name,
        )
        self._blobs = tuple(blobs)
        self._opened: tuple[tuple[int, int], _Opened] | None = None

    def run(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], dict[str, float]]:
        """Labels of an H x W x 3 RGB image, and the milliseconds of each stage and in total."""
        size = (image.shape[0], image.shape[1])
        if self._opened is None or self._opened[0] != size:
            self._opened = (size, _Opened(self.bundle, self.device, size, self._blobs))
        opened = self._opened[1]
        start = perf_counter()
        upload(np.ascontiguousarray(image), opened.buffers["frame"], self.device)
        ms = {}
        for name in self.fired:
            ms[name] = opened.run(name)
        labels = opened.value(self.bundle.manifest.head.outputs[0])
        ms["total"] = 1e3 * (perf_counter() - start)
        return labels, ms

    def value(self, name: str) -> NDArray[np.float32]:
        """A carried value, or one of the blobs asked for, as the last `run` left it (N x C x H x W)."""
        assert self._opened is not None, "nothing has been run yet"
        return self._opened[1].value(name)


class TruncatedPlayer:
    """A net cut off after its first stages, frame by frame, as a player.

    The head gets zeros for everything deeper, so that its sums are those of the shallow scores alone. A net
    whose head reads nothing shallow has no weights for that, which is a UsageError.
    """

    def __init__(self, bundle: Bundle, stages: int, device: str = "auto") -> None:
        if not has_scores_of(bundle, stages) and 1 <= stages <= len(bundle.manifest.stages):
            read = (name for name in bundle.manifest.head.inputs if name != "frame")
            raise UsageError(
                f"no truncated net can be made of the first {f'{stages} stages' if stages > 1 else 'stage'}",
                file=bundle.path,
                found=f"a head that reads {', '.join(read)} only",
                expected="a score map of an early stage, as in nets with skip connections",
                hint="give a truncated net of its own with eval paper --baseline",
            )
        self._runner = StageRunner(bundle, device, stages)

    def play(self, frames: Iterable[Frame]) -> Iterator[Step]:
        """One step per frame; there is no state between frames."""
        shot = -1
        ages = dict.fromkeys(self._runner.fired[:-1], 0)
        for frame in frames:
            shot += frame.shot_start
            labels, ms = self._runner.run(frame.image)
            time: Fraction | None = frame.time
            yield Step(
                frame.index, frame.name, time, shot, labels, self._runner.fired, dict(ages), None, ms, {}
            )
