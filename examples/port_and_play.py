"""Port a Caffe net, play a video with it, and see what a schedule saves and costs.

    python examples/port_and_play.py FOLDER

FOLDER is made; it gets a net and a video to begin with (those of `clockwork demo`), the bundle that the net
becomes, and the labelled video. Put your own prototxt, caffemodel and video in their place.
"""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import clockwork_onnx as cw
from clockwork_onnx.evaluation.demo.inputs import write_inputs
from runtime.report.overlay import Overlay
from runtime.video.writer import VideoWriter
from staged_onnx import Classes


def main(folder: Path, frames: int = 30) -> dict[str, tuple[float, float]]:
    """Returns, for each schedule, its share of the work and its agreement with the oracle's labels."""
    given = write_inputs(folder / "given", frames=frames)
    done = cw.convert(
        given.prototxt,
        given.caffemodel,
        folder / "shapes.staged",
        mean=(110, 120, 120),  # as its authors subtracted it, in the net's order of channels: B, G, R
        classes=str(given.classes),
        force=True,
    )
    for line in done.chosen:
        print("chosen:", line)

    with cw.open(done.path, schedule="oracle") as player:
        truth = [step.labels.copy() for step in player.play(cw.open_video(given.video))]

    found = {}
    for schedule in ("warp:4", "skip:4", "alternating"):
        with cw.open(done.path, schedule=schedule) as player:
            manifest = player.manifest
            macs = {stage.name: stage.macs for stage in (*manifest.stages, manifest.head)}
            spent, agreed, count = 0, 0.0, 0
            for step, oracle in zip(player.play(cw.open_video(given.video)), truth, strict=True):
                spent += sum(macs[name] for name in step.fired)
                agreed += float((step.labels == oracle).mean())
                count += 1
        found[schedule] = (spent / (count * manifest.macs), agreed / count)
        work, agreement = found[schedule]
        print(f"{schedule:12} {work:4.0%} of the work, {agreement:.1%} of the oracle's labels")

    draw(done.path, given.video, folder / "labelled.mp4")
    return found


def draw(bundle: Path, video: Path, target: Path) -> None:
    """The video with its labels over it, by the schedule that saves most."""
    with cw.open(bundle, schedule="warp:4") as player:
        manifest = player.manifest
        classes = Classes(manifest.class_names, manifest.palette)
        overlay = Overlay(classes, (*(stage.name for stage in manifest.stages), "head"))
        images = [frame.image for frame in cw.open_video(video)]
        pictures = [overlay.draw(images[step.index], step.labels, step) for step in player.play(images)]
    with VideoWriter(target, Fraction(10), pictures[0].shape[:2]) as writer:
        for picture in pictures:
            writer.write(picture)
    print("wrote", target)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example-out"))
