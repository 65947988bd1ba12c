"""Names and messages made fit to show: in a terminal, in HTML, in a plot; and addresses without passwords.

Names of layers, blobs, classes and bundles come out of files. Whatever prints one passes it through here, so
that an escape sequence moves no cursor, a mark of direction turns no line round, and a `$` starts no formula.
"""

from __future__ import annotations

import html
import re
import unicodedata

__all__ = ["html_text", "one_line", "plain_name", "plot_text", "without_credentials"]

# Cc control, Cf format (marks of direction, zero width), Cs lone surrogates, Co private use, Zl and Zp
# breaks.
_UNFIT = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]{0,20}://)(?P<rest>[^\s\"'<>]+)")
_SECRET = re.compile(
    r"(?i)([?&;](?:pass(?:word|wd)?|pwd|token|key|api_?key|secret|auth|sig(?:nature)?|user(?:name)?|login)=)[^&;#\s]*"
)


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def plain_name(text: str) -> str:
    """`text` with every character that a terminal might act upon written as an escape (\\x1b, \\u202e)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if unicodedata.category(c) in _UNFIT else c for c in text)


def one_line(text: object, most: int | None = None) -> str:
    """`text` as one line for a terminal: blanks and line breaks become one blank, the rest as `plain_name`.

    Args:
        text: Anything; an exception gives its message, or its type where it has none.
        most: How many characters to keep; a longer text ends in an ellipsis.

    Returns:
        One line without control characters, lone surrogates or marks of direction.
    """
    words = str(text).split() or ([type(text).__name__] if isinstance(text, BaseException) else [])
    line = plain_name(" ".join(words))
    return line if most is None or len(line) <= most else line[: most - 3] + "..."


def html_text(text: object) -> str:
    """`text` for HTML, in an element or an attribute: as `plain_name`, with `<`, `&` and quotes escaped."""
    return html.escape(plain_name(str(text)), quote=True)


def plot_text(text: object) -> str:
    """`text` for matplotlib: as `plain_name`, with every `$`, which would start a formula, escaped."""
    return plain_name(str(text)).replace("$", r"\$")


def _public(match: re.Match[str]) -> str:
    """One address without its secrets."""
    place, question, query = match["rest"].partition("?")
    authority = place.partition("/")[0]
    # A password may hold a slash or an at sign itself: the host begins after the last at sign.
    if "@" in (place if ":" in authority else authority):
        place = "***@" + place.rpartition("@")[2]
    return match["scheme"] + place + _SECRET.sub(r"\1***", question + query)


def without_credentials(text: str) -> str:
    """`text` with the user, password and tokens of every address in it left out.

    `rtsp://ann:secret@host/1?token=x` becomes `rtsp://***@host/1?token=***`.
    """
    return _URL.sub(_public, text)
