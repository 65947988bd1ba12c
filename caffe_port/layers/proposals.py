"""Regions proposed by an RPN, where a net is read with `postprocess`.

Bottoms: scores (1, 2 A, H, W), of which the second half counts, moves (1, 4 A, H, W) and the picture (1, 3 or
more: height, width, scale). At place (i, j) anchor a stands feat_stride (j, i) off; its box, of size x2 - x1
+ 1, is moved to centre + t size and size exp(t) and cut to the picture. The pre_nms_topn best are taken in
order and dropped where they overlap one that is kept by more than nms_thresh, +1 in every width; the first
post_nms_topn that are left are the regions (0, x1, y1, x2, y2), and their scores the second top. Anchors, for
each ratio and each scale: w = round(sqrt(base_size^2 / ratio)), h = round(w ratio), both times the scale.

Proposal (PVANet and syshensyshen/pva-mobilenet-v2, proposal_layer.cpp): a box smaller than min_size times the
scale counts with score 0. Happynear's has scales in points of the picture.

ProposalLayer (py-faster-rcnn, rpn/proposal_layer.py and generate_anchors.py, a Python layer, which is not run
here but known): such a box is left out. pre_nms_topn 6000, post_nms_topn 300, nms_thresh 0.7, min_size 16, as
its configuration has them for tests.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers.sampling import clamp
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from caffe_port.shapes import count
from weights.errors import PrototxtError, ShapeError, UnsupportedError

Blobs = tuple[np.ndarray, ...]
MOST_ANCHORS = 1024
LOWEST = float(np.finfo(np.float32).min)


def _anchors(layer: Layer) -> np.ndarray:
    """(A, 4): x1, y1, x2, y2 of the anchors at the first place, ratio by ratio, each at every scale."""
    spec = layer.spec.proposal_param
    ratios, scales = list(spec.ratio), list(spec.scale)
    if not 0 < len(ratios) * len(scales) <= MOST_ANCHORS or not all(0 < v < 1e6 for v in (*ratios, *scales)):
        raise PrototxtError(
            "bad ratio or scale",
            found=f"{ratios} and {scales}",
            expected=f"above 0, at most {MOST_ANCHORS} pairs",
        )
    if layer.type == "Proposal" and min(scales) >= spec.base_size:
        raise UnsupportedError(
            "scales in points of the picture, as happynear/caffe-windows has them",
            found=scales,
            expected="multiples of base_size, as PVANet has them",
        )
    base = spec.base_size
    centre = 0.5 * (base - 1)
    boxes = []
    for ratio in map(float, ratios):
        width = _whole(layer, np.sqrt(base * base / ratio))
        height = _whole(layer, width * ratio)
        for scale in map(float, scales):
            half = 0.5 * (width * scale - 1), 0.5 * (height * scale - 1)
            boxes.append([centre - half[0], centre - half[1], centre + half[0], centre + half[1]])
    return np.array(boxes, np.float32)


def _whole(layer: Layer, value: float) -> float:
    """C++ rounds halves up, NumPy to the even number."""
    return float(np.floor(value + 0.5) if layer.type == "Proposal" else np.round(value))


def proposal_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    spec = layer.spec.proposal_param
    scores, moves, picture = bottoms
    anchors = len(_anchors(layer))
    if scores[0] != 1:
        raise UnsupportedError(
            "proposals of more than one picture", found=f"{scores[0]} items", expected="one"
        )
    if len(scores) != 4 or scores[1] != 2 * anchors or moves != (1, 4 * anchors, *scores[2:]):
        raise ShapeError(
            "bottoms do not fit ratio and scale",
            found=bottoms,
            expected=f"(1, {2 * anchors}, H, W) and (1, {4 * anchors}, H, W)",
        )
    if count(picture) < 3:
        raise ShapeError("the picture's size is missing", found=picture, expected="height, width, scale")
    if not spec.feat_stride or not spec.post_nms_topn or not spec.pre_nms_topn:
        raise PrototxtError("feat_stride or a top_n is 0", expected="1 or more")
    most = min(spec.post_nms_topn, spec.pre_nms_topn, anchors * scores[2] * scores[3])
    scores_of = (most,) if layer.type == "Proposal" else (most, 1)
    return ((most, 5), scores_of)[: len(layer.tops)]


def _by_place(g: GraphBuilder, x: str, anchors: int, numbers: int) -> str:
    """Channels (anchors x numbers) of (H, W) as rows (H W anchors, numbers)."""
    split = g.node("Reshape", x, g.ints(anchors, numbers, -1))
    return g.node("Reshape", g.node("Transpose", split, perm=[2, 0, 1]), g.ints(-1, numbers))


def _moved(g: GraphBuilder, layer: Layer, moves: str, picture: str) -> tuple[str, str]:
    """Boxes (N, 4) cut to the picture, and whether each is large enough (N, 1)."""
    spec = layer.spec.proposal_param
    anchors = _anchors(layer)
    rows, columns = g.shape(layer.bottoms[1])[2:]
    y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    shift = np.stack([x, y, x, y], -1).reshape(-1, 1, 4).astype(np.float32) * np.float32(spec.feat_stride)
    boxes = (anchors + shift).reshape(-1, 4)
    size = boxes[:, 2:] - boxes[:, :2] + 1
    wide = g.const(size)
    # py-faster-rcnn's bbox_transform_inv and the C++ form put the centre half a size from the first corner.
    centre = g.const(boxes[:, :2] + np.float32(0.5) * size)
    table = _by_place(g, moves, len(anchors), 4)
    offset, growth = g.nodes("Split", table, g.ints(2, 2), axis=1, outputs=2)
    middle = g.node("Add", g.node("Mul", offset, wide), centre)
    half = g.node("Mul", g.node("Mul", g.node("Exp", growth), wide), g.const(np.float32(0.5)))
    one, zero = g.const(np.float32(1)), g.const(np.float32(0))
    limit = g.node("Sub", g.node("Gather", picture, g.ints(1, 0), axis=0), one)
    low, high = (clamp(g, g.node(op, middle, half), zero, limit) for op in ("Sub", "Add"))
    extent = g.node("Add", g.node("Sub", high, low), one)
    least = g.node(
        "Mul", g.node("Gather", picture, _scales(g, layer), axis=0), g.const(np.float32(spec.min_size))
    )
    fits = g.node("Cast", g.node("GreaterOrEqual", extent, least), to=1)
    both = g.node("Cast", g.node("ReduceMin", fits, axes=[1], keepdims=1), to=9)
    return g.node("Concat", low, high, axis=1), both


def _scales(g: GraphBuilder, layer: Layer) -> str:
    """Where the picture's scales of width and height are: one for both, or height's and then width's."""
    four = layer.type == "Proposal" and count(g.shape(layer.bottoms[2])) > 3
    return g.ints(3, 2) if four else g.ints(2, 2)


def emit_proposal(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    g.require_fixed(layer, "the places of its anchors are constants", layer.bottoms[:2])
    spec = layer.spec.proposal_param
    anchors = len(_anchors(layer))
    picture = g.node("Reshape", bottoms[2], g.ints(-1))
    boxes, fits = _moved(g, layer, bottoms[1], picture)
    second = g.node("Slice", bottoms[0], g.ints(anchors), g.ints(2 * anchors), g.ints(1))
    if layer.type == "ProposalLayer":
        g.notes.append(
            f'layer "{layer.name}" (ProposalLayer): with py-faster-rcnn\'s own configuration for tests: '
            f"{spec.pre_nms_topn} boxes before suppression, {spec.post_nms_topn} after it, overlap "
            f"{spec.nms_thresh:g}, least size {spec.min_size}"
        )
    small = g.const(np.float32(0 if layer.type == "Proposal" else LOWEST))
    score = g.node("Where", fits, _by_place(g, second, anchors, 1), small)
    most = min(spec.pre_nms_topn, anchors * count(g.shape(layer.bottoms[1])[2:]))
    best, at = g.nodes("TopK", g.node("Reshape", score, g.ints(-1)), g.ints(most), axis=0, outputs=2)
    near = g.node("Gather", boxes, at, axis=0)
    found = g.node(
        "NonMaxSuppression",
        # One more at the far corner: both forms count the points of a box.
        g.node("Unsqueeze", g.node("Add", near, g.const(np.array([0, 0, 1, 1], np.float32))), g.ints(0)),
        g.node("Unsqueeze", best, g.ints(0, 1)),
        g.ints(spec.post_nms_topn),
        g.const(np.float32(spec.nms_thresh)),
        g.const(np.float32(LOWEST)),
    )
    kept = g.node("Gather", found, g.const(2, np.int64), axis=1)
    box, own = g.node("Gather", near, kept, axis=0), g.node("Gather", best, kept, axis=0)
    column = g.node("Unsqueeze", own, g.ints(1))
    item = g.node("Mul", column, g.const(np.float32(0)))
    scores = own if layer.type == "Proposal" else column
    return (g.node("Concat", item, box, axis=1), scores)[: len(layer.tops)]


register(
    *(
        LayerRule(
            kind,
            proposal_shape,
            emit_proposal,
            bottoms=(3, 3),
            tops=(1, 2),
            fork=fork,
            note="with `--postprocess`",
            counted=0,
            module=__name__,
        )
        for kind, fork in (("Proposal", "PVANet"), ("ProposalLayer", "py-faster-rcnn (Python)"))
    )
)
