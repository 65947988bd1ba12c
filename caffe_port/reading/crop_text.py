"""Writing other offsets into the Crop layers of a prototxt, with every other character as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from caffe_port.reading.text_format import Block, parse_text

__all__ = ["with_crop_offsets"]


def _offsets(values: Sequence[int]) -> str:
    shown = values[:1] if len(set(values)) == 1 else values
    return " ".join(f"offset: {value}" for value in shown)


def _edits(text: str, layer: Block, values: Sequence[int]) -> list[tuple[int, int, str]]:
    """The parts of `text` to replace so that this Crop has these offsets: (start, end, new text)."""
    params = layer.all("crop_param")
    if not params:
        end = layer.span[1] - 1
        return [(end, end, f"crop_param {{ {_offsets(values)} }} ")]
    edits = []
    for number, param in enumerate(params):
        assert isinstance(param.value, Block)
        kept = [text[e.start : e.value.span[1]] for e in param.value.entries if e.name != "offset"]
        inside = " ".join([*kept, *([_offsets(values)] if number == 0 else [])])
        edits.append((*param.value.span, f"{{ {inside} }}"))
    return edits


def with_crop_offsets(text: str, offsets: Mapping[tuple[str, str], Sequence[int]], *, file: str = "") -> str:
    """`text`, a prototxt, with other offsets in some of its Crop layers.

    Args:
        text: The prototxt, without template variables.
        offsets: For (layer, top), one offset for each axis that the Crop cuts.
        file: What errors call the text.

    Returns:
        The new text; all else in it stays as it was written.

    Raises:
        PrototxtError: The text is not protobuf text.
    """
    edits: list[tuple[int, int, str]] = []
    for layer in parse_text(text, file).blocks("layer"):
        values = offsets.get((layer.text("name"), layer.text("top")))
        if layer.text("type") == "Crop" and values is not None:
            edits += _edits(text, layer, values)
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text
