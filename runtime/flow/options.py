"""How values follow the picture, as data: which flow, on which grid, and what fills the gaps."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from runtime.flow.estimators import FlowSource
from staged_onnx.warp import PADDINGS
from weights.errors import UsageError

__all__ = ["FlowOptions", "grid_of"]

STARTS = ("previous", "key")
OCCLUSIONS = ("border", "previous", "fresh")
RESULTS = ("auto", "labels", "scores")
PATH_SCALES = ((Fraction(1), 1 << 16), (Fraction(1, 2), 1 << 19), (Fraction(1, 4), 0))
"""Scale of the grid of paths: the first whose frame has no more pixels than stated."""
MOST_SCORES = 1 << 24
"""Numbers that the scores of a frame may be before they are carried on a coarser grid than the frame's."""


@dataclass(frozen=True)
class FlowOptions:
    """How values follow the picture.

    flow: the estimator (see `flow_estimator`). scale: of the grid of the path and of moved scores, as a share
    of the frame's height and width; None chooses by size: paths are smooth and do with a coarser grid
    (PATH_SCALES), scores are carried at full size (to MOST_SCORES), since labels are lost otherwise. start:
    "previous", flow is estimated from frame to frame and added up, or "key", it is estimated between this
    frame and the key one. padding: what is read beyond the edge, "border" or "zeros". occlusion: what stands
    where this frame shows what the one before did not, that is where the path leaves the frame or forward and
    backward flow disagree: "border", what the warp finds there; "previous", the labels of the same place one
    frame ago; "fresh", scores that the head makes of this frame's shallow values. of: what `warp` moves, the
    "labels" themselves, which costs next to nothing, or the "scores"; "auto" is labels, but where fresh
    scores are needed. chained: values are moved on from frame to frame, each time interpolated, as Accel
    does, instead of once along the whole path. fuse: weight, at most, of what was moved against what is fresh
    where a value is computed anew (key frames); 0 takes what is fresh. origin: steps say where each pixel
    comes from.
    """

    flow: FlowSource = "auto"
    scale: Fraction | None = None
    start: str = "previous"
    padding: str = "border"
    occlusion: str = "border"
    of: str = "auto"
    chained: bool = False
    fuse: float = 0.0
    origin: bool = False

    def __post_init__(self) -> None:
        for what, value, accepted in (
            ("start of a path", self.start, STARTS),
            ("padding of a warp", self.padding, PADDINGS),
            ("way with occlusions", self.occlusion, OCCLUSIONS),
            ("result to be moved", self.of, RESULTS),
        ):
            if value not in accepted:
                raise UsageError(f"unknown {what}", found=f'"{value}"', expected=" or ".join(accepted))
        if self.scale is not None and not 0 < self.scale <= 1:
            raise UsageError("bad scale of a warp", found=self.scale, expected="above 0, at most 1")
        if not 0 <= self.fuse <= 1:
            raise UsageError("bad weight of fusion", found=self.fuse, expected="0 to 1")

    def path_scale(self, size: tuple[int, int]) -> Fraction:
        """The scale of the grid of paths at a frame size (height, width)."""
        if self.scale is not None:
            return self.scale
        return next(scale for scale, most in PATH_SCALES if size[0] * size[1] <= most or not most)

    def scores_scale(self, size: tuple[int, int], channels: int) -> Fraction:
        """The scale of the grid on which scores are carried.

        Args:
            size: The frame's height and width.
            channels: How many channels the scores have.

        Returns:
            A share of the frame's height and width, 1/4 or more where the options do not say it.
        """
        if self.scale is not None:
            return self.scale
        scale = Fraction(1)
        while channels * size[0] * size[1] * scale**2 > MOST_SCORES and scale > Fraction(1, 4):
            scale /= 2
        return scale


def grid_of(size: tuple[int, int], scale: Fraction) -> tuple[int, int]:
    """The grid at a scale over a frame.

    Args:
        size: The frame's height and width.
        scale: The grid's share of them.

    Returns:
        Height and width of the grid, rounded up.
    """
    height, width = (-(-s * scale.numerator // scale.denominator) for s in size)
    return height, width
