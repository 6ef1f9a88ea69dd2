"""The header of a WAV file, RF64 where 32-bit sizes do not reach (EBU Tech 3306).

Written here and not by libsndfile, because the length is known beforehand: nothing is patched
afterwards, a failed write is an ordinary OSError, and a float file gets no PEAK chunk, whose time
stamp would make every copy differ.
"""

from __future__ import annotations

import struct

_PCM, _IEEE_FLOAT = 1, 3
_UNKNOWN_32 = 0xFFFF_FFFF
# Left for tags, which are appended as chunks and count in the size of the whole.
_ROOM_FOR_TAGS = 1 << 28
RF64_LIMIT = (1 << 32) - _ROOM_FOR_TAGS


def wav_header(
    *, sample_rate: int, channels: int, bits: int, is_float: bool, n_frames: int
) -> bytes:
    """Return what stands before the samples; they must be followed by ``wav_padding``."""
    frame_bytes = channels * bits // 8
    data_bytes = n_frames * frame_bytes
    fmt = struct.pack(
        "<HHIIHH",
        _IEEE_FLOAT if is_float else _PCM,
        channels,
        sample_rate,
        sample_rate * frame_bytes,
        frame_bytes,
        bits,
    )
    chunks = _chunk(b"fmt ", fmt)
    if is_float:  # formats other than PCM carry the size of an extension, and their length
        chunks = _chunk(b"fmt ", fmt + bytes(2))
        chunks += _chunk(b"fact", struct.pack("<I", min(n_frames, _UNKNOWN_32)))
    padded = data_bytes + data_bytes % 2
    if data_bytes <= RF64_LIMIT:
        size = 4 + len(chunks) + 8 + padded
        return _head(b"RIFF", size) + chunks + _head(b"data", data_bytes)
    ds64_bytes = 36
    size = 4 + ds64_bytes + len(chunks) + 8 + padded
    ds64 = _chunk(b"ds64", struct.pack("<QQQI", size, data_bytes, n_frames, 0))
    return _head(b"RF64", _UNKNOWN_32) + ds64 + chunks + _head(b"data", _UNKNOWN_32)


def wav_padding(*, channels: int, bits: int, n_frames: int) -> bytes:
    """Return what stands after the samples: chunks have an even length."""
    return bytes(n_frames * channels * bits // 8 % 2)


def _head(name: bytes, size: int) -> bytes:
    head = name + struct.pack("<I", size)
    return head + b"WAVE" if name in (b"RIFF", b"RF64") else head


def _chunk(name: bytes, body: bytes) -> bytes:
    return _head(name, len(body)) + body
