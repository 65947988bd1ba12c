"""Text from outside made fit to show: in a terminal, on a page, in a message."""

from __future__ import annotations

import re

__all__ = ["one_line", "shown", "visible", "without_credentials"]

LONGEST_MESSAGE = 200

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]{0,20}://)(?P<rest>[^\s\"'<>]+)")
_SECRET = re.compile(
    r"(?i)([?&;](?:pass(?:word|wd)?|pwd|token|key|api_?key|secret|auth|sig(?:nature)?|user(?:name)?|login)=)[^&;#\s]*"
)


def visible(text: str) -> str:
    """`text` with its blanks and line breaks as they are, and what a terminal would act upon as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def shown(text: object, longest: int | None = None) -> str:
    """Make a name or message safe to show.

    Names of layers, blobs, classes, files and streams come from files that anybody may have written. Control
    characters (escape sequences that a terminal would obey among them), marks that turn the direction of
    writing, and lone surrogates, which no file can hold, become a visible `\\x1b`, `\\u202e` or `\\ud800`;
    line breaks and tabs become spaces.

    Args:
        text: What is to be shown; `str` makes text of it.
        longest: The most characters; what is longer ends in "...".

    Returns:
        One line of printable text.
    """
    line = visible(" ".join(str(text).split()))
    if longest is not None and len(line) > longest:
        line = line[:longest] + "..."
    return line


def one_line(error: BaseException, longest: int = LONGEST_MESSAGE) -> str:
    """Put another library's error into one line of a message of ours.

    Args:
        error: The error as it was raised.
        longest: The most characters; what is longer ends in "...".

    Returns:
        Its message, safe to show; its class where it has none.
    """
    return shown(error, longest) or type(error).__name__


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
