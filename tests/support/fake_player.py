"""A two-stage player without a net, for tests of what stands on a player.

Stage "s1" reads a frame's red channel, stage "s2" its green one; the head gives red where it is not 0
and green elsewhere. A frame is uint8 H x W x 3 whose channel values are class indices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import SimpleNamespace

import numpy as np

from tests.support.steps import FakeStep

MANIFEST = SimpleNamespace(
    stages=[SimpleNamespace(name="s1", macs=30), SimpleNamespace(name="s2", macs=60)],
    head=SimpleNamespace(name="head", macs=10),
)


class FakePlayer:
    """Fires s1 every `rates[0]` frames and s2 every `rates[1]`, and everything on the first of a shot."""

    def __init__(self, rates: tuple[int, int] = (1, 1)) -> None:
        self.rates = rates
        self.bundle = SimpleNamespace(manifest=MANIFEST)

    def play(self, frames: Iterable) -> Iterator[FakeStep]:
        cache: dict[str, np.ndarray] = {}
        ages = {"s1": 0, "s2": 0}
        since = 0
        for frame in frames:
            since = 0 if frame.shot_start else since + 1
            fired = []
            for stage, rate, channel in (("s1", self.rates[0], 0), ("s2", self.rates[1], 1)):
                if since % rate == 0:
                    cache[stage], ages[stage] = frame.image[:, :, channel], 0
                    fired.append(stage)
                else:
                    ages[stage] += 1
            if fired:
                fired.append("head")
            labels = np.where(cache["s1"] > 0, cache["s1"], cache["s2"]).astype(np.uint8)
            ms = {stage: {"s1": 3.0, "s2": 6.0, "head": 1.0}[stage] for stage in fired}
            ms["total"] = sum(ms.values())
            yield FakeStep(
                index=frame.index,
                labels=labels,
                fired=tuple(fired),
                ages=dict(ages),
                signal=0.5 * since,
                ms=ms,
            )
