"""Where MPEG audio begins in a file, behind bytes that mean nothing: a frame alone is found by chance.

The name decides how far the search goes and how little is enough; a file that begins as another format
does is never searched.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import BinaryIO

from earzip.formats.audio.foreign import AC3_SYNC, MAGICS, ac3_length
from earzip.formats.audio.mpeg_header import LAYER_3, MPEG_1, FrameHeader, parse_header

_EXTENSIONS = (".mp1", ".mp2", ".mp3", ".mpa", ".mpga")
_MAX_JUNK = 1 << 16
_MAX_EXPECTED_JUNK = 1 << 20
_N_FRAMES = 3
_BLOCK_BYTES = 1 << 16
# The first three bytes of a header: no reserved version, layer, bit rate or sample rate.
_SYNC = re.compile(
    rb"\xff(?=[\xe2-\xe7\xf2-\xf7\xfa-\xff]"
    + b"["
    + b"".join(b"\\x%x0-\\x%xb" % (high, high) for high in range(1, 15))
    + b"])"
)
_FILMS = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip")  # which may hold an MP3
_EBML, _ASF = b"\x1aE\xdf\xa3", b"0&\xb2u"
_OTHERS = (_EBML, _ASF, b"DSD ", b"FRM8", *(magic for magic in MAGICS if magic != b"RIFF"))


def is_named_mpeg(name: str) -> bool:
    """Return whether a file is MPEG audio by its name."""
    return os.path.splitext(name)[1].lower() in _EXTENSIONS  # noqa: PTH122  # the name is a str


def may_be_mpeg(file: BinaryIO, size: int, name: str) -> bool:
    """Return whether a file of ``size`` bytes is to be searched for MPEG audio.

    Frames are found by chance in sound of another format. AAC and AC-3 begin with two bytes that junk
    may begin with too: where the name says MPEG, the next frame must be where the first one says.
    """
    file.seek(0)
    head = file.read(8)
    if head[4:8] in _FILMS or head.startswith(_OTHERS):
        return False
    if not _begins_otherwise(head):
        return True
    if not is_named_mpeg(name):
        return False
    length = _length_otherwise(head)
    file.seek(length)
    return not length or not (length == size or _begins_otherwise(file.read(2)))


def why_no_mpeg(file: BinaryIO, size: int, name: str) -> str | None:
    """Return why a file that is MPEG audio by its name has none; None for one that is another's."""
    if not is_named_mpeg(name) or not may_be_mpeg(file, size, name):
        return None
    return (
        f"is not sound: it has no MPEG audio within its first {min(size, _MAX_EXPECTED_JUNK)} bytes, "
        f"tags not counted; expected {_N_FRAMES} frames in a row, or frames up to its end"
    )


def _begins_otherwise(head: bytes) -> bool:
    """Return whether AAC in ADTS ("layer 0") or AC-3 may begin so."""
    is_adts = head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xF6 == 0xF0
    return is_adts or head.startswith(AC3_SYNC)


def _length_otherwise(head: bytes) -> int:
    """Return the bytes of the frame of AAC, AC-3 or E-AC-3 that ``head`` begins, 0 if it is none."""
    if len(head) < 6:
        return 0
    if head[0] == 0xFF:
        length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        return length if length > 7 else 0  # its header has as many bytes
    is_enhanced = 10 < head[5] >> 3 <= 16
    return 2 * ((head[2] & 7) << 8 | head[3]) + 2 if is_enhanced else ac3_length(head, 0)


def find_first_frame(
    file: BinaryIO, position: int, end: int, *, is_expected: bool = False
) -> int | None:
    """Return where MPEG audio begins between ``position`` and ``end``; None if it does not.

    Behind other bytes than zeros a few frames are found by chance, in sound of another format above
    all: there are three in a row. If MPEG audio ``is_expected``, two are enough that run to the end, or
    one of layer III that needs no bytes of one before it: of random files less than one in a million
    has that. The search goes further then, too.
    """
    while True:  # encoders leave zeros after the tag, sometimes more than the tag says
        file.seek(position)
        block = file.read(_BLOCK_BYTES)
        rest = block.lstrip(b"\0")
        position += len(block) - len(rest)
        if rest or not block:
            break
    limit = position + (_MAX_EXPECTED_JUNK if is_expected else _MAX_JUNK)
    for candidate in syncs(file, position, min(end, limit)):
        if frames_begin(file, candidate, end, may_end=candidate == position):
            return candidate
        if is_expected and _ends_the_file(file, candidate, end):
            return candidate
    return None


def _ends_the_file(file: BinaryIO, position: int, end: int) -> bool:
    """Return whether one or two whole frames, and nothing else, are from ``position`` to ``end``."""
    file.seek(position)
    head = file.read(6)
    header = parse_header(head)
    if header is None:
        return False
    if position + header.length == end:
        return header.layer == LAYER_3 and _is_self_contained(head)
    second = _header_at(file, position + header.length)
    is_last = second is not None and position + header.length + second.length == end
    return is_last and second is not None and second.continues(header)


def _is_self_contained(head: bytes) -> bool:
    """Return whether the sound of a layer III frame without a checksum begins in it.

    Its side information begins with how far back it does: 9 bits in MPEG 1, else 8.
    """
    has_checksum = not head[1] & 1
    is_mpeg_1 = head[1] >> 3 & 3 == MPEG_1
    return not has_checksum and not head[4] and not (is_mpeg_1 and head[5] & 0x80)


def _header_at(file: BinaryIO, position: int) -> FrameHeader | None:
    file.seek(position)
    return parse_header(file.read(4))


def syncs(file: BinaryIO, position: int, end: int) -> Iterator[int]:
    """Yield where a header may begin from ``position`` to ``end``."""
    while position < end:
        file.seek(position)
        block = file.read(_BLOCK_BYTES + 2)
        n_here = min(_BLOCK_BYTES, end - position)
        for found in _SYNC.finditer(block):
            if found.start() >= n_here:
                break
            yield position + found.start()
        if not block:
            return
        position += _BLOCK_BYTES


def frames_begin(
    file: BinaryIO, position: int, end: int, *, may_end: bool = True
) -> FrameHeader | None:
    """Return the header at ``position`` if whole frames follow each other from there.

    Three in a row, or, if ``may_end``, as many as there are up to ``end``: a lone header is found by
    chance in any megabyte.
    """
    first = None
    for _ in range(_N_FRAMES):
        header = _header_at(file, position)
        if header is None or (first is not None and not header.continues(first)):
            return None
        position += header.length
        if position >= end and may_end:  # a cut frame counts after a whole one
            return first if position > end else first or header
        if position > end:
            return None
        first = first or header
    return first
