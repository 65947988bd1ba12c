"""The parameters of a dense conditional random field, and those published for DeepLab's variants."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from weights.errors import UsageError

__all__ = ["PUBLISHED", "CrfParameters", "Kernel", "KernelSet", "parse_parameters", "published"]

MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class Kernel:
    """A Gaussian over all pairs of pixels.

    weight: of its messages. stds: standard deviations, (across, down) in pixels, or (across, down, red,
    green, blue) with colours in levels of 255.
    """

    weight: float
    stds: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.stds) not in (2, 5) or not all(math.isfinite(s) and s > 0 for s in self.stds):
            raise UsageError("bad standard deviations of the CRF", found=self.stds, expected="2 or 5 above 0")
        if not math.isfinite(self.weight) or self.weight < 0:
            raise UsageError(
                "bad weight of the CRF", found=self.weight, expected="a finite number, 0 or more"
            )


@dataclass(frozen=True)
class KernelSet:
    """Any number of kernels, as a DenseCRF layer may have, and the number of mean-field updates."""

    kernels: tuple[Kernel, ...]
    iterations: int = 10

    def __post_init__(self) -> None:
        if not 0 <= self.iterations <= MAX_ITERATIONS:
            raise UsageError(
                "bad number of CRF iterations", found=self.iterations, expected=f"0 to {MAX_ITERATIONS}"
            )

    @classmethod
    def of_layer(cls, parameters: Mapping[str, Any]) -> KernelSet:
        """The kernels of a DenseCRF layer.

        Args:
            parameters: As `caffe_port.reading.host_steps` gives them, by the names of the layer's fields.

        Returns:
            The layer's kernels and its number of iterations.
        """
        position = zip(parameters["pos_w"], parameters["pos_xy_std"], strict=True)
        appearance = zip(parameters["bi_w"], parameters["bi_xy_std"], parameters["bi_rgb_std"], strict=True)
        kernels = (
            *(Kernel(weight, (xy, xy)) for weight, xy in position),
            *(Kernel(weight, (xy, xy, rgb, rgb, rgb)) for weight, xy, rgb in appearance),
        )
        return cls(kernels, parameters["max_iter"])


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
        """From one standard deviation for both directions and one for the three colours.

        Args:
            bi_w: Weight of the kernel of position and colour.
            bi_xy_std: Its standard deviation across and down, in pixels.
            bi_rgb_std: Its standard deviation of each colour, in levels of 255.
            pos_w: Weight of the kernel of position.
            pos_xy_std: Its standard deviation across and down, in pixels.
            iterations: Mean-field updates.

        Returns:
            The parameters.

        Raises:
            UsageError: A number is out of range.
        """
        return cls(
            pos_w, pos_xy_std, pos_xy_std, bi_w, bi_xy_std, bi_xy_std, bi_rgb_std, bi_rgb_std, bi_rgb_std,
            iterations,
        )  # fmt: skip

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The two kernels; those of weight 0 left out."""
        position = (self.pos_x_std, self.pos_y_std)
        appearance = (self.bi_x_std, self.bi_y_std, self.bi_r_std, self.bi_g_std, self.bi_b_std)
        kernels = (Kernel(self.pos_w, position), Kernel(self.bi_w, appearance))
        return tuple(kernel for kernel in kernels if kernel.weight)

    def text(self) -> str:
        """What `parse_parameters` reads: `name=value,...`, one value for standard deviations that agree."""
        values = {name: float(value) for name, value in asdict(self).items()}
        for short, names in SHORT_NAMES.items():
            if len({values[name] for name in names}) == 1:
                values[short] = values.pop(names[0])
                for name in names[1:]:
                    del values[name]
        return ",".join(f"{name}={value:g}" for name, value in sorted(values.items()))


SHORT_NAMES = {
    "pos_xy_std": ("pos_x_std", "pos_y_std"),
    "bi_xy_std": ("bi_x_std", "bi_y_std"),
    "bi_rgb_std": ("bi_r_std", "bi_g_std", "bi_b_std"),
}
"""A name for several parameters at once."""


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
    """The published parameters of a variant.

    Args:
        name: The variant, a key of PUBLISHED in any case.

    Returns:
        Its parameters.

    Raises:
        UsageError: There is no such variant; the message lists the names.
    """
    try:
        return PUBLISHED[name.lower()]
    except KeyError:
        raise UsageError("unknown CRF parameters", found=name, expected=", ".join(PUBLISHED)) from None


def parse_parameters(text: str, base: CrfParameters | None = None) -> CrfParameters:
    """Parameters from the name of a variant, or from `name=value,...` over `base`.

    Args:
        text: `deeplab-largefov`, or `bi_w=4,bi_xy_std=121,bi_rgb_std=5`; the names are those of
            `CrfParameters`, and of SHORT_NAMES.
        base: What is not named; by default the parameters of DeepLab.

    Returns:
        The parameters.

    Raises:
        UsageError: An unknown name, or a value out of range.
    """
    if "=" not in text:
        return published(text)
    given: dict[str, float] = {}
    known = [*(f.name for f in fields(CrfParameters)), *SHORT_NAMES]
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if name not in known:
            raise UsageError("unknown CRF parameter", found=repr(part[:40]), expected=", ".join(known))
        try:
            number = float(value)
        except ValueError:
            raise UsageError(f"bad {name} of the CRF", found=repr(value[:40]), expected="a number") from None
        given.update(dict.fromkeys(SHORT_NAMES.get(name, (name,)), number))
    if "iterations" in given and given["iterations"].is_integer():
        given["iterations"] = int(given["iterations"])
    return replace(base or CrfParameters(), **given)  # type: ignore[arg-type]
