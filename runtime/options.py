"""Option types that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

__all__ = ["DEFINE", "NUMBERS", "SHAPE", "SIZE", "json_option", "net_options", "print_json"]

F = TypeVar("F", bound=Callable[..., Any])


class _Size(click.ParamType):
    name = "HxW|native"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        if value == "native":
            return "native"
        height, _, width = value.lower().partition("x")
        if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
            self.fail(f"{value!r} is no size; write HEIGHTxWIDTH, e.g. 512x1024, or native", param, ctx)
        return int(height), int(width)


class _Numbers(click.ParamType):
    name = "A,B,C"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of numbers; write e.g. 104.0,116.7,122.7", param, ctx)


class _Shape(click.ParamType):
    name = "BLOB=N,C,H,W"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        blob, _, dims = value.rpartition("=")
        parts = dims.split(",")
        if not blob or not all(p.isdigit() and int(p) for p in parts):
            self.fail(f"{value!r} is no shape; write e.g. data=1,3,500,500", param, ctx)
        return blob, tuple(int(p) for p in parts)


class _Define(click.ParamType):
    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        name, equals, text = value.partition("=")
        if not equals or not name.isidentifier():
            self.fail(f"{value!r} is no definition; write NAME=VALUE", param, ctx)
        return name, text


SIZE, NUMBERS, SHAPE, DEFINE = _Size(), _Numbers(), _Shape(), _Define()


def net_options(command: F) -> F:
    """The options that say how a prototxt is read; the command takes them as `define`, `shape`, `phase`,
    `level` and `net_stage`."""
    options: Iterable[Callable[[F], F]] = (
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
        click.option("--level", type=int, default=0, help="NetState level for the include / exclude rules."),
        click.option("--net-stage", multiple=True, help="NetState stage for the include / exclude rules."),
    )
    for option in reversed(tuple(options)):
        command = option(command)
    return command


def json_option(command: F) -> F:
    """`--json`: one JSON document on stdout instead of text."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(command)


def print_json(data: Any) -> None:
    """The one JSON document of a command."""
    click.echo(json.dumps(data, indent=1, allow_nan=False))
