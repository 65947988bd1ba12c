"""What a layer means in the fork that the file shows it to be from, or that the user names.

Where two forks give one name two meanings, the layer's own fields tell them apart, or what else the file has;
where neither does, the layer is refused and `dialect` says which is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from caffe_port.proto.caffe_pb2 import LayerParameter
from weights.errors import UsageError

__all__ = ["DIALECTS", "Dialect", "apply_dialect"]

_DEEPLAB = frozenset({"DenseCRF", "ImageSegData", "Interp", "MatRead", "MatWrite", "Padding", "SegAccuracy"})
_MASKYOLO = frozenset({"DecodeRois", "ROIAlignment", "RoiGen"})


def _per_pixel(layer: LayerParameter) -> bool:
    if layer.argmax_param.HasField("axis"):
        return False
    layer.type = "PixelArgMax"
    return True


def _as_it_stands(layer: LayerParameter) -> bool:
    return not layer.argmax_param.HasField("axis")


def _normalize(message: str) -> Callable[[LayerParameter], bool]:
    def write(layer: LayerParameter) -> bool:
        if layer.HasField("norm_param") or layer.HasField("normalize_param"):
            return False
        getattr(layer, message).SetInParent()
        return True

    return write


def _floor_resize(layer: LayerParameter) -> bool:
    layer.type = "FloorResize"
    return True


def _bilinear_resize(layer: LayerParameter) -> bool:
    spec = layer.resize_param
    if not spec.is_pyramid_test:
        return False
    if spec.HasField("out_height_scale") and spec.HasField("out_width_scale"):
        spec.height_fac, spec.width_fac = spec.out_height_scale, spec.out_width_scale
    for name in ("is_pyramid_test", "out_height_scale", "out_width_scale", "height", "width"):
        spec.ClearField(name)
    return True


def _bn(filler: str) -> Callable[[LayerParameter], bool]:
    def write(layer: LayerParameter) -> bool:
        if layer.bn_param.ListFields():
            return False
        getattr(layer.bn_param, filler).SetInParent()
        return True

    return write


@dataclass(frozen=True)
class Dialect:
    """One fork's meaning of a layer type.

    type: the layer. means: the meaning, for the user. write(layer): writes it into the layer's own type or
    fields where those leave it open; returns whether they did.
    """

    type: str
    means: str
    write: Callable[[LayerParameter], bool]


DIALECTS: Mapping[str, Dialect] = {
    "bvlc": Dialect("ArgMax", "takes the whole item as one vector, as BVLC means it", _as_it_stands),
    "deeplab-v1": Dialect("ArgMax", "works on each pixel, as DeepLab v1 means it", _per_pixel),
    "ssd": Dialect(
        "Normalize", "over the whole picture, with a learnt scale, as SSD means it", _normalize("norm_param")
    ),
    "normface": Dialect(
        "Normalize", "over the channels of each point, as NormFace means it", _normalize("normalize_param")
    ),
    "maskyolo": Dialect(
        "Resize", "takes the nearest point above and left, as MaskYolo means it", _floor_resize
    ),
    "happynear": Dialect("Resize", "is bilinear, as happynear means it", _bilinear_resize),
    "segnet": Dialect("BN", "scale and shift, as SegNet means it", _bn("scale_filler")),
    "pspnet": Dialect("BN", "slope, bias, mean and variance, as PSPNet means it", _bn("slope_filler")),
}
"""Names of `--dialect`. The sources: argmax_layer.cpp of BVLC and of deeplab-public; normalize_layer.cpp of
weiliu89/caffe and of happynear/caffe-windows; resize_layer.cu of MaskYolo_Caffe and resize_layer.cpp of
happynear/caffe-windows; bn_layer.cpp of caffe-segnet and of PSPNet."""


def _is_deeplab_v1(layers: Sequence[LayerParameter], types: Collection[str], v1_syntax: bool) -> bool:
    """Whether the net is DeepLab v1's: convolutions with `hole`, or its layers in the syntax of 2014.

    Its layers alone do not tell: DeepLab v2, PSPNet and others have them too, on a newer Caffe whose ArgMax
    is BVLC's and whose holes are called dilation.
    """
    fields = ("hole", "hole_h", "hole_w")
    if any(layer.convolution_param.HasField(name) for layer in layers for name in fields):
        return True
    return v1_syntax and not _DEEPLAB.isdisjoint(types)


def _chosen(named: Collection[str]) -> dict[str, str]:
    """Layer type -> dialect, of those the user names."""
    chosen: dict[str, str] = {}
    for name in named:
        if name not in DIALECTS:
            raise UsageError("unknown dialect", found=name, expected=", ".join(DIALECTS))
        kind = DIALECTS[name].type
        if chosen.setdefault(kind, name) != name:
            raise UsageError(f"two dialects of {kind}", found=f"{chosen[kind]} and {name}", expected="one")
    return chosen


def apply_dialect(
    layers: Sequence[LayerParameter], *, types: Collection[str], v1_syntax: bool, named: Collection[str] = ()
) -> list[str]:
    """Write what a fork means into the layers' own types and fields, and say so in notes.

    Args:
        layers: The layers of the net; changed in place.
        types: The types of all layers of the file, also of those that are left out.
        v1_syntax: The file says `layers { }`, not `layer { }`.
        named: Names of DIALECTS that the user gives.

    Returns:
        A note for each layer that was open, and for each name that nothing was open for.

    Raises:
        UsageError: An unknown name, or two for one layer type.
    """
    chosen = _chosen(named)
    if "ArgMax" not in chosen and _is_deeplab_v1(layers, types, v1_syntax):
        chosen["ArgMax"] = "deeplab-v1"
    if "Resize" not in chosen and not _MASKYOLO.isdisjoint(types):
        chosen["Resize"] = "maskyolo"
    notes, used = [], set()
    for layer in layers:
        kind, name = layer.type, chosen.get(layer.type, "")
        if name and DIALECTS[name].write(layer):
            used.add(name)
            notes.append(f'layer "{layer.name}" ({kind}): {DIALECTS[name].means}')
    unused = (name for name in named if name not in used)
    notes += [f"dialect {name}: no {DIALECTS[name].type} layer leaves open what it means" for name in unused]
    return notes
