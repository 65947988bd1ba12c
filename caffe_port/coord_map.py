"""Where the pixels of one blob lie in another, and from that the offset of every Crop (Caffe's coord_map.py).

A layer maps the coordinate x of its bottom to the coordinate a x + b of its top, on each spatial axis:

Convolution, Pooling, Im2col  a = 1/s, b = (p - (e - 1)/2) / s   with e = d(k - 1) + 1
Deconvolution                 a = s,   b = (e - 1)/2 - p
Crop                          a = 1,   b = -offset               (of bottom 0, on the axes it cuts)
element-wise layers           a = 1,   b = 0

with kernel k, stride s, pad p and dilation d. Along a path the maps compose,
(a1, b1) after (a2, b2) = (a1 a2, a1 b2 + b1), and invert to (1/a, -b/a). A Crop aligns bottom 0 with bottom 1
where its offset is -b of the map from bottom 0 to bottom 1, taken through an ancestor of both; a must be 1,
and -b whole and not negative. Rounding of sizes (ceil pooling) does not move pixels and does not enter.

Everything is in exact fractions. Unlike Caffe's script this one reads kernel_h and kernel_w, treats each axis
by itself, passes Concat and Slice over channels and Softmax, and refuses two paths that disagree where Caffe
takes either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from caffe_port.layers import convolution, pooling
from caffe_port.net import Layer, Net
from weights.errors import ClockworkError, ShapeError

__all__ = ["AxisMap", "CoordMap", "CropOffset", "crop_offset", "crop_offsets", "layer_map", "map_between"]

POINTWISE = frozenset({
    # Caffe's own list
    "AbsVal", "BatchNorm", "Bias", "BNLL", "Dropout", "ELU", "Eltwise", "Exp", "LRN", "Log", "MVN", "Power",
    "PReLU", "ReLU", "Scale", "Sigmoid", "Split", "TanH", "Threshold",
    # what else works on one pixel, or one channel, at a time
    "BN", "Clip", "Concat", "Normalize", "Permute", "ReLU6", "ShuffleChannel", "Slice", "Softmax", "Swish",
})  # fmt: skip
ALL_BOTTOMS = frozenset({"Eltwise", "Concat"})
"""Layers whose bottoms all lie over the top; of the others only the first does."""


@dataclass(frozen=True)
class AxisMap:
    """The coordinate x on one axis goes to scale * x + shift."""

    scale: Fraction = Fraction(1)
    shift: Fraction = Fraction(0)

    def after(self, first: AxisMap) -> AxisMap:
        """The map that applies `first`, then this one."""
        return AxisMap(self.scale * first.scale, self.scale * first.shift + self.shift)

    def inverse(self) -> AxisMap:
        return AxisMap(1 / self.scale, -self.shift / self.scale)


CoordMap = tuple[AxisMap, ...]
"""One AxisMap for each spatial axis (axes 2 and up)."""


@dataclass(frozen=True)
class CropOffset:
    """What one Crop states and what the geometry of the net asks for, on each axis that it cuts.

    `top` is the blob that it makes, since layers may share a name. `computed` is empty where no path of
    spatial layers leads from one bottom to the other; `why` says so.
    """

    layer: str
    top: str
    stated: tuple[int, ...]
    computed: tuple[int, ...]
    why: str = ""


def _compose(second: CoordMap, first: CoordMap) -> CoordMap:
    return tuple(b.after(a) for a, b in zip(first, second, strict=True))


def _window_map(extent: Sequence[int], stride: Sequence[int], pad: Sequence[int]) -> CoordMap:
    return tuple(
        AxisMap(Fraction(1, s), (p - Fraction(e - 1, 2)) / s)
        for e, s, p in zip(extent, stride, pad, strict=True)
    )


def _over_channels(layer: Layer) -> bool:
    """Whether a layer that may work along any axis works along the channels."""
    spec = layer.spec
    if layer.type == "Concat":
        return (spec.concat_param.axis if spec.concat_param.HasField("axis") else 1) == 1
    if layer.type == "Slice":
        return (spec.slice_param.axis if spec.slice_param.HasField("axis") else 1) == 1
    if layer.type == "Permute":
        return list(spec.permute_param.order)[:4] == [0, 1, 2, 3]
    return layer.type != "Softmax" or spec.softmax_param.axis == 1


def crop_axes(layer: Layer, axes: int) -> tuple[range, tuple[int, ...]]:
    """The spatial axes that a Crop cuts, counted from 0, and its stated offset on each."""
    spec = layer.spec.crop_param
    axis = spec.axis if spec.axis >= 0 else spec.axis + axes + 2
    first = max(axis, 2)
    given = list(spec.offset)
    values = given[first - axis :] if len(given) > 1 else (given or [0]) * (axes + 2 - first)
    return range(first - 2, axes), tuple(values)


def layer_map(layer: Layer, axes: int, offset: Sequence[int] | None = None) -> CoordMap | None:
    """The map from bottom 0 to the top of one layer.

    Args:
        layer: The layer.
        axes: The number of spatial axes, 2 for pictures.
        offset: For a Crop, what to take for its stated offset.

    Returns:
        One map for each axis; None where the layer moves pixels in no fixed way.
    """
    rank = (1,) * (axes + 2)
    if layer.type in ("Convolution", "Im2col", "Deconvolution", *convolution.DEPTHWISE):
        w = convolution.window(layer, rank)
        if w.axis != 1:
            return None
        down = _window_map(w.extent, w.stride, w.pad)
        # A Deconvolution runs the Convolution of the same window backwards.
        return tuple(m.inverse() for m in down) if layer.type == "Deconvolution" else down
    if layer.type == "Pooling":
        if layer.spec.pooling_param.global_pooling:
            return None
        p = pooling.window(layer, rank)
        return _window_map(p.reach, p.stride, p.pad)
    if layer.type in ("Crop", "AutoCrop"):
        cut, stated = crop_axes(layer, axes)
        maps = [AxisMap()] * axes
        for position, value in zip(cut, offset or stated, strict=False):
            maps[position] = AxisMap(shift=Fraction(-value))
        return tuple(maps)
    if layer.type in POINTWISE and _over_channels(layer):
        return (AxisMap(),) * axes
    return None


def _spatial_axes(net: Net) -> int:
    return max((len(i.shape) for i in net.inputs), default=4) - 2 or 2


def _maps_to(
    net: Net, value: str, axes: int, offsets: Mapping[str, tuple[int, ...]]
) -> dict[str, set[CoordMap]]:
    """For every value that leads to `value` through spatial layers, the map of each path to it."""
    maps: dict[str, set[CoordMap]] = {value: {(AxisMap(),) * axes}}
    for layer in reversed(net.layers):
        above = {m for top in layer.tops for m in maps.get(top, ())}
        own = layer_map(layer, axes, offsets.get(layer.key)) if above and layer.refusal is None else None
        if own is None:
            continue
        for bottom in layer.bottoms if layer.type in ALL_BOTTOMS else layer.bottoms[:1]:
            maps.setdefault(bottom, set()).update(_compose(m, own) for m in above)
            if len(maps[bottom]) > 2:  # two are enough to disagree
                maps[bottom] = set(sorted(maps[bottom], key=repr)[:2])
    return maps


def map_between(
    net: Net, start: str, end: str, offsets: Mapping[str, tuple[int, ...]] | None = None
) -> CoordMap | None:
    """Coordinates of the value `start` -> coordinates of the value `end`, through what both come from.

    Args:
        net: The net; `start` and `end` are values of it.
        offsets: What to take for the offsets of Crops, by layer key, instead of the stated ones.

    Returns:
        One map for each spatial axis, None where no path of spatial layers connects the two.

    Raises:
        ShapeError: Two paths from the nearest common value disagree.
    """
    axes = _spatial_axes(net)
    to_start, to_end = (_maps_to(net, value, axes, offsets or {}) for value in (start, end))
    for value in reversed(net.values()):
        if value in to_start and value in to_end:
            found = {
                _compose(b, tuple(m.inverse() for m in a)) for a in to_start[value] for b in to_end[value]
            }
            if len(found) > 1:
                shifts = " and ".join(str(m[0].shift) for m in sorted(found, key=repr))
                raise ShapeError(
                    f'two paths from "{value}" to "{start}" and "{end}" do not align',
                    file=net.file,
                    found=f"shifts {shifts}",
                    expected="one",
                    hint="their layers differ in pad or kernel, or a Crop on one of them is wrong",
                )
            return found.pop()
    return None


def _text(numbers: Sequence[Fraction]) -> str:
    return str(numbers[0]) if len(set(numbers)) == 1 else ", ".join(map(str, numbers))


def crop_offset(
    net: Net, layer: Layer, offsets: Mapping[str, tuple[int, ...]] | None = None
) -> tuple[int, ...] | None:
    """The offset of a Crop on each spatial axis that it cuts, at which bottom 0 lies under bottom 1.

    Args:
        net: The net of the layer.
        layer: A Crop.
        offsets: As in `map_between`.

    Returns:
        The offsets in pixels, None where no path of spatial layers connects the two bottoms.

    Raises:
        ShapeError: The two bottoms have different scales, or the offset is negative or not whole.
    """
    start, end = layer.bottoms
    maps = map_between(net, start, end, offsets)
    if maps is None:
        return None
    cut, _ = crop_axes(layer, len(maps))
    scales, found = [maps[i].scale for i in cut], [-maps[i].shift for i in cut]
    where = net.where(layer)
    if any(scale != 1 for scale in scales):
        raise ShapeError(
            "the scales of the two bottoms differ",
            **where,
            found=f'a pixel of "{end}" is {_text([1 / s for s in scales])} of one of "{start}"',
            expected="1: as much upsampling as downsampling",
        )
    if any(offset < 0 for offset in found):
        raise ShapeError(
            "the offset is negative",
            **where,
            found=_text(found),
            expected="0 or more",
            hint=f'"{start}" begins inside "{end}": pad more, in the first convolution for example',
        )
    if any(offset.denominator != 1 for offset in found):
        raise ShapeError(
            "the offset is not whole",
            **where,
            found=_text(found),
            expected="a whole number of pixels",
            hint="change a kernel or a pad by one",
        )
    return tuple(int(offset) for offset in found)


def crop_offsets(net: Net) -> tuple[CropOffset, ...]:
    """Every Crop of the net, in order, with the offset stated and the offset computed.

    A Crop further down is computed with the computed offsets of those above it.

    Args:
        net: The net, from `read_net`.

    Returns:
        One line per Crop.

    Raises:
        ShapeError: As `crop_offset`; the message names the layer.
    """
    axes = _spatial_axes(net)
    computed: dict[str, tuple[int, ...]] = {}
    rows = []
    for layer in net.layers:
        if layer.type != "Crop" or len(layer.bottoms) != 2 or layer.refusal is not None:
            continue
        try:
            found = crop_offset(net, layer, computed)
        except ClockworkError as error:
            raise error.located(**net.where(layer)) from None
        _, stated = crop_axes(layer, axes)
        why = "" if found is not None else "no path of layers with a fixed geometry connects its bottoms"
        if found is not None:
            computed[layer.key] = found
        rows.append(CropOffset(layer.name, layer.spec.top[0], stated, found or (), why))
    return tuple(rows)
