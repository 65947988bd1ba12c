"""What the headers of an H.264 stream say of the pictures that its blocks may come from (ITU-T H.264, 7.3).

Only what bears on that is read: of a sequence parameter set the number of reference frames, whether pictures
are fields, and the cropping; of a slice's NAL unit whether later pictures may be predicted from its picture.
Nothing is decoded, and what does not parse is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Sequence", "nal_units", "read_sequence", "split_configuration"]

SLICES = frozenset({1, 2, 5})
"""NAL unit types of slices: of an ordinary picture, its first data partition, and of an IDR picture."""
SEQUENCE = 7
_WITH_CHROMA = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_MOST_BITS = 31


@dataclass(frozen=True)
class Sequence:
    """references: frames that a picture may be predicted from, at most. frames_only: no picture is a field.
    offset: whether pictures are cropped at the left or at the top.
    """

    references: int
    frames_only: bool
    offset: bool


class _Bits:
    """Bits of a NAL unit's payload, most significant first. Raises ValueError beyond its end."""

    def __init__(self, payload: bytes) -> None:
        self._bits = int.from_bytes(payload, "big")
        self._left = 8 * len(payload)

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("the parameter set ends early")
        self._left -= count
        return (self._bits >> self._left) & ((1 << count) - 1)

    def number(self) -> int:
        """An unsigned Exp-Golomb code, ue(v)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > _MOST_BITS:
                raise ValueError("a number out of range")
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        """A signed Exp-Golomb code, se(v)."""
        code = self.number()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def split_configuration(extradata: bytes) -> tuple[int, list[bytes]]:
    """The size of a NAL unit's length field (0: start codes), and the sequence parameter sets.

    extradata: an AVCDecoderConfigurationRecord (ISO/IEC 14496-15), or NAL units behind start codes. Raises
    ValueError for a record that ends early.
    """
    if not extradata or extradata[0] != 1:
        return 0, [unit for unit in nal_units(extradata, 0) if unit[0] & 31 == SEQUENCE]
    if len(extradata) < 7:
        raise ValueError("the configuration ends early")
    sets, place = [], 6
    for _ in range(extradata[5] & 31):
        size = int.from_bytes(extradata[place : place + 2], "big")
        unit = extradata[place + 2 : place + 2 + size]
        if not size or len(unit) < size:
            raise ValueError("the configuration ends early")
        sets.append(unit)
        place += 2 + size
    return (extradata[4] & 3) + 1, sets


def nal_units(packet: bytes, length_size: int) -> Iterator[bytes]:
    """The NAL units of a packet, none of them empty.

    Args:
        packet: The packet's bytes.
        length_size: As from `split_configuration`.

    Yields:
        The bytes of each unit.

    Raises:
        ValueError: A length leads out of the packet.
    """
    if length_size:
        place = 0
        while place < len(packet):
            size = int.from_bytes(packet[place : place + length_size], "big")
            place += length_size
            if not 0 < size <= len(packet) - place:
                raise ValueError("a NAL unit's length leads out of its packet")
            yield packet[place : place + size]
            place += size
        return
    for unit in packet.split(b"\x00\x00\x01")[1:]:
        if unit := unit.rstrip(b"\x00"):
            yield unit


def read_sequence(unit: bytes) -> Sequence:
    """A sequence parameter set (7.3.2.1.1). Raises ValueError where it ends early or a number is absurd."""
    bits = _Bits(unit[1:128].replace(b"\x00\x00\x03", b"\x00\x00"))
    profile = bits.take(8)
    bits.take(16)
    bits.number()
    if profile in _WITH_CHROMA:
        _skip_chroma(bits)
    bits.number()  # log2_max_frame_num_minus4
    order = bits.number()
    if order == 0:
        bits.number()
    elif order == 1:
        bits.take(1)
        bits.signed()
        bits.signed()
        for _ in range(min(bits.number(), 256)):
            bits.signed()
    references = bits.number()
    bits.take(1)  # gaps_in_frame_num_value_allowed_flag
    bits.number()
    bits.number()
    frames_only = bool(bits.take(1))
    if not frames_only:
        bits.take(1)
    bits.take(1)  # direct_8x8_inference_flag
    crop = [bits.number() for _ in range(4)] if bits.take(1) else [0] * 4
    left, _, top, _ = crop
    return Sequence(references, frames_only, bool(left or top))


def _skip_chroma(bits: _Bits) -> None:
    """chroma_format_idc to the scaling lists."""
    chroma = bits.number()
    if chroma == 3:
        bits.take(1)
    bits.number()
    bits.number()
    bits.take(1)
    if not bits.take(1):
        return
    for i in range(12 if chroma == 3 else 8):
        if not bits.take(1):
            continue
        last = after = 8
        for _ in range(16 if i < 6 else 64):
            if after:
                after = (last + bits.signed()) % 256
            last = after or last
