"""Tags of Ogg files: the comment packet of the first audio stream, assembled from its pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from earzip.errors import TagError
from earzip.formats.containers.ogg import OggPage, ogg_page
from earzip.formats.containers.walk import MAX_PARTS
from earzip.formats.tags.model import MAX_TAG_BYTES, Found

_FIRST = 2  # flag of a page
_FLAC_MAGIC = b"\x7fFLAC"
_AUDIO_MAGICS = (b"\x01vorbis", b"OpusHead", b"Speex   ", _FLAC_MAGIC)
_MAX_FLAC_PACKETS = 1_000


def find_ogg_tags(file: BinaryIO) -> Found:
    """The comment packet of an Ogg Vorbis, Opus or Speex file, or the blocks of Ogg FLAC.

    Chained streams behind the first have tags of their own, which are not read.
    """
    found = Found()
    serial, magic = _audio_stream(file)
    if serial is None:
        return found
    packets = _packets(file, serial)
    try:
        next(packets)
        if magic == _FLAC_MAGIC:
            _take_flac_blocks(found, packets)
        else:
            found.blocks.append(("ogg-comment", next(packets)))
    except TagError as error:
        found.problems.append(f"the Ogg comment packet is not archived: {error.message}")
    except StopIteration:
        found.problems.append("the Ogg comment packet is missing")
    return found


def _take_flac_blocks(found: Found, packets: Iterator[bytes]) -> None:
    kinds = {4: "flac-comment", 6: "flac-picture"}
    held = 0
    for _, packet in zip(range(_MAX_FLAC_PACKETS), packets, strict=False):
        if packet[:1] in (b"", b"\xff"):  # the first audio frame
            return
        held += len(packet)
        if held > MAX_TAG_BYTES:
            raise TagError(f"more than {MAX_TAG_BYTES} bytes of tags")
        if kind := kinds.get(packet[0] & 0x7F):
            found.blocks.append((kind, packet[4:]))
        if packet[0] & 0x80:
            return


def _audio_stream(file: BinaryIO) -> tuple[int | None, bytes]:
    for page in _pages(file):
        if not page.flags & _FIRST:
            break
        file.seek(page.start)
        head = file.read(min(page.end - page.start, 8))
        for magic in _AUDIO_MAGICS:
            if head.startswith(magic):
                return page.serial, magic
    return None, b""


def _packets(file: BinaryIO, serial: int) -> Iterator[bytes]:
    """The packets of one stream in order. Raises TagError for one past MAX_TAG_BYTES."""
    parts: list[bytes] = []
    length = 0
    for page in _pages(file):
        if page.serial != serial:
            continue
        file.seek(page.start)
        body = file.read(page.end - page.start)
        position = 0
        for size in page.segments:
            parts.append(body[position : position + size])
            position += size
            length += size
            if length > MAX_TAG_BYTES:
                raise TagError(f"more than {MAX_TAG_BYTES} bytes")
            if size < 255:
                yield b"".join(parts)
                parts, length = [], 0


def _pages(file: BinaryIO) -> Iterator[OggPage]:
    """The pages from the file's start to the first that is none, at most MAX_PARTS."""
    position = 0
    for _ in range(MAX_PARTS):
        page = ogg_page(file, position)
        if page is None or page.is_cut:
            return
        yield page
        position = page.end
