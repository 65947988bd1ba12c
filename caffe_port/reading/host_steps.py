"""What a net has a host do around the graph: DeepLab v1's data layer, MatRead, MatWrite and DenseCRF.

They read and write files, or run a filter over a whole picture, so that no graph can hold them. Here they
become plain data, which the bundle's manifest keeps and the runtime (or `clockwork deeplab`) carries out.
Paths in a prototxt are kept as text and never opened.

Fields and defaults (DeepLab v1's caffe.proto; densecrf_layer.cpp, mat_write_layer.cpp, mat_read_layer.cpp):

- ImageSegData: transform_param { crop_size, mean_value }. A picture is padded at the bottom and right with
  the mean up to crop_size; the middle of a larger one is taken.
- MatWrite, MatRead: prefix, source (a list of ids), strip 0, period 1, batch_size 1. `strip` characters are
  cut off the end of each id; only every `period`-th picture is written.
- DenseCRF: max_iter 10; pos_xy_std and pos_w, bi_xy_std, bi_rgb_std and bi_w, each repeated, one per kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from caffe_port.net import HostStep
from caffe_port.reading.text_format import Block, real_number, whole_number
from weights.errors import PrototxtError

__all__ = ["HOST_STEPS", "host_steps"]


def _number(layer: Block, param: Block, field: str, default: int, file: str) -> int:
    if not param.has(field):
        return default
    value = whole_number(param.text(field))
    if value is None or value < 0:
        raise _bad(layer, field, param.text(field), "a whole number, 0 or more", file)
    return value


def _bad(layer: Block, field: str, found: str, expected: str, file: str) -> PrototxtError:
    name, kind = layer.text("name"), layer.text("type")
    return PrototxtError(
        f"bad {field}", file=file, layer=name, layer_type=kind, found=found, expected=expected
    )


def _crop(layer: Block, file: str) -> dict[str, Any]:
    found: dict[str, Any] = {"crop_size": 0, "mean_value": []}
    for param in layer.blocks("transform_param"):
        found["crop_size"] = _number(layer, param, "crop_size", 0, file)
        found["mean_value"] = _reals(layer, param, "mean_value", file)
    return found


def _reals(layer: Block, param: Block, field: str, file: str) -> list[float]:
    values = [real_number(text) for text in param.texts(field)]
    if any(value is None for value in values):
        raise _bad(layer, field, ", ".join(param.texts(field)), "numbers", file)
    return [value for value in values if value is not None]


def _mat(param: str) -> Callable[[Block, str], dict[str, Any]]:
    def read(layer: Block, file: str) -> dict[str, Any]:
        found: dict[str, Any] = {"prefix": "", "source": "", "strip": 0, "period": 1}
        for block in layer.blocks(param):
            found.update(prefix=block.text("prefix"), source=block.text("source"))
            found["strip"] = _number(layer, block, "strip", 0, file)
            found["period"] = max(1, _number(layer, block, "period", 1, file))
        return found

    return read


def _dense_crf(layer: Block, file: str) -> dict[str, Any]:
    fields = ("pos_w", "pos_xy_std", "bi_w", "bi_xy_std", "bi_rgb_std")
    found: dict[str, Any] = {"max_iter": 10, **{field: [] for field in fields}}
    for param in layer.blocks("dense_crf_param"):
        found["max_iter"] = _number(layer, param, "max_iter", 10, file)
        for field in fields:
            found[field] = _reals(layer, param, field, file)
    for kernel in (fields[:2], fields[2:]):
        counts = [len(found[field]) for field in kernel]
        if len(set(counts)) > 1:
            what = ", ".join(f"{count} {field}" for field, count in zip(kernel, counts, strict=True))
            raise _bad(layer, "dense_crf_param", what, "as many of each, one per kernel", file)
    return found


HOST_STEPS: dict[str, Callable[[Block, str], dict[str, Any]]] = {
    "ImageSegData": _crop,
    "MatRead": _mat("mat_read_param"),
    "MatWrite": _mat("mat_write_param"),
    "DenseCRF": _dense_crf,
}
"""By layer type: what reads its parameters."""


def host_steps(layers: Sequence[Block], file: str) -> tuple[HostStep, ...]:
    """The steps that layers of a file stand for.

    Args:
        layers: The layers, in the file's order.
        file: The prototxt, for messages.

    Returns:
        One step for each layer of the types in HOST_STEPS, in the same order.

    Raises:
        PrototxtError: A parameter is not a number, or the kernels of a CRF are incomplete.
    """
    return tuple(
        HostStep(
            layer.text("name"),
            kind,
            tuple(layer.texts("bottom")),
            tuple(layer.texts("top")),
            HOST_STEPS[kind](layer, file),
        )
        for layer in layers
        if (kind := layer.text("type")) in HOST_STEPS
    )
