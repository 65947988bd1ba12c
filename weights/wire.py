"""Walking protobuf's wire format over a buffer, without a schema and without a copy.

A message is a run of fields, each a varint key (number << 3 | wire type) and a value. Four wire
types exist in Caffe's files: 0 varint, 1 eight bytes, 2 a length and that many bytes, 5 four bytes.
Own code instead of the protobuf runtime because that copies every array, element by element where
they are not packed, and refuses messages beyond 2 GB.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

import numpy as np

from weights import limits
from weights.errors import WeightsError

__all__ = [
    "BYTES",
    "EIGHT",
    "FOUR",
    "VARINT",
    "Budget",
    "Field",
    "Malformed",
    "fields",
    "signed64",
    "varints",
]

VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5
_FIXED = {EIGHT: 8, FOUR: 4}
# Rows looked at in one go while measuring a run of unpacked numbers: few at first, so that a file of
# many short runs costs no more than its length.
_FIRST_BLOCK, _LAST_BLOCK = 16, 1 << 20
_NO_NET = "not a caffemodel, or a damaged one"


class Malformed(WeightsError):
    """Bytes that are not the wire format, at a known place."""


@dataclass(slots=True)
class Budget:
    """How many more fields are walked before the file is refused.

    Walking costs time for each field, so a file of nothing but two-byte fields would keep a reader busy for
    minutes. Real nets have some thousands; runs of unpacked numbers count as one.
    """

    left: int = limits.MESSAGE_FIELDS

    def spend(self, position: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise Malformed("too many fields for a net", found=f"the limit reached at byte {position}")


@dataclass(frozen=True, slots=True)
class Field:
    """One field, or a run of the same fixed-width field.

    `value` is the number of a varint, else 0. The bytes of the value lie at `start:end`; for a run
    of `count` fixed-width values the first lies at `start` and the next ones `stride` bytes on.
    """

    number: int
    wire: int
    value: int
    start: int
    end: int
    count: int = 1
    stride: int = 0


def _varint(data: mmap | bytes, position: int, end: int) -> tuple[int, int]:
    """The varint at `position` and the position after it."""
    value = shift = 0
    start = position
    while True:
        if position >= end:
            raise Malformed("the file is cut short or damaged", found=f"a number cut off at byte {end}")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7
        if shift >= 70:
            raise Malformed(_NO_NET, found=f"a number of more than ten bytes at byte {start}")


def signed64(value: int) -> int:
    """A varint as protobuf's int32 and int64 mean it (two's complement in 64 bits)."""
    return value - (1 << 64) if value >> 63 else value


def varints(data: mmap | bytes, start: int, end: int, budget: Budget) -> Iterator[int]:
    """The numbers of a packed field of varints.

    Args:
        data: The mapped file.
        start: Where the field's value begins.
        end: Where it ends, exclusive.
        budget: What the walk may still cost; every number is counted.

    Yields:
        Each number, unsigned.

    Raises:
        Malformed: A varint is damaged or goes beyond `end`, or the budget is spent.
    """
    while start < end:
        budget.spend(start)
        value, start = _varint(data, start, end)
        yield value


def _run(data: mmap | bytes, key_start: int, start: int, end: int, size: int) -> int:
    """How many times in a row the one-byte key at `key_start` is followed by `size` bytes before `end`."""
    stride = size + 1
    rows = (end - key_start) // stride
    keys = np.ndarray((rows,), np.uint8, buffer=data, offset=key_start, strides=(stride,))
    key = data[key_start]
    done, block = 0, _FIRST_BLOCK
    while done < rows:
        different = keys[done : done + block] != key
        if different.any():
            return done + int(different.argmax())
        done += len(different)
        block = min(2 * block, _LAST_BLOCK)
    return rows


def fields(data: mmap | bytes, start: int, end: int, budget: Budget) -> Iterator[Field]:
    """The fields of a message.

    Args:
        data: The mapped file.
        start: Where the message begins.
        end: Where it ends, exclusive.
        budget: What the walk may still cost; a run of unpacked numbers counts as one field.

    Yields:
        Each field, in order.

    Raises:
        Malformed: A field goes beyond `end` or is not the wire format, or the budget is spent.
    """
    position = start
    while position < end:
        budget.spend(position)
        key_start = position
        key, position = _varint(data, position, end)
        number, wire = key >> 3, key & 7
        if number == 0 or number > 0x1FFF_FFFF:
            raise Malformed(_NO_NET, found=f"a field numbered {number} at byte {key_start}")
        if wire == VARINT:
            begin = position
            value, position = _varint(data, position, end)
            yield Field(number, wire, value, begin, position)
        elif wire == BYTES:
            length, position = _varint(data, position, end)
            if length > end - position:
                raise Malformed(
                    "the file is cut short or damaged",
                    found=f"{end - position} bytes left at byte {position}",
                    expected=f"{length} bytes there",
                    hint="copy or download it again",
                )
            yield Field(number, wire, 0, position, position + length)
            position += length
        elif wire in _FIXED:
            size = _FIXED[wire]
            if size > end - position:
                raise Malformed(
                    "the file is cut short or damaged",
                    found=f"{end - position} bytes left at byte {position}",
                    expected=f"{size} bytes there",
                    hint="copy or download it again",
                )
            # Only a key of one byte is looked for in runs: fields 1 to 15, as all arrays of a blob are.
            count = _run(data, key_start, position, end, size) if position == key_start + 1 else 1
            begin, stride = position, size + 1
            position += size + (count - 1) * stride
            yield Field(number, wire, 0, begin, position, count, stride)
        else:
            raise Malformed(_NO_NET, found=f"a field of wire type {wire} at byte {key_start}")
