"""Prototxt text, layer by layer, and files of it: what the generators of nets share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from weights.errors import UsageError
from weights.whole_file import check_folder, whole_file

__all__ = [
    "batch_norm",
    "concat",
    "conv",
    "crop",
    "deconv",
    "layer",
    "picture",
    "power",
    "relu",
    "total",
    "write_prototxts",
]


def layer(
    name: str, kind: str, bottoms: Sequence[str], body: str = "", top: str | None = None, state: str = ""
) -> str:
    """One layer.

    Args:
        name: The layer's name.
        kind: Its type.
        bottoms: The blobs that it reads.
        body: Its parameters, as text.
        top: The blob that it makes, by default one of the layer's name.
        state: A NetStateRule under which alone the net has it (`stage: "key"`).

    Returns:
        Its text.
    """
    lines = [f'  name: "{name}"', f'  type: "{kind}"']
    lines += [f'  bottom: "{b}"' for b in bottoms]
    lines.append(f'  top: "{top or name}"')
    if state:
        lines.append(f"  include {{ {state} }}")
    if body:
        lines.append("  " + body)
    return "layer {\n" + "\n".join(lines) + "\n}\n"


def picture(name: str, shape: Sequence[int], state: str = "") -> str:
    """An input of this shape."""
    dims = " ".join(f"dim: {dim}" for dim in shape)
    return layer(name, "Input", [], f"input_param {{ shape {{ {dims} }} }}", state=state)


def conv(
    name: str,
    bottom: str,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    pad: int = 0,
    dilation: int = 1,
    bias: bool = True,
    filler: str = "",
    top: str | None = None,
    state: str = "",
) -> str:
    """A Convolution with a square kernel.

    Args:
        name: The layer's name.
        bottom: The blob that it reads.
        outputs: `num_output`.
        kernel: Height and width of the kernel.
        stride: As in the message.
        pad: As in the message.
        dilation: As in the message; 1 is left unwritten.
        bias: `bias_term`.
        filler: The fields of the weight's filler.
        top: As in `layer`.
        state: As in `layer`.

    Returns:
        Its text.
    """
    fields = _window(outputs, kernel, stride, pad, bias, filler)
    fields += f" dilation: {dilation}" if dilation > 1 else ""
    return layer(name, "Convolution", [bottom], f"convolution_param {{ {fields} }}", top, state)


def deconv(
    name: str,
    bottom: str,
    outputs: int,
    kernel: int,
    stride: int,
    *,
    pad: int = 0,
    bias: bool = True,
    group: int = 1,
    filler: str = "",
    state: str = "",
) -> str:
    """A Deconvolution with a square kernel.

    Args:
        name: The layer's name.
        bottom: The blob that it reads.
        outputs: `num_output`.
        kernel: Height and width of the kernel.
        stride: As in the message.
        pad: As in the message.
        bias: `bias_term`.
        group: As in the message; 1 is left unwritten.
        filler: The fields of the weight's filler.
        state: As in `layer`.

    Returns:
        Its text.
    """
    fields = _window(outputs, kernel, stride, pad, bias, filler) + (f" group: {group}" if group > 1 else "")
    return layer(name, "Deconvolution", [bottom], f"convolution_param {{ {fields} }}", state=state)


def _window(outputs: int, kernel: int, stride: int, pad: int, bias: bool, filler: str) -> str:
    parts = [f"num_output: {outputs}", f"kernel_size: {kernel}"]
    parts += [f"stride: {stride}"] if stride > 1 else []
    parts += [f"pad: {pad}"] if pad else []
    parts += [] if bias else ["bias_term: false"]
    parts += [f"weight_filler {{ {filler} }}"] if filler else []
    return " ".join(parts)


def batch_norm(
    name: str, bottom: str, *, eps: float, slope: float = 1.0, fix_gamma: bool = False, state: str = ""
) -> str:
    """A BN of four blobs.

    Args:
        name: The layer's name.
        bottom: The blob that it reads.
        eps: What is added to the variance.
        slope: What the filler gives a net without weights.
        fix_gamma: Take the slope as 1 whatever the weights say, as MXNet does.
        state: As in `layer`.

    Returns:
        Its text.
    """
    fixed = " fix_gamma: true" if fix_gamma else ""
    body = (
        f"bn_param {{ slope_filler {{ value: {slope:g} }} bias_filler {{ value: 0 }} eps: {eps:g}{fixed} }}"
    )
    return layer(name, "BN", [bottom], body, state=state)


def relu(name: str, bottom: str, *, slope: float = 0.0, top: str | None = None, state: str = "") -> str:
    """A ReLU with a top of its own."""
    body = f"relu_param {{ negative_slope: {slope:g} }}" if slope else ""
    return layer(name, "ReLU", [bottom], body, top, state)


def power(name: str, bottom: str, scale: float, *, top: str | None = None, state: str = "") -> str:
    """scale * x."""
    return layer(name, "Power", [bottom], f"power_param {{ scale: {scale:.10g} }}", top, state)


def concat(name: str, bottoms: Sequence[str], state: str = "") -> str:
    """Channels one after the other."""
    return layer(name, "Concat", bottoms, state=state)


def total(name: str, first: str, second: str, state: str = "") -> str:
    """The sum of two maps."""
    return layer(name, "Eltwise", [first, second], "eltwise_param { operation: SUM }", state=state)


def crop(name: str, bottom: str, like: str, offset: int, state: str = "") -> str:
    """`bottom` from `offset` on, cut to the size of `like`."""
    return layer(name, "Crop", [bottom, like], f"crop_param {{ axis: 2 offset: {offset} }}", state=state)


def write_prototxts(folder: Path, nets: Mapping[str, str], *, force: bool = False) -> list[Path]:
    """Write prototxts into a folder.

    Args:
        folder: The folder, made where it is missing.
        nets: Texts by file name.
        force: Replace files that exist.

    Returns:
        The files.

    Raises:
        UsageError: A file exists and `force` is not set, or the folder cannot be made.
    """
    check_folder(folder)
    present = [folder / name for name in nets if (folder / name).exists()]
    if present and not force:
        raise UsageError("the file exists", file=present[0], hint="--force replaces it")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in nets.items():
        with whole_file(folder / name) as partial:
            partial.write_text(text, "utf-8")
    return [folder / name for name in nets]
