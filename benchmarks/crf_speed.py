"""The dense CRF against pydensecrf: labels, processor time and memory, on one thread, interleaved in one run.

Pictures come from a folder, scores are smooth noise of 21 classes. For each variant of DeepLab's parameters:
pixels whose labels differ, the largest difference of Q, and the median processor seconds of both.

    OMP_NUM_THREADS=1 python benchmarks/crf_speed.py FOLDER [PICTURES]

pydensecrf is not a dependency: it has no wheels and needs a C++ compiler (`pip install pydensecrf2`).
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from clockwork_onnx.evaluation.datasets.base import list_files
from runtime.densecrf import PUBLISHED, DenseCrf, log_softmax
from runtime.densecrf.playing import resized
from runtime.video.images import read_image
from tests.runtime.densecrf.make_fixture import by_pydensecrf

CLASSES = 21


def smooth_scores(size: tuple[int, int], seed: int) -> np.ndarray:
    """log p, K x H x W: noise on a coarse grid, of a sharpness that changes with the seed."""
    coarse = (size[0] // 16 + 2, size[1] // 16 + 2)
    noise = np.random.default_rng(seed).normal(0, 1 + seed % 4, (CLASSES, *coarse)).astype(np.float32)
    return log_softmax(resized(noise, size))


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    result = call()
    return time.process_time() - began, result


def main(folder: Path, count: int) -> None:
    """Compare on the first pictures of a folder, spread over it."""
    files = list_files(folder)
    files = files[:: max(1, len(files) // count)][:count]
    for name, parameters in PUBLISHED.items():
        seconds: dict[str, list[float]] = {"ours": [], "pydensecrf": []}
        different, largest = 0, 0.0
        for seed, file in enumerate(files):
            picture = read_image(file)
            log_p = smooth_scores(picture.shape[:2], seed)
            one, expected = timed(lambda: by_pydensecrf(picture, log_p, parameters))  # noqa: B023
            other, q = timed(lambda: DenseCrf(picture, parameters).infer(log_p))  # noqa: B023
            seconds["pydensecrf"].append(one)
            seconds["ours"].append(other)
            different += int((q.argmax(axis=0) != expected.argmax(axis=0)).sum())
            largest = max(largest, float(np.abs(q - expected).max()))
        ours, theirs = (float(np.median(seconds[who])) for who in ("ours", "pydensecrf"))
        print(
            f"{name:26} {len(files)} pictures: {different} labels differ, max |dQ| {largest:.1e}; "
            f"{ours:.2f} s against {theirs:.2f} s, ratio {ours / theirs:.2f}",
            flush=True,
        )
    for who in ("neither", "ours", "pydensecrf"):
        subprocess.run([sys.executable, __file__, str(files[0]), f"--{who}"], check=True)


def memory(file: Path, who: str) -> None:
    """Print the most memory that this process held for one picture."""
    picture = read_image(file)
    log_p = smooth_scores(picture.shape[:2], 1)
    if who == "ours":
        DenseCrf(picture, PUBLISHED["deeplab-msc"]).infer(log_p)
    elif who == "pydensecrf":
        by_pydensecrf(picture, log_p, PUBLISHED["deeplab-msc"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"most memory, {who}: {peak:.0f} MB")


if __name__ == "__main__":
    if sys.argv[2:3] and sys.argv[2].startswith("--"):
        memory(Path(sys.argv[1]), sys.argv[2][2:])
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else 20)
