"""What the blocks of a WavPack file say of its sound: whether it is lossless, and its MD5."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

_HEADER_BYTES = 32
_BYTES, _HYBRID, _FLOAT, _DSD = 3, 1 << 3, 1 << 7, 1 << 31
_MD5, _ODD, _LARGE = 0x26, 0x40, 0x80


@dataclass
class WavPackFacts:
    """``is_hybrid``: it is lossy, and a correction file may have the rest; ``is_dsd``: it has no PCM."""

    is_hybrid: bool = False
    is_dsd: bool = False
    is_float: bool = False
    bits: int = 0
    """The width of a stored sample, in whole bytes."""
    md5: bytes | None = None
    """Of the samples as a WAV file has them."""


def read_wavpack(file: BinaryIO, size: int) -> WavPackFacts | None:
    """Return the facts of a WavPack file of ``size`` bytes, None if it is none."""
    facts = WavPackFacts()
    position = 0
    while position + _HEADER_BYTES <= size:
        file.seek(position)
        head = file.read(_HEADER_BYTES)
        if head[:4] != b"wvpk":
            break
        length = int.from_bytes(head[4:8], "little") + 8
        n_samples, flags = struct.unpack_from("<2I", head, 20)
        if n_samples:
            facts.is_hybrid |= bool(flags & _HYBRID)
            facts.is_dsd |= bool(flags & _DSD)
            facts.is_float |= bool(flags & _FLOAT)
            facts.bits = 8 * ((flags & _BYTES) + 1)
        else:  # the MD5 follows the sound
            facts.md5 = (
                _md5_in(file.read(min(length, size - position) - _HEADER_BYTES)) or facts.md5
            )
        position += max(length, _HEADER_BYTES)
    return facts if position else None


def _md5_in(block: bytes) -> bytes | None:
    at = 0
    while at + 2 <= len(block):
        kind, n_bytes, at = block[at], 2 * block[at + 1], at + 2
        if kind & _LARGE and at + 2 <= len(block):
            n_bytes += 2 * int.from_bytes(block[at : at + 2], "little") << 8
            at += 2
        if kind & ~(_ODD | _LARGE) == _MD5 and n_bytes == 16:
            return block[at : at + 16]
        at += n_bytes
    return None
