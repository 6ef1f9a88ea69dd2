"""Walks over the parts of a file: IFF chunks, FLAC blocks, ASF objects."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO
from uuid import UUID

_FILE_PROPERTIES = UUID("8CABDCA1-A947-11CF-8EE4-00C00C205365").bytes_le
_OBJECT_HEADER = 24


def iff_chunks(
    file: BinaryIO, start: int, end: int, byteorder: str, sizes: dict[bytes, int] | None = None
) -> Iterator[tuple[bytes, int, int]]:
    """Id, start and size of each RIFF or AIFF chunk's data, at most MAX_PARTS.

    ``sizes`` gives 64-bit sizes (RF64) and may be filled while iterating.
    """
    little = byteorder == "little"
    position = start
    for _ in range(MAX_PARTS):
        if position + 8 > end:
            return
        file.seek(position)
        header = file.read(8)
        size = int.from_bytes(header[4:], "little" if little else "big")
        if size == 0xFFFFFFFF and sizes:
            size = sizes.get(header[:4], size)
        yield header[:4], position + 8, size
        position += 8 + size + size % 2


MAX_PARTS = 20_000  # chunks, atoms, pages or blocks looked at in one file


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


def asf_length_s(file: BinaryIO) -> Fraction | None:
    """The length of an ASF file's sound as its header has it; None if it was streamed."""
    file.seek(16)
    end = int.from_bytes(file.read(8), "little")
    position = 30
    for _ in range(MAX_PARTS):
        file.seek(position)
        header = file.read(_OBJECT_HEADER + 80)
        size = int.from_bytes(header[16:_OBJECT_HEADER], "little")
        if len(header) < _OBJECT_HEADER + 80 or size < _OBJECT_HEADER or position + size > end:
            return None
        if header[:16] == _FILE_PROPERTIES:
            duration, _, preroll_ms, flags = struct.unpack_from("<QQQI", header, 64)
            if flags & 1:  # broadcast: the durations are not known
                return None
            return max(Fraction(), Fraction(duration, 10**7) - Fraction(preroll_ms, 1000))
        position += size
    return None
