"""Bilinear upsampling kernels, as Caffe's filler and as FCN's net surgery make them."""

from __future__ import annotations

import numpy as np

from weights.errors import WeightsError

__all__ = ["bilinear_filler", "is_bilinear", "upsample_filt"]


def _outer(line: np.ndarray) -> np.ndarray:
    return np.outer(line, line).astype(np.float32)


def _check(k: int) -> None:
    if k < 1:
        raise WeightsError("no such upsampling kernel", found=f"size {k}", expected="size 1 or more")


def bilinear_filler(k: int, *, corrected: bool = False) -> np.ndarray:
    """The kernel of Caffe's BilinearFiller.

    w(y) w(x) with w(i) = 1 - |i/f - c|, f = ceil(k/2), c = (2f - 1 - f mod 2) / 2f: filler.hpp of BVLC Caffe
    1.0 and of the forks of its time. For k = 2 or 3 (mod 4) that is off centre.

    Args:
        k: Height and width of the kernel.
        corrected: Take c = (k - 1) / 2f, as BVLC Caffe does since pull request 5713 (2017), which equals
            `upsample_filt` for every k.

    Returns:
        float32, k x k.

    Raises:
        WeightsError: k is below 1.
    """
    _check(k)
    f = (k + 1) // 2
    c = (k - 1) / (2 * f) if corrected else (2 * f - 1 - f % 2) / (2 * f)
    return _outer(1 - np.abs(np.arange(k) / f - c))


def upsample_filt(k: int) -> np.ndarray:
    """The kernel of FCN's surgery.py.

    w(y) w(x) with w(i) = 1 - |i - c|/f, f = (k + 1) // 2, c = f - 1 for odd k, f - 1/2 for even k.

    Args:
        k: Height and width of the kernel.

    Returns:
        float32, k x k.

    Raises:
        WeightsError: k is below 1.
    """
    _check(k)
    f = (k + 1) // 2
    c = f - 1 if k % 2 else f - 0.5
    return _outer(1 - np.abs(np.arange(k) - c) / f)


def is_bilinear(weight: np.ndarray, tolerance: float = 1e-5) -> bool:
    """Whether a Deconvolution's weight upsamples bilinearly and does nothing else.

    Every k x k kernel must be all zero or one of the two bilinear kernels, and every channel that comes in
    must have one that is not zero. A kernel that is fixed (lr 0) and not bilinear is as a rule a mistake of
    whoever made the weights.

    Args:
        weight: (channels in, channels out / group, k, k).
        tolerance: The greatest difference from a bilinear kernel, in any of its numbers.

    Returns:
        False too for an empty array and for one that is not of that shape.
    """
    if weight.ndim != 4 or weight.shape[2] != weight.shape[3] or not weight.size:
        return False
    k = weight.shape[-1]
    kernels = weight.reshape(-1, k, k)
    used = (kernels != 0).any(axis=(1, 2))
    if not used.reshape(weight.shape[:2]).any(axis=1).all():
        return False
    return any(
        bool(np.abs(kernels[used] - kernel).max() <= tolerance)
        for kernel in (upsample_filt(k), bilinear_filler(k))
    )
