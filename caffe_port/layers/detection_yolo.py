"""Yolov3DetectionOutput (eric612/MobileNet-YOLO, yolov3_detection_output_layer.cpp), where a net is read with
`postprocess`.

Bottom t is (1, num_box (5 + classes), H, W). At place (i, j) box n has its centre at ((j + s(x)) / W, (i +
s(y)) / H), s the logistic function, and the size exp(w) a / (W anchors_scale[t]) by exp(h) b / (H
anchors_scale[t]), a and b the pair of `biases` that `mask` names for it. A box scores s(objectness) s(class)
for each class. All that score above confidence_threshold are looked at together, best first, and dropped
where they overlap one that is kept by nms_threshold or more; so of one box only its best class counts. The
top is (1, 1, N, 7) as DetectionOutput's, by falling score, classes counted from 1.

YoloDetectionOutput (yolo_detection_output_layer.cpp, YOLO v2): one or two bottoms of as many rows as columns,
with the same `biases`, which count in places; a class scores by the softmax over the classes.
"""

from __future__ import annotations

import numpy as np

from caffe_port.graph import GraphBuilder
from caffe_port.layers.detection import as_rows
from caffe_port.net import Layer, Shape
from caffe_port.proto.caffe_pb2 import YoloDetectionOutputParameter, Yolov3DetectionOutputParameter
from caffe_port.registry import LayerRule, register
from weights.errors import PrototxtError, ShapeError, UnsupportedError

Blobs = tuple[np.ndarray, ...]


def _anchors(layer: Layer, group: int) -> np.ndarray:
    """Width and height of the boxes of one bottom: (num_box, 2), in points of the picture."""
    spec = layer.spec.yolov3_detection_output_param
    first = group * (len(spec.mask) // spec.mask_group_num)
    numbers = spec.mask[first : first + spec.num_box]
    pairs = np.array(spec.biases, np.float32)[: len(spec.biases) // 2 * 2].reshape(-1, 2)
    if len(numbers) != spec.num_box or any(number >= len(pairs) for number in numbers):
        raise PrototxtError(
            "mask does not fit biases and num_box",
            found=f"mask {list(spec.mask)}, {len(spec.biases)} biases, num_box {spec.num_box}",
        )
    return pairs[list(numbers)]


def _spec(layer: Layer) -> Yolov3DetectionOutputParameter | YoloDetectionOutputParameter:
    if layer.type == "YoloDetectionOutput":
        return layer.spec.yolo_detection_output_param
    return layer.spec.yolov3_detection_output_param


def _pairs(layer: Layer) -> np.ndarray:
    """Width and height of YOLO v2's boxes: (num_box, 2), in places."""
    spec = layer.spec.yolo_detection_output_param
    if len(spec.biases) < 2 * spec.num_box:
        raise PrototxtError(
            "biases do not fit num_box",
            found=f"{len(spec.biases)} for {spec.num_box}",
            expected="two per box",
        )
    return np.array(spec.biases, np.float32)[: 2 * spec.num_box].reshape(-1, 2)


def yolo2_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    spec = layer.spec.yolo_detection_output_param
    if spec.num_classes < 1 or spec.num_box < 1 or spec.coords != 4:
        raise PrototxtError("num_classes or num_box is 0, or coords is not 4")
    _pairs(layer)
    channels = spec.num_box * (5 + spec.num_classes)
    for bottom in bottoms:
        if len(bottom) != 4 or bottom[:2] != (1, channels) or bottom[2] != bottom[3]:
            raise ShapeError(
                "a bottom does not fit", found=bottom, expected=f"(1, {channels}, S, S), as the fork reads it"
            )
    return ((1, 1, sum(spec.num_box * b[2] * b[3] for b in bottoms), 7),)


def yolo_shape(layer: Layer, bottoms: tuple[Shape, ...]) -> tuple[Shape, ...]:
    spec = layer.spec.yolov3_detection_output_param
    if spec.gaussian_box:
        raise UnsupportedError("Gaussian YOLO", found="gaussian_box: true", expected="false")
    if len(bottoms) != spec.mask_group_num or len(spec.anchors_scale) < len(bottoms):
        raise PrototxtError(
            "bottoms do not fit mask_group_num and anchors_scale",
            found=f"{len(bottoms)} bottoms, mask_group_num {spec.mask_group_num}, "
            f"anchors_scale {list(spec.anchors_scale)}",
        )
    if 0 in spec.anchors_scale or spec.num_classes < 1 or spec.num_box < 1:
        raise PrototxtError("num_classes, num_box or anchors_scale is 0", expected="1 or more")
    channels = spec.num_box * (5 + spec.num_classes)
    for group, bottom in enumerate(bottoms):
        _anchors(layer, group)
        if len(bottom) != 4 or bottom[:2] != (1, channels):
            raise ShapeError("a bottom does not fit", found=bottom, expected=f"(1, {channels}, H, W)")
    return ((1, 1, sum(spec.num_box * b[2] * b[3] for b in bottoms), 7),)


def _sizes(layer: Layer, group: int, rows: int, columns: int) -> np.ndarray:
    """Width and height of the boxes of one bottom: (num_box, 2), as fractions of the picture."""
    cells = np.array([columns, rows], np.float32)
    if layer.type == "YoloDetectionOutput":
        return _pairs(layer) / cells
    return _anchors(layer, group) / (cells * layer.spec.yolov3_detection_output_param.anchors_scale[group])


def _group(g: GraphBuilder, layer: Layer, group: int, x: str) -> tuple[str, str]:
    """Corners (M, 4) and scores (classes, M) of the boxes of one bottom."""
    spec = _spec(layer)
    height, width = g.shape(layer.bottoms[group])[2:]
    places = height * width
    table = g.node("Reshape", x, g.ints(spec.num_box, 5 + spec.num_classes, places))
    centre, size, thing, kinds = g.nodes("Split", table, g.ints(2, 2, 1, spec.num_classes), axis=1, outputs=4)
    rows, columns = np.divmod(np.arange(places, dtype=np.float32), np.float32(width))
    middle = g.node("Add", g.node("Sigmoid", centre), g.const(np.stack([columns, rows])))
    middle = g.node("Div", middle, g.const(np.array([width, height], np.float32)[:, None]))
    half = g.const((_sizes(layer, group, height, width) / 2)[:, :, None])
    half = g.node("Mul", g.node("Exp", size), half)
    box = g.node("Concat", g.node("Sub", middle, half), g.node("Add", middle, half), axis=1)
    if layer.type == "YoloDetectionOutput":
        kinds = g.node("Softmax", kinds, axis=1)
    else:
        kinds = g.node("Sigmoid", kinds)
    score = g.node("Mul", kinds, g.node("Sigmoid", thing))
    flat = g.node("Reshape", g.node("Transpose", box, perm=[0, 2, 1]), g.ints(-1, 4))
    return flat, g.node("Reshape", g.node("Transpose", score, perm=[1, 0, 2]), g.ints(spec.num_classes, -1))


def emit_yolo(g: GraphBuilder, layer: Layer, bottoms: tuple[str, ...], blobs: Blobs) -> tuple[str, ...]:
    g.require_fixed(layer, "the places of its boxes are constants")
    spec = _spec(layer)
    groups = [_group(g, layer, group, x) for group, x in enumerate(bottoms)]
    boxes = g.node("Concat", *(box for box, _ in groups), axis=0)
    every = g.node("Concat", *(score for _, score in groups), axis=1)
    score = g.node("ReduceMax", every, axes=[0], keepdims=0)
    label = g.node("ArgMax", every, axis=0, keepdims=0)
    found = g.node(
        "NonMaxSuppression",
        g.node("Unsqueeze", boxes, g.ints(0)),
        g.node("Unsqueeze", score, g.ints(0, 1)),
        g.sizes_of(score, 0),
        g.const(np.float32(spec.nms_threshold)),
        g.const(np.float32(spec.confidence_threshold)),
    )
    at = g.node("Gather", found, g.const(2, np.int64), axis=1)
    score, boxes, label = (g.node("Gather", v, at, axis=0) for v in (score, boxes, label))
    label = g.node("Cast", g.node("Add", label, g.const(1, np.int64)), to=1)
    return (as_rows(g, label, score, boxes),)


register(
    LayerRule(
        "Yolov3DetectionOutput",
        yolo_shape,
        emit_yolo,
        bottoms=(1, None),
        fork="MobileNet-YOLO",
        note="with `--postprocess`",
        counted=2,
        module=__name__,
    ),
    LayerRule(
        "YoloDetectionOutput",
        yolo2_shape,
        emit_yolo,
        bottoms=(1, 2),
        fork="MobileNet-YOLO",
        note="with `--postprocess`",
        counted=2,
        module=__name__,
    ),
)
