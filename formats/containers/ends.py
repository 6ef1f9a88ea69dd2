"""Where a container says that it ends: what lies behind is not part of it, tags among others."""

from __future__ import annotations

from io import BufferedReader
from typing import BinaryIO

from earzip.formats.containers.ogg import last_ogg_page
from earzip.formats.containers.sound_chunk import find_sound_chunk
from earzip.formats.containers.spans import SpanFile
from earzip.formats.containers.walk import ASF_DATA, MAX_PARTS, asf_is_streamed, asf_objects

_STREAMED = (0, 0xFFFF_FFFF, 0x7FFF_FFFF)  # sizes that a writer could not go back to correct
_ASF = b"0&\xb2u"
_MATROSKA = b"\x1aE\xdf\xa3"  # its tags are not read, and nobody puts others behind it
_MP4_ATOMS = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof")


def container_end(file: BinaryIO, start: int, end: int) -> int | None:
    """Return where the container at ``start`` ends, of a file that ends at ``end``.

    None for sound that says no such thing (MPEG, FLAC, APE, …); ``end`` for a container that does not
    know, or says more than there is.
    """
    file.seek(start)
    head = file.read(32)
    if head[:4] == b"RIFF":
        found = _sized_end(start, int.from_bytes(head[4:8], "little"))
    elif head[:4] in (b"RF64", b"BW64"):
        found = _sized_end(start, int.from_bytes(head[20:28], "little"))
    elif head[:4] == b"FORM":
        found = _sized_end(start, int.from_bytes(head[4:8], "big"))
    elif head[:4] == b"riff":  # W64, whose size includes its header
        found = start + int.from_bytes(head[16:24], "little")
    elif head[:4] == b"caff":
        found = _caf_end(file, start, end)
    elif head[:4] == b"OggS":
        found = last_ogg_page(file, start, end) or end
    elif head[:4] == _ASF:
        found = _asf_end(file, start, end)
    elif head[4:8] in _MP4_ATOMS:
        found = _mp4_end(file, start, end)
    elif head[:4] == _MATROSKA:
        found = end
    else:
        return None
    return found if start < found < end else end


def _sized_end(start: int, size: int) -> int:
    return start if size in _STREAMED else start + 8 + size + size % 2


def _caf_end(file: BinaryIO, start: int, end: int) -> int:
    sound = find_sound_chunk(BufferedReader(SpanFile(file, [(start, end - start)])), end - start)
    if sound and (sound.unfinished or sound.promised is None):
        return end
    position = start + 8
    for _ in range(MAX_PARTS):
        file.seek(position)
        header = file.read(12)
        size = int.from_bytes(header[4:], "big", signed=True)
        if len(header) < 12 or size < 0 or position + 12 + size > end:
            break
        position += 12 + size
    return end if len(header) == 12 and (size < 0 or header[:4] == b"data") else position


def _asf_end(file: BinaryIO, start: int, end: int) -> int:
    if asf_is_streamed(file, start):
        return end
    position = start
    try:
        for _, at, size in asf_objects(file, start, end):
            position = at + size
    except ValueError:
        # What is there is no object, or the sound is cut or has no size.
        file.seek(position)
        return end if file.read(16) == ASF_DATA else position
    return position


def _mp4_end(file: BinaryIO, start: int, end: int) -> int:
    position = start
    for _ in range(MAX_PARTS):
        file.seek(position)
        header = file.read(16)
        size = int.from_bytes(header[:4], "big")
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        if size < 8 or position + size > end:
            # An atom that is cut, or that goes on to the end, is one nevertheless.
            return end if header[4:8] in _MP4_ATOMS else position
        position += size
    return end
