"""FLAC as a stream: what libFLAC writes, sent front to back, behind metadata that is right at once.

libFLAC begins a file with metadata, and at the end goes back to fill in lengths and an MD5 of the
samples. Here the number of samples is known at once; the MD5 is 0, which in FLAC means unknown.
"""

from __future__ import annotations

import functools
import io
import os
import struct
from typing import Protocol

import numpy as np
import soundfile

from earzip.formats.containers.walk import flac_blocks

_COMMENT = 4
_LAST = 0x80  # of a metadata block
_STREAMINFO_END = 8 + 34  # the magic, the block's header, the block
_COUNT_AT = 8 + 10  # 20 bits of rate, 3 of channels, 5 of depth, 36 of samples
_MAX_COUNT = (1 << 36) - 1


class Stream(Protocol):
    """What takes bytes front to back."""

    def write(self, data: bytes, /) -> object:
        """Take all of ``data``."""


class FlacStream:
    """A file for libFLAC, of ``n_samples`` samples, that goes to ``stream`` with each `flush`.

    STREAMINFO is libFLAC's with the number of samples; in place of its other metadata stands ``ahead``:
    blocks, the last one marked. Nothing is sent before `flush`: soundfile loses what a callback raises.
    """

    def __init__(self, stream: Stream, n_samples: int, ahead: bytes) -> None:
        self._stream = stream
        self._n_samples = n_samples
        self._ahead = ahead
        self._pending = bytearray()
        self._in_metadata = True
        self._position = self._end = 0

    def write(self, data: bytes) -> int:
        """Take what follows; what is written over earlier bytes is dropped."""
        if self._position == self._end:
            self._pending += data
            self._end += len(data)
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, and return the position."""
        self._position = offset + (0, self._position, self._end)[whence]
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def flush(self) -> None:
        """Send what has been written since, if it is whole metadata. Raises what the stream raises."""
        if self._in_metadata:
            end = _end_of_metadata(self._pending)
            if end is None:
                return
            self._pending[:end] = self._head()
            self._in_metadata = False
        sent = bytes(self._pending)
        self._pending.clear()
        self._stream.write(sent)

    def _head(self) -> bytes:
        head = self._pending[:_STREAMINFO_END]
        head[4] &= ~_LAST
        (packed,) = struct.unpack_from(">Q", head, _COUNT_AT)
        n_samples = self._n_samples if self._n_samples <= _MAX_COUNT else 0
        struct.pack_into(">Q", head, _COUNT_AT, packed & ~_MAX_COUNT | n_samples)
        return bytes(head) + self._ahead


def _end_of_metadata(data: bytearray) -> int | None:
    """Return where the frames begin of a FLAC file that libFLAC has begun; None if not there yet."""
    at = 4
    while at + 4 <= len(data):
        is_last = data[at] & _LAST
        at += 4 + int.from_bytes(data[at + 1 : at + 4], "big")
        if is_last:
            return at if at <= len(data) else None
    return None


@functools.cache
def flac_vendor() -> bytes:
    """Return what libFLAC calls itself in the comments of files that it encodes."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(1, np.int16), 44_100, "PCM_16", format="FLAC")
    for code, start, _size in flac_blocks(file, 4):
        if code == _COMMENT:
            data = file.getvalue()[start:]
            return data[4 : 4 + int.from_bytes(data[:4], "little")]
    return b""
