"""Tags that were put before and after a file of any format: ID3v2, ID3v1, APEv2, Lyrics3v2.

Decoders take them for sound, for a cut frame, or count their bytes as the file's own; so each is
shown the file without them.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

_ID3V1_BYTES = 128
_APE_FOOTER_BYTES = 32
# Containers that say themselves where they end; what looks like a tag there may be their own.
_BOUNDED = (b"RIFF", b"RF64", b"FORM", b"riff", b"caff", b"OggS", b"\x1aE\xdf\xa3", b"0&\xb2u")


def inner_range(file: BinaryIO, size: int) -> tuple[int, int]:
    """Return where the file proper begins and ends, of a file of ``size`` bytes."""
    start = 0
    while skip := id3v2_size(file, start):
        start += skip
    file.seek(start)
    head = file.read(8)
    if head.startswith(_BOUNDED) or head[4:8] == b"ftyp":
        return min(start, size), size
    return min(start, size), max(start, _without_trailing_tags(file, size))


def id3v2_size(file: BinaryIO, position: int) -> int:
    """Return the bytes of the ID3v2 tag at ``position``, 0 if there is none."""
    file.seek(position)
    head = file.read(10)
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 0x7F:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return size + (20 if head[5] & 0x10 else 10)


def _without_trailing_tags(file: BinaryIO, end: int) -> int:
    while True:
        file.seek(max(0, end - _ID3V1_BYTES))
        tail = file.read(min(end, _ID3V1_BYTES))
        if len(tail) == _ID3V1_BYTES and tail[:3] == b"TAG":
            length = _ID3V1_BYTES
        elif tail[-32:-24] == b"APETAGEX":
            length, _items, flags = struct.unpack_from("<3I", tail, len(tail) - 20)
            length = max(length, _APE_FOOTER_BYTES) + _APE_FOOTER_BYTES * (flags >> 31)
        elif tail[-9:] == b"LYRICS200" and tail[-15:-9].isdigit():
            length = int(tail[-15:-9]) + 15
        else:
            return end
        if length > end:
            return end
        end -= length
