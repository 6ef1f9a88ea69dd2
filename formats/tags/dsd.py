"""Tags of DSD files: the ID3v2 tag that DSF points to, and that of a DSDIFF chunk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

from earzip.formats.containers.walk import MAX_PARTS
from earzip.formats.tags.large import take_block
from earzip.formats.tags.model import Found
from earzip.formats.tags.unread import note_chunks

DSF_MAGIC, DFF_MAGIC, DFF_FORM = b"DSD ", b"FRM8", b"DSD "
_DSF_HEADER_BYTES = 28
_CHUNK_HEADER_BYTES = 12
_SOUND_CHUNKS = (b"FVER", b"PROP", b"DSD ", b"DST ", b"DSTI")


def find_dsf_tags(file: BinaryIO) -> Found:
    """Return the tag of a DSF file, whose header says where it begins; it goes on to the end."""
    found = Found()
    file.seek(0)
    start = int.from_bytes(file.read(_DSF_HEADER_BYTES)[20:], "little")
    end = file.seek(0, os.SEEK_END)
    if _DSF_HEADER_BYTES <= start < end:
        take_block(found, file, "id3v2", start, end - start)
    return found


def find_dff_tags(file: BinaryIO) -> Found:
    """Return the ID3 chunk of a DSDIFF file; its own chunks of text and markers are named."""
    found = Found()
    others = []
    for chunk, start, size in list(_chunks(file)):
        if chunk == b"ID3 ":
            take_block(found, file, "id3v2", start, size)
        elif chunk not in _SOUND_CHUNKS:
            others.append(chunk)
    note_chunks(found, others)
    return found


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield id, start and size of the data of each whole chunk, at most MAX_PARTS."""
    end = file.seek(0, os.SEEK_END)
    position = 16
    for _ in range(MAX_PARTS):
        file.seek(position)
        header = file.read(_CHUNK_HEADER_BYTES)
        size = int.from_bytes(header[4:], "big")
        position += _CHUNK_HEADER_BYTES
        if len(header) < _CHUNK_HEADER_BYTES or position + size > end:
            return
        yield header[:4], position, size
        position += size + size % 2
