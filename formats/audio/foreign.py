"""Compressed sound that calls itself PCM: a CD of DTS, S/PDIF in a WAV file, an MP3 under a PCM header.

As samples it is noise at full scale, and a lossy archive of it cannot be decoded by anything. Each codec
is known by its sync word, which must come again where the first one says: once is chance.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from earzip.formats.audio.mpeg_header import parse_header

_BLOCKS = 3  # that begin a track with sound, after silence
_MAX_SEARCH_BYTES = 1 << 19
_MIN_FRAMES = 6  # of MPEG audio and AC-3: their sync words are short
_MAX_TRIALS = 1_000
# How files of other formats begin.
MAGICS = {
    b"wvpk": "WavPack",
    b"fLaC": "FLAC",
    b"OggS": "Ogg",
    b"MAC ": "Monkey's Audio",
    b"OFR ": "OptimFROG",
    b"tBaK": "TAK",
    b"TTA1": "TTA",
    b"ajkg": "Shorten",
    b"LA04": "LA",
    b"MPCK": "Musepack",
    b"MP+\x07": "Musepack",
    b"DTSHDHDR": "DTS",
    b"RIFF": "another WAV file",
}
_DTS_SYNCS = {
    bytes.fromhex("7ffe8001"): "DTS",
    bytes.fromhex("fe7f0180"): "DTS",
    bytes.fromhex("1fffe800"): "DTS",  # in 14 of 16 bits, as on CDs
    bytes.fromhex("ff1f00e8"): "DTS",
}
# IEC 61937 and SMPTE 337M, as little-endian words of 16, 24 and 20 bits.
_SPDIF_SYNCS = tuple(map(bytes.fromhex, ("72f81f4e", "72f8961f4ea5", "20876ff0e154")))
AC3_SYNC = b"\x0b\x77"
_AC3_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_AC3_RATES = (48_000, 44_100, 32_000)
_SIGN_FLIPPED = bytes(byte ^ 0x80 for byte in range(256))


class ForeignCodecFinder:
    """Looks at the beginning of the sound of a file whose samples have ``bits``, None if unknown."""

    def __init__(self, bits: int | None) -> None:
        self._bits = bits
        self._n_left = _BLOCKS if bits in (8, 16, 24, 32) else 0

    def look(self, block: npt.NDArray[np.float32]) -> str | None:
        """Return the codec whose bytes float32 ``[C, T]`` holds as samples, None if it is sound.

        Blocks come in order; silence before the first sound is passed over.
        """
        if not self._n_left or not block.any():
            return None
        self._n_left -= 1
        return foreign_codec(*self._stored(block))

    def _stored(self, block: npt.NDArray[np.float32]) -> tuple[bytes, int]:
        """Return the samples as little-endian bytes, and how many each has: no lower ones that are 0."""
        frames = np.ascontiguousarray(block.T[: _MAX_SEARCH_BYTES // 2])
        if self._bits == 8:
            return (frames * 128 + 128).astype(np.uint8).tobytes(), 1
        words = frames * np.float32(1 << 15)
        if np.array_equal(words, np.trunc(words)):
            return np.clip(words, -(1 << 15), (1 << 15) - 1).astype("<i2").tobytes(), 2
        whole = (frames.astype(np.float64) * (1 << 31)).clip(-(1 << 31), (1 << 31) - 1)
        n_bytes = (self._bits or 0) // 8
        from_low = np.frombuffer(whole.astype("<i4").tobytes(), np.uint8).reshape(-1, 4)
        return from_low[:, 4 - n_bytes :].tobytes(), n_bytes


def foreign_codec(stored: bytes, width: int = 2) -> str | None:
    """Return the name of the codec whose frames are in ``stored``, None if there is none.

    ``stored`` is what a WAV file has for samples of ``width`` bytes. A file with the bytes of words the
    other way round, or with signed samples of 8 bits, has the codec's bytes so.
    """
    stored = stored[:_MAX_SEARCH_BYTES]
    alignment = 2 if width == 2 else 1
    for data in (stored, stored.translate(_SIGN_FLIPPED) if width == 1 else _swapped(stored)):
        for magic, name in MAGICS.items():
            if data.startswith(magic):
                return name
        for sync, name in _DTS_SYNCS.items():
            if _comes_again(data, sync, alignment):
                return name
        if any(_comes_again(data, sync, alignment) for sync in _SPDIF_SYNCS):
            return "a compressed stream for S/PDIF (IEC 61937)"
        if _chain(data, AC3_SYNC, ac3_length):
            return "AC-3"
        if _chain(data, b"\xff", _mpeg_length):
            return "MPEG audio"
    return None


def _swapped(data: bytes) -> bytes:
    pairs = np.frombuffer(data[: len(data) // 2 * 2], np.uint8).reshape(-1, 2)
    return pairs[:, ::-1].tobytes()


def _comes_again(data: bytes, sync: bytes, alignment: int) -> bool:
    """Return whether a sync word is there at four places, equally far apart, all on whole words."""
    first = _find_aligned(data, sync, 0, alignment)
    second = _find_aligned(data, sync, first + 1, alignment) if first >= 0 else -1
    step = second - first
    return step > 0 and all(data.startswith(sync, first + n * step) for n in (2, 3))


def _find_aligned(data: bytes, sync: bytes, start: int, alignment: int) -> int:
    at = data.find(sync, start)
    while at >= 0 and at % alignment:
        at = data.find(sync, at + 1)
    return at


def _chain(data: bytes, sync: bytes, length_at: Callable[[bytes, int], int]) -> bool:
    """Return whether frames of one kind follow each other somewhere in the first ones that begin so.

    Of a square wave, and of quiet sound, pairs of bytes like a frame's first two are everywhere.
    """
    at = data.find(sync)
    for _ in range(_MAX_TRIALS):
        if at < 0:
            return False
        kind, position, n_frames = data[at : at + 2], at, 0
        while (
            n_frames < _MIN_FRAMES
            and data.startswith(kind, position)
            and (length := length_at(data, position))
        ):
            position, n_frames = position + length, n_frames + 1
        if n_frames == _MIN_FRAMES and data.count(kind, at, position) <= 3 * _MIN_FRAMES:
            return True
        at = data.find(sync, at + 1)
    return False


def ac3_length(data: bytes, at: int) -> int:
    """Return the bytes of the AC-3 frame at ``at``, 0 if there is none."""
    head = data[at : at + 6]
    if len(head) < 6 or not head.startswith(AC3_SYNC) or head[5] >> 3 > 10:
        return 0
    rate_code, size_code = head[4] >> 6, head[4] & 0x3F
    if rate_code == 3 or size_code >= 2 * len(_AC3_KBPS):
        return 0
    rate = _AC3_RATES[rate_code]
    words = 1536 * 1000 * _AC3_KBPS[size_code >> 1] // (16 * rate)
    return 2 * (words + (size_code & 1 if rate == 44_100 else 0))


def _mpeg_length(data: bytes, at: int) -> int:
    """Return the bytes of the MPEG audio frame at ``at``, 0 if there is none."""
    header = parse_header(data[at : at + 4])
    return header.length if header else 0
