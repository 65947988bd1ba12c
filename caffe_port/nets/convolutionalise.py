"""A classifier -> a fully convolutional net of any size (Long et al., arXiv 1411.4038, section 3).

The layers that look at the whole picture become layers that slide over a larger one:

InnerProduct on C x H x W        -> Convolution, kernel H x W, the same numbers in the same order
InnerProduct on a vector         -> Convolution, kernel 1 x 1
global or whole-map Pooling      -> Pooling, kernel H x W, stride 1
Flatten, Reshape to a vector     -> nothing; Softmax and ArgMax at the end -> nothing: scores are wanted

The last of these scores. Its map is S times smaller than the picture; a fixed bilinear Deconvolution per
class, kernel 2 S or 2 S - 1, brings it back, and a Crop to the input cuts it. The first convolution gets a
pad P of 100, as in FCN, or the least above that at which the Crop has a whole offset and fits at every size.

At a picture of the classifier's own size and without P the score map is the classifier's one row of scores.
In a larger picture, a position's scores are the classifier's for the window of features under it. They are
those for the window of pixels too where no layer pads; a pad inside the net adds zeros at the edge of the
picture, not of the window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from caffe_port.coord_map import crop_offsets, map_between
from caffe_port.layers.convolution import DEPTHWISE
from caffe_port.net import Input, Layer, Net, Shape, resolve
from caffe_port.nets.building import Message, crop, deconvolution, input_layer, net_text
from caffe_port.shapes import infer_shapes
from weights.errors import ClockworkError, ShapeError, UnsupportedError, UsageError

__all__ = ["Convolutionalised", "convolutionalise"]

FCN_PAD = 100
PADS = 256
"""How many pads above the first are tried."""
VECTOR = frozenset({"Flatten", "Reshape"})
ENDS = frozenset({"Softmax", "ArgMax", "PixelArgMax", "SoftmaxWithLoss"})
CONVOLUTIONS = frozenset({"Convolution", *DEPTHWISE})


@dataclass(frozen=True)
class Convolutionalised:
    """The new net's prototxt and what was chosen for it.

    Attributes:
        text: The prototxt.
        changed: For each layer that became another, its name and what became of it.
        score: The layer that scores, `stride` pixels apart.
        pad: Padding of the first convolution.
        offset: The Crop's offset.
    """

    text: str
    changed: tuple[tuple[str, str], ...]
    score: str
    stride: int
    pad: int
    offset: int


def _leading_to(net: Net, value: str) -> list[Layer]:
    """The layers that `value` is made from, in order."""
    wanted, kept = {value}, []
    for layer in reversed(net.layers):
        if wanted.intersection(layer.tops):
            wanted.update(layer.bottoms)
            kept.append(layer)
    return kept[::-1]


def _without_end(net: Net, layers: list[Layer], value: str) -> tuple[list[Layer], str]:
    """Leave out Softmax and the like after the scores; returns the layers and the value of the scores."""
    while layers and layers[-1].type in ENDS:
        value = layers.pop().bottoms[0]
    if not layers:
        raise UsageError("nothing but a Softmax leads to the output", file=net.file, found=value)
    return layers, value


def _unsupported(net: Net, layer: Layer, why: str) -> UnsupportedError:
    return UnsupportedError(
        "the net cannot be made fully convolutional",
        **net.where(layer),
        found=why,
        expected="a classifier whose fully connected layers and global pooling come after its convolutions",
    )


def _as_convolution(net: Net, layer: Layer, bottom: Shape) -> tuple[Message, str]:
    """The Convolution that an InnerProduct becomes, and in words."""
    product = layer.spec.inner_product_param
    if product.axis != 1:
        raise _unsupported(net, layer, f"axis {product.axis}")
    height, width = bottom[2:] if len(bottom) == 4 else (1, 1)
    made = type(layer.spec)()
    made.CopyFrom(layer.spec)
    made.type = "Convolution"
    made.ClearField("inner_product_param")
    spec = made.convolution_param
    spec.num_output, spec.bias_term = product.num_output, product.bias_term
    if height == width:
        spec.kernel_size.append(height)
    else:
        spec.kernel_h, spec.kernel_w = height, width
    for filler in ("weight_filler", "bias_filler"):
        if product.HasField(filler):
            getattr(spec, filler).CopyFrom(getattr(product, filler))
    return made, f"Convolution {height}x{width}"


def _as_window(layer: Layer, bottom: Shape) -> tuple[Message, str]:
    """The Pooling with a window that a global one becomes, and in words."""
    made = type(layer.spec)()
    made.CopyFrom(layer.spec)
    spec = made.pooling_param
    pool = spec.pool
    spec.Clear()
    spec.pool = pool
    if bottom[2] == bottom[3]:
        spec.kernel_size.append(bottom[2])
    else:
        spec.kernel_h, spec.kernel_w = bottom[2:]
    spec.stride.append(1)
    return made, f"Pooling {bottom[2]}x{bottom[3]}, stride 1"


def _is_whole_map(layer: Layer, bottom: Shape, top: Shape) -> bool:
    spec = layer.spec.pooling_param
    return spec.global_pooling or (len(bottom) == 4 and top[2:] == (1, 1) and bottom[2:] != (1, 1))


def _sliding(
    net: Net, layers: Sequence[Layer], shapes: Mapping[str, Shape]
) -> tuple[list[Message], list[tuple[str, str]], dict[str, str]]:
    """Every layer as one that slides; what changed; and the blobs that stand for dropped ones."""
    made: list[Message] = []
    changed: list[tuple[str, str]] = []
    stands_for: dict[str, str] = {}
    for layer in layers:
        bottom = shapes[layer.bottoms[0]] if layer.bottoms else ()
        top = shapes[layer.tops[0]]
        if layer.type in VECTOR:
            if any(d != 1 for d in top[2:]) or top[0] != bottom[0]:
                raise _unsupported(net, layer, f"a reshape from {bottom} to {top}")
            stands_for[layer.spec.top[0]] = stands_for.get(layer.spec.bottom[0], layer.spec.bottom[0])
            changed.append((layer.name, "left out"))
            continue
        if layer.type == "InnerProduct":
            new, how = _as_convolution(net, layer, bottom)
            changed.append((layer.name, how))
        elif layer.type == "Pooling" and _is_whole_map(layer, bottom, top):
            new, how = _as_window(layer, bottom)
            changed.append((layer.name, how))
        elif len(top) not in (2, 4) or (len(top) == 2 and len(bottom) == 4):
            raise _unsupported(net, layer, f"a top of shape {top}")
        else:
            new = type(layer.spec)()
            new.CopyFrom(layer.spec)
        for index, blob in enumerate(new.bottom):
            new.bottom[index] = stands_for.get(blob, blob)
        made.append(new)
    return made, changed, stands_for


def _rename_score(layers: Sequence[Message], classes: int, net: Net) -> str:
    """Give the last layer with weights other classes and the name score_fr, its scores too."""
    last = next((x for x in reversed(layers) if x.type == "Convolution"), None)
    if last is None or last is not next(
        x for x in reversed(layers) if x.type not in ("Pooling", "ReLU", "Dropout")
    ):
        raise UsageError("no layer to give other classes to", file=net.file, hint="leave --classes out")
    old = last.top[0]
    last.name, last.convolution_param.num_output = "score_fr", classes
    after = layers[list(layers).index(last) :]
    for layer in after:
        for ends in (layer.bottom, layer.top) if layer is not last else (layer.top,):
            for index, blob in enumerate(ends):
                if blob == old:
                    ends[index] = "score_fr"
    return layers[-1].top[0]


def _first_convolution(layers: Sequence[Message], picture: str, net: Net) -> Message:
    """The one convolution that every path from the picture begins with."""
    reached = {picture}
    found = []
    for layer in layers:
        if reached.intersection(layer.bottom):
            if layer.type in CONVOLUTIONS:
                found.append(layer)
            elif layer.type in ("Pooling", "Deconvolution"):
                raise UnsupportedError(
                    "the net does not begin with a convolution",
                    file=net.file,
                    layer=layer.name,
                    found=layer.type,
                )
            else:
                reached.update(layer.top)
    if len(found) != 1:
        raise UnsupportedError(
            "the net does not begin with one convolution",
            file=net.file,
            found=", ".join(layer.name for layer in found) or "none",
        )
    return found[0]


def _set_pad(layer: Message, pad: int) -> None:
    spec = layer.convolution_param
    for name in ("pad", "pad_h", "pad_w"):
        spec.ClearField(name)
    spec.pad.append(pad)


def _net(name: str, file: str, layers: Sequence[Message]) -> Net:
    inputs = [Input(x.top[0], tuple(x.input_param.shape[0].dim)) for x in layers if x.type == "Input"]
    return resolve(name, file, inputs, [x for x in layers if x.type != "Input"])


def _stride(net: Net, picture: str, score: str) -> int:
    """How many pixels the positions of the score map are apart."""
    maps = map_between(net, picture, score)
    scales = {1 / m.scale for m in maps or ()}
    if len(scales) != 1 or (scale := scales.pop()).denominator != 1 or scale < 1:
        raise ShapeError(
            "the scores do not lie on a grid of whole pixels",
            file=net.file,
            found=f"strides {scales or 'unknown'}",
        )
    return int(scale)


def _fits(net: Net, picture: Input, stride: int) -> bool:
    """Whether the Crop stays inside what it cuts at every size: sizes repeat with the stride."""
    for size in (*range(1, 2 * stride + 1), *range(16 * stride, 17 * stride)):
        try:
            infer_shapes(net, {picture.name: (*picture.shape[:2], size, size)})
        except ClockworkError:
            return False
    return True


def _ends(
    layers: Sequence[Message], score: str, classes: int, stride: int, kernel: int, picture: str
) -> list[Message]:
    up = deconvolution("upscore", score, classes, kernel, stride, grouped=True)
    return [*layers, up, crop("score", "upscore", picture)]


def _aligned(
    net: Net, layers: list[Message], picture: Input, score: str, classes: int, stride: int, pad: int | None
) -> tuple[list[Message], int, int]:
    """The whole net with a pad at which its Crop aligns and fits: layers, pad, offset."""
    first = _first_convolution(layers[1:], picture.name, net)
    problem: ClockworkError | None = None
    for tried in (pad,) if pad is not None else range(FCN_PAD, FCN_PAD + PADS):
        _set_pad(first, tried)
        for kernel in (2 * stride, 2 * stride - 1):
            whole = _ends(layers, score, classes, stride, kernel, picture.name)
            candidate = _net("candidate", net.file, whole)
            try:
                (row,) = [r for r in crop_offsets(candidate) if r.layer == "score"]
            except ShapeError as error:
                problem = error
                continue
            whole[-1].crop_param.offset.append(row.computed[0])
            if _fits(_net("candidate", net.file, whole), picture, stride):
                return whole, tried, row.computed[0]
    raise problem or ShapeError(
        "no pad at which the Crop fits at every size",
        file=net.file,
        found=f"pads from {FCN_PAD if pad is None else pad}",
        hint="choose one: --pad P",
    )


def convolutionalise(
    net: Net,
    *,
    classes: int | None = None,
    pad: int | None = None,
    size: tuple[int, int] | None = None,
    output: str | None = None,
) -> Convolutionalised:
    """Make a classifier fully convolutional.

    Args:
        net: The classifier, at the size that it was trained for: its fully connected layers fix the windows.
        classes: A new score layer `score_fr` for so many classes; None keeps the classifier's own.
        pad: Padding of the first convolution; None for 100 or the least above at which the Crop fits.
        size: Height and width that the new net states for its input; None for 500 x 500.
        output: The value of the net to make scores of, where it has several; None for the last.

    Returns:
        The new net's prototxt, and what was changed on the way.

    Raises:
        UnsupportedError: A layer that cannot slide.
        ShapeError: No pad at which the scores can be aligned with the picture.
        UsageError: The net has no such output.
    """
    if len(net.inputs) != 1 or len(net.inputs[0].shape) != 4:
        raise UsageError("not a classifier of one picture", file=net.file, found=f"inputs {net.inputs}")
    value = net.outputs[-1] if output is None else output
    if value not in net.values():
        raise UsageError(
            "no such value in the net", file=net.file, found=value, expected=", ".join(net.outputs)
        )
    shapes = infer_shapes(net)
    layers, value = _without_end(net, _leading_to(net, value), value)
    made, changed, _ = _sliding(net, layers, shapes)
    picture = Input(net.inputs[0].name, (1, net.inputs[0].shape[1], *(size or (500, 500))))
    scored = shapes[value][1]
    score = made[-1].top[0]
    if classes is not None and classes != scored:
        score, scored = _rename_score(made, classes, net), classes
    whole = [input_layer(picture.name, picture.shape), *made]
    stride = _stride(_net(net.name, net.file, whole), picture.name, score)
    whole, pad, offset = _aligned(net, whole, picture, score, scored, stride, pad)
    name = f"{net.name or 'net'}-fcn"
    return Convolutionalised(net_text(name, whole), tuple(changed), score, stride, pad, offset)
