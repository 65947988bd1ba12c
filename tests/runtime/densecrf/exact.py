"""The mean field with every pair of pixels summed up, in float64: slow, and without a lattice."""

from __future__ import annotations

import numpy as np

from runtime.densecrf import CrfParameters


def kernel(features: np.ndarray) -> np.ndarray:
    """exp(-|f_i - f_j|^2 / 2) for all pairs of the points d x N."""
    square = ((features[:, :, None] - features[:, None, :]) ** 2).sum(axis=0)
    return np.asarray(np.exp(-square / 2))


def softmax(energy: np.ndarray) -> np.ndarray:
    powers = np.exp(energy - energy.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0))


def exact_mean_field(picture: np.ndarray, scores: np.ndarray, p: CrfParameters) -> np.ndarray:
    """Q, K x H x W, after the parameters' iterations."""
    down, across = np.mgrid[: picture.shape[0], : picture.shape[1]].reshape(2, -1)
    red, green, blue = picture.reshape(-1, 3).T.astype(np.float64)
    position = kernel(np.stack([across / p.pos_x_std, down / p.pos_y_std]))
    appearance = kernel(
        np.stack(
            [
                across / p.bi_x_std,
                down / p.bi_y_std,
                red / p.bi_r_std,
                green / p.bi_g_std,
                blue / p.bi_b_std,
            ]
        )
    )
    energy = scores.reshape(scores.shape[0], -1).astype(np.float64)
    q = softmax(energy)
    for _ in range(int(p.iterations)):
        messages = p.pos_w * (q @ position) / position.sum(axis=0)
        messages += p.bi_w * (q @ appearance) / appearance.sum(axis=0)
        q = softmax(energy + messages)
    return q.reshape(scores.shape)
