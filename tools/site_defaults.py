"""A hook of mkdocs: an option of the command line without a default has an empty cell, not Click's marker."""

from __future__ import annotations

from typing import Any

__all__ = ["on_page_content"]

_UNSET = "<code>Sentinel.UNSET</code>"
"""What mkdocs-click writes for the default of an option that has none, with Click 8.3 and newer."""


def on_page_content(html: str, **_: Any) -> str:
    """Empty these cells of one page; mkdocs hands over its HTML."""
    return html.replace(_UNSET, "")
