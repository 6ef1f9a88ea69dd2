"""Archives, read: files that hold the coded sound of one track, its tags and pictures (SPEC.md).

`ArchiveReader` reads on demand what `earzip.formats.archive_writer.ArchiveWriter` has written;
`verify_structure` reads all of it. What the segments mean is the business of symbols.py: here they
are bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from earzip.errors import (
    DamagedArchiveError,
    NotAnArchiveError,
)
from earzip.formats.archive_file import ArchiveFile
from earzip.formats.archive_header import Header
from earzip.formats.archive_layout import (
    MAX_SEGMENT_BYTES,
    MAX_TAGS_BYTES,
    ArchiveSizes,
    Index,
    Part,
    PartKind,
)
from earzip.formats.archive_tags import TagPart, unpack_tag_part


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong with a file: where, and what was found and expected."""

    part: str  # "prefix", "header", "index", "file", "segment 3", "tags", "picture 0", …
    message: str
    segment: int | None = None  # the number of the segment that is lost, if it is one


class ArchiveReader:
    """Reads one archive: prefix, header and index at once, the rest when it is asked for.

    A context manager. Raises `ArchiveError` (or a kind of it) with the path for whatever is wrong,
    before anything that is wrong is used. ``salvage`` opens a file that was cut short or added to,
    for the sake of the segments that are whole; ``wrong_length`` then says what is wrong with it.
    """

    def __init__(self, path: str | os.PathLike[str], *, salvage: bool = False) -> None:
        self._file = ArchiveFile(path)
        try:
            with self._file.blamed():
                self.prefix = self._file.read_prefix()
                self.wrong_length = self._file.wrong_length(self.prefix.file_bytes)
                if self.wrong_length and not salvage:
                    raise DamagedArchiveError(self.wrong_length)
                self.header = self._file.read_header(self.prefix)
                self._index = self._file.read_index(self.prefix)
                _require_parts(self._index, self.header)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    @property
    def path(self) -> Path:
        """The file this reads."""
        return self._file.path

    @property
    def n_segments(self) -> int:
        """How many segments there are: as many as the header's samples need."""
        return self.header.n_segments

    @property
    def sizes(self) -> ArchiveSizes:
        """What the bytes of the file are spent on."""
        sound = self._index.bytes_of(PartKind.SEGMENT)
        tags = self._index.bytes_of(PartKind.TAGS)
        pictures = self._index.bytes_of(PartKind.PICTURE)
        exact = self._index.bytes_of(PartKind.EXACT)
        overhead = self.prefix.file_bytes - sound - tags - pictures - exact
        return ArchiveSizes(sound, overhead, tags, pictures, exact)

    def segment(self, i: int) -> bytes:
        """Return the pieces given to `ArchiveWriter.add_segment` for segment ``i``, joined.

        At most ``header.max_segment_bytes``. Safe to call from several threads.
        """
        with self._file.blamed(f"segment {i} of {self.n_segments}"):
            part = self._part(PartKind.SEGMENT, i)
            return self._file.read_frames(part, self.header.max_segment_bytes)

    @cached_property
    def tags(self) -> TagPart | None:
        """The neutral view and the raw tag blocks, or None if the archive has no tag part."""
        if not self._index.count_of(PartKind.TAGS):
            return None
        n_pictures = self._index.count_of(PartKind.PICTURE)
        with self._file.blamed("tags"):
            return _read_tags(self._file, self._part(PartKind.TAGS, 0), n_pictures)

    def pictures(self) -> list[bytes]:
        """Return the image files given to `ArchiveWriter.write`, in the same order."""
        images = [self.picture(i) for i in range(self._index.count_of(PartKind.PICTURE))]
        return [images[i] for i in self._picture_numbers]

    def picture(self, i: int) -> bytes:
        """Return the image file of picture part ``i``; `TagPart.pictures` names these numbers."""
        with self._file.blamed(f"picture {i}"):
            return self._file.read_part(self._part(PartKind.PICTURE, i))

    def picture_checksum(self, i: int) -> bytes:
        """Return the checksum of picture part ``i`` without reading it: equal pictures share it."""
        return self._part(PartKind.PICTURE, i).checksum

    def picture_sizes(self) -> list[int]:
        """Return the bytes of each of `pictures`, without reading them."""
        return [self._part(PartKind.PICTURE, i).n_bytes for i in self._picture_numbers]

    def exact_copy(self) -> BinaryIO:
        """Return the exact copy of the source, every byte checked: a file to read and to seek in.

        Its form is ``header.exact``, which must not be None; one of the form "file" has the SHA-256
        of the source. It outlives this reader.
        """
        assert self.header.exact is not None
        digest = hashlib.sha256()
        parts = [self._part(PartKind.EXACT, i) for i in range(self._index.count_of(PartKind.EXACT))]
        for i, part in enumerate(parts):
            with self._file.blamed(f"exact copy, piece {i}"):
                digest.update(self._file.read_part(part))
        with self._file.blamed("exact copy"):
            _require_source(self.header, digest.hexdigest())
        return self._file.span(parts[0].offset, self._index.bytes_of(PartKind.EXACT))

    @property
    def _picture_numbers(self) -> tuple[int, ...]:
        return self.tags.pictures if self.tags else ()

    def _part(self, kind: PartKind, i: int) -> Part:
        if not 0 <= i < self._index.count_of(kind):
            raise IndexError(f"{kind.name.lower()} {i} of {self._index.count_of(kind)}")
        return self._index[self._index.first_of(kind) + i]


def verify_structure(path: str | os.PathLike[str]) -> list[Damage]:
    """Return everything that is wrong with the bytes of an archive; nothing for a whole one.

    Reads and decompresses every part, but does not decode sound. Does not stop at the first damage,
    only where nothing can be found any more (prefix, index). Raises `ArchiveError` for a file that
    cannot be read, and `UnsupportedArchiveError` for one that needs a newer earzip.
    """
    damages: list[Damage] = []

    @contextmanager
    def recorded(part: str, segment: int | None = None) -> Iterator[None]:
        try:
            with file.blamed():
                yield
        except (DamagedArchiveError, NotAnArchiveError) as error:
            damages.append(Damage(part, error.message, segment))

    prefix, header, index = None, None, None
    with ArchiveFile(path) as file:
        with recorded("prefix"):
            prefix = file.read_prefix()
        if prefix is None:
            return damages
        if wrong_length := file.wrong_length(prefix.file_bytes):
            damages.append(Damage("file", wrong_length))
        with recorded("header"):
            header = file.read_header(prefix)
        with recorded("index"):
            index = file.read_index(prefix)
        if index is None:
            return damages
        if header is not None:
            with recorded("index"):
                _require_parts(index, header)
        max_segment_bytes = header.max_segment_bytes if header else MAX_SEGMENT_BYTES
        n_pictures = index.count_of(PartKind.PICTURE)
        copy_digest = hashlib.sha256()
        for i, part in enumerate(index):
            number = i - index.first_of(part.kind)
            match part.kind:
                case PartKind.SEGMENT:
                    with recorded(f"segment {number}", segment=number):
                        raw = file.read_frames(part, max_segment_bytes)
                        if header and number < header.n_segments:
                            header.unpack_segment(raw, number)
                case PartKind.TAGS:
                    with recorded("tags"):
                        _read_tags(file, part, n_pictures)
                case PartKind.PICTURE:
                    with recorded(f"picture {number}"):
                        file.read_part(part)
                case PartKind.EXACT:
                    with recorded(f"exact copy, piece {number}"):
                        copy_digest.update(file.read_part(part))
                case _:
                    with recorded(f"part {i}"):
                        file.read_part(part)
        if header and not any(damage.part.startswith("exact copy") for damage in damages):
            with recorded("exact copy"):
                _require_source(header, copy_digest.hexdigest())
    return damages


def _require_source(header: Header, sha256: str) -> None:
    """Refuse an exact copy of ``sha256`` that is to be the source file, and is not."""
    if header.exact == "file" and sha256 != header.source.sha256:
        raise DamagedArchiveError(
            f"its SHA-256 is {sha256[:16]}…, the header says {header.source.sha256[:16]}…"
        )


def _read_tags(file: ArchiveFile, part: Part, n_pictures: int) -> TagPart:
    raw = file.read_frame(part, MAX_TAGS_BYTES, dictionary=True)
    return unpack_tag_part(raw, n_picture_parts=n_pictures)


def _require_parts(index: Index, header: Header) -> None:
    found = index.count_of(PartKind.SEGMENT)
    if found != header.n_segments:
        raise DamagedArchiveError(
            f"index lists {found} segments, {header.n_samples} samples take {header.n_segments}"
        )
    n_exact = index.count_of(PartKind.EXACT)
    if bool(n_exact) != (header.exact is not None):
        raise DamagedArchiveError(
            f"index lists {n_exact} parts of an exact copy, the header says {header.exact or 'none'}"
        )
