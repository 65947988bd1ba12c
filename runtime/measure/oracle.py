"""What the oracle, every stage on every frame, says of single frames of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime.player import Player
from runtime.video.frames import Frame

__all__ = ["oracle_labels"]


def oracle_labels(player: Player, images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Run every stage on each image, as on the first frame of a shot.

    Args:
        player: Lends its sessions. It forgets its state and plays the oracle afterwards.
        images: uint8, height x width x 3, RGB; sizes may differ.

    Returns:
        The label map of each image, uint8, height x width.

    Raises:
        BundleError, DeviceError: A stage cannot run on an image.
    """
    player.reset("oracle")
    frames = (Frame(i, None, image, f"{i:06d}", shot_start=True) for i, image in enumerate(images))
    return [np.array(step.labels) for step in player.play(frames)]
