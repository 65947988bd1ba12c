"""Steps as a player would hand them out, made by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np


@dataclass
class FakeStep:
    index: int
    name: str = ""
    time: Fraction | None = None
    shot: int = 0
    labels: np.ndarray = field(default_factory=lambda: np.zeros((4, 4), np.uint8))
    fired: tuple[str, ...] = ("stage1", "stage2", "stage3", "head")
    ages: dict[str, int] = field(default_factory=dict)
    signal: float | None = None
    ms: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, dict[str, int]] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=dict)
    delay: int = 0


def adaptive_run(
    count: int, theta: float = 0.25, shots: tuple[int, ...] = (), seed: int = 0
) -> list[FakeStep]:
    """`count` steps of a three-stage net whose last stage fires when a wandering signal reaches `theta`."""
    rng = np.random.default_rng(0)
    steps, age, shot, drift = [], 0, 0, 0.0
    for i in range(count):
        new_shot = i == 0 or i in shots
        shot += int(new_shot and i > 0)
        speed = 0.035 * (1.2 + np.sin(i / 23)) + 0.01 * rng.random()
        drift = 0.0 if new_shot else drift + speed
        fires = new_shot or drift >= theta
        age = 0 if fires else age + 1
        steps.append(
            FakeStep(
                i,
                f"{i:06d}",
                Fraction(i, 25),
                shot,
                fired=("stage1", "stage2", *(("stage3",) if fires else ()), "head"),
                ages={"stage1": 0, "stage2": 0, "stage3": age},
                signal=None if new_shot else float(drift),
                ms={"stage1": 5.0 + rng.random(), "stage2": 3.0, "head": 1.0, "total": 9.5}
                | ({"stage3": 8.0, "total": 17.5} if fires else {}),
                provenance={"stage1": {"frame": i}, "head": {"upscore2": i - age}},
            )
        )
        if fires:
            drift = 0.0
    return steps
