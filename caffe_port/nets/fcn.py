"""The nets of Fully Convolutional Networks (fcn.berkeleyvision.org), as they are deployed.

The repository has a deploy.prototxt for voc-fcn8s alone; the others exist as training files with Python data
layers. Here each is a few facts: what feeds it, which trunk, how finely it predicts, what it predicts.

Trunks: VGG16 with pad 100 in its first convolution and fc6, fc7 as convolutions; AlexNet likewise, with
pooling before normalisation. Heads: score_fr on fc7, upsampled by a fixed Deconvolution and cropped to the
input; at stride 16 and 8, scores of pool4 and pool3 are cropped to the upsampled ones and added. "At once"
nets scale pool4 and pool3 before they score them. Crop offsets follow from the geometry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from caffe_port.nets.building import (
    Message,
    concat,
    convolution,
    crop,
    deconvolution,
    dropout,
    input_layer,
    lrn,
    max_pool,
    net_text,
    relu,
    scale,
    weighted_sum,
)
from weights.errors import UsageError

__all__ = ["FCNS", "VGG16_WIDTHS", "Fcn", "Head", "fcn", "fcn_layers"]

VGG16_WIDTHS = (64, 128, 256, 512, 512, 4096)
"""Channels of conv1 to conv5 and of fc6 and fc7 in VGG16."""
DEPTHS = (2, 2, 3, 3, 3)
SKIPS = {32: (), 16: (4,), 8: (4, 3)}
"""The pools that are scored beside fc7, by the stride of the finest scores."""
AT_ONCE = {4: 0.01, 3: 0.0001}


@dataclass(frozen=True)
class Head:
    """What is predicted: a number of classes, and the suffix of its layers' names."""

    classes: int
    suffix: str = ""


@dataclass(frozen=True)
class Fcn:
    """One FCN.

    Attributes:
        heads: What it predicts.
        stride: Stride of its finest scores: 32, 16 or 8.
        inputs: Blobs with their channels. Two that are not joined (`join`) have a trunk each, and the means
            of their scores go on.
        size: Height and width that its data has.
        trunk: "vgg16" or "alexnet".
        join: Inputs are concatenated to one picture `data`; `first` names the convolution that reads it.
        at_once: Pools are scaled before they are scored.
        widths, pad, fc_kernel: Of VGG16; other ones make thin nets for tests.
        with_dropout: Dropout after fc6 and fc7, as the training files have it.
        grouped: Upsampling with one kernel per class instead of one per pair.
    """

    heads: tuple[Head, ...]
    stride: int = 32
    inputs: tuple[tuple[str, int], ...] = (("data", 3),)
    size: tuple[int, int] = (500, 500)
    trunk: str = "vgg16"
    join: bool = False
    first: str = "conv1_1"
    at_once: bool = False
    widths: tuple[int, ...] = VGG16_WIDTHS
    pad: int = 100
    fc_kernel: int = 7
    with_dropout: bool = False
    grouped: bool = False


_VOC, _CONTEXT, _NYUD = (Head(21),), (Head(60),), (Head(40),)
_SIFT = (Head(33, "_sem"), Head(3, "_geo"))
_NYUD_SIZE, _SIFT_SIZE = (425, 560), (256, 256)

FCNS: dict[str, Fcn] = {
    "voc-fcn32s": Fcn(_VOC, 32),
    "voc-fcn16s": Fcn(_VOC, 16),
    "voc-fcn8s": Fcn(_VOC, 8),
    "voc-fcn8s-atonce": Fcn(_VOC, 8, at_once=True),
    "voc-fcn-alexnet": Fcn(_VOC, 32, trunk="alexnet"),
    "nyud-fcn32s-color": Fcn(_NYUD, 32, size=_NYUD_SIZE),
    "nyud-fcn32s-hha": Fcn(_NYUD, 32, size=_NYUD_SIZE),
    "nyud-fcn32s-color-d": Fcn(
        _NYUD, 32, (("color", 3), ("depth", 1)), _NYUD_SIZE, join=True, first="conv1_1_bgrd"
    ),
    "nyud-fcn32s-color-hha": Fcn(_NYUD, 32, (("color", 3), ("hha", 3)), _NYUD_SIZE),
    "siftflow-fcn32s": Fcn(_SIFT, 32, size=_SIFT_SIZE),
    "siftflow-fcn16s": Fcn(_SIFT, 16, size=_SIFT_SIZE),
    "siftflow-fcn8s": Fcn(_SIFT, 8, size=_SIFT_SIZE),
    "pascalcontext-fcn32s": Fcn(_CONTEXT, 32),
    "pascalcontext-fcn16s": Fcn(_CONTEXT, 16),
    "pascalcontext-fcn8s": Fcn(_CONTEXT, 8),
}
"""The published nets by the names of their folders."""


def vgg16(net: Fcn, bottom: str, suffix: str = "", depth: int = 5) -> list[Message]:
    """conv1_1 to pool<depth>."""
    made: list[Message] = []
    for block, count in enumerate(DEPTHS[:depth], 1):
        for index in range(1, count + 1):
            at = f"{block}_{index}"
            name = (net.first if at == "1_1" else f"conv{at}") + suffix
            pad = net.pad if at == "1_1" else 1
            made += [convolution(name, bottom, net.widths[block - 1], 3, pad=pad)]
            made += [relu(f"relu{at}{suffix}", name)]
            bottom = name
        made.append(max_pool(f"pool{block}{suffix}", bottom, 2, 2))
        bottom = f"pool{block}{suffix}"
    return made


def alexnet(bottom: str, pad: int = 100) -> list[Message]:
    """conv1 to pool5, with the pooling before the normalisation."""
    made: list[Message] = []
    for block, (outputs, kernel, pads, stride, group) in enumerate(
        ((96, 11, pad, 4, 1), (256, 5, 2, 1, 2), (384, 3, 1, 1, 1), (384, 3, 1, 1, 2), (256, 3, 1, 1, 2)), 1
    ):
        name = f"conv{block}"
        made.append(
            convolution(name, bottom, outputs, kernel, pad=pads, stride=stride, group=group, learning=False)
        )
        made.append(relu(f"relu{block}", name))
        bottom = name
        if block in (1, 2, 5):
            made.append(max_pool(f"pool{block}", bottom, 3, 2))
            bottom = f"pool{block}"
        if block in (1, 2):
            made.append(lrn(f"norm{block}", bottom))
            bottom = f"norm{block}"
    return made


def _fully_connected(net: Fcn, suffix: str = "") -> list[Message]:
    """fc6 and fc7 as convolutions over pool5."""
    made = []
    kernel, learning = (6, False) if net.trunk == "alexnet" else (net.fc_kernel, True)
    for number, bottom, size in ((6, "pool5", kernel), (7, "fc6", 1)):
        name = f"fc{number}{suffix}"
        made += [convolution(name, bottom + suffix, net.widths[5], size, learning=learning)]
        made += [relu(f"relu{number}{suffix}", name)]
        made += [dropout(f"drop{number}{suffix}", name)] if net.with_dropout else []
    return made


def _head(net: Fcn, head: Head, scores: str, like: str) -> list[Message]:
    """From the scores of fc7 to those of the input's pixels, by way of the skips."""
    made: list[Message] = []
    end = head.suffix
    stride, bottom, ups = 32, scores, "upscore2"
    for pool in SKIPS[net.stride]:
        stride //= 2
        source, score = f"pool{pool}", f"score_pool{pool}{end}"
        made.append(deconvolution(ups + end, bottom, head.classes, 4, 2, grouped=net.grouped))
        if net.at_once:
            made.append(scale(f"scale_pool{pool}", source, AT_ONCE[pool]))
            source = f"scale_pool{pool}"
        made.append(convolution(score, source, head.classes, 1))
        made.append(crop(f"{score}c", score, ups + end))
        made.append(weighted_sum(f"fuse_pool{pool}{end}", [ups + end, f"{score}c"]))
        bottom, ups = f"fuse_pool{pool}{end}", f"upscore_pool{pool}"
    last = f"upscore{stride if stride < 32 else ''}{end}"
    # AlexNet's kernel is odd: with 64 the offset would not be whole.
    kernel = 63 if net.trunk == "alexnet" else 2 * stride
    made.append(deconvolution(last, bottom, head.classes, kernel, stride, grouped=net.grouped))
    made.append(crop(f"score{end}", last, like))
    return made


def check_sizes(classes: int, widths: Sequence[int]) -> None:
    """Raise UsageError for numbers of classes or widths that no net can have."""
    if classes < 1 or classes > 4096:
        raise UsageError("bad number of classes", found=classes, expected="1 to 4096")
    if len(widths) != 6 or any(w < 1 for w in widths):
        raise UsageError("bad widths", found=list(widths), expected="six numbers: conv1 to conv5, fc")


def fcn_layers(net: Fcn) -> list[Message]:
    """The layers of an FCN in the order in which its published file has them, from its inputs to its scores.

    Args:
        net: What the published net is made of.

    Returns:
        One message per layer.

    Raises:
        UsageError: An impossible number of classes or widths.
    """
    for head in net.heads:
        check_sizes(head.classes, net.widths)
    made = [input_layer(blob, (1, channels, *net.size)) for blob, channels in net.inputs]
    if net.join:
        made.append(concat("data", [blob for blob, _ in net.inputs]))
    picture = "data" if net.join else net.inputs[0][0]
    if len(net.inputs) > 1 and not net.join:
        (head,) = net.heads
        for blob, _ in net.inputs:
            made += [*vgg16(net, blob, blob), *_fully_connected(net, blob)]
            made.append(convolution(f"score_fr{blob}", f"fc7{blob}", head.classes, 1))
        streams = [f"score_fr{blob}" for blob, _ in net.inputs]
        made.append(weighted_sum("score_fused", streams, [1 / len(streams)] * len(streams)))
        return [*made, *_head(net, head, "score_fused", picture)]
    made += alexnet(picture, net.pad) if net.trunk == "alexnet" else vgg16(net, picture)
    made += _fully_connected(net)
    for head in net.heads:
        score = f"score_fr{head.suffix}"
        made.append(convolution(score, "fc7", head.classes, 1))
        made += _head(net, head, score, picture)
    return made


def fcn(
    name: str,
    *,
    classes: int | None = None,
    size: tuple[int, int] | None = None,
    with_dropout: bool = False,
    grouped: bool = False,
) -> str:
    """The prototxt of a published net, with Input layers in the place of its data layers.

    Args:
        name: A key of `FCNS`, such as "voc-fcn16s".
        classes: Another number of classes than the published net's; for nets with one head.
        size: Another height and width of the input than its data has.
        with_dropout: Keep the Dropout layers of the training files; they do nothing at test time.
        grouped: Upsample with one kernel per class; weights of either form fit.

    Returns:
        The text of the file.

    Raises:
        UsageError: There is no such net, or it has two heads and `classes` is given.
    """
    if name not in FCNS:
        raise UsageError("no such FCN", found=name, expected=", ".join(FCNS))
    net = replace(FCNS[name], with_dropout=with_dropout, grouped=grouped)
    if classes is not None:
        if len(net.heads) > 1:
            raise UsageError("classes for a net with two heads", found=name, expected="a net with one head")
        net = replace(net, heads=(Head(classes, net.heads[0].suffix),))
    if size is not None:
        net = replace(net, size=size)
    return net_text(name, fcn_layers(net))
