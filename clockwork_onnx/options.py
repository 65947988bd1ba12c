"""Option types that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from weights import limits
from weights.errors import UsageError
from weights.numbers import BadNumber, fraction, real, whole
from weights.whole_file import file_in_the_way

if TYPE_CHECKING:
    from caffe_port import Net

__all__ = [
    "DEFINE",
    "MEAN",
    "NET_SIZE",
    "NUMBERS",
    "PICTURE",
    "RATE",
    "SHAPE",
    "SHARD",
    "SIZE",
    "NetOptions",
    "WholeNumber",
    "check_folders",
    "device_option",
    "inputs_option",
    "json_option",
    "net_options",
    "print_json",
    "times_option",
]

F = TypeVar("F", bound=Callable[..., Any])


class _Size(click.ParamType):
    name = "HxW|native"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        if value == "native":
            return "native"
        height, _, width = value.lower().partition("x")
        try:
            return whole(height, least=1), whole(width, least=1)
        except BadNumber:
            self.fail(f"{value[:80]!r} is no size; write HEIGHTxWIDTH, e.g. 512x1024, or native", param, ctx)


class _NetSize(_Size):
    name = "HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if found == "native":
            self.fail("native is what a bundle is converted with; write HEIGHTxWIDTH", param, ctx)
        return found


class _Numbers(click.ParamType):
    name = "A,B,C"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return tuple(real(part) for part in value.split(","))
        except BadNumber:
            self.fail(f"{value[:80]!r} is no list of numbers; write e.g. 104.0,116.7,122.7", param, ctx)


class _Mean(_Numbers):
    name = "A,B,C|FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and value.lower().endswith((".binaryproto", ".npy")):
            return value
        return super().convert(value, param, ctx)


class _Shape(click.ParamType):
    name = "BLOB=N,C,H,W"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        blob, _, dims = value.rpartition("=")
        try:
            shape = tuple(whole(part, least=1) for part in dims.split(","))
        except BadNumber:
            shape = ()
        if not blob or not 0 < len(shape) <= limits.AXES:
            self.fail(f"{value[:80]!r} is no shape; write e.g. data=1,3,500,500", param, ctx)
        return blob, shape


class WholeNumber(click.ParamType):
    """A whole number within bounds, written in plain digits.

    Args:
        least: The smallest value accepted.
        most: The largest value accepted.
    """

    name = "integer"

    def __init__(self, least: int = 0, most: int = 2**31 - 1) -> None:
        self.least, self.most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number that a text stands for; a value that is not text is passed on (see
        `click.ParamType.convert`).
        """
        if not isinstance(value, str):
            return value
        try:
            return whole(value, least=self.least, most=self.most)
        except BadNumber as error:
            self.fail(f"{value[:80]} is not in the range: write {error.expected}", param, ctx)


class _Rate(click.ParamType):
    name = "N|N/M"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return fraction(value, least=Fraction(1, 1000), most=1000)
        except BadNumber as error:
            self.fail(f"{value[:80]!r} is not {error.expected}", param, ctx)


class _Shard(click.ParamType):
    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        number, _, count = value.partition("/")
        try:
            parts = whole(count, least=1, most=1_000_000)
            return whole(number, least=1, most=parts), parts
        except BadNumber:
            self.fail(f"{value[:80]!r} is no part of a whole; write e.g. 1/4", param, ctx)


class _Define(click.ParamType):
    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        name, equals, text = value.partition("=")
        if not equals or not f"_{name}".isidentifier():  # Xilinx's begin with a digit: 224X224_1
            self.fail(f"{value!r} is no definition; write NAME=VALUE", param, ctx)
        return name, text


class _Source(click.ParamType):
    name = "NAME=SOURCE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        name, _, source = value.partition("=")
        if not name or not source:
            self.fail(f"{value[:80]!r} names no source; write e.g. depth=FOLDER", param, ctx)
        return name, source


class _Picture(click.ParamType):
    name = "BLOB=CHANNELS[:MEAN[:SCALE]]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        from staged_onnx import Preprocessing

        blob, _, text = value.partition("=")
        channels, *numbers = text.split(":")
        try:
            if not blob or len(numbers) > 2:
                raise BadNumber("")
            mean = tuple(real(part) for part in numbers[0].split(",")) if numbers else (0.0,)
            scale = real(numbers[1]) if len(numbers) > 1 else 1.0
        except BadNumber:
            self.fail(f"{value[:80]!r} is no picture; write e.g. hha=rgb:132.4,94.1,118.5", param, ctx)
        return blob, Preprocessing(None, channels, mean, scale)


DIALECTS = ("bvlc", "deeplab-v1", "happynear", "maskyolo", "normface", "pspnet", "segnet", "ssd")
"""The names of `caffe_port.reading.dialect`, which is not imported for the sake of a `--help`."""

SIZE, NET_SIZE, NUMBERS, MEAN, SHAPE = _Size(), _NetSize(), _Numbers(), _Mean(), _Shape()
DEFINE, RATE, SHARD = _Define(), _Rate(), _Shard()
SOURCE, PICTURE = _Source(), _Picture()


@dataclass(frozen=True)
class NetOptions:
    """How a prototxt is read: what the options of `net_options` say."""

    define: tuple[tuple[str, str], ...]
    shape: tuple[tuple[str, tuple[int, ...]], ...]
    phase: str
    level: int
    net_stage: tuple[str, ...]
    postprocess: bool = False
    dialect: tuple[str, ...] = ()

    def read(self, prototxt: Path, *, tolerant: bool = False) -> Net:
        """Read a net by these options.

        Args:
            prototxt: The file.
            tolerant: As in `caffe_port.read_net`.

        Returns:
            The net.

        Raises:
            PrototxtError, UnsupportedError: As `caffe_port.read_net` does.
        """
        from caffe_port import read_net

        return read_net(
            prototxt,
            self.phase,
            level=self.level,
            stages=self.net_stage,
            define=dict(self.define),
            inputs=dict(self.shape),
            tolerant=tolerant,
            postprocess=self.postprocess,
            dialect=self.dialect,
        )


def net_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how a prototxt is read; the command takes them as `reading: NetOptions`."""

    @wraps(command)
    def with_reading(
        *,
        define: Any,
        shape: Any,
        phase: str,
        level: int,
        net_stage: Any,
        postprocess: bool,
        dialect: Any,
        **rest: Any,
    ) -> Any:
        reading = NetOptions(define, shape, phase, level, net_stage, postprocess, dialect)
        return command(reading=reading, **rest)

    options = (
        click.option(
            "--define", "-D", type=DEFINE, multiple=True, help="Value of a template variable ${NAME}."
        ),
        click.option("--shape", type=SHAPE, multiple=True, help="State or replace the shape of an input."),
        click.option(
            "--phase",
            type=click.Choice(["TEST", "TRAIN"]),
            default="TEST",
            show_default=True,
            help="Which layers the include / exclude rules keep.",
        ),
        click.option(
            "--level", type=WholeNumber(), default=0, help="NetState level for the include / exclude rules."
        ),
        click.option("--net-stage", multiple=True, help="NetState stage for the include / exclude rules."),
        click.option(
            "--postprocess",
            is_flag=True,
            help="Keep layers that make boxes in the graph (DetectionOutput, Proposal, ...).",
        ),
        click.option(
            "--dialect",
            type=click.Choice(DIALECTS),
            multiple=True,
            help="Whose layer is meant where two forks give one name two meanings.",
        ),
    )
    for option in reversed(options):
        with_reading = option(with_reading)
    return with_reading


def json_option(command: F) -> F:
    """`--json`: one JSON document on stdout instead of text."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(command)


def print_json(data: Any) -> None:
    """The one JSON document of a command."""
    click.echo(json.dumps(data, indent=1, allow_nan=False))


def inputs_option(command: F) -> F:
    """`--input`: where the further pictures of each frame come from; the command takes them as `inputs`."""
    return click.option(
        "--input",
        "inputs",
        type=SOURCE,
        multiple=True,
        help="Source of a further picture per frame, for bundles that take several: depth=FOLDER.",
    )(command)


def device_option(command: F) -> F:
    """`--device`: where the stages run."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        help="auto, cpu, cuda or cuda:N; cuda never falls back.",
    )(command)


def passes_option(command: F) -> F:
    """`--passes`: what is done to the stages' graphs before they are opened."""
    return click.option(
        "--passes",
        default="auto",
        show_default=True,
        metavar="NAMES",
        help="On the stages' graphs, with commas between them; auto: those that pay on the device; none.",
    )(command)


def times_option(command: F) -> F:
    """`--no-times`: leave measured times out, so that every run gives the same."""
    return click.option(
        "--no-times", is_flag=True, help="Leave measured times out: the rest is the same in every run."
    )(command)


def check_folders(*folders: Path | None) -> None:
    """Refuse a place for results that is a file, or lies below one, before any work is done for it."""
    for folder in folders:
        file = file_in_the_way(folder) if folder is not None else None
        if file is not None:
            raise UsageError("not a folder", file=file, expected="a folder, or a new path")
