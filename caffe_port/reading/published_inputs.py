"""The shapes of the inputs that published Python data layers bring, which their prototxts do not state.

The data sets fix the number of channels, and all but the size of PASCAL's pictures: 500 x 500 is the size
that the one published deploy.prototxt has and the longer side of nearly all of them.
"""

from __future__ import annotations

import re

from caffe_port.net import Shape
from caffe_port.reading.text_format import Block

__all__ = ["published_shape"]

SIZES = {
    "voc_layers": (500, 500),
    "pascalcontext_layers": (500, 500),
    "nyud_layers": (425, 560),  # rows 44 to 468 and columns 40 to 599 of a frame
    "siftflow_layers": (256, 256),
    "cityscapes_layers": (1024, 2048),
}
"""Height and width, by the module that a layer of fcn.berkeleyvision.org or clockwork-fcn names."""
CHANNELS = {"color": 3, "hha": 3, "depth": 1}
"""What a top of the NYUD layer holds (param_str: 'tops')."""


def published_shape(layer: Block, position: int) -> Shape | None:
    """The shape of a top of a published Python data layer.

    Args:
        layer: The layer.
        position: Which of its tops.

    Returns:
        (N, C, H, W); None for a label or another layer.
    """
    for param in layer.blocks("python_param"):
        size = SIZES.get(param.text("module"))
        if size is None:
            continue
        listed = re.search(r"'tops':\s*\[([^\]]*)\]", param.text("param_str"))
        if listed is None:
            return (1, 3, *size) if position == 0 else None
        kinds = re.findall(r"'(\w+)'", listed.group(1))
        channels = CHANNELS.get(kinds[position]) if position < len(kinds) else None
        return None if channels is None else (1, channels, *size)
    return None
