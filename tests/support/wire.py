"""Protobuf messages put together byte by byte, for files that no writer makes any more (or never should)."""

from __future__ import annotations


def varint(value: int) -> bytes:
    """`value`, which may be negative, as a varint of 64 bits."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    """A varint field."""
    return varint(field << 3) + varint(value)


def block(field: int, *parts: bytes | str) -> bytes:
    """A length-delimited field: text, bytes or a message of the parts."""
    content = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return varint(field << 3 | 2) + varint(len(content)) + content


def loose(field: int, values: bytes, size: int) -> bytes:
    """A repeated field of fixed width, unpacked: each `size` bytes of `values` with a key of its own."""
    key = varint(field << 3 | {4: 5, 8: 1}[size])
    return b"".join(key + values[i : i + size] for i in range(0, len(values), size))
