"""Where WAV, RF64, W64, AIFF and AU files keep their sound, and how much of it their headers promise.

libsndfile quietly reads a cut file to its end, and reads nothing of a recording whose header was
never finished (data size 0). This module tells both apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from earzip.formats.containers.walk import iff_chunks

# Sizes that ffmpeg and sox write to a pipe, where they cannot come back to fill in the true one.
_STREAMED_SIZES = (0xFFFF_FFFF, 0x7FFF_F000)
_W64_GUID_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # of every chunk but 'riff' and 'list'
_EXTENSIBLE = 0xFFFE


@dataclass(frozen=True)
class SoundChunk:
    """The chunk with the samples: its size field is at ``size_at``, its samples at ``start``.

    ``promised`` is the size in bytes that the header states, None if it was written by a program
    that did not know it; ``present`` is what the file holds. ``unfinished``: the stated size is 0
    but sound follows. ``channel_mask``: the speaker positions of a WAVEFORMATEXTENSIBLE, or None.
    """

    size_at: int
    start: int
    promised: int | None
    present: int
    unfinished: bool = False
    channel_mask: int | None = None

    @property
    def truncated(self) -> str | None:
        """Why the file holds less than it should, or None."""
        if self.unfinished:
            return "its header was never finished (data size 0), read to the end of the file"
        if self.promised is not None and self.present < self.promised:
            return f"its header promises {self.promised} bytes of sound, {self.present} are there"
        return None


def find_sound_chunk(file: BinaryIO, size: int) -> SoundChunk | None:
    """Return the sound chunk of a file of ``size`` bytes, None if there is none."""
    file.seek(0)
    head = file.read(40)
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return _find_in_riff(file, size)
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _find_in_aiff(file, size)
    if head[:4] == b"riff" and head[24:28] == b"wave":
        return _find_in_w64(file, size)
    if head[:4] == b".snd":
        return _find_in_au(head, size)
    return None


def _find_in_riff(file: BinaryIO, size: int) -> SoundChunk | None:
    file.seek(4)
    riff_size = int.from_bytes(file.read(4), "little")
    mask = None
    for chunk, start, length in iff_chunks(file, size, "little"):
        if chunk == b"fmt ":
            file.seek(start)
            mask = _channel_mask(file.read(24))
        elif chunk == b"data":
            present = min(length, size - start)
            streamed = length in _STREAMED_SIZES and present < length
            unfinished = length == 0 and riff_size + 8 <= start < size
            if unfinished:
                present = size - start
            promised = None if streamed else length
            return SoundChunk(start - 4, start, promised, present, unfinished, mask)
    return None


def _find_in_aiff(file: BinaryIO, size: int) -> SoundChunk | None:
    for chunk, start, length in iff_chunks(file, size, "big"):
        if chunk == b"SSND":
            return SoundChunk(start - 4, start, length, min(length, size - start))
    return None


def _find_in_au(head: bytes, size: int) -> SoundChunk:
    start, length = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:12], "big")
    promised = None if length in _STREAMED_SIZES else length
    return SoundChunk(8, start, promised, min(length, max(0, size - start)))


def _find_in_w64(file: BinaryIO, size: int) -> SoundChunk | None:
    mask = None
    position = 40
    while position + 24 <= size:
        file.seek(position)
        head = file.read(64)
        length = int.from_bytes(head[16:24], "little") - 24
        if head[4:16] != _W64_GUID_TAIL or length < 0:
            return None
        if head[:4] == b"fmt ":
            mask = _channel_mask(head[24:])
        elif head[:4] == b"data":
            start = position + 24
            present = min(length, size - start)
            return SoundChunk(position + 16, start, length, present, channel_mask=mask)
        position += 24 + length + -length % 8
    return None


def _channel_mask(fmt: bytes) -> int | None:
    if int.from_bytes(fmt[:2], "little") != _EXTENSIBLE or len(fmt) < 24:
        return None
    return int.from_bytes(fmt[20:24], "little")
