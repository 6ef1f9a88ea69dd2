"""The pages of an Ogg file: where its chained streams are, and whether it was cut or damaged.

libsndfile reads the first of several chained streams and says nothing of the others, takes the last
page it finds for the end, and passes over pages with a wrong checksum. So the pages are walked here
(RFC 3533, section 6).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

_MAGIC = b"OggS"
_HEADER = struct.Struct("<5xB8x2I4xB")
_HEADER_BYTES = _HEADER.size
_TAIL_BYTES = 2 << 16  # a page takes half of it
_BEGIN, _END = 2, 4  # flags of a page
_CODEC_BYTES = 8
_SOUND = (b"\x01vorbis", b"OpusHead", b"Speex   ", b"\x7fFLAC", b"fLaC", b"PCM     ")
_FILM = (b"\x80theora", b"\x01video", b"BBCD", b"\x4fVP80")
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class OggPage(NamedTuple):
    """A page: its ``header``, the size of each of its ``segments``, and where its body is."""

    header: bytes
    segments: bytes
    flags: int
    serial: int
    number: int
    position: int
    start: int
    end: int
    is_cut: bool  # within its header


def ogg_page(file: BinaryIO, position: int) -> OggPage | None:
    """Return the page at ``position``, None if there is none; ``file`` stands at its body."""
    file.seek(position)
    header = file.read(_HEADER_BYTES)
    if header[:4] != _MAGIC:
        return None
    flags, serial, number, n_segments = _HEADER.unpack(header.ljust(_HEADER_BYTES, b"\0"))
    segments = file.read(n_segments)
    start = position + len(header) + len(segments)
    is_cut = len(header) < _HEADER_BYTES or len(segments) < n_segments
    end = start + sum(segments)
    return OggPage(header, segments, flags, serial, number, position, start, end, is_cut)


def link_starts(file: BinaryIO, limit: int) -> Iterator[tuple[int, int]]:
    """Yield the place of each page that begins a stream, and the number of its link; ``limit`` pages."""
    position, link, begins = 0, -1, False
    for _ in range(limit):
        file.seek(position)
        header = file.read(_HEADER_BYTES + 255)
        if header[:4] != _MAGIC or len(header) < _HEADER_BYTES:
            return
        if header[5] & _BEGIN:
            link += not begins
            begins = True
            yield position, link
        else:
            begins = False
        n_segments = header[_HEADER_BYTES - 1]
        segments = header[_HEADER_BYTES : _HEADER_BYTES + n_segments]
        position += _HEADER_BYTES + n_segments + sum(segments)


def last_ogg_page(file: BinaryIO, start: int, end: int) -> int | None:
    """Return where the last page before ``end`` ends, None if there is none in the last 128 kB."""
    at = max(start, end - _TAIL_BYTES)
    file.seek(at)
    tail = file.read(end - at)
    found = len(tail)
    while (found := tail.rfind(_MAGIC, 0, found)) >= 0:
        page = ogg_page(file, at + found)
        if page and not page.is_cut and page.end <= end:
            return page.end
    return None


@dataclass
class OggLink:
    """One link of the chain: bytes ``start`` to ``end``; ``open_serials`` lack their last page.

    ``heads`` are the first bytes of each of its streams, which tell its codec.
    """

    start: int
    end: int = 0
    heads: list[bytes] = field(default_factory=list)
    next_page: dict[int, int] = field(default_factory=dict)
    open_serials: set[int] = field(default_factory=set)
    has_sound: bool = False

    @property
    def n_sounds(self) -> int:
        """How many streams of sound it has side by side."""
        return sum(head.startswith(_SOUND) for head in self.heads)

    @property
    def is_film(self) -> bool:
        """Whether it has moving pictures."""
        return any(head.startswith(_FILM) for head in self.heads)


@dataclass
class OggPages:
    """The links of an Ogg file, and ``truncated``: why it holds less than it should, or None.

    ``n_damaged`` of ``n_pages`` have a wrong checksum.
    """

    links: list[OggLink]
    truncated: str | None = None
    n_pages: int = 0
    n_damaged: int = 0


def walk_ogg(file: BinaryIO, size: int) -> OggPages:
    """Return the links of a file of ``size`` bytes that begins with an Ogg page."""
    pages = OggPages([])
    position = 0
    while position < size:
        page = ogg_page(file, position)
        if page is None:
            following = _next_page(file, position + 1, size)
            if following is None:
                # Zeros or a tag may follow a stream that has ended.
                break
            _note(pages, f"{following - position} bytes at byte {position} are not Ogg pages")
            position = following
            continue
        if page.is_cut or page.end > size:
            _note(pages, f"its last page is cut at byte {size}")
            break
        pages.n_pages += 1
        header, body = page.header, file.read(sum(page.segments))
        if _checksum(header[:22] + bytes(4) + header[26:] + page.segments + body) != header[22:26]:
            pages.n_damaged += 1
            _note(pages, f"the page at byte {position} is damaged")
        _take_page(pages, page, body[:_CODEC_BYTES])
        position = page.end
        pages.links[-1].end = position
    if any(link.open_serials for link in pages.links):
        _note(pages, "its end-of-stream page is missing")
    return pages


def _take_page(pages: OggPages, page: OggPage, head: bytes) -> None:
    flags, serial, number = page.flags, page.serial, page.number
    if not pages.links or (flags & _BEGIN and pages.links[-1].has_sound):
        pages.links.append(OggLink(page.position))
    link = pages.links[-1]
    if flags & _BEGIN:
        link.open_serials.add(serial)
        link.heads.append(head)
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
