"""Whether an exact copy is one of the source that the header tells of, as far as its bytes say."""

from __future__ import annotations

import hashlib

from earzip.errors import DamagedArchiveError, count
from earzip.formats.archive.header import Header

_FLAC = b"fLaC"
_STREAMINFO_BYTES = 34
_HEAD_BYTES = len(_FLAC) + 4 + _STREAMINFO_BYTES


class CopyCheck:
    """Takes the pieces of an exact copy in their order, and says in the end whether they are it.

    Of a FLAC that is what its first block says; only who decodes it knows its samples.
    """

    def __init__(self, header: Header) -> None:
        assert header.exact is not None
        self._header = header
        self._digest = hashlib.sha256()
        self._head = b""
        self._n_bytes = 0

    def add(self, piece: bytes) -> None:
        """Take in the next piece."""
        if self._header.exact == "file":  # a FLAC's digest nobody knows
            self._digest.update(piece)
        self._head += piece[: _HEAD_BYTES - len(self._head)]
        self._n_bytes += len(piece)

    def finish(self) -> None:
        """Raise DamagedArchiveError, without a path, where the pieces are not the copy."""
        if self._header.exact == "file":
            self._require_file()
        else:
            self._require_flac()

    def _require_file(self) -> None:
        source, sha256 = self._header.source, self._digest.hexdigest()
        if sha256 != source.sha256:
            raise DamagedArchiveError(
                f"its SHA-256 is {sha256[:16]}…, the header says {source.sha256[:16]}…"
            )
        if self._n_bytes != source.n_bytes:
            raise DamagedArchiveError(
                f"has {self._n_bytes} bytes, the header says {source.n_bytes}"
            )

    def _require_flac(self) -> None:
        head, source = self._head, self._header.source
        is_flac = len(head) == _HEAD_BYTES and head.startswith(_FLAC)
        if not is_flac or head[4] & 0x7F or head[5:8] != bytes([0, 0, _STREAMINFO_BYTES]):
            raise DamagedArchiveError("does not begin as a FLAC file does")
        # 20 bits of rate, 3 of channels less 1, 5 of bits less 1, 36 of samples: RFC 9639, 8.2.
        word = int.from_bytes(head[18:26], "big")
        found = word >> 44, (word >> 41 & 7) + 1, word & 2**36 - 1
        told = source.sample_rate, source.channels, source.n_frames
        bits = (word >> 36 & 31) + 1
        if found != told or bits < (source.bit_depth or 0):
            raise DamagedArchiveError(
                f"has {count(found[1], 'channel')} of {count(found[2], 'sample')} of {bits} "
                f"bits at {found[0]} Hz, the header says {told[1]} of {told[2]} of {source.bit_depth} "
                f"at {told[0]} Hz"
            )
