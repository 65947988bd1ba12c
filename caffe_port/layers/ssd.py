"""Layers of SSD (weiliu89/caffe, branch ssd: normalize_layer.cpp, prior_box_layer.cpp) and of OpenVINO.

Normalize: y = scale * x / sqrt(sum(x^2) + eps), the sum over the channels of one place, or over the whole
picture with `across_spatial` (the default); one scale per channel, or one for all with `channel_shared`.

PriorBox: the boxes of every place of bottom 0, as fractions of the picture (bottom 1, or img_size), and
their variances: (1, 2, places * priors * 4). Around ((w + offset) step_w, (h + offset) step_h) it sets, for
each min_size, a square of sqrt(min_size * max_size), and min_size * sqrt(r) by min_size / sqrt(r) for every
other aspect ratio r; sizes are cut to whole numbers first, as the fork does. (One state of the fork,
3b97386, takes sqrt(min_size * max_size) for the other ratios too; the published SSD nets and OpenCV's
importer do not.) The step is the picture over the bottom where none is given. With `denser_prior_boxes`
(MhLiao/TextBoxes_plusplus, prior_box_layer.cpp) each box is followed by the same one around (h + 1) step_h.

`fixed_size` with `density` d (FaceBoxes; after OpenVINO's PriorBox-8, the one reader that has it) comes
first: for each size and each of `fixed_ratio`, else of the aspect ratios, d x d boxes whose centres are
int(size / d) apart within a square of that size around the place, always clipped to the picture.

PriorBoxClustered (openvinotoolkit/training_toolbox_caffe, prior_box_clustered_layer.cpp) has the widths and
heights of the boxes as parameters.

The boxes follow from sizes alone, so they are constants of a graph for one frame size. DetectionOutput stays
outside the graph (postprocessing.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers.sampling import MOST, limited
from caffe_port.net import Layer, Shape
from caffe_port.registry import Blob, LayerRule, register
from weights.errors import PrototxtError, ShapeError, UnsupportedError


def _of_normface(layer: Layer) -> bool:
    """Whether this is NormFace's layer, which has no weights, and not SSD's."""
    ssd, normface = (layer.spec.HasField(name) for name in ("norm_param", "normalize_param"))
    if ssd == normface:
        raise UnsupportedError(
            "Normalize without norm_param means one thing in SSD (a learnt scale) and another in NormFace",
            expected="norm_param (SSD) or normalize_param (NormFace)",
            hint="--dialect ssd or --dialect normface",
        )
    return normface


def normalize_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    if _of_normface(layer):
        kind = layer.spec.normalize_param.normalize_type
        if kind not in ("L1", "L2"):
            raise UnsupportedError("unknown normalize_type", found=kind, expected="L1 or L2")
        four = (*bottoms[0], 1, 1, 1)[:4]
        return (four, (four[0], 1, *four[2:]))[: len(layer.tops)]
    if len(layer.tops) != 1:
        raise ShapeError("Normalize of SSD has one top", found=f"{len(layer.tops)} tops", expected="one")
    if not 2 <= len(bottoms[0]) <= 4:
        raise ShapeError("Normalize needs two to four axes", found=bottoms[0], expected="(N, C, H, W)")
    return (bottoms[0],)


def normalize_blobs(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Blob, ...]:
    if _of_normface(layer):
        return ()
    spec = layer.spec.norm_param
    shape = () if spec.channel_shared else (bottoms[0][1],)
    return (Blob(shape, spec.scale_filler if spec.HasField("scale_filler") else None, "scale"),)


def _by_channels(g: GraphBuilder, layer: Layer, x: str) -> tuple[str, str]:
    """NormFace's: x over the norm of the channels at each point, and that norm."""
    rank = len(g.shape(layer.bottoms[0]))
    if rank < 4:
        x = g.node("Unsqueeze", x, g.ints(*range(rank, 4)))
    one_norm = layer.spec.normalize_param.normalize_type == "L1"
    each = g.node("Abs", x) if one_norm else g.node("Mul", x, x)
    total = g.node("ReduceSum", each, g.ints(1), keepdims=1)
    norm = g.node("Add", total, g.const(np.float32(1e-6)))
    norm = norm if one_norm else g.node("Sqrt", norm)
    return g.node("Div", x, norm), norm


def emit_normalize(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    if _of_normface(layer):
        return _by_channels(g, layer, bottoms[0])[: len(layer.tops)]
    spec = layer.spec.norm_param
    rank = len(g.shape(layer.bottoms[0]))
    axes = range(1, rank) if spec.across_spatial else (1,)
    x = bottoms[0]
    squares = g.node("ReduceSum", g.node("Mul", x, x), g.ints(*axes), keepdims=1)
    norm = g.node("Sqrt", g.node("Add", squares, g.const(np.float32(spec.eps))))
    scale = blobs[0].reshape(-1, *(1,) * (rank - 2)) if blobs[0].ndim else blobs[0]
    return (g.node("Mul", g.node("Div", x, norm), g.const(scale)),)


def _check_finite(**fields: Iterable[float]) -> None:
    """Raise PrototxtError for a size or ratio that is not finite."""
    for name, numbers in fields.items():
        for number in numbers:
            if not math.isfinite(number):
                raise PrototxtError(f"bad {name}", found=number, expected="finite numbers")


def _ratios(layer: Layer) -> list[np.float32]:
    """1 and the other aspect ratios, each with its inverse where `flip` says so."""
    spec = layer.spec.prior_box_param
    ratios = [np.float32(1)]
    for ratio in spec.aspect_ratio:
        if ratio <= 0:
            raise PrototxtError("bad aspect_ratio", found=ratio, expected="above 0")
        if all(abs(np.float32(ratio) - known) >= 1e-6 for known in ratios):
            ratios.append(np.float32(ratio))
            if spec.flip:
                ratios.append(np.float32(1.0 / np.float64(np.float32(ratio))))
    return ratios


def _dense(layer: Layer) -> np.ndarray:
    """What is added to a place's (x, y, x, y) for each box of fixed_size and density: (boxes, 4)."""
    spec = layer.spec.prior_box_param
    sizes, densities, fixed = list(spec.fixed_size), list(spec.density), list(spec.fixed_ratio)
    _check_finite(fixed_size=sizes, density=densities, fixed_ratio=fixed)
    if len(densities) != len(sizes) or min([*sizes, *densities, *fixed], default=1) <= 0:
        raise PrototxtError(
            "fixed_size, density and fixed_ratio do not fit",
            found=f"{sizes}, {densities} and {fixed}",
            expected="as many densities as sizes, all above 0",
        )
    pairs = list(zip(sizes, densities, strict=True))
    if any(density != int(density) or int(size / density) < 1 for size, density in pairs):
        raise PrototxtError("bad density", found=densities, expected="whole numbers, at most the size")
    limited("boxes at a place", sum(int(density) ** 2 for density in densities))
    boxes = []
    for size, density in pairs:
        shift = int(size / density)
        steps = -size / 2 + shift / 2 + shift * np.arange(int(density))
        for ratio in fixed or _ratios(layer):
            half = size / 2 * np.sqrt(np.float64(ratio)), size / 2 / np.sqrt(np.float64(ratio))
            y, x = np.meshgrid(steps, steps, indexing="ij")
            boxes.append(np.stack([x - half[0], y - half[1], x + half[0], y + half[1]], -1).reshape(-1, 4))
    return np.concatenate(boxes) if boxes else np.zeros((0, 4))


def _square_sizes(layer: Layer) -> list[tuple[np.float32, np.float32]]:
    """Width and height of the priors of one place, in the fork's order."""
    spec = layer.spec.prior_box_param
    if spec.fixed_size and not spec.min_size:
        return []
    if not spec.min_size or min(spec.min_size) <= 0:
        raise PrototxtError("no min_size above 0", found=list(spec.min_size), expected="one or more")
    _check_finite(min_size=spec.min_size, max_size=spec.max_size, aspect_ratio=spec.aspect_ratio)
    if spec.max_size and len(spec.max_size) != len(spec.min_size):
        raise PrototxtError(
            "max_size does not fit min_size",
            found=f"{len(spec.max_size)} and {len(spec.min_size)} values",
            expected="none, or as many",
        )
    if any(high <= low for low, high in zip(spec.min_size, spec.max_size, strict=False)):
        raise PrototxtError("max_size is not greater than min_size")
    ratios = _ratios(layer)
    sizes: list[tuple[float, float]] = []
    for position, smallest in enumerate(spec.min_size):
        low = float(int(smallest))
        sizes.append((low, low))
        if spec.max_size:
            both = float(np.sqrt(float(low * float(int(spec.max_size[position])))))
            sizes.append((both, both))
        for ratio in map(float, ratios):
            if abs(ratio - 1) >= 1e-6:
                root = float(np.sqrt(np.float64(ratio)))
                sizes.append((low * root, low / root))
    return [(np.float32(w), np.float32(h)) for w, h in sizes]


def _stated_sizes(layer: Layer) -> list[tuple[np.float32, np.float32]]:
    spec = layer.spec.prior_box_param
    if not spec.width or len(spec.width) != len(spec.height) or min(*spec.width, *spec.height) <= 0:
        raise PrototxtError(
            "width and height do not fit",
            found=f"{len(spec.width)} and {len(spec.height)} values",
            expected="as many of both, above 0",
        )
    _check_finite(width=spec.width, height=spec.height)
    return [(np.float32(w), np.float32(h)) for w, h in zip(spec.width, spec.height, strict=True)]


def _sizes(layer: Layer) -> list[tuple[np.float32, np.float32]]:
    return _stated_sizes(layer) if layer.type == "PriorBoxClustered" else _square_sizes(layer)


def _variances(layer: Layer) -> list[float]:
    given = list(layer.spec.prior_box_param.variance) or [0.1]
    if len(given) not in (1, 4) or min(given) <= 0:
        raise PrototxtError("bad variance", found=given, expected="one or four values above 0")
    _check_finite(variance=given, offset=[layer.spec.prior_box_param.offset])
    return given * 4 if len(given) == 1 else given


def _pair(layer: Layer, square: str, h: str, w: str) -> tuple[float, float] | None:
    spec = layer.spec.prior_box_param
    if spec.HasField(h) or spec.HasField(w):
        if spec.HasField(square):
            raise PrototxtError(f"{square} is given both ways", expected=f"{square} or {h} and {w}")
        pair = (getattr(spec, h), getattr(spec, w))
    elif spec.HasField(square):
        pair = (getattr(spec, square),) * 2
    else:
        return None
    _check_finite(**{square: pair})
    if min(pair) <= 0:
        raise PrototxtError(f"bad {square}", found=pair, expected="above 0")
    return pair


def prior_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    if len(bottoms[0]) != 4 or len(bottoms[1]) != 4:
        raise ShapeError("prior boxes need maps", found=bottoms, expected="(N, C, H, W) for both bottoms")
    _variances(layer)
    for names in (("img_size", "img_h", "img_w"), ("step", "step_h", "step_w")):
        _pair(layer, *names)
    if layer.type == "PriorBoxClustered" and layer.spec.prior_box_param.denser_prior_boxes:
        raise PrototxtError("denser_prior_boxes in PriorBoxClustered", expected="PriorBox")
    priors = len(_sizes(layer)) * (2 if layer.spec.prior_box_param.denser_prior_boxes else 1)
    numbers = bottoms[0][2] * bottoms[0][3] * (priors + len(_dense(layer))) * 4
    limited("prior boxes", numbers // 4, MOST // 8)
    return ((1, 2, numbers),)


def prior_boxes(layer: Layer, bottoms: tuple[Shape, ...]) -> np.ndarray:
    """The layer's result for bottoms of these shapes: (1, 2, places * priors * 4), float32."""
    spec = layer.spec.prior_box_param
    rows, columns = bottoms[0][2:]
    height, width = _pair(layer, "img_size", "img_h", "img_w") or bottoms[1][2:]
    step = _pair(layer, "step", "step_h", "step_w") or (
        float(np.float32(height) / np.float32(rows)),
        float(np.float32(width) / np.float32(columns)),
    )
    offset = np.float32(spec.offset)
    offsets = [offset, np.float32(1)] if spec.denser_prior_boxes else [offset]
    y = [((np.arange(rows, dtype=np.float32) + o) * np.float32(step[0])).astype(np.float64) for o in offsets]
    x = ((np.arange(columns, dtype=np.float32) + offset) * np.float32(step[1])).astype(np.float64)
    sizes = np.array(_sizes(layer), np.float64).reshape(-1, 2)
    across, down = np.broadcast_arrays(x[None, :, None, None], np.stack(y, -1)[:, None, None])
    places = np.stack([across, down, across, down], -1)
    halves = np.stack([-sizes[:, 0], -sizes[:, 1], sizes[:, 0], sizes[:, 1]], -1)[:, None] / 2
    picture = np.array([width, height, width, height], np.float64)
    boxes = ((places + halves) / picture).astype(np.float32).reshape(rows, columns, -1, 4)
    if spec.clip:
        boxes = boxes.clip(0, 1)
    if spec.fixed_size:
        dense = ((places[:, :, 0, :1] + _dense(layer)) / picture).clip(0, 1).astype(np.float32)
        boxes = np.concatenate([dense, boxes], axis=2)
    variances = np.broadcast_to(np.array(_variances(layer), np.float32), boxes.shape)
    return np.stack([boxes.reshape(-1), variances.reshape(-1)])[None]


def emit_prior(
    g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: tuple[np.ndarray, ...]
) -> tuple[str, ...]:
    g.require_fixed(layer, "prior boxes are constants for one frame size")
    spec = layer.spec.prior_box_param
    cut = [size for size in (*spec.min_size, *spec.max_size) if size != int(size)]
    if cut and layer.type == "PriorBox":
        sizes = ", ".join(f"{size:g} as {int(size)}" for size in cut)
        g.notes.append(
            f'layer "{layer.name}" (PriorBox): takes {sizes}, as SSD\'s code does; OpenCV keeps the fractions'
        )
    return (g.const(prior_boxes(layer, tuple(g.shape(b) for b in layer.bottoms))),)


register(
    LayerRule(
        "Normalize",
        normalize_shape,
        emit_normalize,
        normalize_blobs,
        tops=(1, 2),
        fork="SSD, NormFace",
        module=__name__,
    ),
    LayerRule("PriorBox", prior_shape, emit_prior, bottoms=(2, 2), fork="SSD", module=__name__),
    LayerRule("PriorBoxClustered", prior_shape, emit_prior, bottoms=(2, 2), fork="OpenVINO", module=__name__),
)
