"""The frames of a FLAC file: how many samples there are, whatever its header promises.

libsndfile reads as many samples as the header promises and no more, and passes over a change of the
sample rate. So the frames' own headers are walked here (RFC 9639, section 9): each has its sample rate,
channels, depth, length and number.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from earzip.errors import SourceError, count
from earzip.formats.audio.crc import crc8, crc16
from earzip.formats.containers.spans import Span
from earzip.formats.containers.walk import flac_blocks

MAGIC = b"fLaC"
_STREAMINFO, _STREAMINFO_BYTES = 0, 34
_LAST = 0x80  # of a metadata block
_SYNC = re.compile(rb"\xff[\xf8\xf9]")  # of frames of one length, or of any
_RATES = (
    0,
    88_200,
    176_400,
    192_000,
    8_000,
    16_000,
    22_050,
    24_000,
    32_000,
    44_100,
    48_000,
    96_000,
)
_DEPTHS = (0, 8, 12, None, 16, 20, 24, 32)
_MAX_HEADER_BYTES = 16
_BLOCK_BYTES = 1 << 20
_MAX_FRAME_BYTES = 8 * 65_535 * 4 + 64  # of eight channels of 32 bits, stored as they are


class FlacFormat(NamedTuple):
    """What may not change within a stream."""

    sample_rate: int
    channels: int
    bits: int


class StreamInfo(NamedTuple):
    """The first metadata block; ``n_samples`` and ``md5`` are None where it does not tell."""

    format: FlacFormat
    n_samples: int | None
    md5: bytes | None


class _Frame(NamedTuple):
    """A frame's header: the stream's own value stands for a 0 in ``sample_rate`` and ``bits``."""

    format: FlacFormat
    n_samples: int
    number: int
    counts_samples: bool
    """Whether ``number`` is that of its first sample, and not its own."""

    @property
    def next_number(self) -> int:
        return self.number + (self.n_samples if self.counts_samples else 1)


@dataclass
class FlacStream:
    """A FLAC file: its header, and the runs (offset, length) of frames with their ``n_samples``.

    There is more than one run where something else lies between frames, as in files that were joined.
    """

    info: StreamInfo
    header_end: int
    n_samples: int = 0
    runs: list[tuple[int, int]] = field(default_factory=list)

    @property
    def promises_too_little(self) -> bool:
        """Whether the header promises fewer samples than there are."""
        return self.info.n_samples is not None and self.info.n_samples < self.n_samples

    def decoder_input(self, file: BinaryIO, size: int) -> list[Span]:
        """Return the input for a decoder: the header, which promises all samples, and the frames.

        Other metadata is left out: of a hundred thousand comments libFLAC refuses the file, and FFmpeg
        looks at all of them for each.
        """
        file.seek(0)
        start = bytearray(file.read(8 + _STREAMINFO_BYTES))
        is_first = start[4] & 0x7F == _STREAMINFO
        if not is_first or int.from_bytes(start[5:8], "big") != _STREAMINFO_BYTES:
            return [(0, size)]
        start[4] |= _LAST
        if not self.promises_too_little:
            return [bytes(start), (self.header_end, size - self.header_end)]
        (packed,) = struct.unpack_from(">Q", start, 18)
        struct.pack_into(">Q", start, 18, packed >> 36 << 36 | self.n_samples & (1 << 36) - 1)
        return [bytes(start), *self.runs]


def parse_streaminfo(block: bytes) -> StreamInfo | None:
    """Return what a STREAMINFO block of 34 bytes says, None for a shorter one."""
    if len(block) < _STREAMINFO_BYTES:
        return None
    (packed,) = struct.unpack_from(">Q", block, 10)
    channels, bits = (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1
    n_samples, md5 = packed & (1 << 36) - 1, block[18:_STREAMINFO_BYTES]
    return StreamInfo(
        FlacFormat(packed >> 44, channels, bits), n_samples or None, md5 if any(md5) else None
    )


def find_flac_stream(file: BinaryIO, size: int) -> FlacStream | None:
    """Return the stream of a FLAC file of ``size`` bytes; None if it has no frames, or is none.

    SourceError if its sample rate, channels or depth change on the way.
    """
    file.seek(0)
    if file.read(4) != MAGIC:
        return None
    info, end = None, 4
    for code, start, length in flac_blocks(file, 4):
        if code == _STREAMINFO and info is None:
            info = parse_streaminfo(file.read(min(length, _STREAMINFO_BYTES)))
        end = start + length
    if info is None:
        return None
    stream = FlacStream(info, end)
    _walk(file, stream, size)
    return stream if stream.runs else None


def _walk(file: BinaryIO, stream: FlacStream, size: int) -> None:
    """Add up the frames; a header that is out of order counts if the frame before it ends there."""
    last: tuple[int, _Frame] | None = None
    run_start = stream.header_end
    for position, head in _syncs(file, stream.header_end, size):
        frame = _parse_frame(head, stream.info.format)
        if frame is None:
            continue
        if last is None:
            if position != stream.header_end:
                return
        else:
            at, before = last
            in_order = frame.format == stream.info.format and frame.number == before.next_number
            if not in_order:
                end = _end_of_frame(file, at, position)
                if end is None:
                    continue
                if end < position:
                    stream.runs.append((run_start, end - run_start))
                    run_start = position
        if frame.format != stream.info.format:
            raise SourceError(_change(stream, frame.format))
        stream.n_samples += frame.n_samples
        last = position, frame
    if last is not None:
        stream.runs.append((run_start, size - run_start))


def _change(stream: FlacStream, now: FlacFormat) -> str:
    before, after = (
        f"{f.sample_rate} Hz, {count(f.channels, 'channel')}, {f.bits} bits"
        for f in (stream.info.format, now)
    )
    return f"after {count(stream.n_samples, 'frame')} it changes from {before} to {after}"


def _syncs(file: BinaryIO, position: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield where a frame may begin, and the bytes there, as many as a frame's header may have."""
    while position < end:
        file.seek(position)
        block = file.read(_BLOCK_BYTES + _MAX_HEADER_BYTES)
        if not block:
            return
        for found in _SYNC.finditer(block, 0, _BLOCK_BYTES + 1):
            at = found.start()
            yield position + at, block[at : at + _MAX_HEADER_BYTES]
        position += _BLOCK_BYTES


def _parse_frame(head: bytes, stream: FlacFormat) -> _Frame | None:
    """Return the frame header that ``head`` begins with, None if it is none."""
    if len(head) < 6 or head[3] & 1:
        return None
    size_code, rate_code, layout, depth_code = (
        head[2] >> 4,
        head[2] & 15,
        head[3] >> 4,
        head[3] >> 1,
    )
    bits = _DEPTHS[depth_code & 7]
    n_more = _n_continuation_bytes(head[4])
    if not size_code or rate_code == 15 or layout > 10 or bits is None or n_more is None:
        return None
    at = 5 + n_more
    number = head[4] & (0x7F if not n_more else (1 << (6 - n_more)) - 1)
    for byte in head[5:at]:
        if byte >> 6 != 2:
            return None
        number = number << 6 | byte & 0x3F
    n_size, n_rate = {6: 1, 7: 2}.get(size_code, 0), {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    end = at + n_size + n_rate
    if len(head) <= end or crc8(head[:end]) != head[end]:
        return None
    extra = int.from_bytes(head[at : at + n_size], "big")
    if n_size:
        n_samples = extra + 1
    else:
        n_samples = {1: 192}.get(size_code) or (
            576 << size_code - 2 if size_code < 6 else 256 << size_code - 8
        )
    rate = int.from_bytes(head[at + n_size : end], "big")
    rate = rate * {12: 1000, 13: 1, 14: 10}[rate_code] if n_rate else _RATES[rate_code]
    channels = layout + 1 if layout < 8 else 2
    form = FlacFormat(rate or stream.sample_rate, channels, bits or stream.bits)
    return _Frame(form, n_samples, number, bool(head[1] & 1))


def _n_continuation_bytes(first: int) -> int | None:
    """Return how many bytes follow the first one of a number, which is written as UTF-8 is."""
    for n_more, (low, high) in enumerate(
        (
            (0, 0x80),
            (0xC0, 0xE0),
            (0xE0, 0xF0),
            (0xF0, 0xF8),
            (0xF8, 0xFC),
            (0xFC, 0xFE),
            (0xFE, 0xFF),
        )
    ):
        if low <= first < high:
            return n_more
    return None


def _end_of_frame(file: BinaryIO, start: int, limit: int) -> int | None:
    """Return where the frame at ``start`` ends by its checksum, at ``limit`` or before metadata there.

    None if it does not: what looks like a header at ``limit`` is part of the frame, or it is damaged.
    """
    if limit - start > _MAX_FRAME_BYTES:
        return None
    file.seek(start)
    data = file.read(limit - start)
    if crc16(data) == 0:
        return limit
    joined = data.find(MAGIC)
    while joined >= 0:
        if crc16(data[:joined]) == 0:
            return start + joined
        joined = data.find(MAGIC, joined + 1)
    return None
