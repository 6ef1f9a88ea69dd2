"""The bytes around the contents of an archive: prefix, index, checksums, limits.

Every function checks what it reads against SPEC.md and raises an `ArchiveError` without a path;
the caller that knows the path adds it. Nothing is allocated from a number that has not been checked.
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate

from earzip.errors import DamagedArchiveError, NotAnArchiveError, UnsupportedArchiveError
from earzip.formats.geometry import MAX_INTEGER_BYTES, SEGMENT_SLACK_BYTES

MAGIC = b"\x89EARZ\r\n\x1a"
MAJOR_VERSION = 1
MINOR_VERSION = 5  # the newest; an archive states the oldest that has all it uses

_PREFIX = struct.Struct("<8sHHIQI8s8s")  # and its own checksum
CHECKSUM_BYTES = 8
PREFIX_BYTES = _PREFIX.size + CHECKSUM_BYTES  # 52
_INDEX_ENTRY = struct.Struct("<I8s")
INDEX_ENTRY_BYTES = _INDEX_ENTRY.size  # 12
_LENGTH_BITS = 28
_ALL_KINDS = range((1 << (32 - _LENGTH_BITS)) + 1)  # that an entry can name, and one beyond

# Limits of the format, in bytes: what a reader may have to allocate for a file it cannot trust.
MAX_PART_BYTES = (1 << _LENGTH_BITS) - 1  # as stored
MAX_EXACT_PART_BYTES = 16 << 20  # as stored: a reader holds one piece of an exact copy at a time
MAX_HEADER_BYTES = 1 << 20  # of the JSON; its frame, too, is not longer
MAX_INDEX_BYTES = 3 << 20  # 262,144 parts
MAX_OTHER_PARTS = 8192  # than segments
# Decompressed; a header's own limit is tighter.
MAX_SEGMENT_BYTES = MAX_INTEGER_BYTES + SEGMENT_SLACK_BYTES
MAX_TAGS_BYTES = 70 << 20  # decompressed: the JSON and the raw tag blocks


class PartKind(IntEnum):
    """What a part holds; the order of kinds is the order of parts in the file."""

    SEGMENT = 1
    TAGS = 2
    PICTURE = 3
    EXACT = 4
    """A piece of the exact copy of the source; joined in their order they are one file."""


@dataclass(frozen=True)
class ArchiveSizes:
    """What the bytes of an archive are spent on; they add up to the file."""

    sound: int  # segments
    overhead: int  # prefix, header, index
    tags: int
    pictures: int
    exact: int = 0  # the exact copy of the source

    @property
    def total(self) -> int:
        """The size of the file, in bytes."""
        return self.sound + self.overhead + self.tags + self.pictures + self.exact


def checksum(data: bytes) -> bytes:
    """Return the first 8 bytes of SHA-256: against accident, not against forgery."""
    return hashlib.sha256(data).digest()[:CHECKSUM_BYTES]


def require_checksum(data: bytes, expected: bytes) -> None:
    """Raise `DamagedArchiveError` unless ``data`` has the checksum ``expected``."""
    if checksum(data) != expected:
        raise DamagedArchiveError("bytes have changed")


@dataclass(frozen=True)
class Prefix:
    """The first 52 bytes: version, sizes, and the checksums of header and index."""

    header_bytes: int
    index_bytes: int
    file_bytes: int
    header_checksum: bytes
    index_checksum: bytes
    minor: int
    major: int = MAJOR_VERSION

    def pack(self) -> bytes:
        """Return the 52 bytes of this prefix; the inverse of `unpack`."""
        fields = _PREFIX.pack(
            MAGIC,
            self.major,
            self.minor,
            self.header_bytes,
            self.file_bytes,
            self.index_bytes,
            self.header_checksum,
            self.index_checksum,
        )
        return fields + checksum(fields)

    @classmethod
    def unpack(cls, data: bytes) -> Prefix:
        """Return the prefix at the beginning of ``data``, the first 52 bytes of a file or fewer.

        Raises `NotAnArchiveError`, `DamagedArchiveError` or `UnsupportedArchiveError`.
        """
        _require_magic(data)
        magic, major, minor, header_bytes, file_bytes, index_bytes, header_sum, index_sum = (
            _PREFIX.unpack(data[: _PREFIX.size])
        )
        stored = data[_PREFIX.size : PREFIX_BYTES]
        # The prefix is the same in all versions, so its checksum tells damage from novelty.
        require_checksum(MAGIC + data[len(MAGIC) : _PREFIX.size], stored)
        if magic != MAGIC:
            raise DamagedArchiveError(f"magic is {magic.hex()}, expected {MAGIC.hex()}")
        if major != MAJOR_VERSION:
            raise UnsupportedArchiveError(
                f"format version {major}.{minor} needs a newer earzip: "
                f"this one reads version {MAJOR_VERSION}"
            )
        _require_at_most("header", header_bytes, MAX_HEADER_BYTES)
        _require_at_most("index", index_bytes, MAX_INDEX_BYTES)
        if index_bytes % INDEX_ENTRY_BYTES:
            raise DamagedArchiveError(
                f"index is {index_bytes} bytes, expected a multiple of {INDEX_ENTRY_BYTES}"
            )
        return cls(header_bytes, index_bytes, file_bytes, header_sum, index_sum, minor, major)


def _require_magic(data: bytes) -> None:
    if not data:
        raise NotAnArchiveError("is empty")
    if len(data) < PREFIX_BYTES:
        if data.startswith(MAGIC[: len(data)]):
            raise DamagedArchiveError(
                f"is {len(data)} bytes, shorter than the prefix of {PREFIX_BYTES}"
            )
        raise NotAnArchiveError("is not an earzip archive")
    # A prefix that fits its checksum but for the magic is an archive with a damaged magic.
    repaired = MAGIC + data[len(MAGIC) : _PREFIX.size]
    if not data.startswith(MAGIC) and checksum(repaired) != data[_PREFIX.size : PREFIX_BYTES]:
        raise NotAnArchiveError("is not an earzip archive")


def _require_at_most(what: str, n_bytes: int, limit: int) -> None:
    if n_bytes > limit:
        raise DamagedArchiveError(f"{what} is {n_bytes} bytes, the limit is {limit}")


@dataclass(frozen=True)
class Part:
    """The place of a part in the file, and the checksum of its stored bytes."""

    kind: int  # a `PartKind`, or a number of a later minor version
    offset: int
    n_bytes: int
    checksum: bytes


class Index:
    """The parts of an archive in the order of the file, without a gap between them."""

    def __init__(self, data: bytes, begin: int) -> None:
        """Take the bytes of an index whose parts begin at offset ``begin`` of the file.

        Raises `DamagedArchiveError` where kinds are out of order or a length is out of range.
        """
        self._data = data
        self._begin = begin
        words = [word for word, _ in _INDEX_ENTRY.iter_unpack(data)]
        self._kinds = kinds = [word >> _LENGTH_BITS for word in words]
        self._lengths = [word & MAX_PART_BYTES for word in words]
        self._ends = list(accumulate(self._lengths, initial=begin))[1:]
        if kinds != sorted(kinds) or (kinds and kinds[0] == 0):
            raise DamagedArchiveError("the index does not list its parts in the order of kinds")
        # Looked up once for all kinds: archives are opened by the thousand, and each look is slow.
        self._firsts = [bisect_left(kinds, kind) for kind in _ALL_KINDS]
        self._require_parts()

    def _require_parts(self) -> None:
        n_others = len(self) - self.count_of(PartKind.SEGMENT)
        if n_others > MAX_OTHER_PARTS:
            raise DamagedArchiveError(
                f"the index lists {n_others} parts besides segments, the limit is {MAX_OTHER_PARTS}"
            )
        n_tags = self.count_of(PartKind.TAGS)
        if n_tags > 1 or (self.count_of(PartKind.PICTURE) and not n_tags):
            raise DamagedArchiveError(f"the index lists {n_tags} tag parts, expected one")
        for kind in (PartKind.SEGMENT, PartKind.TAGS, PartKind.EXACT):
            if self.count_of(kind) and not all(self._lengths_of(kind)):
                raise DamagedArchiveError("the index lists a part of 0 bytes that is not a picture")
        if self.count_of(PartKind.EXACT):
            longest = max(self._lengths_of(PartKind.EXACT))
            _require_at_most("a piece of the exact copy", longest, MAX_EXACT_PART_BYTES)

    def _lengths_of(self, kind: PartKind) -> list[int]:
        return self._lengths[self._firsts[kind] : self._firsts[kind + 1]]

    def __len__(self) -> int:
        return len(self._kinds)

    def __getitem__(self, i: int) -> Part:
        n_bytes = self._lengths[i]
        stored = self._data[i * INDEX_ENTRY_BYTES + 4 : (i + 1) * INDEX_ENTRY_BYTES]
        return Part(self._kinds[i], self._ends[i] - n_bytes, n_bytes, stored)

    def __iter__(self) -> Iterator[Part]:
        return (self[i] for i in range(len(self)))

    @property
    def end(self) -> int:
        """Where the last part ends: the length of the whole file."""
        return self._end_before(len(self))

    def _end_before(self, i: int) -> int:
        """Return where part ``i`` begins, or would begin: at the end of the one before it."""
        return self._ends[i - 1] if i else self._begin

    def count_of(self, kind: PartKind) -> int:
        """Return how many parts are of ``kind``."""
        return self._firsts[kind + 1] - self._firsts[kind]

    def sizes_of(self, kind: PartKind) -> list[int]:
        """Return the bytes of each part of ``kind``."""
        return self._lengths_of(kind)

    def first_of(self, kind: int) -> int:
        """Return the number of the first part of ``kind``, or where it would be."""
        return self._firsts[kind]

    def bytes_of(self, kind: PartKind) -> int:
        """Return how many bytes the parts of ``kind`` take in the file."""
        return self._end_before(self._firsts[kind + 1]) - self._end_before(self._firsts[kind])


def pack_index_entry(kind: PartKind, stored: bytes) -> bytes:
    """Return the 12 bytes that list a part whose bytes in the file are ``stored``."""
    assert len(stored) <= MAX_PART_BYTES
    return _INDEX_ENTRY.pack(kind << _LENGTH_BITS | len(stored), checksum(stored))
