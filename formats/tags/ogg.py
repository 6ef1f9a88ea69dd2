"""Tags of Ogg files: the comment packets of their audio streams, assembled from their pages."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, NamedTuple

from earzip.errors import TagError
from earzip.formats.containers.ogg import OggPage, link_starts, ogg_page
from earzip.formats.containers.walk import MAX_PARTS
from earzip.formats.tags.flac import take_flac_block
from earzip.formats.tags.model import MAX_TAG_BYTES, Found
from earzip.formats.tags.unread import note_blocks

_FLAC_MAGIC = b"\x7fFLAC"
_FLAC_HEAD = 17  # bytes of an Ogg FLAC stream's first packet before STREAMINFO's body
_AUDIO_MAGICS = (b"\x01vorbis", b"OpusHead", b"Speex   ", _FLAC_MAGIC)
_MAX_FLAC_PACKETS = 1_000
_MAX_STREAMS = 100
_MAX_STARTS = 10 * _MAX_STREAMS  # of streams of any kind
_MAX_PAGES = 3 * MAX_PARTS  # some 250 MB, and four hours


class _Stream(NamedTuple):
    """An audio stream: where its first page is."""

    serial: int
    magic: bytes
    position: int


def find_ogg_tags(file: BinaryIO) -> Found:
    """The comment packet of an Ogg Vorbis, Opus or Speex file, or the blocks of Ogg FLAC.

    Chained streams have tags of their own: those of the first lead.
    """
    found = Found()
    others: list[str] = []
    n_streams = 0
    for stream in _audio_streams(file):
        n_streams += 1
        if n_streams <= _MAX_STREAMS:
            _take_stream(file, stream, found, others)
    if n_streams > _MAX_STREAMS:
        n_more = n_streams - _MAX_STREAMS
        found.problems.append(f"the tags of {n_more} more chained streams are not archived")
    found.blocks = list(dict.fromkeys(found.blocks))
    note_blocks(found, others)
    return found


def _take_stream(file: BinaryIO, stream: _Stream, found: Found, others: list[str]) -> None:
    packets = _packets(file, stream)
    try:
        head = next(packets)
        if stream.magic == _FLAC_MAGIC:
            _take_flac_blocks(found, head[_FLAC_HEAD:], packets, others)
        else:
            found.blocks.append(("ogg-comment", next(packets)))
    except TagError as error:
        found.problems.append(f"the Ogg comment packet is not archived: {error.message}")
    except StopIteration:
        found.problems.append("the Ogg comment packet is missing")


def _take_flac_blocks(
    found: Found, streaminfo: bytes, packets: Iterator[bytes], others: list[str]
) -> None:
    of_stream = Found()
    held = 0
    for _, packet in zip(range(_MAX_FLAC_PACKETS), packets, strict=False):
        if packet[:1] in (b"", b"\xff"):  # the first audio frame
            break
        held += len(packet)
        if held > MAX_TAG_BYTES:
            of_stream.problems.append(
                f"the metadata blocks beyond {MAX_TAG_BYTES} bytes are not archived"
            )
            break
        take_flac_block(of_stream, packet[0] & 0x7F, packet[4:], streaminfo, others)
        if packet[0] & 0x80:
            break
    of_stream.blocks.sort(key=lambda block: block[0] != "flac-comment")
    found.blocks += of_stream.blocks
    found.problems += of_stream.problems


def _audio_streams(file: BinaryIO) -> Iterator[_Stream]:
    """The first audio stream of each link of the chain."""
    last_taken = -1
    for position, link in islice(link_starts(file, _MAX_PAGES), _MAX_STARTS):
        page = ogg_page(file, position) if link > last_taken else None
        if page is None:
            continue
        head = file.read(min(page.end - page.start, 8))
        for magic in _AUDIO_MAGICS:
            if head.startswith(magic):
                last_taken = link
                yield _Stream(page.serial, magic, position)


def _packets(file: BinaryIO, stream: _Stream) -> Iterator[bytes]:
    """The packets of one stream in order. Raises TagError for one past MAX_TAG_BYTES."""
    parts: list[bytes] = []
    length = 0
    for page in _pages(file, stream.position):
        if page.serial != stream.serial:
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


def _pages(file: BinaryIO, position: int) -> Iterator[OggPage]:
    """The pages from ``position`` to the first that is none, at most MAX_PARTS."""
    for _ in range(MAX_PARTS):
        page = ogg_page(file, position)
        if page is None or page.is_cut:
            return
        yield page
        position = page.end
