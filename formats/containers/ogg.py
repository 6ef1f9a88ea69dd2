"""The pages of an Ogg file: where its chained streams lie, and whether it was cut or damaged.

libsndfile reads the first of several chained streams and says nothing of the others, takes the last
page it finds for the end, and passes over pages with a wrong checksum. So the pages are walked here
(RFC 3533, section 6).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import BinaryIO

_MAGIC = b"OggS"
_HEADER_BYTES = 27
_BEGIN, _END = 2, 4  # flags of a page
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass
class OggLink:
    """One link of the chain: bytes ``start`` to ``end``; ``open_serials`` lack their last page."""

    start: int
    end: int = 0
    next_page: dict[int, int] = field(default_factory=dict)
    open_serials: set[int] = field(default_factory=set)
    has_sound: bool = False


@dataclass
class OggPages:
    """The links of an Ogg file, and ``truncated``: why it holds less than it should, or None."""

    links: list[OggLink]
    truncated: str | None = None


def walk_ogg(file: BinaryIO, size: int) -> OggPages:
    """Return the links of a file of ``size`` bytes that begins with an Ogg page."""
    pages = OggPages([])
    position = 0
    while position < size:
        file.seek(position)
        header = file.read(_HEADER_BYTES)
        segments = file.read(header[26]) if len(header) == _HEADER_BYTES else b""
        body = file.read(sum(segments))
        if header[:4] != _MAGIC:
            following = _next_page(file, position + 1, size)
            if following is None:
                # Zeros or a tag may follow a stream that has ended.
                break
            _note(pages, f"{following - position} bytes at byte {position} are not Ogg pages")
            position = following
            continue
        if len(header) < _HEADER_BYTES or len(segments) < header[26] or len(body) < sum(segments):
            _note(pages, f"its last page is cut at byte {size}")
            break
        if _checksum(header[:22] + bytes(4) + header[26:] + segments + body) != header[22:26]:
            _note(pages, f"the page at byte {position} is damaged")
        _take_page(pages, header, position)
        position += len(header) + len(segments) + len(body)
        pages.links[-1].end = position
    if any(link.open_serials for link in pages.links):
        _note(pages, "its end-of-stream page is missing")
    return pages


def _take_page(pages: OggPages, header: bytes, position: int) -> None:
    flags = header[5]
    serial = int.from_bytes(header[14:18], "little")
    number = int.from_bytes(header[18:22], "little")
    if not pages.links or (flags & _BEGIN and pages.links[-1].has_sound):
        pages.links.append(OggLink(position))
    link = pages.links[-1]
    if flags & _BEGIN:
        link.open_serials.add(serial)
    else:
        link.has_sound = True
        expected = link.next_page.get(serial)
        if expected is not None and number != expected:
            _note(pages, f"page {expected} is missing, page {number} comes instead")
    link.next_page[serial] = number + 1
    if flags & _END:
        link.open_serials.discard(serial)


def _note(pages: OggPages, reason: str) -> None:
    """Keep the first reason: the others follow from it."""
    pages.truncated = pages.truncated or reason


def _checksum(page: bytes) -> bytes:
    """Return the CRC of a page with its CRC field zero: zlib's, with the bits the other way."""
    crc = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return crc.to_bytes(4, "little").translate(_REVERSED_BITS)[::-1]


def _next_page(file: BinaryIO, position: int, size: int) -> int | None:
    while position < size:
        file.seek(position)
        block = file.read((1 << 16) + len(_MAGIC) - 1)
        at = block.find(_MAGIC)
        if at >= 0:
            return position + at
        position += 1 << 16
    return None
