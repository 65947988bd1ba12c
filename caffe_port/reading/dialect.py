"""What a layer means in the fork that the rest of the file shows it to be from."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from caffe_port.proto.caffe_pb2 import LayerParameter

__all__ = ["apply_dialect"]

_DEEPLAB = frozenset({"DenseCRF", "ImageSegData", "Interp", "MatRead", "MatWrite", "Padding", "SegAccuracy"})


def _is_deeplab_v1(layers: Sequence[LayerParameter], types: Collection[str], v1_syntax: bool) -> bool:
    """Whether the net is DeepLab v1's: convolutions with `hole`, or its layers in the syntax of 2014.

    Its layers alone do not tell: DeepLab v2, PSPNet and others have them too, on a newer Caffe whose ArgMax
    is BVLC's and whose holes are called dilation.
    """
    fields = ("hole", "hole_h", "hole_w")
    if any(layer.convolution_param.HasField(name) for layer in layers for name in fields):
        return True
    return v1_syntax and not _DEEPLAB.isdisjoint(types)


def apply_dialect(layers: Sequence[LayerParameter], *, types: Collection[str], v1_syntax: bool) -> list[str]:
    """Write what a fork means into the layers' own types and fields, and say so in notes.

    ArgMax without `axis`: BVLC takes the whole item as one vector; DeepLab v1's works on each pixel
    (argmax_layer.cpp of deeplab-public: the largest over the channels at each place). It becomes a
    PixelArgMax.

    Args:
        layers: The layers of the net; changed in place.
        types: The types of all layers of the file, also of those that are left out.
        v1_syntax: The file says `layers { }`, not `layer { }`.
    """
    notes = []
    if _is_deeplab_v1(layers, types, v1_syntax):
        for layer in layers:
            if layer.type == "ArgMax" and not layer.argmax_param.HasField("axis"):
                layer.type = "PixelArgMax"
                notes.append(f'layer "{layer.name}" (ArgMax): works on each pixel, as DeepLab v1 means it')
    return notes
