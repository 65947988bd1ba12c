"""Motion vectors of a decoder: of which pictures they lead to the picture before, by what the stream says.

FFmpeg hands out a vector per block with the sign of its reference alone: "an earlier picture", not which. So
a picture's vectors are taken as the way to the picture handed out before it only where the stream leaves no
other reading:

- it is a P picture, no field, not turned, and every vector points backward;
- it was decoded right after the picture handed out before it, which is an I or a P picture;
- the codec has one reference for P pictures (MPEG-1, 2 and 4), or it is H.264 with one reference frame by its
  sequence parameter set, and the picture before is not marked as one that nothing is predicted from.

H.264's commands that keep an old picture as the one reference (long-term marking) are not read; with a single
reference frame no encoder in use gives them.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.video.frames import Motion
from runtime.video.h264 import SEQUENCE, SLICES, nal_units, read_sequence, split_configuration

__all__ = ["MotionReader"]

ONE_REFERENCE = frozenset({"mpeg1video", "mpeg2video", "mpeg4"})
"""Codecs whose P pictures are predicted from the I or P picture before them, and from no other."""
PACKETS_KEPT = 64
KINDS = ("unknown", "I", "P", "B", "S", "SI", "SP", "BI")
"""FFmpeg's kinds of pictures (AVPictureType), by number."""


@dataclass(frozen=True)
class _Decoded:
    """A packet: its place in the order of decoding, and whether others may be predicted from its picture."""

    order: int
    reference: bool


class MotionReader:
    """Reads the motion of one stream's pictures, in the order in which they are handed out.

    Args:
        codec: FFmpeg's name of the codec.
        extradata: The stream's configuration.
    """

    def __init__(self, codec: str, extradata: bytes | None) -> None:
        self._h264 = codec == "h264"
        self._refused = ""
        self._length_size = 0
        self._count = 0
        self._packets: OrderedDict[int, _Decoded] = OrderedDict()
        self._before: tuple[_Decoded | None, str] | None = None
        if self._h264:
            try:
                self._length_size, sets = split_configuration(extradata or b"")
                for unit in sets:
                    self._take_sequence(unit)
            except ValueError as error:
                self._refused = str(error)
        elif codec not in ONE_REFERENCE:
            self._refused = f"a codec without vectors of a known reference: {codec}"

    def packet(self, packet: Any) -> None:
        """Take note of a packet before it is decoded."""
        self._count += 1
        reference = True
        if self._h264 and not self._refused:
            try:
                reference = self._look_into(bytes(packet))
            except ValueError as error:
                self._refused = str(error)
        if packet.pts is not None:
            self._packets[packet.pts] = _Decoded(self._count, reference)
            while len(self._packets) > PACKETS_KEPT:
                self._packets.popitem(last=False)

    def picture(self, picture: Any) -> Motion:
        """The motion of a picture from the one that was asked about before."""
        decoded = self._packets.get(picture.pts) if picture.pts is not None else None
        before, self._before = self._before, (decoded, _kind(picture))
        vectors = picture.side_data.get("MOTION_VECTORS")
        refused = self._refused or _refusal(picture, decoded, before)
        if not refused and vectors is None:
            refused = "no vectors"
        if refused:
            return Motion(None, refused)
        found = vectors.to_ndarray()
        if not len(found) or not np.array_equal(np.unique(found["source"]), [-1]):
            return Motion(None, "vectors to later pictures" if len(found) else "no vectors")
        return Motion(found)

    def _look_into(self, packet: bytes) -> bool:
        """Whether pictures may be predicted from the packet's; notes its parameter sets."""
        reference = True
        for unit in nal_units(packet, self._length_size):
            kind = unit[0] & 31
            if kind == SEQUENCE:
                self._take_sequence(unit)
            elif kind in SLICES:
                reference = reference and bool(unit[0] & 0x60)
        return reference

    def _take_sequence(self, unit: bytes) -> None:
        found = read_sequence(unit)
        if found.references != 1:
            self._refused = f"{found.references} reference frames"
        elif not found.frames_only:
            self._refused = "interlaced video"
        elif found.offset:
            self._refused = "pictures cropped at the left or the top"


def _kind(picture: Any) -> str:
    kind = int(picture.pict_type)
    return KINDS[kind] if 0 <= kind < len(KINDS) else KINDS[0]


def _refusal(picture: Any, decoded: _Decoded | None, before: tuple[_Decoded | None, str] | None) -> str:
    """Why a picture's vectors do not lead to the one before; "" where they do."""
    kind = _kind(picture)
    if kind != "P":
        return f"{kind} pictures"
    if picture.interlaced_frame:
        return "interlaced video"
    if picture.rotation:
        return "turned pictures"
    if before is None or decoded is None or before[0] is None:
        return "no time stamps" if before is not None else "the first picture"
    if before[1] not in ("I", "P") or decoded.order != before[0].order + 1:
        return "pictures out of order"
    return "" if before[0].reference else "predicted from an older picture"
