"""Blocks that are too large for an archive: what fits of their fields is taken, the others are named.

Of a field only the header is read until it is chosen: a block may have gigabytes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from itertools import islice
from typing import BinaryIO, NamedTuple

from mutagen.id3 import Frames, Frames_2_2

from earzip.formats.containers.walk import synchsafe
from earzip.formats.tags.model import MAX_ENTRIES, MAX_TAG_BYTES, Found, kind_name

_ENVELOPE_BYTES = 32  # of what stands around the fields, at most
_MAX_LISTED = 8  # fields in a sentence
_ID3_NAME = re.compile(rb"[A-Z0-9]{3}[A-Z0-9 \0]?")
_ID3_UNSYNC, _ID3_EXTENDED = 0x80, 0x40  # flags of a tag; in version 2.2 the second is compression
_APE_MAGIC, _APE_FRAME, _APE_KEY = b"APETAGEX", 32, 256
_APE_VERSION = 2000


class _Field(NamedTuple):
    """A field in the file: ``size`` counts its header too."""

    name: str
    start: int
    size: int


class _Block(NamedTuple):
    """The fields of a block, and what makes one of some of them: of their bytes and their number."""

    fields: list[_Field]
    made_of: Callable[[bytes, int], bytes]


def take_block(found: Found, file: BinaryIO, kind: str, start: int, size: int) -> None:
    """Take a block; of one that is too large, the fields that are left without the largest.

    What is not taken becomes a problem.
    """
    block = _WALKS[kind](file, start, size) if size > found.room and kind in _WALKS else None
    left_out = _excess(block.fields, found.room - _ENVELOPE_BYTES) if block else {}
    if block is None or len(left_out) == len(block.fields):
        found.take(file, kind, start, size)
        return
    kept = [field for field in block.fields if field.start not in left_out]
    body = b"".join(_read(file, field) for field in kept)
    found.keep(kind, block.made_of(body, len(kept)))
    if left_out:  # else only padding is
        names = [f"field {each.name!r} of {each.size} bytes" for each in left_out.values()]
        more = [f"{len(names) - _MAX_LISTED} more"] if len(names) > _MAX_LISTED else []
        found.problems.append(
            f"the {kind_name(kind)} is archived without {', '.join(names[:_MAX_LISTED] + more)}: "
            f"the limit is {MAX_TAG_BYTES} bytes of all tags"
        )


def _excess(fields: list[_Field], room: int) -> dict[int, _Field]:
    """Return the largest fields, by their places, without which the others fit into ``room``."""
    over = sum(field.size for field in fields) - room
    found = {}
    for field in sorted(fields, key=lambda field: field.size, reverse=True):
        if over <= 0:
            break
        found[field.start] = field
        over -= field.size
    return found


def _read(file: BinaryIO, field: _Field) -> bytes:
    file.seek(field.start)
    return file.read(field.size)


def _whole(fields: Iterator[_Field | None], end: int) -> list[_Field]:
    """Return the fields if each of them is one and ends before ``end``; else none."""
    found: list[_Field] = []
    for field in islice(fields, MAX_ENTRIES + 1):
        if field is None or field.start + field.size > end or len(found) == MAX_ENTRIES:
            return []
        found.append(field)
    return found


def _walk_id3(file: BinaryIO, start: int, size: int) -> _Block | None:
    """Return the frames of an ID3v2 tag.

    None if they cannot be told from their headers: before version 2.4 unsynchronisation is undone first.
    """
    file.seek(start)
    head = file.read(14)
    if len(head) < 14 or head[:3] != b"ID3" or head[3] not in (2, 3, 4):
        return None
    version, flags = head[3], head[5]
    if flags & (_ID3_UNSYNC if version > 2 else _ID3_UNSYNC | _ID3_EXTENDED) and version < 4:
        return None
    first, end = start + 10, start + 10 + synchsafe(head[6:10])
    if flags & _ID3_EXTENDED and head[10:14].decode("ascii", "replace") not in Frames:
        first += synchsafe(head[10:14]) if version == 4 else int.from_bytes(head[10:14], "big") + 4
    if end > min(start + size, file.seek(0, 2)):
        return None
    ways = [
        _whole(_id3_fields(file, first, end, version, is_plain), end)
        for is_plain in ((False, True) if version == 4 else (True,))
    ]
    # As mutagen does: iTunes wrote plain sizes into version 2.4, and then more names make sense that way.
    fields = max(ways, key=lambda way: sum(f.name in Frames or f.name in Frames_2_2 for f in way))

    def tag_of(frames: bytes, _: int) -> bytes:
        length = bytes(len(frames) >> shift & 0x7F for shift in (21, 14, 7, 0))
        # Neither extended header nor footer are there any more.
        return b"ID3" + bytes([version, head[4], flags & _ID3_UNSYNC]) + length + frames

    return _Block(fields, tag_of)


def _id3_fields(
    file: BinaryIO, position: int, end: int, version: int, is_plain: bool
) -> Iterator[_Field | None]:
    """Yield each frame, None for what is none; padding ends them."""
    n_name, n_header = (3, 6) if version == 2 else (4, 10)
    while position + n_header <= end:
        file.seek(position)
        header = file.read(n_header)
        if not header.strip(b"\0"):
            return
        name, size = header[:n_name], header[n_name : 2 * n_name]
        if not _ID3_NAME.fullmatch(name) or (not is_plain and max(size) > 0x7F):
            yield None
            return
        length = n_header + (int.from_bytes(size, "big") if is_plain else synchsafe(size))
        yield _Field(name.decode("ascii").rstrip("\0 "), position, length)
        position += length


def _walk_ape(file: BinaryIO, start: int, size: int) -> _Block | None:
    """Return the items of an APEv2 tag with a header, a footer or both; None if it has neither."""
    first, end = start, start + size
    for at in (start, end - _APE_FRAME):
        file.seek(at)
        if file.read(_APE_FRAME)[:8] == _APE_MAGIC:
            first, end = (first + _APE_FRAME, end) if at == start else (first, end - _APE_FRAME)
    if end - first == size:
        return None

    def tag_of(items: bytes, n_items: int) -> bytes:
        numbers = struct.pack("<4I8x", _APE_VERSION, len(items) + _APE_FRAME, n_items, 0)
        return items + _APE_MAGIC + numbers

    return _Block(_whole(_ape_fields(file, first, end), end), tag_of)


def _ape_fields(file: BinaryIO, position: int, end: int) -> Iterator[_Field | None]:
    while position < end:
        file.seek(position)
        head = file.read(8 + _APE_KEY)
        n_head = head.find(b"\0", 8) + 1
        if not n_head:
            yield None
            return
        length = n_head + int.from_bytes(head[:4], "little")
        yield _Field(head[8 : n_head - 1].decode("latin-1"), position, length)
        position += length


def _walk_items(file: BinaryIO, start: int, size: int) -> _Block:
    """Return the atoms of an MP4 item list."""
    end = start + size
    return _Block(_whole(_atoms(file, start, end), end), lambda atoms, _: atoms)


def _atoms(file: BinaryIO, position: int, end: int) -> Iterator[_Field | None]:
    while position < end:
        file.seek(position)
        header = file.read(16)
        length, n_header = int.from_bytes(header[:4], "big"), 8
        if length == 1:
            length, n_header = int.from_bytes(header[8:16], "big"), 16
        if length < n_header:
            yield None
            return
        yield _Field(header[4:8].decode("latin-1"), position, length)
        position += length


_WALKS: dict[str, Callable[[BinaryIO, int, int], _Block | None]] = {
    "apev2": _walk_ape,
    "id3v2": _walk_id3,
    "mp4-ilst": _walk_items,
}
