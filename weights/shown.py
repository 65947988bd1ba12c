"""Text from outside made fit to show: in a terminal, on a page, in a message."""

from __future__ import annotations

__all__ = ["one_line", "shown"]

LONGEST_MESSAGE = 200


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
    line = " ".join(str(text).split())
    if not line.isprintable():
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
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
