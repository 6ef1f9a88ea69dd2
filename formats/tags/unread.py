"""What is not read of a file's tags, and is named to the user instead.

The list for users is "What is not read" in docs/faq.md; a test finds there what stands here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from earzip.formats.containers.walk import MAX_PARTS

# Chunks of WAV and AIFF files, bext in AIFF files only. Most hold positions in the source's samples.
UNREAD_CHUNKS = (b"bext", b"cue ", b"iXML", b"smpl", b"inst", b"cart", b"axml", b"_PMX", b"MARK")
# Tags around any file, by the kind that formats.containers.outer gives them.
UNREAD_OUTER = {"lyrics3": "Lyrics3 tag", "id3v1+": "enhanced ID3v1 tag"}
# Containers by their first bytes.
UNREAD_CONTAINERS = {b"\x1aE\xdf\xa3": "Matroska", b".snd": "AU", b"caff": "CAF", b"riff": "W64"}
_MAX_ANNOTATION = 1 << 16
# Beginnings of a chunk's GUID: ASCII, or for the summary list and the markers other bytes.
_W64_TAGS = (b"list", b"id3 ", b"ID3 ", b"\xbc\x94\x5f\x92", b"\x56\x62\xf7\xab", *UNREAD_CHUNKS)


def unread_tags(file: BinaryIO, head: bytes) -> str | None:
    """A sentence about a container whose own tags are not read, if it has or may have some."""
    name = UNREAD_CONTAINERS.get(head[:4])
    if name == "Matroska":
        return "tags, chapters and pictures of Matroska files are not archived"
    if name == "AU":
        file.seek(24)
        n_annotation = min(int.from_bytes(head[4:8], "big") - 24, _MAX_ANNOTATION)
        if n_annotation > 0 and file.read(n_annotation).strip(b"\0 "):
            return "the annotation of the AU file is not archived"
    if name == "CAF" and any(chunk == b"info" for chunk in _caf_chunks(file)):
        return "the tags (info chunk) of the CAF file are not archived"
    if name == "W64" and any(chunk in _W64_TAGS for chunk in _w64_chunks(file)):
        return "tags and markers of the W64 file are not archived"
    return None


def _caf_chunks(file: BinaryIO) -> Iterator[bytes]:
    """The type of each chunk of a CAF file, at most MAX_PARTS."""
    position = 8
    for _ in range(MAX_PARTS):
        file.seek(position)
        header = file.read(12)
        size = int.from_bytes(header[4:], "big", signed=True)
        if len(header) < 12 or size < 0:  # −1: sound to the end of the file
            return
        yield header[:4]
        position += 12 + size


def _w64_chunks(file: BinaryIO) -> Iterator[bytes]:
    """The first four bytes of the GUID of each chunk of a W64 file, at most MAX_PARTS."""
    position = 40
    for _ in range(MAX_PARTS):
        file.seek(position)
        header = file.read(24)
        size = int.from_bytes(header[16:], "little")  # header included
        if len(header) < 24 or not 24 <= size < 2**63:
            return
        yield header[:4]
        position += size + -size % 8
