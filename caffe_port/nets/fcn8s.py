"""The nets of Clockwork Convnets (arXiv 1608.03609): FCN-8s on VGG16, plain, in stage order, and truncated.

`fcn8s` declares the score layers after the upscores, as fcn.berkeleyvision.org does; `stage_fcn8s` is the
same net with score_pool3 and score_pool4 right after their pools, so that running layers in order runs
stages; weights fit both by name. `truncated_fcn` is the baseline that scores pool3 or pool4 alone.

Input `data` 1 x 3 x 500 x 500, conv1_1 with pad 100, pools MAX 2/2 in Caffe's ceil mode, upsampling by fixed
(lr_mult 0) bilinear Deconvolutions, grouped one a class (dense in the truncated nets, as published), and
Crops whose offsets follow from the geometry (5, 9 and 31; 103 and 107).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from caffe_port.nets.prototxt_text import layer, picture, write_prototxts
from weights.errors import UsageError

__all__ = ["FCN8S_WIDTHS", "crop_offset", "fcn8s", "stage_fcn8s", "truncated_fcn", "write_fcn8s"]

FCN8S_WIDTHS = (64, 128, 256, 512, 512, 4096)
"""Channels of conv1 to conv5 and of fc6 and fc7 in VGG16."""
DEPTHS = (2, 2, 3, 3, 3)

Step = tuple[str, int, int, int]
"""One layer's geometry: "conv" (Convolution, Pooling) or "deconv", kernel, stride, pad."""


def crop_offset(bottom: Sequence[Step], like: Sequence[Step] = ()) -> int:
    """The offset at which a Crop aligns `bottom` with `like` (the algebra of Caffe's coord_map.py).

    Both are given as the layers from the net's input to the blob; an empty path is the input itself. A layer
    maps its output coordinates to input coordinates x -> a x + b: Convolution and Pooling a = s,
    b = (k-1)/2 - p; Deconvolution a = 1/s, b = (p - (k-1)/2)/s. The offset is where the first pixel of `like`
    lies in `bottom`. Raises UsageError where the scales differ or the offset is negative or not whole.
    """
    (a_bottom, b_bottom), (a_like, b_like) = _to_input(bottom), _to_input(like)
    offset = (b_like - b_bottom) / a_bottom
    if a_bottom != a_like or offset.denominator != 1 or offset < 0:
        raise UsageError(
            "the paths do not align",
            found=f"scales {a_bottom} and {a_like}, offset {offset}",
            expected="one scale and a whole offset of 0 or more",
            hint="choose another pad or fc kernel",
        )
    return int(offset)


def _to_input(steps: Sequence[Step]) -> tuple[Fraction, Fraction]:
    a, b = Fraction(1), Fraction(0)
    for kind, kernel, stride, pad in steps:
        half = Fraction(kernel - 1, 2)
        scale = Fraction(stride) if kind == "conv" else Fraction(1, stride)
        shift = half - pad if kind == "conv" else (pad - half) / stride
        a, b = a * scale, b + a * shift
    return a, b


def _conv(name: str, bottom: str, outputs: int, kernel: int, pad: int) -> str:
    body = (
        "param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }\n"
        f"  convolution_param {{ num_output: {outputs} pad: {pad} kernel_size: {kernel} stride: 1 }}"
    )
    return layer(name, "Convolution", [bottom], body)


def _relu(name: str, blob: str) -> str:
    return layer(name, "ReLU", [blob], top=blob)


def _upscore(name: str, bottom: str, classes: int, kernel: int, stride: int, grouped: bool) -> str:
    group = f" group: {classes}" if grouped else ""
    filler = ' weight_filler { type: "bilinear" }' if grouped else ""
    body = (
        "param { lr_mult: 0 }\n"
        f"  convolution_param {{ num_output: {classes} bias_term: false kernel_size: {kernel} "
        f"stride: {stride}{group}{filler} }}"
    )
    return layer(name, "Deconvolution", [bottom], body)


def _crop(name: str, bottom: str, like: str, offset: int) -> str:
    return layer(name, "Crop", [bottom, like], f"crop_param {{ axis: 2 offset: {offset} }}")


def _sum(name: str, first: str, second: str) -> str:
    return layer(name, "Eltwise", [first, second], "eltwise_param { operation: SUM }")


def _pool(name: str, bottom: str) -> str:
    return layer(name, "Pooling", [bottom], "pooling_param { pool: MAX kernel_size: 2 stride: 2 }")


def _block(number: int, bottom: str, width: int, pad: int) -> str:
    text = ""
    for index in range(1, DEPTHS[number - 1] + 1):
        name = f"conv{number}_{index}"
        text += _conv(name, bottom, width, 3, pad if (number, index) == (1, 1) else 1)
        text += _relu(f"relu{number}_{index}", name)
        bottom = name
    return text + _pool(f"pool{number}", bottom)


def _trunk(depth: int, pad: int) -> list[Step]:
    """The geometry from the input to pool<depth>, for the Crop offsets; 3 x 3 pad 1 layers change nothing."""
    return [("conv", 3, 1, pad), *[("conv", 2, 2, 0)] * depth]


def _check(classes: int, widths: Sequence[int]) -> None:
    if classes < 1 or classes > 4096:
        raise UsageError("bad number of classes", found=classes, expected="1 to 4096")
    if len(widths) != 6 or any(w < 1 for w in widths):
        raise UsageError("bad widths", found=list(widths), expected="six numbers: conv1 to conv5, fc")


def _fcn8s(
    name: str,
    classes: int,
    widths: Sequence[int],
    pad: int,
    fc_kernel: int,
    size: tuple[int, int],
    in_stage_order: bool,
) -> str:
    _check(classes, widths)
    to_fc = [*_trunk(5, pad), ("conv", fc_kernel, 1, 0)]
    up2 = [*to_fc, ("deconv", 4, 2, 0)]
    up4 = [*up2, ("deconv", 4, 2, 0)]
    offset4 = crop_offset(_trunk(4, pad), up2)
    offset3 = crop_offset(_trunk(3, pad), up4)
    offset = crop_offset([*up4, ("deconv", 16, 8, 0)])
    score3 = _conv("score_pool3", "pool3", classes, 1, 0)
    score4 = _conv("score_pool4", "pool4", classes, 1, 0)
    text = f'name: "{name}"\n' + picture("data", (1, 3, *size))
    text += _block(1, "data", widths[0], pad) + _block(2, "pool1", widths[1], pad)
    text += _block(3, "pool2", widths[2], pad) + (score3 if in_stage_order else "")
    text += _block(4, "pool3", widths[3], pad) + (score4 if in_stage_order else "")
    text += _block(5, "pool4", widths[4], pad)
    text += _conv("fc6", "pool5", widths[5], fc_kernel, 0) + _relu("relu6", "fc6")
    text += _conv("fc7", "fc6", widths[5], 1, 0) + _relu("relu7", "fc7")
    text += _conv("score_fr", "fc7", classes, 1, 0) + _upscore("upscore2", "score_fr", classes, 4, 2, True)
    text += "" if in_stage_order else score4
    text += _crop("score_pool4c", "score_pool4", "upscore2", offset4)
    text += _sum("fuse_pool4", "upscore2", "score_pool4c")
    text += _upscore("upscore_pool4", "fuse_pool4", classes, 4, 2, True)
    text += "" if in_stage_order else score3
    text += _crop("score_pool3c", "score_pool3", "upscore_pool4", offset3)
    text += _sum("fuse_pool3", "upscore_pool4", "score_pool3c")
    text += _upscore("upscore8", "fuse_pool3", classes, 16, 8, True)
    return text + _crop("score", "upscore8", "data", offset)


def fcn8s(
    classes: int = 21,
    *,
    name: str = "",
    widths: Sequence[int] = FCN8S_WIDTHS,
    pad: int = 100,
    fc_kernel: int = 7,
    size: tuple[int, int] = (500, 500),
) -> str:
    """The prototxt of FCN-8s with the score layers after the upscores.

    classes: outputs (21 VOC, 40 NYUD, 19 Cityscapes in the paper). widths, pad, fc_kernel and size thin the
    net; the Crop offsets follow. Raises UsageError where no whole offset exists.
    """
    return _fcn8s(name or "fcn8s", classes, widths, pad, fc_kernel, size, False)


def stage_fcn8s(
    classes: int = 21,
    *,
    name: str = "",
    widths: Sequence[int] = FCN8S_WIDTHS,
    pad: int = 100,
    fc_kernel: int = 7,
    size: tuple[int, int] = (500, 500),
) -> str:
    """The same net with score_pool3 and score_pool4 right after their pools."""
    return _fcn8s(name or "stage-fcn8s", classes, widths, pad, fc_kernel, size, True)


def truncated_fcn(
    depth: int,
    classes: int = 21,
    *,
    name: str = "",
    widths: Sequence[int] = FCN8S_WIDTHS,
    pad: int = 100,
    size: tuple[int, int] = (500, 500),
) -> str:
    """The baseline that scores pool3 or pool4 alone (depth 3 or 4), upsampled densely and cropped."""
    _check(classes, widths)
    if depth not in (3, 4):
        raise UsageError("no such truncated net", found=f"pool{depth}", expected="depth 3 or 4")
    stride = 2**depth
    text = f'name: "{name or f"fcn-pool{depth}"}"\n' + picture("data", (1, 3, *size))
    bottom = "data"
    for number in range(1, depth + 1):
        text += _block(number, bottom, widths[number - 1], pad)
        bottom = f"pool{number}"
    text += _conv("score_fr", bottom, classes, 1, 0)
    text += _upscore("upscore", "score_fr", classes, 2 * stride, stride, False)
    offset = crop_offset([*_trunk(depth, pad), ("deconv", 2 * stride, stride, 0)])
    return text + _crop("score", "upscore", "data", offset)


def write_fcn8s(folder: Path, classes: int, *, force: bool = False) -> list[Path]:
    """Write the four nets of the paper into `folder`; returns the files.

    Raises UsageError where a file exists and `force` is not set, or the folder cannot be made.
    """
    nets = {
        "fcn8s.prototxt": fcn8s(classes),
        "stage-fcn8s.prototxt": stage_fcn8s(classes),
        "fcn-pool3.prototxt": truncated_fcn(3, classes),
        "fcn-pool4.prototxt": truncated_fcn(4, classes),
    }
    return write_prototxts(folder, nets, force=force)
