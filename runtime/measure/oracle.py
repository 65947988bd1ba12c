"""What the oracle, every stage on every frame, says of single frames of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from runtime.densecrf.playing import RefinedPlayer
from runtime.player import Player
from runtime.video.frames import Frame, pictures_of

__all__ = ["oracle_labels"]


def oracle_labels(player: Player | RefinedPlayer, frames: Sequence[Any]) -> list[np.ndarray]:
    """Run every stage on each frame, as on the first one of a shot.

    Args:
        player: Lends its sessions. It forgets its state and plays the oracle afterwards.
        frames: Images or frames as for `Player.play`; sizes may differ.

    Returns:
        The label map of each frame, uint8, height x width.

    Raises:
        BundleError, DeviceError: A stage cannot run on a frame.
    """
    player.reset("oracle")
    alone = (_alone(frame, i) for i, frame in enumerate(frames))
    return [np.array(step.labels) for step in player.play(alone)]


def _alone(frame: Any, index: int) -> Frame:
    image, more = pictures_of(frame)
    return Frame(index, None, image, f"{index:06d}", shot_start=True, more=more)
