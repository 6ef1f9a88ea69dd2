"""What is not read of a file's tags, and is named to the user instead.

The list for users is "What is not read" in docs/faq.md; a test finds there what stands here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from earzip.formats.containers.sound_chunk import find_sound_chunk
from earzip.formats.containers.walk import MAX_PARTS
from earzip.formats.tags.model import Found

# Chunks that say nothing but how to play the sound, or nothing at all. Every other is named.
_PADDING = (b"JUNK", b"junk", b"PAD ", b"FLLR", b"filr", b"\0\0\0\0")
_OURS = b"earz"  # of a file that was restored by earzip
WAV_SOUND_CHUNKS = (b"fmt ", b"data", b"fact", b"ds64", b"PEAK", b"levl", _OURS, *_PADDING)
AIFF_SOUND_CHUNKS = (b"COMM", b"SSND", b"FVER", b"PEAK", b"CHAN", *_PADDING)
_CAF_SOUND_CHUNKS = (
    b"desc",
    b"data",
    b"pakt",
    b"kuki",
    b"chan",
    b"free",
    b"peak",
    b"ovvw",
    *_PADDING,
)
_W64_SOUND_CHUNKS = (b"fmt ", b"data", b"fact", b"junk", b"levl", *_PADDING)
# Tags around any file, by the kind that formats.containers.outer gives them.
UNREAD_OUTER = {"id3v1+": "enhanced ID3v1 tag"}
# Containers by their first bytes.
UNREAD_CONTAINERS = {b"\x1aE\xdf\xa3": "Matroska", b"caff": "CAF", b"riff": "W64"}
# Beginnings of a chunk's GUID: ASCII, or for the summary list and the markers other bytes.
_W64_TAGS = (b"list", b"id3 ", b"ID3 ", b"bext", b"\xbc\x94\x5f\x92", b"\x56\x62\xf7\xab")
_MAX_NAMED = 20  # chunks in a sentence


def note_unread(file: BinaryIO, head: bytes, found: Found) -> None:
    """Name what a container has or may have whose own tags are not read."""
    name = UNREAD_CONTAINERS.get(head[:4])
    if name == "Matroska":
        found.problems.append("tags, chapters and pictures of Matroska files are not archived")
    elif name == "CAF":
        chunks = [chunk for chunk in _caf_chunks(file) if chunk not in _CAF_SOUND_CHUNKS]
        if b"info" in chunks:
            found.problems.append("the tags (info chunk) of the CAF file are not archived")
        note_chunks(found, [chunk for chunk in chunks if chunk != b"info"])
    elif name == "W64":
        chunks = [chunk for chunk in _w64_chunks(file) if chunk not in _W64_SOUND_CHUNKS]
        if any(chunk in _W64_TAGS for chunk in chunks):
            found.problems.append("tags and markers of the W64 file are not archived")
        note_chunks(found, [chunk for chunk in chunks if chunk not in _W64_TAGS])


def note_blocks(found: Found, names: list[str]) -> None:
    """Name metadata blocks of FLAC that are not archived, each once."""
    if names:
        listed = ", ".join(list(dict.fromkeys(names))[:_MAX_NAMED])
        found.problems.append(f"these metadata blocks were not archived: {listed}")


def note_chunks(found: Found, chunks: list[bytes]) -> None:
    """Name chunks that are not archived, each once."""
    if chunks:
        names = [_chunk_name(chunk) for chunk in dict.fromkeys(chunks)]
        more = [f"{len(names) - _MAX_NAMED} more"] if len(names) > _MAX_NAMED else []
        listed = ", ".join(names[:_MAX_NAMED] + more)
        found.problems.append(f"these chunks were not archived: {listed}")


def _chunk_name(chunk: bytes) -> str:
    text = chunk.decode("latin-1").strip()
    return text if text.isascii() and text.isprintable() and text else repr(chunk)[2:-1]


def _caf_chunks(file: BinaryIO) -> Iterator[bytes]:
    """The type of each whole chunk of a CAF file, at most MAX_PARTS."""
    end = file.seek(0, 2)
    sound = find_sound_chunk(file, end)
    position = 8
    for _ in range(MAX_PARTS):
        if sound and sound.goes_on and position + 12 == sound.start:
            return
        file.seek(position)
        header = file.read(12)
        size = int.from_bytes(header[4:], "big", signed=True)
        if len(header) < 12 or size < 0 or position + 12 + size > end:
            return  # −1: sound to the end of the file
        yield header[:4]
        position += 12 + size


def _w64_chunks(file: BinaryIO) -> Iterator[bytes]:
    """The first four bytes of the GUID of each chunk of a W64 file, at most MAX_PARTS."""
    end = file.seek(0, 2)
    sound = find_sound_chunk(file, end)
    position = 40
    for _ in range(MAX_PARTS):
        if sound and sound.goes_on and position + 24 == sound.start:
            return
        file.seek(position)
        header = file.read(24)
        size = int.from_bytes(header[16:], "little")  # header included
        if len(header) < 24 or size < 24:
            return
        yield header[:4]
        position += size + -size % 8
        if position > end:
            return
