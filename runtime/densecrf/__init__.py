"""Dense conditional random fields: score maps sharpened along the picture's edges, as DeepLab v1 did."""

from runtime.densecrf.mean_field import DenseCrf, log_softmax
from runtime.densecrf.parameters import (
    PUBLISHED,
    CrfParameters,
    Kernel,
    KernelSet,
    parse_parameters,
    published,
)

__all__ = [
    "PUBLISHED",
    "CrfParameters",
    "DenseCrf",
    "Kernel",
    "KernelSet",
    "log_softmax",
    "parse_parameters",
    "published",
]
