"""A net that was read, written again: as it is, or for another number of classes."""

from __future__ import annotations

from caffe_port.net import Layer, Net
from caffe_port.nets.building import Message, input_layer, net_text
from caffe_port.shapes import infer_shapes
from weights.errors import UsageError

__all__ = ["copied_layers", "scoring_layers", "with_classes"]

WITHOUT_CLASSES = frozenset({"Crop"})
"""Layers of which only bottom 0 carries the classes."""


def copied_layers(net: Net) -> list[Message]:
    """The layers of a net as messages that may be changed, the inputs as Input layers in front."""
    made = [input_layer(i.name, i.shape) for i in net.inputs]
    for layer in net.layers:
        copy = type(layer.spec)()
        copy.CopyFrom(layer.spec)
        made.append(copy)
    return made


def scoring_layers(net: Net) -> tuple[Layer, ...]:
    """The layers that have one output per class, those that score and those that upsample the scores.

    They are found from the net's output backwards: a Convolution or InnerProduct with as many outputs as
    there are classes scores, and what lies behind it does not know of classes.

    Args:
        net: The net, from `read_net`.

    Returns:
        The layers, in the net's order.

    Raises:
        UsageError: The net has several outputs.
    """
    if len(net.outputs) != 1:
        raise UsageError(
            "other classes for a net of several outputs", file=net.file, found=", ".join(net.outputs)
        )
    classes = infer_shapes(net)[net.outputs[0]][1]
    carries, found = {net.outputs[0]}, []
    for layer in reversed(net.layers):
        if not carries.intersection(layer.tops):
            continue
        spec = layer.spec.convolution_param if "onvolution" in layer.type else layer.spec.inner_product_param
        scores = layer.type in ("Convolution", "InnerProduct")
        if (scores or layer.type == "Deconvolution") and spec.num_output == classes:
            found.append(layer)
        if not scores:
            carries.update(layer.bottoms[:1] if layer.type in WITHOUT_CLASSES else layer.bottoms)
    return tuple(reversed(found))


def with_classes(net: Net, classes: int) -> str:
    """The prototxt of a net that scores another number of classes, all else as it was.

    Args:
        net: The net, from `read_net`.
        classes: How many classes it is to score.

    Returns:
        The text of the file.

    Raises:
        UsageError: The net has several outputs, or no layer that scores classes.
    """
    scoring = scoring_layers(net)
    if not any(layer.type in ("Convolution", "InnerProduct") for layer in scoring):
        raise UsageError(
            "no layer with one output per class", file=net.file, found=f"output {net.outputs[0]}"
        )
    names = {layer.name for layer in scoring}
    made = copied_layers(net)
    for layer in made:
        if layer.name not in names:
            continue
        field = "inner_product_param" if layer.type == "InnerProduct" else "convolution_param"
        spec = getattr(layer, field)
        if field == "convolution_param" and spec.group == spec.num_output > 1:
            spec.group = classes
        spec.num_output = classes
    return net_text(net.name or "net", made)
