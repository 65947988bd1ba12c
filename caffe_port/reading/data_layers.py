"""Where the net ends: layers that feed it from disk become inputs, training layers fall away.

A train_val file gives its TEST net: data and data-like Python layers become inputs with a stated shape, loss
and accuracy layers are left out together with the labels that only they read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from caffe_port.layers.constant import dummy_shapes
from caffe_port.net import Input, Shape
from caffe_port.reading.detached import is_outside
from caffe_port.reading.published_inputs import published_shape
from caffe_port.reading.schema import layer_message
from caffe_port.reading.template import word_hint
from caffe_port.reading.text_format import Block, whole_number
from caffe_port.reading.transforms import params
from weights.errors import ClockworkError, PrototxtError

__all__ = [
    "data_input",
    "drop_labels",
    "is_random",
    "is_source",
    "is_training_only",
    "is_training_type",
    "random_inputs",
    "transformed",
]

_TRAINING = re.compile(
    r"(Loss|Accuracy|LossOHEM|AnnotatorOHEM|EvalDetection|DetectionEvaluate|LpDetEvaluate)$"
    r"|^(Yolov3|AccuracyV2)$"
)


def is_source(layer: Block) -> bool:
    """Whether the layer brings data in: a data layer of Caffe or a fork, a Python layer that reads nothing.

    Every fork's data layers are called something with Data (ImageSegData, AnnotatedData, VideoData, ...), and
    DeepLab has MatRead; DummyData and the net's own parameters make constants.
    """
    kind = layer.text("type")
    reads = layer.has("bottom")
    return not reads and (kind in ("MatRead", "Python") or (kind.endswith("Data") and kind != "DummyData"))


def is_training_only(layer: Block) -> bool:
    """Whether the layer only measures: loss, accuracy and evaluation layers."""
    kind = layer.text("type")
    if kind == "Python" and layer.has("loss_weight"):
        return True
    return is_training_type(kind)


def is_training_type(kind: str) -> bool:
    """Whether all layers of a type only measure."""
    return bool(_TRAINING.search(kind))


def is_random(layer: Block) -> bool:
    """Whether the layer is DummyData with a filler other than a constant."""
    fillers = [f for p in layer.blocks("dummy_data_param") for f in p.blocks("data_filler")]
    return layer.text("type") == "DummyData" and any(
        f.text("type", "constant") != "constant" for f in fillers
    )


def random_inputs(layer: Block, given: Mapping[str, Shape], *, file: str) -> list[Input]:
    """The inputs that replace a DummyData layer of random numbers, which are others in every pass.

    Args:
        layer: The layer.
        given: Shapes by blob that replace the layer's.
        file: The prototxt, for messages.

    Returns:
        One input per top.

    Raises:
        ClockworkError: The layer's parameters do not give its tops shapes.
    """
    tops = layer.texts("top")
    where: dict[str, Any] = {"file": file, "layer": layer.text("name"), "layer_type": layer.text("type")}
    try:
        shapes = dummy_shapes(layer_message(layer, file=file).dummy_data_param, len(tops))
    except ClockworkError as error:
        raise error.located(**where) from None
    return [Input(top, given.get(top, shape)) for top, shape in zip(tops, shapes, strict=True)]


def _int(text: str) -> int:
    return max(0, whole_number(text) or 0)


def _stated_shape(layer: Block) -> Shape | None:
    """N x C x H x W as far as the layer says it; clips of video have more axes or more channels.

    naibaf7's MemoryData states its whole shape: `memory_data_param { dim: 1 dim: 3 dim: 64 dim: 64 }`.
    """
    if layer.text("type").startswith(("Video", "Volume", "Sequence")):
        return None
    for param in layer.blocks("memory_data_param"):
        if param.has("dim"):
            shape = tuple(map(_int, param.texts("dim")))
            return shape if 0 not in shape else None
    batch, channels, height, width = 1, 3, 0, 0
    for name in (
        "data_param",
        "image_data_param",
        "memory_data_param",
        "window_data_param",
        "transform_param",
        "dense_image_data_param",
    ):
        for param in layer.blocks(name):
            batch = _int(param.text("batch_size")) or batch
            channels = _int(param.text("channels")) or channels
            height = (
                _int(param.text("height") or param.text("new_height") or param.text("crop_height")) or height
            )
            width = _int(param.text("width") or param.text("new_width") or param.text("crop_width")) or width
            crop = _int(param.text("crop_size"))
            if crop:
                height = width = crop
            if param.text("force_gray") == "true" or param.text("is_color") == "false":
                channels = 1
            if param.has("mean_value") and name == "transform_param":
                channels = (
                    max(1, len(param.texts("mean_value")))
                    if len(param.texts("mean_value")) != 1
                    else channels
                )
            for resize in param.blocks("resize_param"):
                height = _int(resize.text("height")) or height
                width = _int(resize.text("width")) or width
    return (batch, channels, height, width) if height and width else None


def _shape_elsewhere(layer: Block, layers: Sequence[Block]) -> Shape | None:
    """What another data layer of the file, of another phase, states for the same first top."""
    top = layer.texts("top")[0]
    for other in layers:
        if other is not layer and is_source(other) and other.texts("top")[:1] == [top]:
            shape = _stated_shape(other)
            if shape is not None:
                return shape
    return None


def data_input(
    layer: Block,
    layers: Sequence[Block],
    given: Mapping[str, Shape],
    read: Collection[str],
    *,
    file: str,
) -> tuple[list[Input], list[str]]:
    """The inputs that replace one data layer, and the names of its label-like tops.

    The first top is the picture, unless only layers that are left out read it. Its shape is the one `given`
    by the caller, else what the layer says (crop size, batch size, dimensions), what the file's data layer of
    another phase says, or what a published reader is known to give. Further tops take part only where their
    shape is given or known, or nothing but labels can be meant.

    Args:
        layer: The data layer.
        layers: Every layer of the file, whatever its phase.
        given: Shapes (N, C, H, W) by blob.
        read: The blobs that layers of the net read.
        file: For messages.

    Returns:
        The inputs, and the names of tops that are labels.

    Raises:
        PrototxtError: A picture's shape is stated nowhere.
    """
    tops = layer.texts("top")
    where: dict[str, Any] = {"file": file, "layer": layer.text("name"), "layer_type": layer.text("type")}
    inputs: list[Input] = []
    labels: list[str] = []
    for position, top in enumerate(tops):
        shape = given.get(top)
        if shape is None:
            shape = published_shape(layer, position)
        if shape is None and position == 0:
            shape = _stated_shape(layer) or _shape_elsewhere(layer, layers)
            if shape is None and top not in read:
                labels.append(top)
                continue
            if shape is None:
                raise PrototxtError(
                    "a data layer that does not state its shape",
                    **where,
                    found=f'top "{top}" of unknown size',
                    hint=f"state it: --shape {top}=1,3,500,500 "
                    f'(read_net(..., inputs={{"{top}": (1, 3, 500, 500)}}))',
                )
        if shape is None:
            labels.append(top)
        else:
            inputs.append(Input(top, shape))
    return inputs, labels


def transformed(layer: Block) -> str:
    """What a data layer does to the picture (data_transformer.cpp: (x - mean) * scale), "" for nothing.

    The input that replaces the layer takes the numbers as they are after that.
    """
    found = params(layer)
    said = [f"minus mean_value {', '.join(p.texts('mean_value'))}" for p in found if p.has("mean_value")]
    said += ["minus its mean_file" for p in found if p.has("mean_file")]
    said += [f"times scale {p.text('scale')}" for p in found if p.has("scale")]
    return ", ".join(said)


def drop_labels(layers: list[Block], labels: set[str], *, file: str) -> tuple[list[Block], list[str]]:
    """Leave out what is made from labels alone.

    Args:
        layers: The layers in order.
        labels: Blobs that are labels; what is made from them alone is added, what is written over is taken
            away.
        file: The prototxt, for messages.

    Returns:
        The layers that stay and the names of those that go.

    Raises:
        PrototxtError: A layer mixes a label with real values and so cannot be run without it, unless the
            layer stays outside the graph anyhow.
    """
    kept: list[Block] = []
    gone: list[str] = []
    for layer in layers:
        bottoms = layer.texts("bottom")
        from_labels = [b for b in bottoms if b in labels]
        if bottoms and len(from_labels) == len(bottoms):
            labels.update(layer.texts("top"))
            gone.append(layer.text("name"))
        elif from_labels and layer.text("type") != "Silence" and not is_outside(layer):
            raise PrototxtError(
                "a layer reads a data layer's second top",
                file=file,
                layer=layer.text("name"),
                layer_type=layer.text("type"),
                found=f'"{from_labels[0]}" of unknown shape',
                hint=f"state its shape: --shape {from_labels[0]}=N,C,H,W",
            )
        else:
            labels.difference_update(layer.texts("top"))
            kept.append(layer)
    return kept, gone


def legacy_inputs(root: Block, given: Mapping[str, Shape], *, file: str) -> list[Input]:
    """Net-level `input:` fields with `input_shape { }` or four `input_dim` each."""
    names = root.texts("input")
    shapes = [shape_of(block, file) for block in root.blocks("input_shape")]
    dims = [_dim(text, file) for text in root.texts("input_dim")]
    if not names:
        return []
    if not shapes and dims:
        if len(dims) != 4 * len(names):
            raise PrototxtError(
                "input_dim does not fit the inputs",
                file=file,
                found=f"{len(dims)} dimensions for {len(names)} inputs",
                expected="four for each input",
            )
        shapes = [tuple(dims[4 * i : 4 * i + 4]) for i in range(len(names))]
    if len(shapes) == 1 and len(names) > 1:
        shapes = shapes * len(names)  # Caffe: one shape serves all inputs
    inputs = []
    for position, name in enumerate(names):
        shape = given.get(name) or (shapes[position] if position < len(shapes) else None)
        if shape is None:
            raise PrototxtError(
                f'input "{name}" has no shape',
                file=file,
                hint=f"add input_shape {{ dim: ... }} or state it: --shape {name}=1,3,500,500",
            )
        inputs.append(Input(name, shape))
    return inputs


def layer_inputs(layer: Block, given: Mapping[str, Shape], *, file: str) -> list[Input]:
    """The inputs of an `Input` layer: one shape for all its tops, or one each."""
    shapes = [shape_of(s, file) for p in layer.blocks("input_param") for s in p.blocks("shape")]
    tops = layer.texts("top")
    if len(shapes) not in (0, 1, len(tops)):
        raise PrototxtError(
            "shapes do not fit the tops",
            file=file,
            layer=layer.text("name"),
            layer_type="Input",
            found=f"{len(shapes)} shapes",
            expected=f"1 or {len(tops)}",
        )
    inputs = []
    for position, top in enumerate(tops):
        shape: Any = given.get(top)
        if shape is None and shapes:
            shape = shapes[position] if len(shapes) > 1 else shapes[0]
        if shape is None:
            raise PrototxtError(
                "an input without a shape",
                file=file,
                layer=layer.text("name"),
                layer_type="Input",
                hint=f"state it: --shape {top}=1,3,500,500",
            )
        inputs.append(Input(top, shape))
    return inputs


def _dim(text: str, file: str) -> int:
    value = whole_number(text)
    if value is None or not 0 < value < 2**31:
        raise PrototxtError(
            "bad input dimension",
            file=file,
            found=text,
            expected="a whole number above 0",
            hint=word_hint(text),
        )
    return value


def shape_of(block: Block, file: str) -> Shape:
    """The dimensions of a BlobShape block."""
    return tuple(_dim(text, file) for text in block.texts("dim"))
