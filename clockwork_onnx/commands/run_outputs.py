"""The files that `clockwork run` writes: labels, overlay, timeline, log, page, views."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from clockwork_onnx.commands.run_folder import RunFolder, RunState
from runtime.report.overlay import Overlay
from runtime.report.run_record import RunRecord
from runtime.report.samples import Sample, SampleKeeper, with_oracle
from staged_onnx import FRAME
from staged_onnx.palettes import Classes
from weights.errors import UsageError
from weights.whole_file import growing

if TYPE_CHECKING:
    import numpy as np

    from clockwork_onnx.commands.run_resume import Earlier
    from runtime.densecrf.playing import RefinedPlayer
    from runtime.player import Player
    from runtime.report.html import Section
    from runtime.step import Step
    from runtime.video.frames import Frame
    from runtime.video.reader import VideoReader

__all__ = ["RunOutputs"]

FALLBACK_FPS = Fraction(15)
"""For image folders, which have no rate of their own."""


class RunOutputs:
    """Opens each writer at the first step, so that bad input leaves nothing behind.

    Args:
        folder: Where to write; None where nothing is written.
        state: What the run is, and what is written.
        player, reader: What plays, and what is played.
        fps: Frame rate of the overlay; None takes the source's.
        alpha: Strength of the overlay.
        views: Options of the views.
        earlier: What an earlier run left that this goes on with.
    """

    def __init__(
        self,
        folder: RunFolder | None,
        state: RunState,
        player: Player | RefinedPlayer,
        reader: VideoReader,
        *,
        fps: Fraction | None,
        alpha: float,
        views: dict[str, Any],
        earlier: Earlier | None = None,
    ) -> None:
        gives = player.bundle.manifest.output.kind
        of_labels = [f"--{name}" for name in ("labels", "mat", "views", "report") if name in state.outputs]
        if of_labels and gives != "labels":
            raise UsageError(
                f"this bundle gives no labels but a {gives}",
                found=", ".join(of_labels),
                expected="--overlay, or no option at all",
            )
        still = reader.frame_count == 1 and reader.fps is None
        if earlier is not None and folder is not None:  # it may go on with a folder's last picture
            still = (folder.path / "overlay.png").exists()
        names = {
            "labels": "labels",
            "overlay": "overlay.png" if still else "overlay.mp4",
            "timeline": "timeline.png",
            "log": "steps.jsonl",
            "report": "report.html",
            "mat": "mat",
            "views": "views",
        }
        self._view_options = views
        self._folder = folder
        self._state = state
        self._earlier = earlier
        self.paths = {kind: folder.path / names[kind] for kind in state.outputs} if folder is not None else {}
        self.player = player
        self.fps = fps or reader.fps or FALLBACK_FPS
        self._forced = fps is not None
        manifest = player.bundle.manifest
        classes = Classes(manifest.class_names, manifest.palette) if manifest.class_names else None
        self._overlay = Overlay(classes, tuple(s.name for s in (*manifest.stages, manifest.head)), alpha)
        self._classes, self._alpha = classes, alpha
        self.record = RunRecord()
        self._samples = SampleKeeper()
        self._stack = ExitStack()
        self._writers: dict[str, Any] = {}

    def __enter__(self) -> RunOutputs:
        return self

    def __exit__(self, *error: Any) -> None:
        self._close()
        if self._folder is not None and self._state.state == "running" and self.record.frames:
            self._folder.write(replace(self._state, state="interrupted", frames=self.record.frames))

    def _close(self) -> None:
        """Give every file its name."""
        self._stack.close()
        if self._earlier is not None and self._earlier.overlay is not None and self.record.frames:
            self._earlier.overlay.unlink(missing_ok=True)  # the new one has all its frames

    def write(self, step: Step, frame: Frame) -> None:
        """Write one step; it is counted, not kept.

        Args:
            step: The step.
            frame: The frame that it came of.
        """
        image = frame.image
        if not self.record.frames:
            self._open(step, image)
            if self._earlier is not None:  # it was written before the run broke off
                return
        if "labels" in self._writers:
            self._writers["labels"].write(step.labels, step.name)
        if "views" in self._writers:
            self._writers["views"].write(image, step.labels, Path(step.name or f"{step.index:06d}").stem)
        if "mat" in self.paths:
            self._write_mat(step, image)
        if "overlay" in self.paths and "overlay" not in self._writers:
            _write_picture(self.paths["overlay"], self._overlay.blended(image, step.output, kind=step.kind))
        if "overlay" in self._writers:
            picture = self._overlay.draw(image, step.output, step, kind=step.kind)
            self._writers["overlay"].write(picture, None if self._forced else step.time)
        if "log" in self._writers:
            self._writers["log"].write(step)
        if "report" in self.paths:
            self._samples.add(step, image, step.output, frame.more)
        self.record.add(step)

    def _write_mat(self, step: Step, image: np.ndarray) -> None:
        from clockwork_onnx.deeplab.mat_files import blob_name, write_mat
        from runtime.densecrf.playing import RefinedPlayer

        assert isinstance(self.player, RefinedPlayer)  # opened so where scores are wanted
        self.paths["mat"].mkdir(exist_ok=True)
        scores = self.player.scores((image.shape[0], image.shape[1]))
        write_mat(self.paths["mat"] / blob_name(step.name), scores)

    def _open(self, step: Step, image: np.ndarray) -> None:
        if self._folder is None:
            return
        from runtime.report.step_log import StepLog
        from runtime.video.writer import LabelWriter, VideoWriter

        self._folder.begin(self._state)
        manifest, earlier = self.player.bundle.manifest, self._earlier
        written = (step.name for step in earlier.steps()) if earlier is not None else ()
        if "labels" in self.paths:
            self._writers["labels"] = self._stack.enter_context(
                LabelWriter(self.paths["labels"], manifest.palette, written=written)
            )
        if "views" in self.paths:
            from clockwork_onnx.digits.view_writer import ViewWriter

            classes = Classes(manifest.class_names, manifest.palette)
            self._writers["views"] = ViewWriter(self.paths["views"], classes, **self._view_options)
        if "overlay" in self.paths and self.paths["overlay"].suffix == ".mp4":
            size = self._overlay.draw(image, step.output, step, kind=step.kind).shape[:2]
            self._writers["overlay"] = self._stack.enter_context(
                VideoWriter(self.paths["overlay"], self.fps, size)
            )
        # The steps are kept in any case: --resume needs them.
        kept = earlier.bytes if earlier is not None else 0
        log = StepLog(self._folder.log, kept=kept, is_named="log" in self.paths)
        self._writers["log"] = self._stack.enter_context(log)
        if earlier is not None:
            self._take_over(earlier)

    def _take_over(self, earlier: Earlier) -> None:
        """Count the steps of an earlier run, and take over the frames of its overlay."""
        for step in earlier.steps():
            self.record.add(step)
        if earlier.overlay is None or "overlay" not in self._writers:
            return
        from runtime.video.reader import open_video

        writer = self._writers["overlay"]
        height, width = writer.size
        with open_video(earlier.overlay, max_frames=self.record.frames) as frames:
            for step, frame in zip(earlier.steps(), frames, strict=True):
                writer.write(frame.image[:height, :width], None if self._forced else step.time)

    def finish(self, summary: dict[str, Any]) -> None:
        """Draw what needs the whole run, and give every file its name."""
        from runtime.report.page import write_report
        from runtime.report.timeline import draw_timeline

        self._close()
        if "views" in self._writers:
            self._writers["views"].finish(str(summary["source"]), f"{summary['schedule']}")
        theta = _theta(self.player)
        if "timeline" in self.paths and self.record.frames:
            draw_timeline(self.record, self.paths["timeline"], theta=theta, title=summary["schedule"])
        if "report" in self.paths and self.record.frames:
            samples = self._beside_the_oracle(summary)
            write_report(
                self.paths["report"],
                self.record,
                summary,
                samples,
                classes=self._classes,
                theta=theta,
                alpha=self._alpha,
                sections=self._sections(),
            )
        if self._folder is not None and self.record.frames:
            done = "interrupted" if summary["interrupted"] else "complete"
            self._state = replace(self._state, state=done, frames=self.record.frames)
            self._folder.write(self._state)
            if done == "complete":
                growing(self._folder.log).unlink(missing_ok=True)

    def _sections(self) -> list[Section]:
        """Parts of the page that come from elsewhere: DIGITS' views, where they are written."""
        if "views" not in self._writers:
            return []
        from clockwork_onnx.digits.views_page import views_section

        return [views_section(self._writers["views"].samples)]

    def _beside_the_oracle(self, summary: dict[str, Any]) -> list[Sample]:
        """The frames to show, and the oracle run on them where some are stale; what that cost is said."""
        from runtime.measure.oracle import oracle_labels

        samples = self._samples.samples()
        if all(sample.age == 0 for sample in samples):
            return samples
        began = perf_counter()
        labels = oracle_labels(self.player, [{FRAME: sample.image, **sample.more} for sample in samples])
        summary["oracle_samples"] = {"frames": len(samples), "seconds": perf_counter() - began}
        return with_oracle(samples, labels)


def _theta(player: Player | RefinedPlayer) -> float | None:
    """The threshold of the first clock that has one."""
    thetas = (getattr(clock, "theta", None) for clock in player.schedule.clocks)
    return next((theta for theta in thetas if theta is not None), None)


def _write_picture(path: Path, picture: np.ndarray) -> None:
    from PIL import Image

    from weights.whole_file import whole_file

    with whole_file(path) as partial:
        Image.fromarray(picture).save(partial, "PNG")
