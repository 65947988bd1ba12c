"""Parameters of MXNet nets by their names: the same numbers wherever they are asked for.

Each array is drawn from a seed made of its own name, so neither order nor files matter, and fixtures of whole
nets need not hold weights. Runs in the MXNet environment too.
"""

from __future__ import annotations

import re
import zlib

import numpy as np

SUFFIX = {
    "weight": "weight",
    "bias": "bias",
    "scale": "gamma",
    "shift": "beta",
    "mean": "moving_mean",
    "variance": "moving_var",
}
"""How MXNet ends the name of a parameter, by the role that a layer rule gives the blob."""

FACTORS = (
    # The last BatchNorm, or convolution, of a residual unit: or else values grow unit by unit.
    (r"branch2c_gamma|_(?:18|34)?_?res5._branch2b_gamma|unit\d+_bn2_gamma", 0.2),
    # Pixels have a spread of some 60 grey levels.
    (r"bn_conv1_moving_var|bn_data_moving_var|bn0_moving_var", 4000.0),
    # Taps that move by a pixel or two.
    (r"_offset_weight", 0.3),
)


def parameter(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The parameter so named, float32."""
    rng = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith(("_gamma", "_var")):
        values = rng.uniform(0.5, 1.5, shape)
    elif name.endswith(("_beta", "_mean", "_bias")):
        values = rng.normal(0.0, 0.2, shape)
    else:
        values = rng.normal(0.0, np.sqrt(2.0 / np.prod(shape[1:])), shape)
    for pattern, factor in FACTORS:
        if re.search(pattern, name):
            values = values * factor
    return values.astype(np.float32)


def pictures(size: tuple[int, int], count: int, seed: int = 0) -> np.ndarray:
    """Pictures of a smooth pattern that moves, as the nets read them: (count, 3, H, W), some +-60."""
    rng = np.random.RandomState(seed)
    waves = rng.uniform(0.02, 0.3, (3, 6, 2))
    phase = rng.uniform(0, 2 * np.pi, (3, 6))
    rows, columns = np.mgrid[: size[0], : size[1]]
    frames = []
    for number in range(count):
        planes = []
        for channel in range(3):
            plane = np.zeros(size)
            for (down, across), start in zip(waves[channel], phase[channel], strict=True):
                plane += np.sin(down * (rows + 2 * number) + across * (columns - 3 * number) + start)
            planes.append(25 * plane)
        frames.append(planes)
    return (np.array(frames) + rng.normal(0, 5, (count, 3, *size))).astype(np.float32)
