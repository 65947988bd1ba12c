"""Stages drawn for a notebook: a box per stage, as wide as its work, and below it what it hands on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weights.notebook import html_text

__all__ = ["COLOURS", "Box", "byte_size", "draw_stages"]

COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#0072b2", "#d55e00")
"""Colours of stages in turn, which the colour-blind can tell apart (Okabe and Ito)."""


@dataclass(frozen=True)
class Box:
    """One stage as it is drawn: its name, its work, a line on what it is, and what it hands on."""

    name: str
    macs: int
    what: str
    hands_on: tuple[str, ...]


def byte_size(count: int) -> str:
    """A number of bytes as people read it."""
    for power, name in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 1 << power:
            return f"{count / (1 << power):.3g} {name}"
    return f"{count} bytes"


def draw_stages(title: str, boxes: Sequence[Box]) -> str:
    """HTML of the stages from left to right.

    Args:
        title: What stands above them.
        boxes: The stages, the head last.

    Returns:
        The HTML.
    """
    total = max(1, sum(box.macs for box in boxes))
    drawn = []
    for number, box in enumerate(boxes):
        colour = COLOURS[number % len(COLOURS)] if number < len(boxes) - 1 else "#999999"
        carried = "".join(f"<div>&rarr; {html_text(value)}</div>" for value in box.hands_on)
        drawn.append(
            f'<div style="flex:{max(1.0, 12 * box.macs / total):.2f};min-width:9em;padding:.5em;'
            f'border-top:.4em solid {colour};border-right:1px solid #8884">'
            f"<b>{html_text(box.name)}</b> {box.macs / total:.1%}<div>{html_text(box.what)}</div>"
            f'<small style="overflow-wrap:anywhere">{carried}</small></div>'
        )
    style = "display:flex;flex-wrap:wrap;gap:2px;font-family:sans-serif"
    return f'<div><p><b>{html_text(title, 200)}</b></p><div style="{style}">{"".join(drawn)}</div></div>'
