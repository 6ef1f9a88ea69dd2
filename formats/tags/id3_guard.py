"""A check of ID3v2 tags before mutagen reads them.

mutagen copies the rest of the tag for every frame and every text value, inflates compressed frames
without a limit and adds up binary counters of any length: a hostile tag of a few megabytes keeps it
busy for hours or takes all memory. This walk visits every frame that mutagen may visit, under both
size conventions of ID3v2.4, and refuses a tag whose reading would cost too much.
"""

from __future__ import annotations

import itertools
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from mutagen.id3 import Frames, Frames_2_2

from earzip.errors import TagError
from earzip.formats.containers.walk import synchsafe
from earzip.formats.tag_payload import MAX_VALUES

_MAX_DEPTH = 3  # chapters within a table of contents within chapters
_MAX_COST = 16 << 30  # bytes that mutagen copies; some seconds
_MAX_INFLATED = 16 << 20  # bytes, of all compressed frames together
_MAX_ESCAPES = 1 << 20  # 0xFF bytes in an unsynchronised tag; mutagen takes 100 bytes for each
_UTF16_COST = 3000  # mutagen decodes UTF-16 byte by byte, as slowly as it copies that many
_INVALID_UNSYNC = re.compile(rb"\xff(?:[\xe0-\xff]|\Z)")
# Frames that end in bytes taken as they are: those that begin with a text encoding, and all.
_ENCODED = frozenset(["APIC", "PIC", "GEOB", "GEO"])
_BINARY = _ENCODED.union(
    ["PRIV", "MCDI", "MCI", "UFID", "UFI", "ENCR", "GRID", "SIGN", "AENC", "CRA", "CRM"],
    ["RBUF", "BUF", "MLLT", "MLL"],
)
_TEXT = frozenset(["COMM", "COM", "USLT", "ULT", "SYLT", "SLT", "IPLS", "IPL", "USER", "OWNE"])
_TEXT_INITIALS = ("T", "W", "MV", "GP", "GR")


@dataclass
class Budget:
    """What reading may take: frames, bytes that are copied, inflated and escaped."""

    frames: int = MAX_VALUES
    cost: int = _MAX_COST
    inflated: int = _MAX_INFLATED
    escapes: int = _MAX_ESCAPES

    def check(self) -> None:
        """Raise TagError if it is overdrawn."""
        for what in ("frames", "cost", "inflated", "escapes"):
            if getattr(self, what) < 0:
                raise TagError(f"the ID3 tag would take too much time or memory to read ({what})")


def check_id3v2(tag: bytes, budget: Budget | None = None) -> None:
    """Raise TagError if mutagen would need seconds or hundreds of megabytes for this tag.

    What it needs is taken from ``budget``, without one from that of a whole file.
    """
    budget = budget or Budget()
    data = _frame_data(tag, budget)
    _check_frames(data, tag[3], bool(tag[5] & 0x80), budget, 0)


def id3_frames(tag: bytes) -> list[tuple[str, bytes]]:
    """Name and bytes, header included, of whole frames that are not empty, MAX_VALUES at most.

    Unsynchronised frames of a tag before version 2.4 are as they were before that; sizes in 2.4 are
    synchsafe. Raises TagError if the tag would take too much memory.
    """
    version = tag[3]
    data = _frame_data(tag, Budget())
    ways = [
        list(itertools.islice(_frames_by(data, version, plain), MAX_VALUES))
        for plain in ((True,) if version < 4 else (False, True))
    ]
    # As mutagen does: iTunes wrote plain sizes, and then more names make sense that way.
    frames = max(ways, key=lambda way: sum(name in Frames for name, *_ in way))
    found = []
    for name, _flags, start, end in frames:
        header = 6 if version == 2 else 10
        head = data[start - header : start]
        if version == 4:
            size = bytes(end - start >> shift & 0x7F for shift in (21, 14, 7, 0))
            head = head[:4] + size + head[8:]
        if start < end <= len(data):
            found.append((name, head + data[start:end]))
    return found


def _frame_data(tag: bytes, budget: Budget) -> bytes:
    """The frames of a tag, without its headers; before version 2.4 unsynchronisation is undone."""
    version, flags = tag[3], tag[5]
    size = synchsafe(tag[6:10])
    data = tag[10 : 10 + size]
    if flags & 0x40 and data[:4].decode("ascii", "replace") not in Frames:
        extended = int.from_bytes(data[:4], "big") + 4 if version < 4 else synchsafe(data[:4])
        data = data[max(4, extended) :]
    return _undo_unsync(data, budget) if version < 4 and flags & 0x80 else data


def _check_frames(data: bytes, version: int, unsync: bool, budget: Budget, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise TagError("the ID3 tag nests chapters too deeply")
    for name, flags, start, end in _frames(data, version):
        budget.frames -= 1
        budget.cost -= len(data) - start
        budget.check()
        if name not in Frames and name not in Frames_2_2:
            continue  # mutagen keeps it unread
        body = _frame_body(data[start:end], version, flags, unsync, budget)
        if body is None:
            continue
        budget.cost -= _reading_cost(name, body)
        budget.check()
        if name in ("CHAP", "CTOC"):
            for offset in _sub_frame_offsets(name, body):
                _check_frames(body[offset:], version, unsync, budget, depth + 1)


def _frame_body(
    data: bytes, version: int, flags: int, unsync: bool, budget: Budget
) -> bytes | None:
    """The contents that mutagen parses; None if they are compressed and cannot be inflated."""
    prefix = b""
    compressed = flags & (0x0008 if version >= 4 else 0x0080)
    if version >= 4 and flags & (0x0008 | 0x0001):  # compressed, or with a data length
        prefix, data = data[:4], data[4:]
    elif compressed:
        data = data[4:]
    if version >= 4 and (unsync or flags & 0x0002):
        data = _undo_unsync(data, budget)
    if not compressed:
        return data
    inflated = _inflate(data, budget)
    # A writer of 2005 left the length out; mutagen then tries with the prefix.
    return _inflate(prefix + data, budget) if inflated is None else inflated


def _frames(data: bytes, version: int) -> Iterator[tuple[str, int, int, int]]:
    """Name, flags, start and end of each frame, by each reading of the size field."""
    for plain in (True,) if version < 4 else (True, False):
        yield from _frames_by(data, version, plain)


def _frames_by(data: bytes, version: int, plain: bool) -> Iterator[tuple[str, int, int, int]]:
    header = 6 if version == 2 else 10
    position = 0
    while position + header <= len(data):
        raw = data[position : position + header]
        if not raw.strip(b"\0"):
            break
        name_length = 3 if version == 2 else 4
        name = raw[:name_length].decode("ascii", "replace").rstrip("\0")
        size_field = raw[name_length : 2 * name_length]
        size = int.from_bytes(size_field, "big") if plain else synchsafe(size_field)
        flags = 0 if version == 2 else struct.unpack_from(">H", raw, 8)[0]
        start = position + header
        position = start + size
        yield name, flags, start, position


def _reading_cost(name: str, body: bytes) -> int:
    utf16 = body[:1] in (b"\1", b"\2")
    if name in _BINARY:
        end = body.find(b"\0\0", 1) if utf16 and name in _ENCODED else 0
        return 8 * len(body) + _UTF16_COST * (len(body) if end < 0 else end)
    if name in _TEXT or name.startswith(_TEXT_INITIALS):
        values = 1 + body.count(b"\0\0" if utf16 else b"\0")
        return len(body) * (values + (_UTF16_COST if utf16 else 0))
    if name in ("CHAP", "CTOC"):
        return 256 * len(body)  # a table of contents lists up to 255 names
    return len(body) ** 2


def _sub_frame_offsets(name: str, body: bytes) -> Iterator[int]:
    position = body.find(b"\0") + 1
    if not position:
        return
    if name == "CHAP":
        yield position + 16
        return
    count = body[position + 1] if position + 1 < len(body) else 0
    position += 2
    for _ in range(count):
        end = body.find(b"\0", position)
        if end < 0:
            return
        position = end + 1
    yield position


def _undo_unsync(data: bytes, budget: Budget) -> bytes:
    budget.escapes -= data.count(b"\xff")
    budget.check()
    # mutagen takes data that cannot be unsynchronised as it is.
    return data if _INVALID_UNSYNC.search(data) else data.replace(b"\xff\x00", b"\xff")


def _inflate(data: bytes, budget: Budget) -> bytes | None:
    try:
        inflated = zlib.decompressobj().decompress(data, budget.inflated + 1)
    except zlib.error:
        return None
    budget.inflated -= len(inflated)
    budget.check()
    return inflated
