"""Files of weights in and out, upsampling kernels, net surgery; the errors and the limits of every input.

The names below are imported when they are first used, so that `weights.errors`, which every package needs,
does not bring NumPy and HDF5 with it and the command line answers quickly.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weights._version import __version__
    from weights.deconvolution import Standardised, standardise
    from weights.errors import WeightsError
    from weights.reading import Description, LayerDescription, describe, read, split_paths
    from weights.surgery import Move, Report, expand_score, interp, transplant
    from weights.upsample import bilinear_filler, is_bilinear, upsample_filt
    from weights.writing import Written, write

__all__ = [
    "Description",
    "LayerDescription",
    "Move",
    "Report",
    "Standardised",
    "WeightsError",
    "Written",
    "__version__",
    "bilinear_filler",
    "describe",
    "expand_score",
    "interp",
    "is_bilinear",
    "read",
    "split_paths",
    "standardise",
    "transplant",
    "upsample_filt",
    "write",
]

_HOME = {
    "Description": "weights.reading",
    "LayerDescription": "weights.reading",
    "Move": "weights.surgery",
    "Report": "weights.surgery",
    "Standardised": "weights.deconvolution",
    "WeightsError": "weights.errors",
    "Written": "weights.writing",
    "__version__": "weights._version",
    "bilinear_filler": "weights.upsample",
    "describe": "weights.reading",
    "expand_score": "weights.surgery",
    "interp": "weights.surgery",
    "is_bilinear": "weights.upsample",
    "read": "weights.reading",
    "split_paths": "weights.reading",
    "standardise": "weights.deconvolution",
    "transplant": "weights.surgery",
    "upsample_filt": "weights.upsample",
    "write": "weights.writing",
}
"""The module that each name comes from."""


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
