"""Windows of a map, and which part of one map an operator's result depends on.

A span is half open, [lo, hi), in the coordinates of the whole map; a window is the span of its rows and that
of its columns. An operator's reach on one axis says both ways what belongs together: which results a span of
its input can change, and which inputs a span of its result needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Reach", "Slide", "Span", "Spread", "Window", "hull", "meet", "whole"]


class Span(NamedTuple):
    """Positions lo, lo + 1, ..., hi - 1 along one axis."""

    lo: int
    hi: int

    @property
    def size(self) -> int:
        """How many positions; 0 for an empty span."""
        return max(0, self.hi - self.lo)

    def clipped(self, size: int) -> Span:
        """The part inside an axis of this size."""
        return Span(min(max(self.lo, 0), size), max(min(self.hi, size), 0))

    def within(self, other: Span) -> bool:
        """Whether the other span has all of this one."""
        return other.lo <= self.lo and self.hi <= other.hi


class Window(NamedTuple):
    """A rectangle of a map."""

    rows: Span
    columns: Span

    @property
    def area(self) -> int:
        """How many positions it has."""
        return self.rows.size * self.columns.size

    def within(self, other: Window) -> bool:
        """Whether the other window has all of this one."""
        return self.rows.within(other.rows) and self.columns.within(other.columns)


def whole(height: int, width: int) -> Window:
    """The window that is the whole map."""
    return Window(Span(0, height), Span(0, width))


def hull(first: Window, second: Window) -> Window:
    """The smallest window that has two windows in it; an empty one counts for nothing.

    Args:
        first: A window.
        second: A window of the same map.

    Returns:
        The window.
    """
    if not first.area or not second.area:
        return second if second.area else first
    spans = (Span(min(a.lo, b.lo), max(a.hi, b.hi)) for a, b in zip(first, second, strict=True))
    return Window(*spans)


def meet(first: Window, second: Window) -> Window:
    """What two windows share.

    Args:
        first: A window.
        second: A window of the same map.

    Returns:
        A window, which may be empty.
    """
    spans = (Span(max(a.lo, b.lo), min(a.hi, b.hi)) for a, b in zip(first, second, strict=True))
    return Window(*spans)


@dataclass(frozen=True)
class Slide:
    """A kernel that slides over its input: result i reads [i * stride - pad, i * stride - pad + extent).

    Convolution and pooling, and with stride and extent 1 whatever acts on each position alone (pad 0) or cuts
    a part out (pad < 0).
    """

    stride: int = 1
    extent: int = 1
    pad: int = 0

    def changed(self, span: Span, size: int) -> Span:
        """The results that read from a span of the input.

        Args:
            span: The part of the input.
            size: How many results there are in all.

        Returns:
            The span of these results.
        """
        return self.touched(span).clipped(size)

    def touched(self, span: Span) -> Span:
        """The results that read from a span of the input, positions beyond the result included."""
        lo = -((self.extent - 1 - span.lo - self.pad) // self.stride)
        return Span(lo, (span.hi - 1 + self.pad) // self.stride + 1)

    def needed(self, span: Span) -> Span:
        """What this span of the result reads, positions in the padding included."""
        start = span.lo * self.stride - self.pad
        return Span(start, start + (span.size - 1) * self.stride + self.extent)


@dataclass(frozen=True)
class Spread:
    """The transpose of a slide: input i adds to the results [i * stride - pad, i * stride - pad + extent)."""

    stride: int
    extent: int
    pad: int

    def changed(self, span: Span, size: int) -> Span:
        """The results to which a span of the input adds.

        Args:
            span: The part of the input.
            size: How many results there are in all.

        Returns:
            The span of these results.
        """
        return Slide(self.stride, self.extent, self.pad).needed(span).clipped(size)

    def needed(self, span: Span) -> Span:
        """The inputs that add to this span of the result, positions beyond the input included."""
        return Slide(self.stride, self.extent, self.pad).touched(span)


Reach = Slide | Spread
