"""What comes out of a bundle, and the graph from the net's output to that.

| kind | the head's output | what it is |
|---|---|---|
| labels | `labels`, uint8 H x W | the class of each pixel of the frame |
| scores | `scores`, float32 K | a number for each class, for the whole frame |
| picture | `picture`, uint8 h x w x 3, RGB | a new picture: colour, a higher resolution, less haze |
| map | `map`, float32 H x W, or C x H x W | a measure for each pixel of the frame: depth, saliency, edges |
| vector | `vector`, float32 K | numbers for the whole frame: an embedding, coordinates |

H and W are the frame's. The net's output is brought there bilinearly, pixel centres at half; where the net
gives the frame's own size at every size, nothing is done. Labels are the argmax of the scores (the lowest
class on ties), or of one channel where it is above a half. A picture is put back by the pre-processing's
inverse, out / scale + mean, cut to 0 to 255 and rounded; it keeps the net's own size, which may be larger
than the frame's, unless the frame was resized for a net that gives as many pixels as it takes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from caffe_port.net import Layer, Net, Shape
from caffe_port.onnx_graph import OnnxGraph
from staged_onnx.frame_graphs import Preprocessing, emit_resize
from weights.errors import BundleError, UsageError

__all__ = ["KINDS", "MAPS", "OutputSpec", "choose_output", "emit_labels", "emit_output"]

KINDS = ("labels", "scores", "picture", "map", "vector")
MAPS = ("labels", "picture", "map")
"""The kinds that have a value for each place."""
MAX_CLASSES = 256
_SCORES = re.compile(r"score|prob|label|class|seg|softmax", re.IGNORECASE)
_CLASSIFIES = frozenset({"Softmax", "SoftmaxWithLoss", "ArgMax", "PixelArgMax", "Accuracy"})


@dataclass(frozen=True)
class OutputSpec:
    """What comes out of a bundle.

    kind: one of KINDS. name: the net's value that it is made of, in the head's graph or among the carried
    values; "" where a bundle of an earlier release does not say. channels: of that value. native: that value
    has the frame's height and width, whatever they are. resized: it is brought to the frame's size.
    """

    kind: str = "labels"
    name: str = ""
    channels: int = 0
    native: bool = False
    resized: bool = True

    @property
    def output(self) -> str:
        """The name of the head's output, which is that of the kind."""
        return self.kind

    @property
    def reads_frame(self) -> bool:
        """Whether the frame's size is needed to make it."""
        return self.kind in MAPS and self.resized and not self.native

    def classes(self) -> int:
        """How many class names go with it: two for one channel of labels, none for what has no classes."""
        if self.kind == "labels":
            return 2 if self.channels == 1 else self.channels
        return self.channels if self.kind == "scores" else 0


def _maker(net: Net, value: str) -> Layer | None:
    return next((layer for layer in net.layers if value in layer.tops), None)


def _classifies(net: Net, value: str, asked: str) -> bool:
    """Whether something says that the channels of `value` are classes."""
    readers = [layer for layer in net.layers if value in layer.bottoms]
    makers = [layer for v in (value, asked) if (layer := _maker(net, v)) is not None]
    return any(layer.type in _CLASSIFIES for layer in (*readers, *makers))


def choose_kind(net: Net, value: str, asked: str, shape: Shape, *, named: bool) -> tuple[str, str]:
    """The kind of output that a net most likely has, and why.

    Args:
        net: The net.
        value: The value that the output is made of.
        asked: The net's output, before a final Softmax or ArgMax was taken off.
        shape: The value's shape.
        named: Class names are given.

    Returns:
        One of KINDS, and the reason in a few words.
    """
    classes = _classifies(net, value, asked)
    if len(shape) != 4 or shape[2:] == (1, 1):
        if named or classes:
            return "scores", "one number for each class, for the whole frame"
        return "vector", "no map, and nothing says that its numbers are classes"
    channels = shape[1]
    maker = _maker(net, value)
    if named or classes:
        return "labels", "class names are given" if named else "its channels are classes"
    if channels > MAX_CLASSES:
        return "map", f"{channels} channels, more than there can be classes"
    if channels == 1:
        if maker is not None and maker.type == "Sigmoid":
            return "labels", "one channel of probabilities: label 1 where above a half"
        pictures = [i.shape[1] for i in net.inputs if len(i.shape) == 4]
        return ("picture", "one channel in, one out") if pictures == [1] else ("map", "one channel")
    if channels == 3 and not _SCORES.search(value) and not (maker is not None and _SCORES.search(maker.name)):
        return "picture", "three channels, and nothing says that they are classes"
    return "labels", f"{channels} channels"


def choose_output(
    net: Net,
    value: str,
    asked: str,
    shape: Shape,
    *,
    kind: str | None = None,
    named: bool = False,
) -> tuple[OutputSpec, str]:
    """The output of a bundle, and a note for its user where the kind was guessed ("" where it is plain).

    Args:
        net: The net.
        value: The value that the output is made of.
        asked: The net's output, before a final Softmax or ArgMax was taken off.
        shape: The value's shape.
        kind: One of KINDS where the user says it.
        named: Class names are given.

    Returns:
        What comes out, and the note.

    Raises:
        UsageError: An unknown kind.
        BundleError: The value does not fit the kind.
    """
    if kind is not None and kind not in KINDS:
        raise UsageError("unknown kind of output", found=f'"{kind}"', expected=", ".join(KINDS))
    found, why = (kind, "") if kind is not None else choose_kind(net, value, asked, shape, named=named)
    note = "" if kind is not None or found == "labels" else f"the output is a {found}: {why}; --kind KIND"
    if found == "labels" and why.startswith("one channel"):
        note = f'{why}; --kind map gives the numbers of "{value}" themselves'
    _check_fits(net, value, shape, found)
    return OutputSpec(kind=found, name=value, channels=shape[1] if len(shape) > 1 else shape[0]), note


def _check_fits(net: Net, value: str, shape: Shape, kind: str) -> None:
    is_map = len(shape) == 4
    accepted = {
        "labels": (is_map and shape[1] <= MAX_CLASSES, f"1 x classes x h x w, at most {MAX_CLASSES} classes"),
        "picture": (is_map and shape[1] in (1, 3), "1 x 3 x h x w, or one channel"),
        "map": (is_map, "1 x C x h x w"),
    }
    fits, expected = accepted.get(kind, (int(np.prod(shape[2:])) == 1, "one number for each channel"))
    if not fits or shape[0] != 1:
        raise BundleError(
            f"the output cannot be a {kind}" if shape[0] == 1 else "more than one result per frame",
            file=net.file,
            found=f'"{value}" of shape {shape}',
            expected=expected,
            hint="name another blob: --blob BLOB (output=BLOB of plan()), or another kind: --kind KIND; "
            "any net can become one plain model: -o NAME.onnx",
        )


def emit_output(g: OnnxGraph, value: str, spec: OutputSpec, how: Preprocessing, frame: str | None) -> None:
    """Write the nodes from the net's value to the head's output, and declare it.

    Args:
        g: The head's graph.
        value: 1 x C x h x w float32, or 1 x K.
        spec: What is to come out.
        how: The pre-processing, whose inverse gives a picture.
        frame: The frame (uint8 H x W x 3), needed where `spec.reads_frame`.
    """
    if spec.kind in ("scores", "vector"):
        g.output(g.node("Reshape", value, g.ints(-1)), spec.output, [spec.channels])
        return
    sized = frame if spec.reads_frame else None
    if spec.kind == "labels":
        labels = emit_labels(g, value, spec.channels, sized)
        g.output(labels, spec.output, ["height", "width"], TensorProto.UINT8)
        return
    if sized is not None:
        size = g.sizes_of(sized, 0, 1)
        value = emit_resize(g, value, g.node("Concat", g.ints(1, spec.channels), size, axis=0))
    if spec.kind == "map":
        planes = g.node("Squeeze", value, g.ints(0, 1) if spec.channels == 1 else g.ints(0))
        channels = [] if spec.channels == 1 else [spec.channels]
        g.output(planes, spec.output, [*channels, "height", "width"])
        return
    dims: list[str | int] = ["height", "width"] if spec.resized else ["picture_height", "picture_width"]
    g.output(_emit_picture(g, value, spec, how), spec.output, [*dims, 3], TensorProto.UINT8)


def _emit_picture(g: OnnxGraph, value: str, spec: OutputSpec, how: Preprocessing) -> str:
    """1 x C x h x w as the net gives it to RGB, uint8 h x w x 3."""
    if how.scale != 1:
        value = g.node("Div", value, g.const(np.float32(how.scale)))
    mean = how.mean if len(how.mean) in (1, spec.channels) else (float(np.mean(how.mean)),)
    if any(mean):
        value = g.node("Add", value, g.const(np.array(mean, np.float32).reshape(1, -1, 1, 1)))
    if spec.channels == 1:
        value = g.node("Concat", value, value, value, axis=1)
    elif how.channels == "bgr":
        value = g.node("Gather", value, g.ints(2, 1, 0), axis=1)
    value = g.node("Clip", g.node("Round", value), g.const(np.float32(0)), g.const(np.float32(255)))
    rows = g.node("Transpose", g.node("Squeeze", value, g.ints(0)), perm=[1, 2, 0])
    return g.node("Cast", rows, to=TensorProto.UINT8)


def emit_labels(g: OnnxGraph, scores: str, channels: int, frame: str | None) -> str:
    """Nodes from scores to labels.

    With one channel the score is a probability, and label 1 is where it is above a half.

    Args:
        g: The graph.
        scores: 1 x K x h x w.
        channels: K.
        frame: The frame (H x W x 3), or None where the scores have its size already.

    Returns:
        uint8, H x W of the frame.
    """
    if frame is not None:
        size = g.sizes_of(frame, 0, 1)
        scores = emit_resize(g, scores, g.node("Concat", g.ints(1, channels), size, axis=0))
    if channels == 1:
        labels = g.node("Squeeze", g.node("Greater", scores, g.const(np.float32(0.5))), g.ints(0, 1))
    else:
        # Along the last axis ONNX Runtime's own kernel takes the first of equals; along others its CUDA
        # provider leaves ties to cuDNN, which does not say. On the CPU both ways take the same time.
        last = g.node("Transpose", scores, perm=[0, 2, 3, 1])
        labels = g.node("Squeeze", g.node("ArgMax", last, axis=3, keepdims=0), g.ints(0))
    return g.node("Cast", labels, to=TensorProto.UINT8)
