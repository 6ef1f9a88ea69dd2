"""The zstd frames of an archive: one rule for writing them, one distrustful way of reading them."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import zstandard

from earzip.errors import DamagedArchiveError
from earzip.formats.archive_dictionary import DICTIONARY

MAX_WINDOW_BYTES = 8 << 20  # level 19's own, and what RFC 8878 asks of every decoder

MAX_FRAMES = 64  # of a segment: tables, lists of classes, groups of channels
# A code of its own costs a frame's head and a table, some 30 bytes: little beside larger pieces.
_MAX_SHARING_BYTES = 4096

_LEVEL = 19
_MAGIC = b"\x28\xb5\x2f\xfd"
_PREPARED = zstandard.ZstdCompressionDict(DICTIONARY, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def compress_frame(raw: bytes, *, dictionary: bool) -> bytes:
    """Return ``raw`` (not empty) as one zstd frame; the same bytes for the same libzstd."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL, dict_data=_PREPARED if dictionary else None)
    return compressor.compress(raw)


def compress_frames(pieces: Iterable[bytes]) -> bytes:
    """Return the ``pieces`` of a segment, none empty, as zstd frames in a row, as archives store them.

    A piece has a frame of its own, or shares that of the piece before it where that takes fewer bytes.
    """
    frames: list[bytes] = []
    joined = b""
    for piece in pieces:
        frame = compress_frame(piece, dictionary=False)
        if frames and min(len(joined), len(piece)) <= _MAX_SHARING_BYTES:
            together = compress_frame(joined + piece, dictionary=False)
            if len(together) <= len(frames[-1]) + len(frame):
                frames[-1] = together
                joined += piece
                continue
        frames.append(frame)
        joined = piece
    return b"".join(frames)


def decompress_frame(stored: bytes, *, max_bytes: int, dictionary: bool) -> bytes:
    """Return what the zstd frame ``stored`` holds; the inverse of `compress_frame`.

    Raises `DamagedArchiveError` before anything is allocated where the frame says that it holds
    more than ``max_bytes``, and for anything but one whole frame of the kind SPEC.md allows.
    """
    raw, rest = _first_frame(stored, max_bytes, dictionary=dictionary)
    if rest:
        raise DamagedArchiveError(f"zstd frame is followed by {len(rest)} bytes")
    return raw


def decompress_frames(stored: bytes, *, max_bytes: int) -> bytes:
    """Return what one to `MAX_FRAMES` zstd frames in a row hold, joined; else as `decompress_frame`.

    The inverse of `compress_frames` on the joined pieces.
    ``max_bytes`` bounds all of them together.
    """
    pieces: list[bytes] = []
    while stored or not pieces:
        if len(pieces) == MAX_FRAMES:
            raise DamagedArchiveError(f"has more than {MAX_FRAMES} zstd frames")
        raw, stored = _first_frame(stored, max_bytes, dictionary=False)
        max_bytes -= len(raw)
        pieces.append(raw)
    return b"".join(pieces)


class _Ready(threading.local):
    """A decompressor with the dictionary, which takes longer to load than a header to decompress.

    One a thread: zstd's contexts are not shared.
    """

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor(dict_data=_PREPARED)


_ready = _Ready()


def _first_frame(stored: bytes, max_bytes: int, *, dictionary: bool) -> tuple[bytes, bytes]:
    """Return what the first frame holds, and the bytes behind it."""
    try:
        if not stored.startswith(_MAGIC):  # nor the magic of a skippable frame
            raise DamagedArchiveError("is not a zstd frame")
        frame = zstandard.get_frame_parameters(stored)
        if frame.content_size == zstandard.CONTENTSIZE_UNKNOWN:
            raise DamagedArchiveError("zstd frame does not state its content size")
        if not 0 < frame.content_size <= max_bytes:
            raise DamagedArchiveError(
                f"zstd frame holds {frame.content_size} bytes, expected 1 to {max_bytes}"
            )
        if frame.window_size > MAX_WINDOW_BYTES or frame.dict_id or frame.has_checksum:
            raise DamagedArchiveError(
                f"zstd frame has a window of {frame.window_size} bytes, dictionary "
                f"{frame.dict_id}, {'a' if frame.has_checksum else 'no'} checksum; expected at "
                f"most {MAX_WINDOW_BYTES}, dictionary 0, no checksum"
            )
        reader = _ready.decompressor if dictionary else zstandard.ZstdDecompressor()
        decompressor = reader.decompressobj()
        raw: bytes = decompressor.decompress(stored)
    except zstandard.ZstdError as error:
        raise DamagedArchiveError(f"zstd frame cannot be decompressed: {error}") from error
    if not decompressor.eof:
        raise DamagedArchiveError("zstd frame cannot be decompressed: it is cut short")
    return raw, decompressor.unused_data
