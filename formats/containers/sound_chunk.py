"""Where WAV, RF64, W64, AIFF, AU and CAF files keep their sound, and how much their headers promise.

libsndfile quietly reads a cut file to its end, reads nothing of a recording whose header was never
finished (data size 0), and no more than the header promises where there is more: a file of over 4 GiB
has a size without its upper bits. This module tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from earzip.formats.containers.spans import Span
from earzip.formats.containers.walk import iff_chunks, is_chunk

# Sizes that programs write to a pipe, where they cannot come back to fill in the true one: the most
# that 32 or 31 bits hold (ffmpeg, lame, arecord) and what sox takes for that. Some take off the bytes
# of a header, some make whole frames or blocks of 256 bytes of them, and sox adds the eight bytes that
# an AIFF file has before its samples. Few true sizes are among them.
_STREAMED_SIZES = (1 << 32, 1 << 31, 0x7FFF_F000, 0x7F00_0000)
_LESS, _MORE = 256, 8
_UNKNOWN_32, _UNKNOWN_64 = b"\xff" * 4, b"\xff" * 8
_W64_GUID_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # of every chunk but 'riff' and 'list'
_W64_GUID_TAILS = (_W64_GUID_TAIL, bytes.fromhex("2f91cf11a5d628db04c10000"))
_MAX_LENGTH = 1 << 62
_EXTENSIBLE = 0xFFFE
# What may stand after the sound and is none: tags, and zeros up to the end of a disk's cluster.
_TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN", b"LYRICS200")
_MAX_PADDING = 1 << 16
# Chunks that stand behind the sound: where one is cut, its size does not fit.
_CHUNK_IDS = (b"LIST", b"ID3 ", b"id3 ", b"bext", b"fact", b"cue ", b"smpl", b"inst", b"JUNK", b"iXML",
              b"_PMX", b"axml", b"acid", b"DISP", b"PEAK", b"NAME", b"AUTH", b"(c) ", b"ANNO", b"COMT",
              b"MARK", b"INST", b"MIDI", b"APPL", b"AESD", b"SAUR", b"CHAN")  # fmt: skip


@dataclass(frozen=True)
class SoundChunk:
    """The chunk with the samples, which begin at ``start``.

    ``promised`` is the size in bytes that the header states, None if it was written by a program that
    did not know it, so that the rest of the file is sound; ``present`` is what the file holds.
    ``unfinished``: the stated size is 0 but sound follows. ``channel_mask``: the speaker positions of
    a WAVEFORMATEXTENSIBLE, or None. ``repairs`` are bytes to put at offsets, so that libsndfile reads
    all that is present; ``end`` is where it is to take the file to end, None for its own end.
    """

    start: int
    promised: int | None
    present: int
    unfinished: bool = False
    channel_mask: int | None = None
    repairs: tuple[tuple[int, bytes], ...] = ()
    end: int | None = None

    @property
    def truncated(self) -> str | None:
        """Why the file holds less than it should, or None."""
        if self.unfinished:
            return "its header was never finished (data size 0), read to the end of the file"
        if self.promised is not None and self.present < self.promised:
            return f"its header promises {self.promised} bytes of sound, {self.present} are there"
        return None

    @property
    def goes_on(self) -> bool:
        """Whether its samples go on, to the end of the file, whatever size its header states."""
        return self.unfinished or self.promised is None or self.present > self.promised

    @property
    def surplus(self) -> str | None:
        """What the header does not promise, or None."""
        if self.unfinished or self.promised is None or not self.goes_on:
            return None
        return (
            f"its header promises {self.promised} bytes of sound, {self.present} are there; "
            "all are archived"
        )

    def decoder_input(self, size: int) -> list[Span]:
        """Return the file of ``size`` bytes with the repairs."""
        spans: list[Span] = []
        position = 0
        for at, data in sorted(self.repairs):
            spans += [(position, at - position), data]
            position = at + len(data)
        return [*spans, (position, (self.end or size) - position)]


def find_sound_chunk(file: BinaryIO, size: int) -> SoundChunk | None:
    """Return the sound chunk of a file of ``size`` bytes, None if there is none."""
    file.seek(0)
    head = file.read(40)
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _find_in_riff(file, size)
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _find_in_aiff(file, size)
    if head[:4] == b"riff" and head[24:28] == b"wave":
        return _find_in_w64(file, size)
    if head[:4] == b".snd":
        return _find_in_au(file, head, size)
    if head[:6] == b"caff\0\1":
        return _find_in_caf(file, size)
    return None


def _find_in_riff(file: BinaryIO, size: int) -> SoundChunk | None:
    file.seek(0)
    magic, riff_size = file.read(4), int.from_bytes(file.read(4), "little")
    mask = None
    # BW64 is RF64 to all but metadata.
    magics = [(0, b"RF64")] if magic == b"BW64" else []
    repairs: list[tuple[int, bytes]] = []
    for chunk, start, length in iff_chunks(file, size, "little"):
        if chunk == b"fmt ":
            file.seek(start)
            mask = _channel_mask(file.read(24))
        elif chunk == b"ds64":
            file.seek(start)
            riff_size = int.from_bytes(file.read(8), "little")
            repairs = [(start + 8, _UNKNOWN_64)]
        elif chunk == b"data":
            present = min(length, size - start)
            is_next = partial(is_chunk, file, end=size, byteorder="little")
            has_more = _goes_on(file, start + length, size, is_next)
            no_size = length == 0 and (has_more or riff_size + 8 <= start < size)
            # A ds64 chunk of zeros is what a program leaves that writes to a pipe.
            streamed = (no_size and bool(repairs)) or length >= _MAX_LENGTH
            if has_more or no_size or streamed:
                present = size - start
                repairs = _repairs_of_riff(repairs, start, present)
            else:
                repairs = []
                streamed = _is_streamed(length) and present < length
            promised = None if streamed else length
            unfinished = no_size and not streamed
            return SoundChunk(start, promised, present, unfinished, mask, (*magics, *repairs))
    return None


def _repairs_of_riff(
    ds64: list[tuple[int, bytes]], start: int, present: int
) -> list[tuple[int, bytes]]:
    if ds64:
        return [(ds64[0][0], present.to_bytes(8, "little"))]
    return [(start - 4, _UNKNOWN_32)]


def _find_in_aiff(file: BinaryIO, size: int) -> SoundChunk | None:
    n_frames_at = None
    file.seek(4)
    form_size = int.from_bytes(file.read(4), "big")
    for chunk, start, length in iff_chunks(file, size, "big"):
        if chunk == b"COMM":
            n_frames_at = start + 2
        elif chunk == b"SSND":
            present = min(length, size - start)
            repairs: list[tuple[int, bytes]] = []
            is_next = partial(is_chunk, file, end=size, byteorder="big")
            has_more = _goes_on(file, start + length, size, is_next)
            # A chunk without the eight bytes before the samples is none: ffmpeg's in a pipe.
            if length == 0 and (has_more or form_size + 8 <= start < size):
                return SoundChunk(start, None, size - start)
            if has_more:
                present = size - start
                repairs = [(start - 4, min(present, 0xFFFF_FFFF).to_bytes(4, "big"))]
                repairs += [(n_frames_at, _UNKNOWN_32)] if n_frames_at else []
            promised = None if _is_streamed(length) and present < length else length
            return SoundChunk(start, promised, present, repairs=tuple(repairs))
    return None


def _find_in_au(file: BinaryIO, head: bytes, size: int) -> SoundChunk:
    start, length = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:12], "big")
    present = min(length, max(0, size - start))
    repairs = ((8, _UNKNOWN_32),)
    if _is_streamed(length) and present < length:
        return SoundChunk(start, None, present, repairs=repairs)
    if _goes_on(file, start + length, size, lambda _position: False):
        return SoundChunk(start, length, size - start, not length, repairs=repairs)
    return SoundChunk(start, length, present)


def _find_in_w64(file: BinaryIO, size: int) -> SoundChunk | None:
    mask = None
    for head, position, length in _w64_chunks(file, size):
        if head[:4] == b"fmt ":
            mask = _channel_mask(head[24:])
        elif head[:4] == b"data":
            start = position + 24
            whole = (position + 16, (size - position).to_bytes(8, "little"))
            repairs = ((16, size.to_bytes(8, "little")), whole)
            if length >= _MAX_LENGTH:  # written to a pipe
                return SoundChunk(start, None, size - start, channel_mask=mask, repairs=repairs)
            is_next = partial(_is_w64_chunk, file, size)
            if _goes_on(file, start + length, size, is_next, 8):
                return SoundChunk(start, length, size - start, not length, mask, repairs)
            present = min(length, size - start)
            # libsndfile reads on where no chunk follows.
            is_last = not is_next(start + length + -length % 8)
            end = start + present if is_last else None
            return SoundChunk(start, length, present, channel_mask=mask, end=end)
    return None


def _w64_chunks(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the first 64 bytes of each chunk, where it is, and the size of what it holds."""
    position = 40
    while position + 24 <= size:
        file.seek(position)
        head = file.read(64)
        length = int.from_bytes(head[16:24], "little") - 24
        if head[4:16] != _W64_GUID_TAIL or length < 0:
            return
        yield head, position, length
        position += 24 + length + -length % 8


def _is_w64_chunk(file: BinaryIO, size: int, position: int) -> bool:
    file.seek(position)
    guid = file.read(16)
    return len(guid) == 16 and position + 24 <= size and guid[4:] in _W64_GUID_TAILS


def _find_in_caf(file: BinaryIO, size: int) -> SoundChunk | None:
    """Return the sound of uncompressed samples; other sound in a CAF has a table of its own."""
    position, is_pcm = 8, False
    while position + 12 <= size:
        file.seek(position)
        head = file.read(24)
        length = int.from_bytes(head[4:12], "big", signed=True)
        start = position + 12
        if head[:4] == b"desc":
            is_pcm = head[20:24] == b"lpcm"
        elif head[:4] == b"data":
            is_next = partial(_is_caf_chunk, file, size)
            whole = (position + 4, (size - start).to_bytes(8, "big"))
            if is_pcm and (length == -1 or length >= _MAX_LENGTH):  # written to a pipe
                return SoundChunk(start, None, size - start, repairs=(whole,))
            if is_pcm and length >= 0 and _goes_on(file, start + length, size, is_next):
                return SoundChunk(start, length, size - start, not length, repairs=(whole,))
            return None
        if length < 0:
            return None
        position = start + length
    return None


def _is_caf_chunk(file: BinaryIO, size: int, position: int) -> bool:
    file.seek(position)
    head = file.read(12)
    is_text = len(head) == 12 and all(0x20 <= byte < 0x7F for byte in head[:4])
    return is_text and int.from_bytes(head[4:], "big", signed=True) <= size - position - 12


def _is_streamed(length: int) -> bool:
    return any(size - _LESS <= length <= size + _MORE for size in _STREAMED_SIZES)


def _goes_on(
    file: BinaryIO,
    position: int,
    size: int,
    is_chunk_at: Callable[[int], bool],
    alignment: int = 2,
) -> bool:
    """Return whether sound goes on at ``position``, where the header says that it ends.

    It does not at the end of the file, at a chunk or a tag, and where only zeros follow.
    """
    if position >= size or is_chunk_at(position) or is_chunk_at(position + -position % alignment):
        return False
    file.seek(position)
    rest = file.read(_MAX_PADDING + 1).lstrip(b"\0")
    if not rest and size - position <= _MAX_PADDING:
        return False
    return not rest.startswith((*_TAGS, *_CHUNK_IDS))


def _channel_mask(fmt: bytes) -> int | None:
    if int.from_bytes(fmt[:2], "little") != _EXTENSIBLE or len(fmt) < 24:
        return None
    return int.from_bytes(fmt[20:24], "little")
