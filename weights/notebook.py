"""What notebooks show of an object: small tables of HTML, every name in them made fit to show and escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from weights.shown import shown

__all__ = ["html_table", "html_text"]

LONGEST = 80
MOST_ROWS = 60


def html_text(text: object, longest: int = LONGEST) -> str:
    """A name or a number as it may stand in HTML.

    Args:
        text: The name or number.
        longest: How many characters are shown at most.

    Returns:
        The text, its special characters written as entities.
    """
    return html.escape(shown(text, longest))


def html_table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table.

    Args:
        title: What stands above it.
        heads: The columns' names.
        rows: One sequence of cells per row; rows beyond MOST_ROWS are counted only.

    Returns:
        The HTML.
    """
    all_rows = [list(row) for row in rows]
    cells = [
        "<tr>" + "".join(f'<td style="text-align:left">{html_text(cell)}</td>' for cell in row) + "</tr>"
        for row in all_rows[:MOST_ROWS]
    ]
    if len(all_rows) > MOST_ROWS:
        more = f"and {len(all_rows) - MOST_ROWS} more"
        cells.append(f'<tr><td colspan="{len(heads)}" style="text-align:left">{more}</td></tr>')
    head = "".join(f'<th style="text-align:left">{html_text(name)}</th>' for name in heads)
    return (
        f"<div><p><b>{html_text(title, 200)}</b></p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(cells)}</tbody></table></div>"
    )
