"""Files of weights in and out, upsampling kernels, net surgery; the errors and the limits of every input."""

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
