"""What a prototxt says of how its pictures become numbers: mean, scale, colour.

Caffe's data layers give (x - mean) * scale (data_transformer.cpp) of what OpenCV reads, B, G, R, 0 to 255.
The numbers stand in `transform_param`, in older files in the layer's own parameters. FCN's Python layers
subtract a mean that their `param_str` or their code has. Nothing is opened: a mean file has a name here,
and no content.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from caffe_port.net import Transform
from caffe_port.reading.text_format import Block, real_number, whole_number

__all__ = ["find_transform", "params"]

_PARAMS = frozenset({"transform_param", "data_param", "image_data_param", "window_data_param"})
_TRANSFORMS = frozenset({"Data", "ImageData", "WindowData", "MemoryData", "ImageSegData", "AnnotatedData"})
"""Layers that transform: what they do not state, they do not do."""
_MEANS = {
    "voc_layers": (104.00699, 116.66877, 122.67892),
    "nyud_layers": (116.190, 97.203, 92.318),
    "cityscapes_layers": (72.78044, 83.21195, 73.45286),
}
"""Means that published Python layers have in their code (B, G, R), by module."""
_NUMBER = r"-?\d{1,6}(?:\.\d{1,12})?"
_LIST = re.compile(rf"'mean':\s*[\[(]\s*({_NUMBER}(?:\s*,\s*{_NUMBER}){{0,2}})\s*,?\s*[\])]")
_TOPS = re.compile(r"'tops':\s*\[\s*'(\w{1,20})'")


def params(layer: Block) -> list[Block]:
    """The messages of a layer that may say what it does to a picture."""
    return [b for e in layer.entries if e.name in _PARAMS and isinstance(b := e.value, Block)]


def find_transform(layers: Sequence[Block], others: Sequence[Block], picture: str) -> Transform | None:
    """What is known of how the input `picture` is made, or None.

    Args:
        layers: The layers of the phase that is read.
        others: All layers of the file; where those of the phase say nothing, another's word counts.
        picture: The blob.

    Returns:
        What the first layer that says anything says; None where none does.
    """
    for chosen, remark in ((layers, ""), (others, " of another phase")):
        makers = [layer for layer in chosen if layer.texts("top")[:1] == [picture]]
        found = next((t for layer in makers for t in _stated(layer, remark)), None)
        if found is not None:
            return found
    return None


def _stated(layer: Block, remark: str) -> Iterator[Transform]:
    kind = layer.text("type")
    source = f'{kind} layer "{layer.text("name")}"{remark}'
    if kind == "Python":
        mean = _python_mean(layer)
        if mean:
            yield Transform(source=source, mean=mean, scale=1.0)
        return
    found = params(layer)
    if not found or not (kind in _TRANSFORMS or any(layer.blocks("transform_param"))):
        return
    numbers = [real_number(text) for p in found for text in p.texts("mean_value")]
    scales = [real_number(p.text("scale")) for p in found if p.has("scale")]
    crops = [whole_number(p.text("crop_size")) or 0 for p in found]
    yield Transform(
        source=source,
        mean=tuple(n for n in numbers if n is not None),
        mean_file=next((name for p in found if (name := p.text("mean_file") or p.text("meanfile"))), ""),
        scale=next((scale for scale in scales if scale is not None), 1.0),
        pads=kind == "ImageSegData" and max(crops) > 0,
    )


def _python_mean(layer: Block) -> tuple[float, ...]:
    for param in layer.blocks("python_param"):
        written = _LIST.search(param.text("param_str")[:4096])
        if written is not None:
            return tuple(float(number) for number in written.group(1).split(","))
        listed = _TOPS.search(param.text("param_str")[:4096])
        if param.text("module") in _MEANS and (listed is None or listed.group(1) == "color"):
            return _MEANS[param.text("module")]
    return ()
