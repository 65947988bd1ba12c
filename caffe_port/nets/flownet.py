"""The light FlowNet-S of Deep Feature Flow (arXiv 1611.07715), which Accel uses too.

It reads two pictures as the feature network does (RGB, mean subtracted), `data` and the earlier `data_key`,
at half their size, and gives

    flow                 (1, 2, H/16, W/16)   in pixels of that grid, channel 0 to the right: what is at p
                                              of `data` was at p + flow(p) of `data_key`
    Convolution5_scale   (1, C, H/16, W/16)   the scale map, by which Deep Feature Flow multiplies what it
                                              warps

Sizes are rounded up on the way down (Caffe's ceil pooling, convolutions with pad), and on the way up each map
is cropped at (1, 1) to the map of the way down that it is joined with, so any frame size will do. Layers have
the names of the published .params files (msracver/Deep-Feature-Flow, symbols/resnet_v1_101_flownet_rfcn.py).
"""

from __future__ import annotations

from caffe_port.nets.prototxt_text import concat, conv, crop, deconv, layer, picture, power, relu

__all__ = ["flownet", "flownet_layers"]

SLOPE = 0.1
FLOW_SCALE = 2.5
DOWN = (
    ("flow_conv1", 64, 7, 2),
    ("conv2", 128, 5, 2),
    ("conv3", 256, 5, 2),
    ("conv3_1", 256, 3, 1),
    ("conv4", 512, 3, 2),
    ("conv4_1", 512, 3, 1),
    ("conv5", 512, 3, 2),
    ("conv5_1", 512, 3, 1),
    ("conv6", 1024, 3, 2),
    ("conv6_1", 1024, 3, 1),
)
"""The way down: name, channels, kernel, stride; layer i is followed by ReLU<i>."""
UP = ((5, 512, 8), (4, 256, 6), (3, 128, 4), (2, 64, 2))
"""The way up: level, channels of its deconvolution, and the number of the ReLU that it is joined with."""


def flownet_layers(*, scale_channels: int = 0, thin: int = 1, state: str = "") -> str:
    """The layers from `data` and `data_key` to `flow`, and to the scale map if it has any channels.

    Args:
        scale_channels: Channels of the scale map.
        thin: Divides the channels of the other layers, for tests.
        state: The NetStateRule of all layers, such as `stage: "key"`; none if empty.

    Returns:
        The text of the layers.
    """
    text = concat("data_pair", ["data", "data_key"], state)
    text += power("data_scaled", "data_pair", 1 / 255, state=state)
    text += _half("resize_data", "data_scaled", state)
    bottom = "resize_data"
    for number, (name, channels, kernel, stride) in enumerate(DOWN, 1):
        text += conv(name, bottom, channels // thin, kernel, stride=stride, pad=kernel // 2, state=state)
        text += relu(f"ReLU{number}", name, slope=SLOPE, state=state)
        bottom = f"ReLU{number}"
    for step, (level, channels, joined) in enumerate(UP, 1):
        like, above = f"ReLU{joined}", level + 1
        text += conv(f"Convolution{step}", bottom, 2, 3, pad=1, state=state)
        text += deconv(f"deconv{level}", bottom, channels // thin, 4, 2, state=state)
        text += crop(f"crop_deconv{level}", f"deconv{level}", like, 1, state)
        text += relu(f"ReLU{step + 10}", f"crop_deconv{level}", slope=SLOPE, state=state)
        upsampled = f"upsample_flow{above}to{level}"
        text += deconv(upsampled, f"Convolution{step}", 2, 4, 2, state=state)
        text += crop(f"crop_upsampled_flow{above}_to_{level}", upsampled, like, 1, state)
        bottom = f"Concat{step + 1}"
        text += concat(bottom, [like, f"ReLU{step + 10}", f"crop_upsampled_flow{above}_to_{level}"], state)
    text += _half("resize_concat5", bottom, state)
    text += conv("Convolution5", "resize_concat5", 2, 3, pad=1, state=state)
    text += power("flow", "Convolution5", FLOW_SCALE, state=state)
    if scale_channels:
        filler = 'type: "gaussian" std: 0.001'  # with a bias of 1, a scale map that changes little
        text += conv("Convolution5_scale", "resize_concat5", scale_channels, 1, filler=filler, state=state)
    return text


def _half(name: str, bottom: str, state: str) -> str:
    return layer(
        name, "Pooling", [bottom], "pooling_param { pool: AVE kernel_size: 2 stride: 2 }", state=state
    )


def flownet(*, size: tuple[int, int] = (1024, 2048), scale_channels: int = 1024, thin: int = 1) -> str:
    """The prototxt of FlowNet alone, for two pictures.

    Args:
        size: Height and width of each picture.
        scale_channels: Channels of the scale map, before `thin`.
        thin: Divides all channels, for tests.

    Returns:
        The text of the file.
    """
    inputs = "".join(picture(name, (1, 3, *size)) for name in ("data", "data_key"))
    return 'name: "flownet"\n' + inputs + flownet_layers(scale_channels=scale_channels // thin, thin=thin)
