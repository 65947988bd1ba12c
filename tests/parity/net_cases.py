"""Small whole nets, prototxt generations and weights formats."""

from __future__ import annotations

from cases import Case

NETS: list[Case] = []
