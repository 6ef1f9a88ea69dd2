"""Zstd frames that an archive must not hold, or not where they stand."""

import struct

import zstandard

from earzip.formats.archive.frames import DICTIONARY


def compress(raw: bytes, *, dictionary: bool = False, **options: bool) -> bytes:
    prepared = zstandard.ZstdCompressionDict(DICTIONARY, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return zstandard.ZstdCompressor(
        level=3, dict_data=prepared if dictionary else None, **options
    ).compress(raw)


def bomb(n_bytes: int) -> bytes:
    """Return a frame of a few kilobytes that holds ``n_bytes`` zeros, in 8 MiB windows."""
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=23)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=n_bytes)
    block = bytes(1 << 20)
    return b"".join(compressor.compress(block) for _ in range(n_bytes >> 20)) + compressor.flush()


def with_content_size(n_bytes: int) -> bytes:
    """Return a single-segment frame that claims to hold ``n_bytes`` and holds 4."""
    return b"\x28\xb5\x2f\xfd" + b"\xe0" + struct.pack("<Q", n_bytes) + b"\x21\0\0abcd"
