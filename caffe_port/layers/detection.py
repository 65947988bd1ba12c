"""Layers that end in boxes: they stay outside the graph unless the net is read with `postprocess`.

DetectionOutput (weiliu89/caffe, branch ssd: detection_output_layer.cpp, bbox_util.cpp), bottoms boxes (1, P
x 4), or (1, P x classes x 4) without `share_location`, scores (1, P x classes) and priors (1, 2, P x 4). A
box is decoded from its prior p and the numbers t, times the prior's variances v unless they are in the
target: CENTER_SIZE centre t v width(p) + centre(p), size exp(t v) size(p); CORNER p + t v; CORNER_SIZE p + t
v size(p). Of each class but the background the top_k best above confidence_threshold are taken in order and
dropped where they overlap one that is kept by more than nms_threshold; of what is left the keep_top_k best
stay. The top is (1, 1, N, 7): item, class, score, x1, y1, x2, y2, by class and falling score; one row of -1
with item 0 where nothing is found.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.net import Layer, Shape
from caffe_port.registry import LayerRule, register
from caffe_port.shapes import count
from weights.errors import PrototxtError, ShapeError, UnsupportedError

Blobs = tuple[np.ndarray, ...]
CORNER, CENTER_SIZE, CORNER_SIZE = 1, 2, 3
NOTHING = np.array([[0, -1, -1, -1, -1, -1, -1]], np.float32)


def _classes(layer: Layer) -> list[int]:
    """The classes that are looked for."""
    spec = layer.spec.detection_output_param
    if spec.num_classes < 1:
        raise PrototxtError("no num_classes", expected="1 or more")
    return [c for c in range(spec.num_classes) if c != spec.background_label_id]


def _candidates(layer: Layer, priors: int) -> int:
    """How many boxes of one class are looked at."""
    nms = layer.spec.detection_output_param.nms_param
    return min(nms.top_k, priors) if nms.HasField("top_k") and nms.top_k > -1 else priors


def detection_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    spec = layer.spec.detection_output_param
    boxes, scores, priors = bottoms
    classes = _classes(layer)
    number = count(priors) // 8
    owners = 1 if spec.share_location else spec.num_classes
    if boxes[0] != 1:
        raise UnsupportedError("boxes of more than one picture", found=f"{boxes[0]} items", expected="one")
    if count(boxes) != number * owners * 4 or count(scores) != number * spec.num_classes:
        raise ShapeError(
            "bottoms do not fit num_classes and priors",
            found=bottoms,
            expected=f"{number * owners * 4} and {number * spec.num_classes} numbers for {number} priors",
        )
    if not 0 < spec.nms_param.eta <= 1 or spec.nms_param.nms_threshold < 0:
        raise PrototxtError("bad nms_param", found=spec.nms_param.eta, expected="eta in (0, 1]")
    if spec.nms_param.eta != 1:
        raise UnsupportedError("an overlap that shrinks as boxes are kept", found="eta", expected="eta: 1")
    most = len(classes) * _candidates(layer, number)
    return ((1, 1, min(most, spec.keep_top_k) if spec.keep_top_k > -1 else most, 7),)


def _decoded(g: GraphBuilder, layer: Layer, boxes: str, priors: str, number: int) -> str:
    """The boxes (owners, P, 4) of all places."""
    spec = layer.spec.detection_output_param
    owners = 1 if spec.share_location else spec.num_classes
    offsets = g.node("Transpose", g.node("Reshape", boxes, g.ints(number, owners, 4)), perm=[1, 0, 2])
    both = g.node("Reshape", priors, g.ints(2, number, 4))
    prior, variance = (g.node("Gather", both, g.const(i, np.int64), axis=0) for i in (0, 1))
    if not spec.variance_encoded_in_target:
        offsets = g.node("Mul", offsets, variance)
    low, high = g.nodes("Split", prior, g.ints(2, 2), axis=1, outputs=2)
    size = g.node("Sub", high, low)
    if spec.code_type == CORNER:
        return g.node("Add", prior, offsets)
    if spec.code_type == CORNER_SIZE:
        return g.node("Add", prior, g.node("Mul", offsets, g.node("Concat", size, size, axis=1)))
    half = g.const(np.float32(0.5))
    moved, grown = g.nodes("Split", offsets, g.ints(2, 2), axis=2, outputs=2)
    middle = g.node("Add", g.node("Mul", moved, size), g.node("Mul", g.node("Add", low, high), half))
    extent = g.node("Mul", g.node("Mul", g.node("Exp", grown), size), half)
    return g.node("Concat", g.node("Sub", middle, extent), g.node("Add", middle, extent), axis=2)


def best(g: GraphBuilder, scores: str, most: int) -> str:
    """Indices (K,) of the `most` greatest of the scores (M,), in their own order."""
    number = g.node("Min", g.sizes_of(scores, 0), g.ints(most))
    _, kept = g.nodes("TopK", scores, number, axis=0, outputs=2)
    # TopK has them by falling score; what comes first in the list is to come first again.
    return g.nodes("TopK", kept, number, axis=0, largest=0, outputs=2)[0]


def as_rows(g: GraphBuilder, label: str, score: str, box: str) -> str:
    """Classes (M,), scores (M,) and boxes (M, 4) as (1, 1, M, 7), or the row that stands for none."""
    item = g.node("Mul", label, g.const(np.float32(0)))
    columns = [g.node("Unsqueeze", v, g.ints(1)) for v in (item, label, score)]
    rows = g.node("Concat", *columns, box, axis=1)
    height = g.node("Max", g.sizes_of(rows, 0), g.ints(1))
    rows = g.node("Slice", g.node("Concat", rows, g.const(NOTHING), axis=0), g.ints(0), height, g.ints(0))
    return g.node("Unsqueeze", rows, g.ints(0, 1))


def emit_detection(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    g.require_fixed(layer, "the number of its priors is known for one frame size")
    spec = layer.spec.detection_output_param
    classes = _classes(layer)
    number = count(g.shape(layer.bottoms[2])) // 8
    looked_at = _candidates(layer, number)
    own = g.const(np.array(classes), np.int64)
    boxes = _decoded(g, layer, bottoms[0], bottoms[2], number)
    table = g.node("Transpose", g.node("Reshape", bottoms[1], g.ints(number, spec.num_classes)), perm=[1, 0])
    # One batch item of NonMaxSuppression per class, so that each has its own candidates.
    scores, places = g.nodes(
        "TopK", g.node("Gather", table, own, axis=0), g.ints(looked_at), axis=1, outputs=2
    )
    if spec.share_location:
        near = g.node("Gather", g.node("Squeeze", boxes, g.ints(0)), places, axis=0)
    else:
        every = g.node("Expand", g.node("Unsqueeze", places, g.ints(2)), g.ints(1, 1, 4))
        near = g.node("GatherElements", g.node("Gather", boxes, own, axis=0), every, axis=1)
    limits = [g.ints(looked_at), g.const(np.float32(spec.nms_param.nms_threshold))]
    if spec.HasField("confidence_threshold"):
        limits.append(g.const(np.float32(spec.confidence_threshold)))
    shown = near
    if spec.code_type != CENTER_SIZE:
        # A box whose corners are the wrong way round overlaps nothing: it becomes one without an area.
        low, high = g.nodes("Split", near, g.ints(2, 2), axis=2, outputs=2)
        shown = g.node("Concat", low, g.node("Max", low, high), axis=2)
    found = g.node("NonMaxSuppression", shown, g.node("Unsqueeze", scores, g.ints(1)), *limits)
    at = g.node("Gather", found, g.ints(0, 2), axis=1)
    score, box = g.node("GatherND", scores, at), g.node("GatherND", near, at)
    label = g.node("Gather", own, g.node("Gather", found, g.const(0, np.int64), axis=1), axis=0)
    if spec.keep_top_k > -1:
        kept = best(g, score, spec.keep_top_k)
        score, box, label = (g.node("Gather", v, kept, axis=0) for v in (score, box, label))
    return (as_rows(g, g.node("Cast", label, to=1), score, box),)


register(
    LayerRule(
        "DetectionOutput",
        detection_shape,
        emit_detection,
        bottoms=(3, 3),
        fork="SSD",
        note="with `--postprocess`",
        counted=2,
        module=__name__,
    ),
)
