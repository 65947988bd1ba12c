"""Damaging an input in ways that readers meet: bytes, numbers, pieces and words."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

__all__ = ["mutated"]

NUMBERS = (0, 1, 2, 31, 32, 33, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)


def _number(rng: random.Random) -> bytes:
    form = rng.choice(("<B", "<H", "<I", "<Q", ">I"))
    size = struct.calcsize(form)
    return struct.pack(form, rng.choice(NUMBERS) & ((1 << 8 * size) - 1))


def _one(data: bytearray, others: Sequence[bytes], words: Sequence[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    # Most structure lies in front: half of the damage goes there.
    if rng.random() < 0.5:
        at = min(at, rng.randrange(1, 257))
    end = min(len(data), at + rng.choice((1, 1, 2, 4, 8, 16, 64, 256)))
    kind = rng.randrange(9)
    if kind == 0 and data:
        data[min(at, len(data) - 1)] ^= 1 << rng.randrange(8)
    elif kind == 1 and data:
        data[min(at, len(data) - 1)] = rng.randrange(256)
    elif kind == 2:
        number = _number(rng)
        data[at : at + len(number)] = number
    elif kind == 3:
        del data[at:end]
    elif kind == 4:
        data[at:at] = data[at:end]
    elif kind == 5:
        other = rng.choice(others)
        start = rng.randrange(len(other) + 1)
        data[at:end] = other[start : start + rng.choice((4, 16, 64, 256))]
    elif kind == 6 and words:
        data[at:end] = rng.choice(words)
    elif kind == 7 and words:
        data[at:at] = rng.choice(words)
    else:
        del data[at if rng.random() < 0.2 else len(data) :]


def mutated(seeds: Sequence[bytes], words: Sequence[bytes], rng: random.Random, most: int = 1 << 18) -> bytes:
    """One of `seeds` with one to eight damages.

    Args:
        seeds: Inputs in order.
        words: What the format is made of: keywords, and numbers at the edge.
        rng: Where chance comes from; the same state gives the same input.
        most: The greatest length in bytes.
    """
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5, 8))):
        _one(data, seeds, words, rng)
    return bytes(data[:most])
