"""What a layer means in the fork that the rest of the file shows it to be from."""

from __future__ import annotations

from collections.abc import Sequence

from caffe_port.proto.caffe_pb2 import LayerParameter

__all__ = ["apply_dialect"]

_DEEPLAB = frozenset({"Interp", "Padding", "DenseCRF", "MatRead", "MatWrite", "ImageSegData"})


def _is_deeplab(layers: Sequence[LayerParameter]) -> bool:
    """Whether the net is of DeepLab v1 (2014 and 2015): convolutions with holes, or its layers."""
    fields = ("hole", "hole_h", "hole_w")
    return any(
        layer.type in _DEEPLAB or any(layer.convolution_param.HasField(name) for name in fields)
        for layer in layers
    )


def apply_dialect(layers: Sequence[LayerParameter]) -> list[str]:
    """Write what a fork means into the layers' own fields, and say so in notes.

    ArgMax without `axis`: BVLC takes the whole item as one vector; DeepLab v1's works on each pixel
    (argmax_layer.cpp of deeplab-public: the maximum over the channels at each place).
    """
    notes = []
    if _is_deeplab(layers):
        for layer in layers:
            if layer.type == "ArgMax" and not layer.argmax_param.HasField("axis"):
                layer.argmax_param.axis = 1
                notes.append(f'layer "{layer.name}" (ArgMax): works on each pixel, as DeepLab v1 means it')
    return notes
