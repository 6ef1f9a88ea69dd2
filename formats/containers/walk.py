"""Walks over the parts of a file: IFF chunks, FLAC blocks, ASF objects; and the integers of ID3."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO, Literal, NamedTuple
from uuid import UUID

MAX_PARTS = 20_000  # chunks, atoms, pages or blocks visited in one file
ASF_OBJECT_HEADER = 24
ASF_DATA = UUID("75B22636-668E-11CF-A6D9-00AA0062CE6C").bytes_le
_FILE_PROPERTIES = UUID("8CABDCA1-A947-11CF-8EE4-00C00C205365").bytes_le
_FILE_PROPERTIES_BYTES = ASF_OBJECT_HEADER + 80
_IFF_ID = re.compile(rb"[\x20-\x7e]{4}")


def synchsafe(field: bytes) -> int:
    """Return the integer of an ID3 tag that has seven bits in each byte."""
    value = 0
    for byte in field:
        value = value << 7 | byte & 0x7F
    return value


def iff_chunks(
    file: BinaryIO, end: int, byteorder: Literal["little", "big"]
) -> Iterator[tuple[bytes, int, int]]:
    """Id, start and size of each RIFF or AIFF chunk's data, at most MAX_PARTS.

    The size of an RF64 file's sound is that of its ``ds64`` chunk. The byte that makes an odd size even
    may be missing.
    """
    position = 12
    data_size = None
    for _ in range(MAX_PARTS):
        if position + 8 > end:
            return
        file.seek(position)
        header = file.read(24)
        chunk, size = header[:4], int.from_bytes(header[4:8], byteorder)
        if chunk == b"ds64" and size >= 16:
            data_size = int.from_bytes(header[16:24], byteorder)
        elif chunk == b"data" and size == 0xFFFF_FFFF and data_size is not None:
            size = data_size
        yield chunk, position + 8, size
        position += 8 + size
        if size % 2 and position < end:
            file.seek(position)
            position += iff_padding(file.read(9), end - position, byteorder)


def iff_padding(following: bytes, room: int, byteorder: Literal["little", "big"]) -> int:
    """The size of the pad byte behind a chunk or entry of odd size: 1, or 0 where a writer forgot it.

    ``following``: the nine bytes behind it, of ``room`` to the end.
    """
    begins = [_is_chunk_header(following[at : at + 8], room - at, byteorder) for at in (0, 1)]
    return 0 if begins == [True, False] else 1


def is_chunk(file: BinaryIO, position: int, end: int, byteorder: Literal["little", "big"]) -> bool:
    """Return whether a chunk may begin at ``position``."""
    file.seek(position)
    return _is_chunk_header(file.read(8), end - position, byteorder)


def _is_chunk_header(header: bytes, room: int, byteorder: Literal["little", "big"]) -> bool:
    """Return whether the id of ``header`` is text, and its chunk fits into ``room`` bytes with it."""
    if len(header) < 8 or not _IFF_ID.match(header):
        return False
    return int.from_bytes(header[4:], byteorder) <= room - 8


def flac_blocks(file: BinaryIO, start: int) -> Iterator[tuple[int, int, int]]:
    """Code, start and size of each metadata block's body, at most MAX_PARTS.

    The first block's header is at ``start``; ``file`` stands at the body that was given last.
    """
    position = start
    for _ in range(MAX_PARTS):
        file.seek(position)
        header = file.read(4)
        if len(header) < 4:
            return
        size = int.from_bytes(header[1:], "big")
        yield header[0] & 0x7F, position + 4, size
        position += 4 + size
        if header[0] & 0x80:
            return


def asf_objects(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """GUID, start and size, header included, of each ASF object, at most MAX_PARTS.

    Raises `ValueError` for one of an impossible size.
    """
    position = start
    for _ in range(MAX_PARTS):
        file.seek(position)
        header = file.read(ASF_OBJECT_HEADER)
        if position + ASF_OBJECT_HEADER > end or len(header) < ASF_OBJECT_HEADER:
            return
        size = int.from_bytes(header[16:], "little")
        if not ASF_OBJECT_HEADER <= size <= end - position:
            raise ValueError(f"an ASF header object has an impossible size, {size} bytes")
        yield header[:16], position, size
        position += size


def asf_length_s(file: BinaryIO) -> Fraction | None:
    """The length of an ASF file's sound as its header has it; None if it was streamed."""
    properties = _asf_properties(file, 0)
    if properties is None or properties.is_broadcast:
        return None
    return max(Fraction(), properties.duration_s - properties.preroll_s)


def asf_is_streamed(file: BinaryIO, start: int) -> bool:
    """Whether the ASF file at ``start`` was streamed: its header's sizes and lengths mean nothing."""
    properties = _asf_properties(file, start)
    return properties is not None and properties.is_broadcast


class _AsfProperties(NamedTuple):
    duration_s: Fraction
    preroll_s: Fraction
    is_broadcast: bool


def _asf_properties(file: BinaryIO, start: int) -> _AsfProperties | None:
    end = file.seek(0, 2)
    file.seek(start + 16)
    end = min(end, start + int.from_bytes(file.read(8), "little"))
    try:
        for guid, position, size in asf_objects(file, start + 30, end):
            if guid == _FILE_PROPERTIES and size >= _FILE_PROPERTIES_BYTES:
                file.seek(position)
                data = file.read(_FILE_PROPERTIES_BYTES)
                duration, _, preroll_ms, flags = struct.unpack_from("<QQQI", data, 64)
                return _AsfProperties(
                    Fraction(duration, 10**7), Fraction(preroll_ms, 1000), bool(flags & 1)
                )
    except (ValueError, struct.error):
        pass
    return None
