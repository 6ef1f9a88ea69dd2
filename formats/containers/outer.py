"""Tags that were put before and after a file of any format: ID3v2, ID3v1, APEv2, Lyrics3.

Decoders take them for sound, for a cut frame, or count their bytes as the file's own; so each is
shown the file without them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from earzip.formats.containers.ends import container_end
from earzip.formats.containers.walk import synchsafe

_ID3V1_BYTES = 128
_ENHANCED_BYTES = 227
_APE_FOOTER_BYTES = 32
_APE_MAGIC = b"APETAGEX"
_APE_IS_HEADER = 1 << 29
_LYRICS_FOOTER_BYTES = 15
_LYRICS_BEGIN = b"LYRICSBEGIN"
_LYRICS1_END = b"LYRICSEND"
_MAX_LYRICS1_BYTES = 5_100 + 20
_ID3V2 = re.compile(rb"ID3[\2-\4]\0")
_MAX_JUNK = 1 << 20


class OuterTag(NamedTuple):
    """A tag outside the file proper: ``id3v2``, ``id3v1``, ``apev2``, ``id3v1+`` or ``lyrics3``."""

    kind: str
    start: int
    size: int


def inner_range(file: BinaryIO, size: int) -> tuple[int, int]:
    """Return where the file proper begins and ends, of a file of ``size`` bytes."""
    start = min(sum(tag.size for tag in leading_tags(file)), size)  # the last one may be cut
    end = min([tag.start for tag in trailing_tags(file, start, size)], default=size)
    return start, max(start, end)


def leading_tags(file: BinaryIO) -> list[OuterTag]:
    """Return the ID3v2 and APEv2 tags at the beginning, one after the other."""
    tags: list[OuterTag] = []
    start = 0
    while True:
        for kind, size in (("id3v2", id3v2_size(file, start)), ("apev2", _ape_size(file, start))):
            if size:
                tags.append(OuterTag(kind, start, size))
                start += size
                break
        else:
            return tags


def _ape_size(file: BinaryIO, position: int) -> int:
    """Return the bytes of the APEv2 tag whose header is at ``position``, 0 if there is none."""
    file.seek(position)
    header = file.read(_APE_FOOTER_BYTES)
    if len(header) < _APE_FOOTER_BYTES or header[:8] != _APE_MAGIC:
        return 0
    size, _items, flags = struct.unpack_from("<3I", header, 12)
    end = position + _APE_FOOTER_BYTES + size
    return end - position if flags & _APE_IS_HEADER and end <= file.seek(0, 2) else 0


def id3v2_size(file: BinaryIO, position: int) -> int:
    """Return the bytes of the ID3v2 tag at ``position``, 0 if there is none."""
    file.seek(position)
    head = file.read(10)
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 0x7F:
        return 0
    return synchsafe(head[6:10]) + (20 if head[5] & 0x10 else 10)


def tag_behind_junk(file: BinaryIO, size: int) -> OuterTag | None:
    """Return the ID3v2 tag behind bytes that mean nothing, in a file of ``size`` bytes.

    MPEG audio is found behind them too. None if there is none, or if the file begins with a frame.
    """
    file.seek(0)
    head = file.read(2)
    if head[:1] == b"\xff" and head[1:] >= b"\xe0":
        return None
    file.seek(0)
    for found in _ID3V2.finditer(file.read(min(size, _MAX_JUNK))):
        start = found.start()
        n_bytes = id3v2_size(file, start)
        if n_bytes and start + n_bytes <= size:
            return OuterTag("id3v2", start, n_bytes)
    return None


def trailing_tags(file: BinaryIO, start: int, end: int) -> Iterator[OuterTag]:
    """Yield the tags at the end of a file proper that begins at ``start``, the last one first.

    What looks like a tag within a container that says where it ends is a part of that.
    """
    proper_end = container_end(file, start, end)
    first = start if proper_end is None else proper_end
    while tag := _tag_before(file, end):
        if tag.start < first:
            return
        yield tag
        end = tag.start


def _tag_before(file: BinaryIO, end: int) -> OuterTag | None:
    file.seek(max(0, end - _ENHANCED_BYTES))
    tail = file.read(min(end, _ENHANCED_BYTES))
    kind = ""
    if len(tail) >= _ID3V1_BYTES and tail[-_ID3V1_BYTES:].startswith(b"TAG"):
        kind, size = "id3v1", _ID3V1_BYTES
    elif tail[:4] == b"TAG+" and len(tail) == _ENHANCED_BYTES:
        kind, size = "id3v1+", _ENHANCED_BYTES
    elif tail[-32:-24] == _APE_MAGIC:
        size, _items, flags = struct.unpack_from("<3I", tail, len(tail) - 20)
        kind = "apev2"
        size = max(size, _APE_FOOTER_BYTES) + _APE_FOOTER_BYTES * (flags >> 31)
    elif tail[-10:-7] == b"3DI" and max(tail[-4:]) <= 0x7F:
        kind, size = "id3v2", synchsafe(tail[-4:]) + 20
    elif tail[-9:] == b"LYRICS200" and tail[-15:-9].isdigit():
        kind, size = "lyrics3", int(tail[-15:-9]) + _LYRICS_FOOTER_BYTES
    elif tail[-9:] == _LYRICS1_END:
        file.seek(max(0, end - _MAX_LYRICS1_BYTES))
        lyrics = file.read(min(end, _MAX_LYRICS1_BYTES))
        kind, size = "lyrics3", len(lyrics) - max(0, lyrics.rfind(_LYRICS_BEGIN))
    if not kind or size > end:
        return None
    file.seek(end - size)
    begins = {"id3v2": b"ID3", "lyrics3": _LYRICS_BEGIN}.get(kind, b"")
    return OuterTag(kind, end - size, size) if file.read(len(begins)) == begins else None
