"""The parameters of a dense conditional random field, and those published for DeepLab's variants."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields

from weights.errors import UsageError

__all__ = ["PUBLISHED", "CrfParameters", "published"]

MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class CrfParameters:
    """Two Gaussian kernels between all pairs of pixels: one of position, one of position and colour.

    pos_w, bi_w: weights of the kernels. pos_x_std, pos_y_std, bi_x_std, bi_y_std: standard deviations across
    and down, in pixels. bi_r_std, bi_g_std, bi_b_std: standard deviations of the colours, in levels of 255.
    iterations: mean-field updates. A weight of 0 leaves its kernel out.
    """

    pos_w: float = 3
    pos_x_std: float = 3
    pos_y_std: float = 3
    bi_w: float = 5
    bi_x_std: float = 50
    bi_y_std: float = 50
    bi_r_std: float = 10
    bi_g_std: float = 10
    bi_b_std: float = 10
    iterations: int = 10

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            positive = name.endswith("_std")
            if not math.isfinite(value) or value < 0 or (positive and value == 0):
                wanted = "above 0" if positive else "0 or more"
                raise UsageError(f"bad {name} of the CRF", found=value, expected=f"a finite number {wanted}")
        if self.iterations != int(self.iterations) or self.iterations > MAX_ITERATIONS:
            raise UsageError(
                "bad number of CRF iterations", found=self.iterations, expected=f"0 to {MAX_ITERATIONS}"
            )

    @classmethod
    def of(
        cls,
        bi_w: float = 5,
        bi_xy_std: float = 50,
        bi_rgb_std: float = 10,
        pos_w: float = 3,
        pos_xy_std: float = 3,
        iterations: int = 10,
    ) -> CrfParameters:
        """From one standard deviation for both directions and one for the three colours."""
        return cls(
            pos_w, pos_xy_std, pos_xy_std, bi_w, bi_xy_std, bi_xy_std, bi_rgb_std, bi_rgb_std, bi_rgb_std,
            iterations,
        )  # fmt: skip

    def text(self) -> str:
        """`name=value` for all fields, as the command line shows and reads them."""
        return ",".join(f"{f.name}={getattr(self, f.name):g}" for f in fields(self))


PUBLISHED: dict[str, CrfParameters] = {
    "deeplab": CrfParameters.of(5, 50, 10),
    "deeplab-msc": CrfParameters.of(3, 95, 3),
    "deeplab-coco": CrfParameters.of(5, 67, 3),
    "deeplab-largefov": CrfParameters.of(4, 121, 5),
    "deeplab-msc-largefov": CrfParameters.of(4, 83, 5),
    "deeplab-coco-largefov": CrfParameters.of(5, 69, 5),
    "deeplab-msc-coco-largefov": CrfParameters.of(4, 59, 5),
    "refine-pascal": CrfParameters.of(10, 60, 20),
    "refine-pascal-v4": CrfParameters.of(5, 70, 5),
    "python-runner": CrfParameters.of(5, 50, 3),
}
"""By name: the variants of DeepLab v1, and the defaults of the programs that ran them."""


def published(name: str) -> CrfParameters:
    """The published parameters of a variant; raises UsageError listing the names."""
    try:
        return PUBLISHED[name.lower()]
    except KeyError:
        raise UsageError("unknown CRF parameters", found=name, expected=", ".join(PUBLISHED)) from None
