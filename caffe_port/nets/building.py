"""The layers of generated nets as LayerParameter messages, and their prototxt.

`net_text` fills in the offset of every Crop from the geometry, so that no generator states one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf import text_format

from caffe_port.coord_map import crop_offsets
from caffe_port.net import Input, resolve
from caffe_port.proto import caffe_pb2 as _pb2

__all__ = [
    "concat",
    "convolution",
    "crop",
    "deconvolution",
    "dropout",
    "input_layer",
    "layer",
    "lrn",
    "max_pool",
    "net_text",
    "relu",
    "scale",
    "weighted_sum",
]

caffe_pb2: Any = _pb2
Message = Any
"""A caffe_pb2.LayerParameter."""


def layer(name: str, kind: str, bottoms: Sequence[str] = (), top: str | None = None) -> Message:
    """A layer without parameters.

    Args:
        name: The layer's name.
        kind: Its type.
        bottoms: The blobs that it reads.
        top: The blob that it makes, by default one of the layer's name.

    Returns:
        The message, to which parameters can be added.
    """
    return caffe_pb2.LayerParameter(name=name, type=kind, bottom=bottoms, top=[name if top is None else top])


def input_layer(blob: str, shape: Sequence[int]) -> Message:
    """An Input layer with one blob."""
    made = layer(blob, "Input")
    made.input_param.shape.add(dim=shape)
    return made


def _learning(made: Message, *rates: tuple[float, float]) -> None:
    for rate, decay in rates:
        made.param.add(lr_mult=rate, decay_mult=decay)


def convolution(
    name: str,
    bottom: str,
    outputs: int,
    kernel: int,
    *,
    pad: int = 0,
    stride: int = 1,
    group: int = 1,
    learning: bool = True,
) -> Message:
    """A Convolution with bias and a square kernel.

    Args:
        name: The layer's name.
        bottom: The blob that it reads.
        outputs: `num_output`.
        kernel: Height and width of the kernel.
        pad: As in the message; 0 is left unwritten.
        stride: As in the message; 1 is left unwritten.
        group: As in the message; 1 is left unwritten.
        learning: Write FCN's rates (1, bias 2, no decay of the bias).

    Returns:
        The message.
    """
    made = layer(name, "Convolution", [bottom])
    if learning:
        _learning(made, (1, 1), (2, 0))
    spec = made.convolution_param
    spec.num_output = outputs
    spec.kernel_size.append(kernel)
    if pad:
        spec.pad.append(pad)
    if stride != 1:
        spec.stride.append(stride)
    if group != 1:
        spec.group = group
    return made


def deconvolution(
    name: str, bottom: str, outputs: int, kernel: int, stride: int, *, grouped: bool = False
) -> Message:
    """A fixed upsampling (lr_mult 0) without bias.

    A dense one has no filler: Caffe's would fill every pair of channels. Surgery puts the kernels in.

    Args:
        name: The layer's name.
        bottom: The blob that it reads.
        outputs: `num_output`.
        kernel: Height and width of the kernel.
        stride: As in the message.
        grouped: One bilinear kernel per channel, by filler.

    Returns:
        The message.
    """
    made = layer(name, "Deconvolution", [bottom])
    made.param.add(lr_mult=0)
    spec = made.convolution_param
    spec.num_output, spec.bias_term = outputs, False
    spec.kernel_size.append(kernel)
    spec.stride.append(stride)
    if grouped:
        spec.group = outputs
        spec.weight_filler.type = "bilinear"
    return made


def relu(name: str, blob: str) -> Message:
    """A ReLU in place, as all nets here have it."""
    return layer(name, "ReLU", [blob], blob)


def dropout(name: str, blob: str) -> Message:
    """A Dropout in place, with ratio 0.5."""
    made = layer(name, "Dropout", [blob], blob)
    made.dropout_param.dropout_ratio = 0.5
    return made


def max_pool(name: str, bottom: str, kernel: int, stride: int) -> Message:
    """A Pooling by the maximum, without padding."""
    made = layer(name, "Pooling", [bottom])
    made.pooling_param.pool = caffe_pb2.PoolingParameter.MAX
    made.pooling_param.kernel_size.append(kernel)
    made.pooling_param.stride.append(stride)
    return made


def lrn(name: str, bottom: str) -> Message:
    """AlexNet's normalisation across five channels."""
    made = layer(name, "LRN", [bottom])
    made.lrn_param.local_size, made.lrn_param.alpha, made.lrn_param.beta = 5, 1e-4, 0.75
    return made


def scale(name: str, bottom: str, factor: float) -> Message:
    """A fixed Scale (lr_mult 0) that starts at `factor`."""
    made = layer(name, "Scale", [bottom])
    made.param.add(lr_mult=0)
    made.scale_param.filler.type, made.scale_param.filler.value = "constant", factor
    return made


def concat(name: str, bottoms: Sequence[str]) -> Message:
    """A Concat of channels, Caffe's default axis."""
    return layer(name, "Concat", bottoms)


def weighted_sum(name: str, bottoms: Sequence[str], weights: Sequence[float] = ()) -> Message:
    """An Eltwise SUM; without weights each counts once."""
    made = layer(name, "Eltwise", bottoms)
    made.eltwise_param.operation = caffe_pb2.EltwiseParameter.SUM
    made.eltwise_param.coeff.extend(weights)
    return made


def crop(name: str, bottom: str, like: str) -> Message:
    """A Crop of the picture's axes to `like`; `net_text` gives it its offset."""
    made = layer(name, "Crop", [bottom, like])
    made.crop_param.axis = 2
    return made


def net_text(
    name: str,
    layers: Sequence[Message],
    instead: tuple[Sequence[Message], Sequence[Message]] | None = None,
) -> str:
    """The prototxt of a net, with the offset of every Crop computed from the layers.

    Args:
        name: The net's name.
        layers: Its layers in order, the inputs as Input layers.
        instead: For a training file, data layers that are written in the place of the Input layers, and
            losses and measures that are written at the end.

    Returns:
        The text of the file.

    Raises:
        ShapeError: A Crop has no whole offset of 0 or more at which its bottoms align.
    """
    inputs = [
        Input(spec.top[0], tuple(spec.input_param.shape[0].dim)) for spec in layers if spec.type == "Input"
    ]
    net = resolve(name, f"the generated net {name}", inputs, [s for s in layers if s.type != "Input"])
    offsets = {row.layer: row.computed for row in crop_offsets(net)}
    for spec in layers:
        if spec.type == "Crop":
            values = offsets[spec.name]
            del spec.crop_param.offset[:]
            spec.crop_param.offset.extend(values[:1] if len(set(values)) == 1 else values)
    if instead is not None:
        layers = [*instead[0], *(s for s in layers if s.type != "Input"), *instead[1]]
    return f'name: "{name}"\n' + "".join(
        "layer {\n" + text_format.MessageToString(spec, indent=2) + "}\n" for spec in layers
    )
