"""The nets of Clockwork Convnets (arXiv 1608.03609): FCN-8s on VGG16, plain, in stage order, and truncated.

`fcn8s` declares the score layers after the upscores, as fcn.berkeleyvision.org does; `stage_fcn8s` is the
same net with score_pool3 and score_pool4 right after their pools, so that running layers in order runs
stages; weights fit both by name. `truncated_fcn` is the baseline that scores pool3 or pool4 alone.

Upsampling is grouped, one kernel per class (dense in the truncated nets, as published). The offsets of the
Crops come out as 5, 9 and 31; 103 and 107.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from caffe_port.nets.building import convolution, crop, deconvolution, input_layer, net_text
from caffe_port.nets.fcn import VGG16_WIDTHS, Fcn, Head, check_sizes, fcn_layers, vgg16
from caffe_port.nets.prototxt_text import write_prototxts
from weights.errors import UsageError

__all__ = ["fcn8s", "stage_fcn8s", "truncated_fcn", "write_fcn8s"]


def _fcn8s(
    name: str,
    classes: int,
    widths: Sequence[int],
    pad: int,
    fc_kernel: int,
    size: tuple[int, int],
    in_stage_order: bool,
) -> str:
    heads = (Head(classes),)
    net = Fcn(heads, 8, size=size, widths=tuple(widths), pad=pad, fc_kernel=fc_kernel, grouped=True)
    layers = fcn_layers(net)
    if in_stage_order:
        moved = {layer.bottom[0]: layer for layer in layers if layer.name in ("score_pool3", "score_pool4")}
        rest = [layer for layer in layers if layer not in moved.values()]
        layers = [x for layer in rest for x in (layer, moved.get(layer.name)) if x is not None]
    return net_text(name, layers)


def fcn8s(
    classes: int = 21,
    *,
    name: str = "",
    widths: Sequence[int] = VGG16_WIDTHS,
    pad: int = 100,
    fc_kernel: int = 7,
    size: tuple[int, int] = (500, 500),
) -> str:
    """The prototxt of FCN-8s with the score layers after the upscores.

    `widths`, `pad`, `fc_kernel` and `size` thin the net; the Crop offsets follow.

    Args:
        classes: Number of outputs (21 VOC, 40 NYUD, 19 Cityscapes in the paper).
        name: The net's name, by default "fcn8s".
        widths: Channels of conv1 to conv5, and of fc6 and fc7.
        pad: Padding of conv1_1, in pixels.
        fc_kernel: Height and width of fc6's kernel.
        size: Height and width of the input.

    Returns:
        The text of the file.

    Raises:
        ShapeError: No whole Crop offset exists.
    """
    return _fcn8s(name or "fcn8s", classes, widths, pad, fc_kernel, size, False)


def stage_fcn8s(
    classes: int = 21,
    *,
    name: str = "",
    widths: Sequence[int] = VGG16_WIDTHS,
    pad: int = 100,
    fc_kernel: int = 7,
    size: tuple[int, int] = (500, 500),
) -> str:
    """FCN-8s with score_pool3 and score_pool4 right after their pools.

    Args:
        classes: As in `fcn8s`.
        name: The net's name, by default "stage-fcn8s".
        widths: As in `fcn8s`.
        pad: As in `fcn8s`.
        fc_kernel: As in `fcn8s`.
        size: As in `fcn8s`.

    Returns:
        The text of the file.

    Raises:
        ShapeError: No whole Crop offset exists.
    """
    return _fcn8s(name or "stage-fcn8s", classes, widths, pad, fc_kernel, size, True)


def truncated_fcn(
    depth: int,
    classes: int = 21,
    *,
    name: str = "",
    widths: Sequence[int] = VGG16_WIDTHS,
    pad: int = 100,
    size: tuple[int, int] = (500, 500),
) -> str:
    """The baseline that scores pool3 or pool4 alone, upsampled densely and cropped.

    Args:
        depth: 3 or 4, the pool that is scored.
        classes: As in `fcn8s`.
        name: The net's name, by default "fcn-pool3" or "fcn-pool4".
        widths: As in `fcn8s`.
        pad: As in `fcn8s`.
        size: As in `fcn8s`.

    Returns:
        The text of the file.

    Raises:
        UsageError: Another depth.
        ShapeError: No whole Crop offset exists.
    """
    check_sizes(classes, widths)
    if depth not in (3, 4):
        raise UsageError("no such truncated net", found=f"pool{depth}", expected="depth 3 or 4")
    stride = 2**depth
    trunk = vgg16(Fcn((Head(classes),), widths=tuple(widths), pad=pad), "data", depth=depth)
    return net_text(name or f"fcn-pool{depth}", [
        input_layer("data", (1, 3, *size)),
        *trunk,
        convolution("score_fr", f"pool{depth}", classes, 1),
        deconvolution("upscore", "score_fr", classes, 2 * stride, stride),
        crop("score", "upscore", "data"),
    ])  # fmt: skip


def write_fcn8s(folder: Path, classes: int, *, force: bool = False) -> list[Path]:
    """Write the four nets of the paper into a folder.

    Args:
        folder: The folder, made where it is missing.
        classes: Number of outputs.
        force: Replace files that exist.

    Returns:
        The files.

    Raises:
        UsageError: A file exists and `force` is not set, or the folder cannot be made.
    """
    nets = {
        "fcn8s.prototxt": fcn8s(classes),
        "stage-fcn8s.prototxt": stage_fcn8s(classes),
        "fcn-pool3.prototxt": truncated_fcn(3, classes),
        "fcn-pool4.prototxt": truncated_fcn(4, classes),
    }
    return write_prototxts(folder, nets, force=force)
