"""The comment packet of an Opus file: read, and replaced by another (RFC 7845, section 5.2).

Behind its comments a packet may have bytes of others, which editors keep if the lowest bit of the first
is set. There earzip has a note: ``OpusFile.note``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mutagen import MutagenError
from mutagen.ogg import OggPage

from earzip.errors import TagError, TargetError
from earzip.formats.containers.ogg import ogg_page
from earzip.formats.tags.vorbis import join_comments, split_comments

HEAD_MAGIC, MAGIC = b"OpusHead", b"OpusTags"
_KEEP = b"\x01"  # tells editors to keep what follows
_MAX_PACKET = 64 << 20
_WHOLE = 255  # of a segment that goes on in the next


@dataclass(frozen=True)
class OpusFile:
    """What an Opus file says before its sound."""

    vendor: bytes
    note: bytes
    """What stands behind the comments, without the byte that keeps it."""
    sound_start: int
    """Where the pages with sound begin."""


def read_opus(file: BinaryIO) -> OpusFile | None:
    """What an Opus file says; None of any other file, and of one that is odd."""
    head = ogg_page(file, 0)
    if head is None or head.is_cut or file.read(len(HEAD_MAGIC)) != HEAD_MAGIC:
        return None
    packet = bytearray()
    position = head.end
    while True:
        page = ogg_page(file, position)
        if page is None or page.is_cut or len(packet) > _MAX_PACKET:
            return None
        packet += file.read(page.end - page.start)
        position = page.end
        if any(size < _WHOLE for size in page.segments):  # nothing follows the packet on its page
            break
    try:
        vendor, spans = split_comments(bytes(packet))
    except TagError:
        return None
    if not packet.startswith(MAGIC):
        return None
    end = spans[-1][1] if spans else len(MAGIC) + 4 + len(vendor) + 4
    rest = bytes(packet[end:])
    return OpusFile(vendor, rest[1:] if rest[:1] == _KEEP else b"", position)


def replace_comments(path: Path, comments: list[bytes], note: bytes) -> None:
    """Write the comments of an Opus file that earzip wrote, and its note. Raises TargetError."""
    try:
        with path.open("r+b") as file:
            found = read_opus(file)
            if found is None:
                raise TargetError("tags cannot be written: it is no Opus file", path)
            packet = MAGIC + join_comments(found.vendor, comments) + _KEEP + note
            file.seek(0)
            OggPage(file)
            old = []
            while file.tell() < found.sound_start:
                old.append(OggPage(file))
            new = OggPage.from_packets([packet], old[0].sequence)
            for page in new:
                page.serial = old[0].serial
            OggPage.replace(file, old, new)
    except (MutagenError, OSError) as error:
        raise TargetError(f"tags cannot be written: {error}", path) from error


def comments_of(block: bytes) -> list[bytes]:
    """The comments of a block that ``join_comments`` made."""
    return [block[start:end] for start, end in split_comments(block)[1]]
