"""The embedded default: the shapes net, converted on the spot, on held-out shots with every schedule."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import caffe_port
import staged_onnx
import weights
from clockwork_onnx.evaluation.datasets import shapes as shapes_data
from clockwork_onnx.evaluation.datasets import shapes_video as shapes
from clockwork_onnx.evaluation.datasets.base import DataSet
from clockwork_onnx.evaluation.results.summary import Summary, summarise, write_files
from clockwork_onnx.evaluation.results.watchers import Strips
from clockwork_onnx.evaluation.scoring.played import played_schedule
from clockwork_onnx.evaluation.scoring.runs import Run, Watch, run_schedules, together
from clockwork_onnx.evaluation.scoring.scoring import Result, StepSeen
from runtime.report.overlay import Overlay
from runtime.video.writer import VideoWriter
from staged_onnx import Bundle, Classes

__all__ = [
    "CUTS",
    "SCHEDULES",
    "SHOWN",
    "DemoResult",
    "demo_classes",
    "demo_frames",
    "embedded_bundle",
    "run_demo",
]

NET = Path(__file__).with_name("net")
CUTS = ("pool3", "pool4", "upscore2")
PREPROCESSING = staged_onnx.Preprocessing(size=None, channels="bgr", mean=(110.0, 120.0, 120.0), scale=1.0)
SCHEDULES = (
    "oracle",
    "skip:2",
    "alternating",
    "exponential",
    "pipeline:2",
    "pipeline:3",
    "adaptive:0.1",
    "warp:4",
    "between:4@fuse",
)
SHOWN = "alternating"
"""The schedule whose labels the overlay video shows."""
FRAMES = 30
FPS = Fraction(10)


@dataclass(frozen=True)
class DemoResult:
    """What the demo found, and the files it wrote. `moving` leaves the static shots out."""

    summary: Summary
    moving: dict[str, Result]
    files: tuple[Path, ...]

    def as_json(self, timings: bool = True) -> dict[str, Any]:
        """The JSON report."""
        return {
            **self.summary.as_json(timings),
            "moving_shots": {
                schedule: {"mean_iu": result.scores.mean_iu, "fw_iu": result.scores.fw_iu}
                for schedule, result in self.moving.items()
            },
        }


def demo_classes() -> Classes:
    """Names and colours of the shapes."""
    return Classes(shapes.CLASS_NAMES, shapes.PALETTE)


def demo_frames() -> int:
    """How many frames the demo plays, all schedules together."""
    return len(SCHEDULES) * len(shapes.KINDS) * FRAMES


def embedded_bundle(path: Path) -> Bundle:
    """Convert the embedded shapes-fcn8s from its prototxt and caffemodel to a bundle at `path`."""
    prototxt, caffemodel = NET / "deploy.prototxt", NET / "shapes-fcn8s.caffemodel"
    net = caffe_port.read_net(prototxt)
    return staged_onnx.export(
        net,
        weights.read(caffemodel),
        staged_onnx.plan(net, cuts=list(CUTS)),
        path,
        preprocessing=PREPROCESSING,
        classes=demo_classes(),
        weights_files=[caffemodel],
        force=True,
    )


def run_demo(
    folder: Path,
    *,
    schedules: Sequence[str] = SCHEDULES,
    data_set: DataSet | None = None,
    device: str = "auto",
    progress: Callable[[str], Watch] | None = None,
) -> DemoResult:
    """Convert, play every schedule over held-out shots, and write what came of it.

    Files: the bundle `shapes-fcn8s.staged`, `overlay.mp4`, `timeline.png`, `accuracy-cost.png` and
    `report.json`.

    Args:
        folder: Where the files go; it is made where it is missing.
        schedules: The schedules, as text.
        data_set: What is played, by default the generated shapes video.
        device: As for `runtime.open`.
        progress: Called with each schedule; gives what sees its steps.

    Returns:
        What each schedule scored and cost, and the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bundle = embedded_bundle(folder / "shapes-fcn8s.staged")
    data_set = data_set or shapes_data.read(frames=FRAMES)
    # A net this small gains nothing from a second thread, and loses much where the other core is busy.
    run = Run(bundle, data_set, device=device, threads=1)
    stages = tuple(stage.name for stage in bundle.manifest.stages)
    strips = Strips(stages[-1])
    moving_tallies = {name: run.tally(played_schedule(run.schedule(name), name)) for name in schedules}
    video = folder / "overlay.mp4"
    with _Recorder(video, stages) as recorder:

        def watch(schedule: str) -> Watch:
            watchers = [strips.watch(schedule), _moving_only(moving_tallies[schedule].add)]
            if schedule == SHOWN:
                watchers.append(recorder.add)
            if progress is not None:
                watchers.append(progress(schedule))
            return together(watchers)

        results = run_schedules(run, schedules, watch=watch)
    moving = {schedule: tally.result() for schedule, tally in moving_tallies.items()}
    title = f"shapes-fcn8s on {len(data_set.shots)} held-out shots, {data_set.labelled} labelled frames"
    summary = summarise(title, results, data_set.classes, stages)
    outcome = DemoResult(summary, moving, ())
    figures = {name: figure for name, _, figure in summary.plots(strips)}
    report = json.dumps(outcome.as_json(), indent=1, allow_nan=False) + "\n"
    written = write_files(folder, {**figures, "report.json": report})
    return DemoResult(summary, moving, (bundle.path, video, *written))


def _moving_only(watch: Watch) -> Watch:
    def see(seen: StepSeen) -> None:
        if not seen.clip.name.startswith("static"):
            watch(seen)

    return see


class _Recorder:
    """Writes the overlay of every step that it is shown to a video."""

    def __init__(self, path: Path, stages: tuple[str, ...]) -> None:
        self._path = path
        self._overlay = Overlay(demo_classes(), stages=(*stages, "head"), beside=True)
        self._writer: VideoWriter | None = None

    def __enter__(self) -> _Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, seen: StepSeen) -> None:
        picture = self._overlay.draw(seen.image, seen.step.labels, seen.step)
        if self._writer is None:
            self._writer = VideoWriter(self._path, FPS, (picture.shape[0], picture.shape[1]))
        self._writer.write(picture)
