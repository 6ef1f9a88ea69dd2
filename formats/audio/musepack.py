"""The length of a Musepack file, which FFmpeg does not trim to, and the delay of its decoder."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

DECODER_DELAY = 481  # of the synthesis filter
_FRAME = 1152
_MAX_PACKETS = 100  # before the stream header of version 8, which is the first


class MusepackLength(NamedTuple):
    """``n_samples`` of each channel follow ``n_before``, which are the decoder's delay and silence."""

    n_before: int
    n_samples: int


def musepack_length(file: BinaryIO, size: int) -> MusepackLength | None:
    """Return the length that a file of ``size`` bytes states, None if it states none."""
    file.seek(0)
    head = file.read(28)
    if head[:3] == b"MP+" and len(head) == 28 and head[3] & 15 == 7:
        return _of_version_7(head)
    return _of_version_8(file, size) if head[:4] == b"MPCK" else None


def _of_version_7(head: bytes) -> MusepackLength:
    n_frames = int.from_bytes(head[4:8], "little")
    last = int.from_bytes(head[20:24], "little")
    is_gapless, n_last = last >> 31, last >> 20 & 0x7FF
    n_cut = (_FRAME - (n_last or _FRAME)) if is_gapless else DECODER_DELAY
    return MusepackLength(DECODER_DELAY, max(0, n_frames * _FRAME - n_cut))


def _of_version_8(file: BinaryIO, size: int) -> MusepackLength | None:
    position = 4
    for _ in range(_MAX_PACKETS):
        file.seek(position)
        packet = file.read(64)
        length, at = _size_at(packet, 2)
        if len(packet) < 3 or length < at or position + length > size:
            return None
        if packet[:2] == b"SH":
            n_samples, at = _size_at(packet, at + 5)  # a checksum and the version
            n_silent, _ = _size_at(packet, at)
            return MusepackLength(DECODER_DELAY + n_silent, max(0, n_samples - n_silent))
        position += length
    return None


def _size_at(packet: bytes, at: int) -> tuple[int, int]:
    """Return the number at ``at``, of seven bits in each byte, and where it ends."""
    value = 0
    while at < len(packet):
        value = value << 7 | packet[at] & 0x7F
        at += 1
        if packet[at - 1] < 0x80:
            break
    return value, at
