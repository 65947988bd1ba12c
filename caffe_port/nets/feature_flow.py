"""Deep Feature Flow (arXiv 1611.07715) and Accel (arXiv 1807.06667): deep features of key frames, moved on.

One prototxt holds both graphs of a system, chosen by the NetState. With the stage `key` it is the net of key
frames: `data` to the features `conv_feat` and the scores. Without it is the net of the other frames: `data`,
the earlier picture `data_key` and that picture's features `feat_key` to the moved features `conv_feat`, with
which the next frame goes on, and the scores.

                 key frame                     other frames
    dff-deeplab  conv_feat -> score            conv_feat = warp(feat_key, flow) * scale map -> score
    accel        conv_feat -> fc6 -> score     conv_feat = warp(feat_key, flow) -> fc6 -> score (left branch);
      18/34/50                                 data -> small ResNet -> fc6 -> score (right branch);
                                               both joined at full size -> 1 x 1 "corr" -> `correction`
      101                                      warped and fresh features joined -> "corr" -> fc6
                                               -> score

Scores are `croped_score` (K channels, the frame's size), on other frames of Accel-18/34/50 `correction`.

Layers have the names of the .params files. Accel (SamvitJ/Accel, dff_deeplab/symbols/accel_*.py) never uses
the scale map. Deep Feature Flow for segmentation was not published as a graph: this is its feature network
(dilated ResNet-101, `feat_conv_3x3` to 1024 channels, as many as the published scale map has) with the 1 x 1
score layer of its paper and Accel's way back to full size.
"""

from __future__ import annotations

from functools import partial

from caffe_port.nets.flownet import flownet_layers
from caffe_port.nets.prototxt_text import concat, conv, crop, deconv, layer, picture, relu
from caffe_port.nets.resnets import bottleneck_resnet, preactivation_resnet
from weights.errors import UsageError

__all__ = ["ACCEL_VERSIONS", "accel", "dff_deeplab"]

ACCEL_VERSIONS = (18, 34, 50, 101)
CLASSES = 19
SIZE = (1024, 2048)
KEY, OTHER = 'stage: "key"', 'not_stage: "key"'
FEATURES, SCALED, HIDDEN = 2048, 1024, 1024


def _inputs(name: str, size: tuple[int, int], channels: int) -> str:
    text = f'name: "{name}"\n' + picture("data", (1, 3, *size))
    text += picture("data_key", (1, 3, *size), OTHER)
    return text + picture("feat_key", (1, channels, -(-size[0] // 16), -(-size[1] // 16)), OTHER)


def _scores(bottom: str, classes: int, prefix: str = "", state: str = "") -> str:
    """From features to a score map of the frame's size."""
    score, up = f"{prefix}score", f"{prefix}upsampling"
    text = conv(score, bottom, classes, 1, state=state)
    fields = {"bias": False, "group": classes, "filler": 'type: "bilinear"'}
    text += deconv(up, score, classes, 32, 16, state=state, **fields)  # type: ignore[arg-type]
    return text + crop(f"{prefix}croped_score", up, "data", 8, state)


def _fc6(bottom: str, thin: int, prefix: str = "", state: str = "") -> str:
    text = conv(f"{prefix}fc6", bottom, HIDDEN // thin, 1, state=state)
    return text + relu(f"{prefix}relu_fc6", f"{prefix}fc6", state=state)


def _check(classes: int, size: tuple[int, int]) -> None:
    if not 1 <= classes <= 256:
        raise UsageError("bad number of classes", found=classes, expected="1 to 256")
    if min(size) < 64:
        raise UsageError("the picture is too small", found=f"{size[0]}x{size[1]}", expected="64x64 or more")


def dff_deeplab(classes: int = CLASSES, *, size: tuple[int, int] = SIZE, thin: int = 1) -> str:
    """The prototxt of Deep Feature Flow with DeepLab's head.

    Args:
        classes: Number of outputs.
        size: Height and width of the picture.
        thin: Divides the channels, for tests.

    Returns:
        The text of the file, which holds both graphs (see the module).

    Raises:
        UsageError: A number is out of range.
    """
    _check(classes, size)
    text = _inputs("dff-deeplab", size, SCALED // thin)
    text += bottleneck_resnet(101, thin=thin, state=KEY)
    text += conv("feat_conv_3x3", "res5c_relu", SCALED // thin, 3, pad=6, dilation=6, state=KEY)
    text += relu("feat_conv_3x3_relu", "feat_conv_3x3", top="conv_feat", state=KEY)
    text += flownet_layers(scale_channels=SCALED // thin, thin=thin, state=OTHER)
    text += layer("warping_feat", "BilinearSampler", ["feat_key", "flow"], state=OTHER)
    product = "eltwise_param { operation: PROD }"
    text += layer(
        "scaled_feat", "Eltwise", ["warping_feat", "Convolution5_scale"], product, "conv_feat", OTHER
    )
    return text + _scores("conv_feat", classes)


def accel(version: int = 18, classes: int = CLASSES, *, size: tuple[int, int] = SIZE, thin: int = 1) -> str:
    """The prototxt of Accel.

    Args:
        version: The depth of the correction network, a ResNet: 18, 34, 50 or 101.
        classes: As in `dff_deeplab`.
        size: As in `dff_deeplab`.
        thin: As in `dff_deeplab`.

    Returns:
        The text of the file, which holds both graphs (see the module).

    Raises:
        UsageError: A number is out of range.
    """
    _check(classes, size)
    if version not in ACCEL_VERSIONS:
        raise UsageError("no such Accel", found=version, expected="18, 34, 50 or 101")
    text = _inputs(f"accel-{version}", size, FEATURES // thin)
    shared = version == 101
    text += bottleneck_resnet(
        101, deformable_groups=1, thin=thin, state="" if shared else KEY, last=partial(_last_relu, shared)
    )
    text += flownet_layers(thin=thin, state=OTHER)
    text += layer("warping_feat", "BilinearSampler", ["feat_key", "flow"], top="conv_feat", state=OTHER)
    if shared:
        text += concat("stacked_in", ["conv_feat", "res5c_relu"], OTHER)
        text += conv("corr", "stacked_in", FEATURES // thin, 1, top="correction", state=OTHER)
        text += conv("fc6", "conv_feat", HIDDEN // thin, 1, state=KEY)
        text += conv("fc6", "correction", HIDDEN // thin, 1, state=OTHER)
        return text + relu("relu_fc6", "fc6") + _scores("relu_fc6", classes)
    text += _fc6("conv_feat", thin) + _scores("relu_fc6", classes)
    text += _right_branch(version, classes, thin)
    prefix = _prefix(version)
    text += concat("stacked_in", ["croped_score", f"{prefix}croped_score"], OTHER)
    return text + conv("corr", "stacked_in", classes, 1, top="correction", state=OTHER)


def _last_relu(shared: bool, name: str, bottom: str) -> str:
    """The ReLU that ends ResNet-101; what it makes on a key frame is the features."""
    on_key = relu(name, bottom, top="conv_feat", state=KEY)
    return on_key + relu(name, bottom, state=OTHER) if shared else on_key


def _prefix(version: int) -> str:
    """How the names of the right branch's head begin."""
    return "curr_" if version == 50 else f"{version}_"


def _right_branch(version: int, classes: int, thin: int) -> str:
    """The small network on this frame, to scores of the frame's size."""
    if version == 50:
        text = bottleneck_resnet(50, prefix="50_", deformable_groups=4, thin=thin, state=OTHER)
        features = "50_res5c_relu"
    else:
        text = preactivation_resnet(version, prefix=f"{version}_", thin=thin, state=OTHER)
        features = f"{version}_feat_upsampling"
        last = f"{version}_res5{'b' if version == 18 else 'c'}_relu"
        text += deconv(features, last, FEATURES // thin, 4, 2, pad=1, bias=False, state=OTHER)
    prefix = _prefix(version)
    return text + _fc6(features, thin, prefix, OTHER) + _scores(f"{prefix}relu_fc6", classes, prefix, OTHER)
