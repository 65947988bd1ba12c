"""The CRF as a post-processing step of any bundle's video: a player whose labels are the CRF's.

The head is taken in two parts (`staged_onnx.split`), so that its scores are a value of the cache. On the host
they are brought to the frame's size as the head does it, and refined along the frame's edges. With a moved
start the CRF begins on each frame with Q of the frame before, moved along the optical flow, and takes few
iterations; its labels are then not those of ten iterations from softmax (docs/deeplab.md has figures).

A bundle whose net has a DenseCRF layer says so in its manifest's `host_steps`; `crf_of` reads it there.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from os import PathLike
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from runtime.densecrf.lattice import rows_of
from runtime.densecrf.mean_field import DenseCrf
from runtime.densecrf.parameters import CrfParameters, KernelSet, parse_parameters
from runtime.flow.estimators import FlowSource, flow_estimator
from runtime.flow.fields import FlowEstimator
from runtime.player import Player, as_schedule
from runtime.schedule.clocks import Always
from runtime.schedule.schedule import Edge, Schedule
from runtime.sessions.device import Device, choose_device
from runtime.sessions.memory import download
from runtime.step import Step
from runtime.video.frames import pictures_of
from staged_onnx import Bundle, Manifest, read_bundle
from staged_onnx.resized import resized_bundle
from staged_onnx.split import split_head
from weights.errors import BundleError, ScheduleError, UsageError

__all__ = ["RefinedPlayer", "crf_of", "moved_along", "open_refined", "resized"]

Floats = NDArray[np.float32]
T = TypeVar("T")


def crf_of(manifest: Manifest, text: str | None = None) -> CrfParameters | KernelSet | None:
    """The CRF that belongs behind a bundle's head.

    Args:
        manifest: The bundle's.
        text: "none", or parameters as `parse_parameters` reads them; None for what the net itself has.

    Returns:
        The kernels of the net's DenseCRF layer where nothing else is asked for; None for no CRF.

    Raises:
        UsageError: Unknown parameters, or the net has several such layers and nobody says which.
    """
    if text is not None:
        return None if text == "none" else parse_parameters(text)
    layers = [step for step in manifest.host_steps if step.type == "DenseCRF"]
    if len(layers) > 1:
        raise UsageError(
            "which of the net's CRFs?",
            found=", ".join(layer.name for layer in layers),
            expected="none, the name of a variant, or bi_w=4,bi_xy_std=121,...",
            hint="--crf NAME",
        )
    return KernelSet.of_layer(layers[0].parameters) if layers else None


class RefinedPlayer:
    """Plays frames like its player, with labels refined by the CRF. Use it in a `with`, or close it.

    Args:
        player: A player of a bundle whose head is split (see `open_refined`).
        parameters: The CRF's parameters; None leaves the labels as they are.
        moved_iterations: Iterations on frames for which there is a moved start; None for no moved starts.
        flow: What a start is moved along.
    """

    def __init__(
        self,
        player: Player,
        parameters: CrfParameters | KernelSet | None,
        moved_iterations: int | None = None,
        flow: FlowSource = "auto",
    ) -> None:
        self.player = player
        self.parameters = parameters
        self._scores = player.manifest.stages[-1].outputs[-1]
        self._short: CrfParameters | KernelSet | None = None
        self._flow: FlowEstimator | None = None
        if parameters is not None and moved_iterations is not None:
            self._short = replace(parameters, iterations=moved_iterations)
            self._flow = flow_estimator(flow)
        self._before: tuple[NDArray[np.uint8], Floats, int] | None = None

    def __enter__(self) -> RefinedPlayer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the player."""
        self.player.close()

    @property
    def bundle(self) -> Bundle:
        """The bundle as it is played: its head is in two parts."""
        return self.player.bundle

    @property
    def device(self) -> Device:
        """Where the stages run; the CRF runs on the host."""
        return self.player.device

    @property
    def schedule(self) -> Schedule:
        """When each stage fires."""
        return self.player.schedule

    @property
    def reads_motion(self) -> bool:
        """As `Player.reads_motion`."""
        return self.player.reads_motion

    @property
    def flow_counts(self) -> dict[str, int]:
        """As `Player.flow_counts`; flow of moved starts is not counted."""
        return self.player.flow_counts

    def reset(self, schedule: str | Schedule) -> None:
        """Forget all values, and play a schedule for the bundle as it is played here."""
        self._before = None
        self.player.reset(schedule)

    def ahead(self, frames: Iterable[T]) -> Iterator[T]:
        """The frames, as `Player.ahead` hands them out."""
        return self.player.ahead(frames)

    def play(self, frames: Iterable[Any], *, first_shot: int = 0) -> Iterator[Step]:
        """One step per frame, as `Player.play`; `ms` has the CRF's milliseconds as "densecrf".

        A step whose scores are those of the frame before, because the schedule repeats its whole output,
        keeps that frame's labels.
        """
        self._before = None
        waiting: deque[Any] = deque()
        labels: NDArray[np.uint8] | None = None

        def kept() -> Iterator[Any]:
            for frame in frames:
                waiting.append(pictures_of(frame)[0])
                yield frame

        for step in self.player.play(kept(), first_shot=first_shot):
            image = waiting.popleft()
            began = time.perf_counter()
            if labels is None or labels.shape != image.shape[:2] or step.fired:
                labels = self._refine(image, step)
            ms = (time.perf_counter() - began) * 1e3
            times = {**step.ms, "densecrf": ms, "total": step.ms["total"] + ms}
            yield replace(step, output=labels, ms=times)

    def scores(self, size: tuple[int, int]) -> Floats:
        """The scores of the frame whose step was handed out last, K x H x W, at a size (height, width)."""
        entry = self.player.cache[self._scores]
        values = download(entry.buffers[entry.read(0).buffer], entry.dtype, entry.device)  # h x w x K
        return resized(np.ascontiguousarray(values.transpose(2, 0, 1), np.float32), size)

    def _refine(self, image: NDArray[np.uint8], step: Step) -> NDArray[np.uint8]:
        parameters, start = self.parameters, None
        if parameters is None:
            return step.labels
        scores = self.scores((image.shape[0], image.shape[1]))
        if self._flow is not None and self._short is not None:
            before = self._before
            if before is not None and before[2] == step.shot and before[1].shape == scores.shape:
                start, parameters = moved_along(before[1], self._flow.estimate(before[0], image)), self._short
        q = DenseCrf(image, parameters).infer(scores, start)
        if self._flow is not None:
            self._before = image.copy(), q, step.shot
        labels = q.argmax(axis=0).astype(np.uint8)
        labels.flags.writeable = False
        return labels


def open_refined(
    path: str | PathLike[str],
    parameters: CrfParameters | KernelSet | None,
    *,
    device: str = "auto",
    schedule: str | None = None,
    signal: str | None = None,
    passes: str = "auto",
    size: tuple[int, int] | None = None,
    moved_iterations: int | None = None,
    flow: FlowSource = "auto",
) -> RefinedPlayer:
    """Open a bundle for playing with a CRF behind it.

    Args:
        path: The bundle.
        parameters: The CRF's parameters (`crf_of` gives those of the bundle); None for no CRF.
        device: As for `runtime.open`; the CRF itself runs on the host.
        schedule: By default the bundle's; the oracle where that moves values, which leaves a CRF no scores.
        signal: The value that adaptive clocks watch, by default the bundle's.
        passes: As for `runtime.open`.
        size: As for `runtime.open`.
        moved_iterations: Iterations with a moved start; None for none.
        flow: The estimator for that.

    Returns:
        The player; close it when it is no longer needed.

    Raises:
        BundleError: The bundle gives no scores of two classes or more.
        ScheduleError: The schedule moves values itself, or does not fit the bundle.
    """
    bundle = read_bundle(path)
    if size is not None:
        bundle = resized_bundle(bundle, size)
    manifest = bundle.manifest
    played = as_schedule(schedule, bundle, signal)
    if schedule is None and played.movement is not None:
        played = as_schedule("oracle", bundle, signal)
    if played.movement is not None:
        raise ScheduleError(
            "a schedule that moves values does not go with a CRF",
            found=f'"{played}"',
            expected="oracle, alternating, skip:2, ...",
            hint="--schedule oracle; a moved start of the CRF follows the picture, too",
        )
    split = split_head(bundle, "scores")
    if parameters is not None and (manifest.scores is None or manifest.scores.channels < 2):
        raise BundleError("a CRF needs two classes or more", file=path, found="scores of one channel")
    player = Player(split, choose_device(device, passes=passes), _with_head(played, split.manifest))
    return RefinedPlayer(player, parameters, moved_iterations, flow)


def _with_head(schedule: Schedule, split: Manifest) -> Schedule:
    """The schedule with one clock more, for the head's network, which runs whenever the head would."""
    stages = split.stages
    head, made = stages[-1], {value for stage in stages for value in stage.outputs}
    edges = tuple(Edge(head.name, value) for value in head.inputs if value in made)
    clock = schedule.clocks[-1] if schedule.repeat else Always()
    return replace(
        schedule,
        clocks=(*schedule.clocks, clock),
        edges=(*schedule.edges, *edges),
        fill=tuple((*fill, *edges) for fill in schedule.fill),
    )


def resized(scores: Floats, size: tuple[int, int]) -> Floats:
    """Scores at another size, bilinear with pixel centres at half, as the head does it.

    Args:
        scores: K x h x w.
        size: The new height and width.

    Returns:
        K x height x width; the scores themselves where they have that size.
    """
    if scores.shape[1:] == size:
        return scores
    down, across = (_interpolation(n, m) for n, m in zip(scores.shape[1:], size, strict=True))
    return np.ascontiguousarray(down @ scores @ across.T, np.float32)


def _interpolation(old: int, new: int) -> Floats:
    """new x old: each row has the shares of the two neighbours of (i + 1/2) old / new - 1/2."""
    at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    low = np.minimum(at.astype(int), max(0, old - 2))
    table = np.zeros((new, old), np.float32)
    table[np.arange(new), low] = 1 - (at - low)
    table[np.arange(new), np.minimum(low + 1, old - 1)] += at - low
    return table


def moved_along(q: Floats, flow: NDArray[np.float32]) -> Floats:
    """Q of the frame before at the places where this frame's pixels were, bilinear, the border beyond it.

    Args:
        q: K x H x W.
        flow: H x W x 2, backward, (x, y) in pixels.

    Returns:
        K x H x W.
    """
    classes, height, width = q.shape
    down, across = np.mgrid[:height, :width].astype(np.float32)
    x = np.clip(across + flow[..., 0], 0, width - 1).ravel()
    y = np.clip(down + flow[..., 1], 0, height - 1).ravel()
    left, top = (
        np.minimum(x.astype(np.int32), max(0, width - 2)),
        np.minimum(y.astype(np.int32), max(0, height - 2)),
    )
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    a, b = x - left, y - top
    weights = np.stack([(1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b], axis=1).astype(np.float32)
    places = np.stack(
        [top * width + left, top * width + right, below * width + left, below * width + right], 1
    )
    by_pixel = np.ascontiguousarray(q.reshape(classes, -1).T)
    moved = rows_of(weights, places.astype(np.int32), height * width) @ by_pixel
    return np.ascontiguousarray(moved.T, np.float32).reshape(q.shape)
