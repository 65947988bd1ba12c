"""How frames become a net's input: what the user says, else what the prototxt says, else Caffe's habits.

Each of the four facts (size, channels, mean, scale) comes with where it was taken from, because a wrong one
gives labels that look nearly right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import Literal

from caffe_port.net import Net
from caffe_port.shapes import infer_shapes, measure
from staged_onnx import Preprocessing
from staged_onnx.fit import nearest_fit, size_multiple
from staged_onnx.stage_graphs import input_shapes, picture_input
from weights.errors import ShapeError, UsageError
from weights.mean_file import read_mean

__all__ = ["Asked", "Chosen", "check_size", "choose_preprocessing", "given_mean"]

Size = tuple[int, int]
NORMALISES = frozenset({"BatchNorm", "BN", "Bias", "Power", "Scale"})
GIVEN = "given"
UNKNOWN = (
    "nothing is known of {what}: the prototxt does not say, so the net sees {order}, 0 to 255, as they are; "
    "give what it was trained with: --mean B,G,R (or a .binaryproto or .npy file), --scale, --channels"
)


@dataclass(frozen=True)
class Asked:
    """What the user says; None: to be found out."""

    size: Size | Literal["native"] | None = None
    channels: str | None = None
    mean: Sequence[float] | str | PathLike[str] | None = None
    scale: float | None = None
    fit: str | None = None


@dataclass(frozen=True)
class Chosen:
    """The pre-processing; by fact ("size", "channels", "mean", "scale") where it comes from; a warning."""

    how: Preprocessing
    origins: Mapping[str, str] = field(default_factory=dict)
    warning: str = ""


def given_mean(mean: Sequence[float] | str | PathLike[str] | None) -> tuple[float, ...] | None:
    """The mean that is given as numbers or as a file.

    Args:
        mean: Numbers, a .binaryproto or .npy file, or None.

    Returns:
        One number or one per channel; None where none is given.

    Raises:
        WeightsError: A file that holds no means.
    """
    if mean is None:
        return None
    return read_mean(fspath(mean)) if isinstance(mean, (str, PathLike)) else tuple(mean)


def choose_preprocessing(net: Net, asked: Asked, scores: str, *, picture: bool) -> Chosen:
    """The pre-processing of a net, and where each part of it comes from.

    Args:
        net: The net.
        asked: What the user says.
        scores: The value that the output is made of.
        picture: Whether the net makes pictures out of pictures, which keep their size.

    Returns:
        The pre-processing, where each part of it comes from, and what is not known.

    Raises:
        UsageError: A mean that only a file beside the prototxt has, or one that does not fit.
        WeightsError: A file that holds no means.
    """
    size, fit, origin, grid = _size(net, asked, scores, picture)
    planes = picture_input(net).shape[1]
    channels = asked.channels or ("gray" if planes == 1 else "bgr")
    origins = {"size": origin, "channels": GIVEN if asked.channels else ""}
    if not asked.channels:
        origins["channels"] = "Caffe's order" if channels == "bgr" else "the net has one channel"
    mean, origins["mean"] = _mean(net, asked, channels)
    scale, origins["scale"] = _scale(net, asked)
    how = Preprocessing(size, channels, mean, scale, fit, *grid)
    unknown = net.transform is None and asked.mean is None and not _normalises(net)
    order = "grey" if channels == "gray" else ", ".join(channels.upper())
    what = "mean" if asked.scale is not None else "mean and scale"
    return Chosen(how, origins, UNKNOWN.format(what=what, order=order) if unknown else "")


def _normalises(net: Net) -> str:
    """The layer with which a net brings its input into the range that it was trained on, or ""."""
    name = picture_input(net).name
    readers = [layer for layer in net.layers if name in layer.bottoms]
    found = [f'layer "{x.name}" ({x.type})' for x in readers if x.type in NORMALISES]
    return found[0] if found and len(readers) == 1 else ""


def _mean(net: Net, asked: Asked, channels: str) -> tuple[tuple[float, ...], str]:
    given, stated = given_mean(asked.mean), net.transform
    if given is not None:
        what = asked.mean
        if isinstance(what, (str, PathLike)):
            swapped = channels == "rgb" and len(given) == 3
            return (given[::-1] if swapped else given), f"of the pictures in {fspath(what)}"
        return given, GIVEN
    if stated is None:
        own = _normalises(net)
        return (0.0,), f"{own} of the net does it" if own else "not known"
    if stated.mean_file and not stated.mean:
        raise UsageError(
            "the net's mean is in a file of its own, which is not opened",
            file=net.file,
            layer=None,
            found=f'mean_file "{stated.mean_file}" in {stated.source}',
            expected="--mean FILE.binaryproto, or --mean B,G,R",
            hint="--mean 0 subtracts nothing",
        )
    if stated.mean and len(stated.mean) not in (1, picture_input(net).shape[1]):
        raise UsageError(
            "the prototxt's mean does not fit the net's channels",
            file=net.file,
            found=f"{len(stated.mean)} values in {stated.source}",
            expected=f"1 or {picture_input(net).shape[1]}",
            hint="--mean A,B,C overrides it",
        )
    mean = stated.mean[::-1] if channels == "rgb" else stated.mean
    return mean or (0.0,), stated.source if stated.mean else f"{stated.source} subtracts none"


def _scale(net: Net, asked: Asked) -> tuple[float, str]:
    if asked.scale is not None:
        return asked.scale, GIVEN
    if net.transform is None:
        own = _normalises(net)
        return 1.0, f"{own} of the net does it" if own else "not known"
    stated = net.transform
    return stated.scale, stated.source if stated.scale != 1 else f"{stated.source} scales nothing"


Grid = tuple[Size, Size]


def _size(net: Net, asked: Asked, scores: str, picture: bool) -> tuple[Size | None, str, str, Grid]:
    """The size, how frames are brought to it, where it comes from, and the grid of sizes that are taken."""
    own = picture_input(net).shape[2:]
    stated: Size = (own[0], own[1])
    whole: Grid = (1, 1), (0, 0)
    if isinstance(asked.size, tuple):
        return asked.size, asked.fit or "resize", GIVEN, _grid(net, scores)
    if net.transform is not None and net.transform.pads and asked.size is None:
        return stated, asked.fit or "pad", net.transform.source, whole
    if measure(net, input_shapes(net, None)).fixed:
        if asked.size is None:
            return stated, asked.fit or "resize", "the only one that the net takes", whole
        return None, "resize", GIVEN, whole  # refused by the export, with the reason
    grid, fit = _grid(net, scores), asked.fit or "pad"
    if asked.size == "native":
        return None, fit, GIVEN, grid
    inputs = {i.name for i in net.inputs}
    if any(layer.type == "Crop" and inputs.intersection(layer.bottoms[1:]) for layer in net.layers):
        return None, fit, "the net crops its scores to its input, whatever that is", grid
    if picture:
        return None, fit, "a picture is made of a picture", grid
    return stated, asked.fit or "resize", "the prototxt's; --size native or HxW for another", grid


def _grid(net: Net, scores: str) -> Grid:
    """The sizes that the net takes: multiples and remainders, down and across."""
    inputs = input_shapes(net, None)
    own = picture_input(net).shape[2:]
    multiple = size_multiple(net, inputs, scores) or (1, 1)
    return multiple, (own[0] % multiple[0], own[1] % multiple[1])


def check_size(net: Net, size: Size) -> None:
    """Refuse a size that a net does not take.

    Args:
        net: The net.
        size: Height and width of its input.

    Raises:
        UsageError: The net does not take it; the message has the next one that it does.
    """
    try:
        infer_shapes(net, input_shapes(net, size))
    except ShapeError as error:
        multiple, remainder = _grid(net, "")
        nearest = nearest_fit(size, multiple, remainder)
        raise UsageError(
            "the net does not take frames of this size",
            file=net.file,
            layer=error.layer,
            found=f"{size[0]}x{size[1]}",
            expected=f"height {_steps(multiple[0], remainder[0])}, width {_steps(multiple[1], remainder[1])}",
            hint=f"the next larger one: --size {nearest[0]}x{nearest[1]}",
        ) from None


def _steps(multiple: int, remainder: int) -> str:
    return f"a multiple of {multiple}" + (f" and {remainder} more" if remainder else "")
