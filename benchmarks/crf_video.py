"""The dense CRF on video: mean IU with and without, iterations, and what a moved start is worth.

The network's scores are computed once for every frame. On every tenth frame a grid of parameters is tried,
and the best is scored on all the others: after 1, 2, 3, 5 and 10 iterations from softmax (DeepLab's start),
and after 1, 2, 3 and 5 from Q of the frame before, moved along the optical flow. Printed for each: mean IU,
the share of labels that differ from those of ten iterations from softmax, and processor time per frame beyond
the lattices (which all need), as the median over the frames.

    python benchmarks/crf_video.py espnet.staged --frames FOLDER --labels FOLDER --map 3,4,1,... --ignore 11
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from itertools import islice, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clockwork_onnx.evaluation.datasets.base import list_files, read_label, remap, without_classes
from clockwork_onnx.evaluation.scoring.metrics import Confusion
from runtime.densecrf import CrfParameters, DenseCrf
from runtime.densecrf.lattice import Lattice
from runtime.densecrf.playing import moved_along, open_refined
from runtime.flow.estimators import flow_estimator
from runtime.video.images import read_image

LABELS = NDArray[np.uint8]
FROM_SOFTMAX = (1, 2, 3, 5, 10)
MOVED = (1, 2, 3, 5)
TUNED_ON = 10
"""Every this many frames one is for the grid."""


def main() -> None:
    """Run it on the command line's bundle and folders."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle")
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--map", required=True)
    parser.add_argument("--ignore", type=int, default=11)
    given = parser.parse_args()
    table = [int(part) for part in given.map.split(",")]
    files = list_files(given.frames)
    images = [read_image(file) for file in files]
    truths = [without_classes(read_label(given.labels / file.name), [given.ignore]) for file in files]
    scores = list(_scores(given.bundle, images))
    best = _tune(images, scores, truths, table)
    print(f"best on every {TUNED_ON}th frame: {best.text()}", flush=True)
    _play(images, scores, truths, table, best)


def _scores(bundle: str, images: Sequence[LABELS]) -> Iterator[NDArray[np.float32]]:
    with open_refined(bundle, CrfParameters(), device="cpu", schedule="oracle") as refined:
        for image, _ in zip(images, refined.player.play(images), strict=True):
            yield refined.scores((image.shape[0], image.shape[1]))


def _tune(
    images: Sequence[LABELS],
    scores: Sequence[NDArray[np.float32]],
    truths: Sequence[LABELS],
    table: Sequence[int],
) -> CrfParameters:
    settings = [
        CrfParameters.of(w, xy, rgb, pos_w)
        for xy, rgb, pos_w, w in product((20, 50), (3, 5, 10), (1,), (1, 3, 5))
    ]
    counts = [Confusion(len(set(table))) for _ in range(len(settings) + 1)]
    for position in range(0, len(images), TUNED_ON):
        lattices: dict[tuple[float, ...], Lattice] = {}
        counts[-1].add(truths[position], _labels(scores[position], table))
        for setting, confusion in zip(settings, counts, strict=False):
            q = DenseCrf(images[position], setting, lattices).infer(scores[position])
            confusion.add(truths[position], _labels(q, table))
    found = [confusion.scores().mean_iu for confusion in counts]
    print(f"grid of {len(settings)} on {len(images[::TUNED_ON])} frames: without {found[-1]:.4f}")
    for setting, iu in sorted(zip(settings, found, strict=False), key=lambda pair: -pair[1])[:5]:
        print(f"  {iu:.4f}  {setting.text()}")
    return settings[int(np.argmax(found[:-1]))]


def _labels(values: NDArray[np.float32], table: Sequence[int]) -> LABELS:
    return remap(values.argmax(axis=0).astype(np.uint8), table)


def _play(
    images: Sequence[LABELS],
    scores: Sequence[NDArray[np.float32]],
    truths: Sequence[LABELS],
    table: Sequence[int],
    parameters: CrfParameters,
) -> None:
    names = ["without", *(f"softmax {n}" for n in FROM_SOFTMAX), *(f"moved {n}" for n in MOVED)]
    counts = {name: Confusion(len(set(table))) for name in names}
    different: dict[str, list[float]] = {name: [] for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in (*names, "lattices", "flow")}
    flow = flow_estimator("auto")
    before: dict[int, NDArray[np.float32]] = {}
    for position, (image, values) in enumerate(zip(images, scores, strict=True)):
        began = time.process_time()
        crf = DenseCrf(image, parameters)
        seconds["lattices"].append(time.process_time() - began)
        found = {"without": values}
        began = time.process_time()
        for n, q in enumerate(islice(crf.steps(values), max(FROM_SOFTMAX) + 1)):
            if n in FROM_SOFTMAX:
                found[f"softmax {n}"] = q
                seconds[f"softmax {n}"].append(time.process_time() - began)
        began = time.process_time()
        path = flow.estimate(images[position - 1], image) if position else None
        seconds["flow"].append(time.process_time() - began)
        for n in MOVED:
            began = time.process_time()
            start = moved_along(before[n], path) if path is not None else None
            steps = n if path is not None else max(FROM_SOFTMAX)
            before[n] = next(islice(crf.steps(values, start), steps, None))
            found[f"moved {n}"] = before[n]
            seconds[f"moved {n}"].append(time.process_time() - began)
        if position % TUNED_ON == 0:
            continue
        reference = found[f"softmax {max(FROM_SOFTMAX)}"].argmax(axis=0)
        for name, q in found.items():
            counts[name].add(truths[position], _labels(q, table))
            different[name].append(float(np.mean(q.argmax(axis=0) != reference)))
    print(f"{len(different['without'])} frames")
    print(f"lattices {_ms(seconds['lattices'])}, flow {_ms(seconds['flow'])}")
    for name in names:
        iu = counts[name].scores().mean_iu
        print(f"{name:12} mean IU {iu:.4f}  differ {np.mean(different[name]):8.4%}  {_ms(seconds[name])}")


def _ms(values: Sequence[float]) -> str:
    return f"{1e3 * float(np.median(values)):6.0f} ms" if values else ""


if __name__ == "__main__":
    main()
