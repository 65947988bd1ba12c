"""How plots look, and plots as SVG that follow a page's light and dark colours.

Colours are those of Okabe and Ito, which people with any of the usual kinds of colour blindness can tell
apart, darkened where they are too faint for lines on white. A figure drawn with the colours named here keeps
them in a PNG file; `svg` turns each into the variable of `base.html` that has its name, so that the page
decides.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.text import Text

from weights.shown import shown

__all__ = [
    "BLUE",
    "CARD",
    "GREEN",
    "INK",
    "LINE",
    "ORANGE",
    "PURPLE",
    "SERIES",
    "SKY",
    "SOFT",
    "VERMILLION",
    "png",
    "style",
    "svg",
]

INK, SOFT, LINE, CARD = "#1c2430", "#5f6976", "#dce1e7", "#fffffe"
BLUE, ORANGE, GREEN = "#0072b2", "#d08700", "#00916a"
VERMILLION, PURPLE, SKY = "#d0541b", "#b05590", "#3f9ed6"
SERIES = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY)
"""In the order in which they are used."""

_VARIABLES = {
    INK: "ink", SOFT: "soft", LINE: "line", CARD: "card", BLUE: "blue", ORANGE: "orange", GREEN: "green",
    VERMILLION: "vermillion", PURPLE: "purple", SKY: "sky",
}  # fmt: skip
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.linewidth": 0.7,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "figure.facecolor": CARD,
    "legend.edgecolor": LINE,
    "legend.facecolor": CARD,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "text.parse_math": False,  # names may hold a $
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "svg.fonttype": "none",
    "image.composite_image": False,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw figures in this within a `with`."""
    with matplotlib.rc_context(_STYLE):
        yield


def png(figure: Figure, dpi: int = 120) -> bytes:
    """Make a PNG file of a figure.

    Args:
        figure: Drawn within `style`.
        dpi: Pixels per inch of the figure's size.

    Returns:
        The file's bytes; the same for the same figure.
    """
    out = io.BytesIO()
    with style():
        figure.savefig(out, format="png", dpi=dpi, metadata={"Software": None})
    return out.getvalue()


@contextmanager
def _letters(figure: Figure) -> Iterator[None]:
    """Leave out the outlines of letters, which would make paths of them; the page has outlines of its own."""
    texts = [text for text in figure.findobj(Text) if text.get_path_effects()]
    effects = [text.get_path_effects() for text in texts]
    for text in texts:
        text.set_path_effects([])
    try:
        yield
    finally:
        for text, effect in zip(texts, effects, strict=True):
            text.set_path_effects(effect)


def svg(figure: Figure, text: str, kind: str = "wide") -> Markup:
    """Make an `<svg>` element of a figure, to be put into a page that extends `base.html`.

    Args:
        figure: Drawn within `style`.
        text: What the picture shows, for those who cannot see it.
        kind: Of `base.html`'s classes: "wide" or "long" pictures keep a least width, and scroll in their box.

    Returns:
        The element. Letters stay letters; the colours named in this module are the page's variables. It is
        the same for the same figure and text.
    """
    out = io.StringIO()
    # Ids that the element refers to are made of this, so that two on a page do not meet.
    salt = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    with style(), matplotlib.rc_context({"svg.hashsalt": salt}), _letters(figure):
        figure.savefig(out, format="svg", facecolor="none", metadata={"Date": None, "Creator": None})
    drawn = out.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", drawn, flags=re.S)
    drawn = re.sub(r' id="[a-z0-9]+\.?[a-z0-9]*_\d+"', "", drawn)
    for colour, name in _VARIABLES.items():
        drawn = re.sub(rf"(?<=: ){colour}\b", f"var(--{name})", drawn)
    width = round(float(re.search(r'width="([0-9.]+)pt"', drawn)[1]) * 4 / 3)  # type: ignore[index]
    drawn = re.sub(r"<svg [^>]*?viewBox", "<svg viewBox", drawn, count=1)
    opening = Markup('<svg class="plot {}" role="img" aria-label="{}" style="max-width: {}px"').format(
        kind, shown(text), width
    )
    return Markup(re.sub(r"\s*\n\s*", "\n", drawn.replace("<svg", opening, 1)))
