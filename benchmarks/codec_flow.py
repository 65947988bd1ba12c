"""Flow from a decoder's motion vectors against estimated flow, on streams made of labelled frames.

    python benchmarks/codec_flow.py BUNDLE --frames FOLDER --labels FOLDER --map 3,4,... --ignore 11

The frames are encoded twice with x264: P pictures with one reference, and as it does by default. Printed are
the mean IU of `warp:K` with either flow, over four choices of key frames, and from where the flow came.
"""

from __future__ import annotations

import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

import runtime
from clockwork_onnx.commands.run_summary import flow_sentence
from clockwork_onnx.evaluation.datasets import folders
from clockwork_onnx.evaluation.datasets.base import Sample, remap
from clockwork_onnx.evaluation.scoring.metrics import Confusion
from runtime.flow.codec import block_flow
from runtime.video.reader import open_video

INTERVALS = (4, 8, 12)
STREAMS: dict[str, tuple[dict[str, str], tuple[int, ...]]] = {
    "P pictures, one reference": ({"bf": "0", "refs": "1"}, INTERVALS),
    "x264's default": ({}, (8,)),
}
"""Options of x264, and the intervals that are played."""


def main() -> None:
    """Print a table per stream."""
    asked = _asked()
    prediction_map = tuple(int(part) for part in asked.map.split(","))
    data = folders.read(
        asked.frames,
        asked.labels,
        classes=tuple(map(str, range(max(c for c in prediction_map if c != 255) + 1))),
        ignored=tuple(asked.ignore),
        prediction_map=prediction_map,
        name="frames",
    )
    samples = [sample for shot in data.shots for sample in shot.samples]
    for name, (options, intervals) in STREAMS.items():
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "stream.mp4"
            _encode(file, samples, {"crf": str(asked.crf), **options})
            print(name)
            _times(file)
            for interval in intervals:
                for flow in ("dis", "codec"):
                    _line(asked.bundle, file, samples, prediction_map, interval, flow)


def _asked() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--map", required=True)
    parser.add_argument("--ignore", type=int, action="append", default=[])
    parser.add_argument("--crf", type=int, default=18)
    return parser.parse_args()


def _encode(file: Path, samples: Sequence[Sample], options: dict[str, str]) -> None:
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=30, options=options)
        stream.height, stream.width = samples[0].read_image().shape[:2]
        stream.pix_fmt = "yuv420p"
        for sample in samples:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(sample.read_image(), format="rgb24")))
        container.mux(stream.encode())


def _times(file: Path) -> None:
    """What the vectors cost beside decoding, in milliseconds per frame: best of three, in turns."""
    best = {False: np.inf, True: np.inf}
    frames = []
    for _ in range(3):
        for motion in best:
            began = time.perf_counter()
            with open_video(file, motion=motion) as reader:
                frames = list(reader)
            best[motion] = min(best[motion], (time.perf_counter() - began) / len(frames) * 1e3)
    with open_video(file, motion=True) as reader:
        found = [f.motion.vectors for f in reader if f.motion is not None and f.motion.vectors is not None]
    began = time.perf_counter()
    for vectors in found:
        block_flow(vectors, frames[0].image.shape[:2])
    made = (time.perf_counter() - began) / max(1, len(found)) * 1e3
    print(f"  decoding {best[False]:.2f} ms, vectors {best[True] - best[False]:+.2f}, their flow {made:.2f}")


def _line(
    bundle: Path, file: Path, samples: Sequence[Sample], table: tuple[int, ...], interval: int, flow: str
) -> None:
    scores, sentence = [], ""
    for phase in range(0, interval, interval // 4):
        confusion = Confusion(max(c for c in table if c != 255) + 1)
        schedule = f"warp:{interval}@{phase}@flow={flow}"
        with runtime.open(bundle, device="cpu", schedule=schedule, threads=1) as player:
            with open_video(file, motion=player.reads_motion) as reader:
                for step, sample in zip(player.play(reader), samples, strict=True):
                    if sample.read_label is not None:
                        confusion.add(sample.read_label(), remap(step.labels, table))
            sentence = flow_sentence(player.flow_counts) if player.flow_counts else ""
        scores.append(confusion.scores().mean_iu)
    shown = " ".join(f"{score:.4f}" for score in scores)
    print(f"  warp:{interval:<3d}{flow:6s} {np.mean(scores):.4f}  ({shown})  {sentence}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
