"""The ResNets of Deep Feature Flow and Accel, with the names of their .params files.

Sources: SamvitJ/Accel and msracver/Deep-Feature-Flow, symbols/resnet_v1_101_flownet_*.py. All read RGB with
the mean subtracted. ResNet-50 and -101 are the published ones (strides in the 1 x 1 layers) with conv5
dilated by 2 in place of its stride, so that features lie at stride 16; their 3 x 3 layers of conv5 are
deformable, or not. ResNet-18 and -34 have pre-activation units (BatchNorm and ReLU before the convolutions,
BatchNorm on the picture with `fix_gamma`) up to conv4 and a conv5 of the older kind at stride 32, with
deformable second layers.
"""

from __future__ import annotations

from collections.abc import Callable

from caffe_port.nets.prototxt_text import batch_norm, conv, layer, relu, total

__all__ = ["bottleneck_resnet", "preactivation_resnet"]

EPS = 1e-5
EPS_PREACTIVATION = 2e-5
LAST_SLOPE = 0.2
"""Filler of the BatchNorm that ends a unit: keeps a net without weights from growing unit by unit."""
FIRST_SLOPE = 0.02
"""Filler of the BatchNorm after the first layer, which reads pixels of some 60 grey levels."""
UNITS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
WIDTHS = (64, 128, 256, 512)


def _unit_name(depth: int, block: int, unit: int) -> str:
    """The published names: a, b, c, ..., but b1, b2, ... in conv3 and conv4 of ResNet-101."""
    if depth == 101 and block in (3, 4) and unit:
        return f"{block}b{unit}"
    return f"{block}{'abcdef'[unit]}"


def _offsets_and_deformable(
    name: str, bottom: str, outputs: int, groups: int, dilated_offsets: bool, state: str
) -> str:
    """A deformable 3 x 3 convolution dilated by 2, and the convolution that says how far its taps move."""
    reach = 2 if dilated_offsets else 1
    filler = 'type: "gaussian" std: 0.01'
    text = conv(
        f"{name}_offset", bottom, 18 * groups, 3, pad=reach, dilation=reach, filler=filler, state=state
    )
    fields = f"num_output: {outputs} kernel_size: 3 pad: 2 dilation: 2 bias_term: false"
    body = f"deformable_convolution_param {{ {fields} deformable_group: {groups} }}"
    return text + layer(name, "DeformableConvolution", [bottom, f"{name}_offset"], body, state=state)


def bottleneck_resnet(
    depth: int,
    *,
    prefix: str = "",
    deformable_groups: int = 0,
    thin: int = 1,
    state: str = "",
    last: Callable[[str, str], str] | None = None,
) -> str:
    """ResNet-50 or -101 from `data` to `<prefix>res5c_relu`, 2048 channels at stride 16.

    Args:
        depth: 50 or 101.
        prefix: What the names of all layers begin with.
        deformable_groups: Groups in conv5; 0 for dilated convolutions without offsets, and then pool1 has the
            pad 1 and the rounding down of Deep Feature Flow's net.
        thin: Divides the channels.
        state: The NetStateRule of all layers.
        last: Makes the last ReLU from its name and bottom.

    Returns:
        The text of the layers.
    """
    text = conv(f"{prefix}conv1", "data", 64 // thin, 7, stride=2, pad=3, bias=False, state=state)
    text += batch_norm(f"{prefix}bn_conv1", f"{prefix}conv1", eps=EPS, slope=FIRST_SLOPE, state=state)
    text += relu(f"{prefix}conv1_relu", f"{prefix}bn_conv1", state=state)
    window = "" if deformable_groups else " pad: 1 ceil_mode: false"
    pool = f"pooling_param {{ pool: MAX kernel_size: 3 stride: 2{window} }}"
    text += layer(f"{prefix}pool1", "Pooling", [f"{prefix}conv1_relu"], pool, state=state)
    bottom = f"{prefix}pool1"
    for block, (units, width) in enumerate(zip(UNITS[depth], WIDTHS, strict=True), 2):
        for unit in range(units):
            name = _unit_name(depth, block, unit)
            stride = 2 if unit == 0 and block in (3, 4) else 1
            groups = deformable_groups if block == 5 else 0
            text += _bottleneck(prefix, name, bottom, width // thin, stride, unit == 0, groups, state)
            bottom = f"{prefix}res{name}_relu"
            ends = block == 5 and unit == units - 1
            text += last(bottom, bottom[:-5]) if ends and last else relu(bottom, bottom[:-5], state=state)
    return text


def _bottleneck(
    prefix: str, name: str, bottom: str, width: int, stride: int, projected: bool, groups: int, state: str
) -> str:
    """One unit: 1 x 1, 3 x 3, 1 x 1, each normalised, and the sum with what came in. In conv5 (5a, 5b, 5c)
    the 3 x 3 is dilated, and deformable where `groups` is not 0: its offsets come from a plain convolution
    for one group (ResNet-101), from a dilated one for four (ResNet-50).
    """

    def normalised(branch: str, slope: float = 1.0) -> str:
        blob = f"{prefix}res{name}_{branch}"
        return batch_norm(f"{prefix}bn{name}_{branch}", blob, eps=EPS, slope=slope, state=state)

    text, shortcut = "", bottom
    unit = f"{prefix}res{name}"
    if projected:
        text += conv(f"{unit}_branch1", bottom, 4 * width, 1, stride=stride, bias=False, state=state)
        text += normalised("branch1")
        shortcut = f"{prefix}bn{name}_branch1"
    text += conv(f"{unit}_branch2a", bottom, width, 1, stride=stride, bias=False, state=state)
    text += normalised("branch2a")
    text += relu(f"{unit}_branch2a_relu", f"{prefix}bn{name}_branch2a", state=state)
    middle, before = f"{unit}_branch2b", f"{unit}_branch2a_relu"
    if groups:
        text += _offsets_and_deformable(middle, before, width, groups, groups > 1, state)
    else:
        reach = 2 if name.startswith("5") else 1
        text += conv(middle, before, width, 3, pad=reach, dilation=reach, bias=False, state=state)
    text += normalised("branch2b") + relu(f"{middle}_relu", f"{prefix}bn{name}_branch2b", state=state)
    text += conv(f"{unit}_branch2c", f"{middle}_relu", 4 * width, 1, bias=False, state=state)
    text += normalised("branch2c", LAST_SLOPE)
    return text + total(unit, shortcut, f"{prefix}bn{name}_branch2c", state)


def preactivation_resnet(depth: int, *, prefix: str, thin: int = 1, state: str = "") -> str:
    """ResNet-18 or -34 from `data` to `<prefix>res5b_relu` or `<prefix>res5c_relu`, at stride 32.

    Args:
        depth: 18 or 34.
        prefix: What the names of all layers begin with.
        thin: Divides the channels.
        state: The NetStateRule of all layers.

    Returns:
        The text of the layers.
    """
    text = batch_norm(f"{prefix}bn_data", "data", eps=EPS_PREACTIVATION, fix_gamma=True, state=state)
    text += conv(
        f"{prefix}conv0", f"{prefix}bn_data", 64 // thin, 7, stride=2, pad=3, bias=False, state=state
    )
    text += batch_norm(
        f"{prefix}bn0", f"{prefix}conv0", eps=EPS_PREACTIVATION, slope=FIRST_SLOPE, state=state
    )
    text += relu(f"{prefix}relu0", f"{prefix}bn0", state=state)
    pool = "pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 ceil_mode: false }"
    text += layer(f"{prefix}pool0", "Pooling", [f"{prefix}relu0"], pool, state=state)
    bottom = f"{prefix}pool0"
    for block, (units, width) in enumerate(zip(UNITS[depth][:3], WIDTHS, strict=False), 1):
        for unit in range(units):
            name = f"{prefix}stage{block}_unit{unit + 1}"
            stride = 2 if unit == 0 and block > 1 else 1
            text += _preactivation_unit(name, bottom, width // thin, stride, unit == 0, state)
            bottom = f"{name}_plus"
    return text + _conv5(depth, prefix, bottom, WIDTHS[3] // thin, state)


def _preactivation_unit(name: str, bottom: str, width: int, stride: int, projected: bool, state: str) -> str:
    text = batch_norm(f"{name}_bn1", bottom, eps=EPS_PREACTIVATION, state=state)
    text += relu(f"{name}_relu1", f"{name}_bn1", state=state)
    text += conv(f"{name}_conv1", f"{name}_relu1", width, 3, stride=stride, pad=1, bias=False, state=state)
    text += batch_norm(f"{name}_bn2", f"{name}_conv1", eps=EPS_PREACTIVATION, slope=LAST_SLOPE, state=state)
    text += relu(f"{name}_relu2", f"{name}_bn2", state=state)
    text += conv(f"{name}_conv2", f"{name}_relu2", width, 3, pad=1, bias=False, state=state)
    if projected:
        text += conv(f"{name}_sc", f"{name}_relu1", width, 1, stride=stride, bias=False, state=state)
    return text + total(f"{name}_plus", f"{name}_conv2", f"{name}_sc" if projected else bottom, state)


def _conv5(depth: int, prefix: str, bottom: str, width: int, state: str) -> str:
    text = ""
    for unit in range(UNITS[depth][3]):
        name, stride = f"5{'abc'[unit]}", 2 if unit == 0 else 1
        shortcut, first, second = bottom, f"{name}_branch2a", f"{name}_branch2b"
        if unit == 0:
            text += conv(f"{prefix}res{name}_branch1", bottom, width, 1, stride=2, bias=False, state=state)
            shortcut = f"{prefix}bn{name}_branch1"
            text += batch_norm(shortcut, f"{prefix}res{name}_branch1", eps=EPS, state=state)
        text += conv(f"{prefix}res{first}", bottom, width, 3, stride=stride, pad=1, bias=False, state=state)
        text += batch_norm(f"{prefix}bn{first}", f"{prefix}res{first}", eps=EPS, state=state)
        text += relu(f"{prefix}res{first}_relu", f"{prefix}bn{first}", state=state)
        text += _offsets_and_deformable(
            f"{prefix}res{second}", f"{prefix}res{first}_relu", width, 4, True, state
        )
        text += batch_norm(
            f"{prefix}bn{second}", f"{prefix}res{second}", eps=EPS, slope=LAST_SLOPE, state=state
        )
        text += total(f"{prefix}res{name}", shortcut, f"{prefix}bn{second}", state)
        bottom = f"{prefix}res{name}_relu"
        text += relu(bottom, f"{prefix}res{name}", state=state)
    return text
