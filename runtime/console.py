"""Standard output for tables and lines: as wide as they are where it is no terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["PIPE_WIDTH", "stdout_console"]

PIPE_WIDTH = 4000
"""Columns of a pipe or a file, in which nothing is to be cut or wrapped; rich would take 80."""


def stdout_console() -> Console:
    """Standard output without highlighting and markup: what is printed may hold a user's names."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(width=width, highlight=False, markup=False)
