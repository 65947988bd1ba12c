"""DIGITS' FCN-AlexNet: the all-in-one file that NetState divides, and the net that is deployed.

FCN's AlexNet after a Power layer that takes 116 from every channel, upsampled per class by Caffe's own
bilinear filler (kernel 63). In the all-in-one file the phases have their own data layers, the loss stays out
of stage `deploy`, and the accuracy belongs to stage `val` alone; both leave out pixels labelled 255.
"""

from __future__ import annotations

from caffe_port.nets.building import (
    Message,
    caffe_pb2,
    convolution,
    crop,
    deconvolution,
    dropout,
    input_layer,
    layer,
    net_text,
    relu,
)
from caffe_port.nets.fcn import alexnet, check_sizes

__all__ = ["digits_fcn_alexnet"]

VOID = 255
SIZE = (500, 356)
"""Height and width as published: the file's `input_shape` reads 1, 3, 500, 356."""


def _data_layers() -> list[Message]:
    made = []
    for phase in (caffe_pb2.TRAIN, caffe_pb2.TEST):
        for blob in ("data", "label"):
            source = layer(blob, "Data")
            source.include.add(phase=phase)
            source.data_param.batch_size, source.data_param.backend = 1, caffe_pb2.DataParameter.LMDB
            made.append(source)
    return made


def _measures() -> list[Message]:
    loss = layer("loss", "SoftmaxWithLoss", ["score", "label"])
    loss.loss_param.ignore_label, loss.loss_param.normalize = VOID, True
    loss.exclude.add(stage=["deploy"])
    accuracy = layer("accuracy", "Accuracy", ["score", "label"])
    accuracy.include.add(stage=["val"])
    accuracy.accuracy_param.ignore_label = VOID
    return [loss, accuracy]


def digits_fcn_alexnet(
    classes: int = 21, *, all_in_one: bool = False, suffix: str = "", size: tuple[int, int] = SIZE
) -> str:
    """The prototxt of DIGITS' FCN-AlexNet.

    Args:
        classes: Number of classes, background included.
        all_in_one: The file for training, validation and deployment; else the net that is deployed.
        suffix: What score_fr and upscore end in; DIGITS' published net says "_21classes", so that a net for
            other classes takes none of its weights for them.
        size: Height and width of the input of the deployed net.

    Returns:
        The text of the file.

    Raises:
        UsageError: An impossible number of classes.
    """
    check_sizes(classes, (1,) * 6)
    picture = input_layer("data", (1, 3, *size))
    shift = layer("shift", "Power", ["data"], "data_preprocessed")
    shift.power_param.shift = -116
    layers = [picture, shift, *alexnet("data_preprocessed")]
    for number, bottom, kernel in ((6, "pool5", 6), (7, "fc6", 1)):
        layers.append(convolution(f"fc{number}", bottom, 4096, kernel, learning=False))
        layers += [relu(f"relu{number}", f"fc{number}"), dropout(f"drop{number}", f"fc{number}")]
    layers += [
        convolution(f"score_fr{suffix}", "fc7", classes, 1),
        deconvolution(f"upscore{suffix}", f"score_fr{suffix}", classes, 63, 32, grouped=True),
        crop("score", f"upscore{suffix}", "data"),
    ]
    return net_text("fcn-alexnet", layers, instead=(_data_layers(), _measures()) if all_in_one else None)
