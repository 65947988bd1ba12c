"""What to tell the user of layer types that are refused on purpose: `hint_for`."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["hint_for"]

_FIXED_POINT = re.compile(r"(Ristretto|IVS|Quantizer|MLQuant|DecoderQuant|Quantized|Int8)$|^FixedNeuron")
_BINARY = re.compile(r"^(Binary|Xnor|XNOR|Ternary|Bin)(Active|Conv|Convolution|InnerProduct|Activation)|XNOR")

_NO_SOURCE = "no source of a Caffe layer of this name was found"
_NAMED: Mapping[str, str] = {
    "Atan2": f"named by importers; {_NO_SOURCE}",
    "BatchedMatMul": f"named by importers; {_NO_SOURCE}; MatMul is known",
    "Im2seq": f"MNN names it and runs nothing for it; {_NO_SOURCE}",
    "Seq2out": f"MNN names it and runs nothing for it; {_NO_SOURCE}",
    "ScatterNdV2": f"named by importers; {_NO_SOURCE}",
    "Select": f"named by importers; {_NO_SOURCE}",
    "UpsampleBN": f"named by importers; {_NO_SOURCE}",
    "PwAttend": _NO_SOURCE,
    "NNInterp": _NO_SOURCE,
}


def hint_for(kind: str) -> str | None:
    """What a user of a layer type that is not known can do, None where there is nothing to say.

    Args:
        kind: The layer type.
    """
    if kind in _NAMED:
        return _NAMED[kind]
    if _BINARY.search(kind):
        return (
            "a binary layer: its numbers are signs, which ONNX Runtime has no kernel for; port the float net"
        )
    if _FIXED_POINT.search(kind):
        return "a fixed-point layer: its rounding is the fork's own; port the float net that it was made from"
    return None
