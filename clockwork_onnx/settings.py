"""What holds for every command: how much is said, and defaults out of a file of settings.

An option is taken from the command line, else from the environment (CLOCKWORK_RUN_DEVICE=cpu is `run`'s
`--device cpu`), else from the file, else it has its default. The file is TOML, with a section per command:

    [run]
    schedule = "warp:4"
    overlay = true
"""

from __future__ import annotations

import logging
import sys
import tomllib
from pathlib import Path
from typing import Any

import click

from weights.errors import UsageError
from weights.regular_file import read_regular
from weights.shown import shown

__all__ = ["command_defaults", "default_settings", "is_quiet", "read_settings", "set_up_logging"]

MOST_BYTES = 1 << 20
LOGGER = "clockwork"
"""Every logger of this package is below this one."""


class _OneLine(logging.Formatter):
    """A record as one line that is safe to show."""

    def format(self, record: logging.LogRecord) -> str:
        return f"clockwork: {record.levelname.lower()}: {shown(record.getMessage())}"


def set_up_logging(verbose: int, quiet: bool) -> None:
    """Send what the package logs to standard error: warnings; -v more, -vv all, -q errors alone."""
    logger = logging.getLogger(LOGGER)
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    logger.setLevel(logging.ERROR if quiet else levels[min(verbose, 2)])
    logger.propagate = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine())
    logger.handlers[:] = [handler]


def is_quiet() -> bool:
    """Whether the command was told to say errors alone (-q)."""
    return logging.getLogger(LOGGER).getEffectiveLevel() >= logging.ERROR


def default_settings() -> Path:
    """Where the user's file of settings lies."""
    return Path(click.get_app_dir("clockwork")) / "config.toml"


def read_settings(path: Path) -> dict[str, Any]:
    """The sections of a file of settings.

    Raises:
        UsageError: It cannot be read, or is not TOML.
    """
    content = read_regular(path, MOST_BYTES, expected="a TOML file of settings", error=UsageError)
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageError("not a file of settings", file=path, found=shown(error, 120)) from None


def command_defaults(section: Any, title: str, command: click.Command, path: Path) -> dict[str, Any]:
    """The defaults that a file of settings has for a command, as click takes them.

    Args:
        section: The command's section; of a command with sub-commands (eval) it has sections itself.
        title: What it is called.
        command: The command; its options are called as on the command line, without the dashes.
        path: The file, for messages.

    Raises:
        UsageError: An unknown option, or a value that an option cannot have.
    """
    if not isinstance(section, dict):
        raise UsageError("a section is needed", file=path, found=f"{title} = ...", expected=f"[{title}]")
    if isinstance(command, click.Group):
        parts = {name: command.commands.get(name) for name in section}
        for name, part in parts.items():
            if part is None:
                raise UsageError(f"unknown part of {title}", file=path, found=f'"{shown(name, 60)}"')
        return {
            name: command_defaults(section[name], f"{title}.{name}", part, path)
            for name, part in parts.items()
            if part is not None
        }
    options = {
        name.lstrip("-"): option
        for option in command.params
        if isinstance(option, click.Option)
        for name in option.opts
        if name.startswith("--")
    }
    defaults: dict[str, Any] = {}
    for name, value in section.items():
        option = options.get(name.replace("_", "-"))
        if option is None:
            raise UsageError(
                f"unknown option of {title}",
                file=path,
                found=f'"{shown(name, 60)}"',
                expected=", ".join(sorted(options)),
            )
        defaults[option.name or ""] = _value(option, name, value, path)
    return defaults


def _value(option: click.Option, name: str, value: Any, path: Path) -> Any:
    """A value as text, so that it is checked as one from the command line is."""
    if option.is_flag and isinstance(value, bool):
        return value
    if option.multiple and isinstance(value, list):
        return [str(item) for item in value]
    if not option.is_flag and not isinstance(value, bool) and isinstance(value, (str, int, float)):
        return [str(value)] if option.multiple else str(value)
    expected = "true or false" if option.is_flag else "text, a number" + (", a list" * option.multiple)
    raise UsageError(
        f'bad value of "{shown(name, 60)}"', file=path, found=shown(value, 60), expected=expected
    )
