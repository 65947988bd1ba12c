"""Makes `pydensecrf.npz`: what pydensecrf 1.1 (the pydensecrf2 package) gives for a small synthetic picture.

Run where that package is built (it has no wheels and needs a C++ compiler and Python 3.7 to 3.12):

    python -m tests.runtime.densecrf.make_fixture

DIAG_KERNEL and NORMALIZE_AFTER are what DeepLab v1's own program does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from runtime.densecrf import PUBLISHED, CrfParameters, log_softmax

FIXTURE = Path(__file__).with_name("pydensecrf.npz")


def synthetic(
    height: int, width: int, classes: int, seed: int = 0, noise: float = 6
) -> tuple[np.ndarray, np.ndarray]:
    """A picture of three discs on a ramp, and scores that blur their outlines.

    Returns:
        H x W x 3, uint8, with `noise` levels of noise; log p, K x H x W.
    """
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:height, :width].astype(np.float32)
    picture = np.stack([across * 80 / width, down * 80 / height, np.full((height, width), 60)], axis=-1)
    scores = rng.normal(0, 0.7, (classes, height, width))
    for label in range(1, min(classes, 4)):
        y, x, radius = rng.uniform(0.2, 0.8) * height, rng.uniform(0.2, 0.8) * width, height / 5
        away = np.hypot(down - y, across - x) - radius
        picture[away < 0] = rng.uniform(60, 250, 3)
        scores[label] += 2 * np.tanh(-away / (radius / 2))
    picture += rng.normal(0, noise, picture.shape)
    return picture.clip(0, 255).astype(np.uint8), log_softmax(scores.astype(np.float32))


def by_pydensecrf(picture: np.ndarray, log_p: np.ndarray, p: CrfParameters) -> np.ndarray:
    """Q, K x H x W, by pydensecrf; ImportError where that is not installed."""
    import pydensecrf.densecrf as reference  # type: ignore[import-not-found]

    how: dict[str, Any] = {
        "kernel": reference.DIAG_KERNEL,
        "normalization": reference.NORMALIZE_AFTER,
    }
    classes, height, width = log_p.shape
    crf = reference.DenseCRF2D(width, height, classes)
    crf.setUnaryEnergy(np.ascontiguousarray(-log_p.reshape(classes, -1), np.float32))
    crf.addPairwiseGaussian(sxy=(p.pos_x_std, p.pos_y_std), compat=p.pos_w, **how)
    crf.addPairwiseBilateral(
        sxy=(p.bi_x_std, p.bi_y_std),
        srgb=(p.bi_r_std, p.bi_g_std, p.bi_b_std),
        rgbim=picture,
        compat=p.bi_w,
        **how,
    )
    return np.array(crf.inference(int(p.iterations)), np.float32).reshape(log_p.shape)


def main() -> None:
    """Write the fixture."""
    picture, log_p = synthetic(48, 64, 5)
    arrays: dict[str, np.ndarray] = {"picture": picture, "log_p": log_p.astype(np.float16)}
    log_p = log_softmax(arrays["log_p"].astype(np.float32))
    for name, parameters in PUBLISHED.items():
        q = by_pydensecrf(picture, log_p, parameters)
        arrays[f"labels {name}"] = q.argmax(axis=0).astype(np.uint8)
        arrays[f"q {name}"] = q[1].astype(np.float16)
    np.savez_compressed(FIXTURE, **arrays)


if __name__ == "__main__":
    main()
