"""Numbers in text, read within bounds: the one reader for options, schedules, sizes and shapes.

Python's own readers take more than a user means and more than a machine can bear: `int` takes "²" apart with
`isdigit`, "1_000" and Arabic digits, 5,000 digits raise another error than letters do, and
`Fraction("1e999999999")` never returns. Here only ASCII digits count, the text is at most 40 characters long,
and an exponent at most 99.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from weights.limits import NUMBER_TEXT

__all__ = ["BadNumber", "fraction", "real", "whole"]

_WHOLE = re.compile(r"[-+]?[0-9]+")
_REAL = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,2})?")
_RATIO = re.compile(r"([-+]?[0-9]+)/([0-9]+)")


class BadNumber(ValueError):
    """Text that is not a number within the bounds. `expected` says what would be accepted."""

    def __init__(self, expected: str) -> None:
        self.expected = expected
        super().__init__(f"expected {expected}")


def _bounds(least: object | None, most: object | None) -> str:
    if least is None:
        return "" if most is None else f", at most {most}"
    return f", at least {least}" if most is None else f" from {least} to {most}"


def whole(text: str, *, least: int = 0, most: int = 2**31 - 1) -> int:
    """The whole number that `text` writes in decimal.

    Args:
        text: ASCII digits with an optional sign; blanks around them do not matter.
        least: The smallest value accepted.
        most: The largest value accepted.

    Returns:
        The number.

    Raises:
        BadNumber: If the text is anything else, longer than 40 characters or outside the bounds.
    """
    text = text.strip()
    if len(text) <= NUMBER_TEXT and _WHOLE.fullmatch(text):
        value = int(text)
        if least <= value <= most:
            return value
    raise BadNumber(f"a whole number{_bounds(least, most)}")


def real(text: str, *, least: float | None = None, most: float | None = None) -> float:
    """The finite decimal number that `text` writes.

    Args:
        text: ASCII digits, a point, an exponent of at most two digits; blanks around them do not matter.
        least: The smallest value accepted, or None.
        most: The largest value accepted, or None.

    Returns:
        The number, never NaN or infinite.

    Raises:
        BadNumber: If the text is anything else, longer than 40 characters or outside the bounds.
    """
    text = text.strip()
    if len(text) <= NUMBER_TEXT and _REAL.fullmatch(text):
        value = float(text)
        if math.isfinite(value) and (least is None or value >= least) and (most is None or value <= most):
            return value
    raise BadNumber(f"a number{_bounds(least, most)}")


def fraction(text: str, *, least: Fraction | int = 0, most: Fraction | int = 10**6) -> Fraction:
    """The exact value of a decimal number or of a ratio such as 30000/1001.

    Args:
        text: As for `real`, or two whole numbers with a slash between them; the second is not 0.
        least: The smallest value accepted.
        most: The largest value accepted.

    Returns:
        The number, exact.

    Raises:
        BadNumber: If the text is anything else, longer than 40 characters or outside the bounds.
    """
    text = text.strip()
    if len(text) <= NUMBER_TEXT:
        ratio = _RATIO.fullmatch(text)
        value = None
        if ratio is not None and int(ratio[2]):
            value = Fraction(int(ratio[1]), int(ratio[2]))
        elif _REAL.fullmatch(text):
            value = Fraction(text)
        if value is not None and least <= value <= most:
            return value
    raise BadNumber(f"a number{_bounds(least, most)}, or two with a slash between them")
