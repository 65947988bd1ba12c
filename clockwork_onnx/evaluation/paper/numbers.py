"""The numbers that the clockwork paper prints, in percent, and what its notebooks give where it misprints."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PAPER_WEIGHTS", "TABLE_1", "PaperRow", "paper_row", "paper_thresholds"]

PAPER_WEIGHTS = frozenset(
    {
        "voc-fcn8s-heavy.caffemodel",
        "nyud-fcn8s-rgb-heavy.caffemodel",
        "cityscapes-fcn8s-heavy.caffemodel",
    }
)
"""Names under which the paper's nets were published; only with them are its numbers comparable."""


@dataclass(frozen=True)
class PaperRow:
    """Mean IU and fwIU, and the same on the boundary band, as shares; None where nothing is printed."""

    mean_iu: float | None = None
    fw_iu: float | None = None
    boundary_mean_iu: float | None = None
    boundary_fw_iu: float | None = None


_Row = tuple[float | None, ...]

_PRINTED: dict[str, dict[str, _Row]] = {
    "pascal-16": {
        "frame oracle": (65.9, 83.6, 57.0, 56.3),
        "3-stage baseline": (9.2, 52.6, 6.1, 9.4),
        "3-stage pipeline": (56.0, 76.5, 44.6, 42.9),
        "2-stage baseline": (22.5, 64.7, 16.6, 21.9),
        "2-stage pipeline": (63.3, 81.7, 52.3, 51.0),
        "skip frame": (63.0, 81.5, 60.2, 52.2),
        "exponential": (61.4, 80.4, 50.5, 49.1),
        "alternating": (64.7, 82.6, 54.8, 53.7),
    },
    "pascal-32": {
        "frame oracle": (65.6, 82.6, 55.8, 55.3),
        "3-stage baseline": (9.2, 52.6, 6.0, 9.4),
        "3-stage pipeline": (45.5, 67.4, 37.7, 36.0),
        "2-stage baseline": (22.4, 62.8, 16.2, 21.7),
        "2-stage pipeline": (57.8, 76.6, 46.6, 45.1),
        "skip frame": (59.5, 77.9, 49.4, 48.2),
        "exponential": (55.5, 74.7, 46.3, 44.8),
        "alternating": (61.9, 79.6, 51.7, 50.6),
    },
    "nyudv2": {
        "frame oracle": (31.1, 45.5),
        "3-stage baseline": (8.1, 22.2),
        "3-stage pipeline": (25.1, 38.0),
        "2-stage baseline": (16.5, 32.1),
        "2-stage pipeline": (26.4, 39.5),
        "skip frame": (27.7, 41.3),
        "alternating": (28.5, 42.4),
        "adaptive": (28.9, 43.3),
    },
    "youtube": {
        "frame oracle": (70.0, 91.4),
        "3-stage baseline": (12.2, 74.2),
        "3-stage pipeline": (58.1, 87.0),
        "2-stage baseline": (21.5, 7.8),
        "2-stage pipeline": (64.0, 89.2),
        "skip frame": (65.6, 89.7),
        "alternating": (67.0, 90.3),
        "adaptive": (68.5, 91.0),
        "adaptive 0.1": (70.0, 91.4),
        "adaptive 0.25": (68.3, 90.9),
        "adaptive 0.2545": (68.5, 91.0),
        "adaptive 0.35": (59.0, 88.5),
    },
    "cityscapes": {
        "frame oracle": (65.9, 83.6),
        "skip frame": (62.1, 87.4),
        "alternating": (64.4, 88.6),
        "adaptive": (61.8, 87.6),
        "adaptive 0.25": (65.8, 89.4),
        "adaptive 0.375": (64.2, 88.8),
        "adaptive 0.47": (61.8, 87.6),
        "adaptive 0.5": (60.1, 86.9),
    },
}

# Misprints (A9, A10, A11) with what the notebooks give; None where no right value is known.
_CORRECTED: dict[tuple[str, str], _Row] = {
    ("pascal-16", "3-stage baseline"): (9.2, 54.8, 6.1, 9.4),
    ("pascal-16", "skip frame"): (63.0, 81.5, None, 52.2),
    ("youtube", "2-stage baseline"): (21.5, None),
    ("cityscapes", "frame oracle"): (66.4, 89.5),
}

TABLE_1: dict[str, tuple[float, float, int, float | None]] = {
    "pixels": (0.26, 0.18, 0, None),
    "pool3": (0.11, 0.06, 9, 9.6),
    "pool4": (0.11, 0.06, 13, 20.7),
    "fc7": (0.02, 0.02, 19, 65.5),
}
"""Temporal difference (mean, standard deviation), depth, mean IU in percent of a net cut off there."""


def paper_row(data: str, method: str, misprints: str = "corrected") -> PaperRow | None:
    """What the paper prints for a method.

    Args:
        data: The experiment's key.
        method: The method's name.
        misprints: "corrected", by what the paper's notebooks give, or "printed".

    Returns:
        The row, as shares from 0 to 1; None where the paper has none.
    """
    row = _PRINTED.get(data, {}).get(method)
    if row is None:
        return None
    if misprints == "corrected":
        row = _CORRECTED.get((data, method), row)
    return PaperRow(*(None if value is None else round(value / 100, 4) for value in row))


def paper_thresholds(data: str) -> tuple[float, ...]:
    """The thresholds of the adaptive clock for which the paper or its notebooks have numbers; () for none."""
    found = (method.removeprefix("adaptive ") for method in _PRINTED.get(data, {}) if "adaptive " in method)
    return tuple(float(text) for text in found)
