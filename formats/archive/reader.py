"""Archives, read: files that hold the coded sound of one track, its tags and pictures (SPEC.md).

`ArchiveReader` reads on demand what `earzip.formats.archive.writer.ArchiveWriter` has written;
`verify_structure` reads all of it. What the segments mean is the business of symbols.py: here they
are bytes.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Self

from earzip.errors import (
    ArchiveError,
    DamagedArchiveError,
    TooMuchWorkError,
)
from earzip.formats.archive.exact_copy import CopyCheck
from earzip.formats.archive.frames import decompress_frame, decompress_frames
from earzip.formats.archive.header import Header
from earzip.formats.archive.layout import (
    CHECKSUM_BYTES,
    MAX_HEADER_BYTES,
    MAX_TAGS_BYTES,
    PREFIX_BYTES,
    ArchiveSizes,
    Index,
    Part,
    PartKind,
    Prefix,
    require_checksum,
)
from earzip.formats.archive.shared import SharedPicture, read_shared
from earzip.formats.archive.stand_in import filler_of
from earzip.formats.archive.tag_part import TagPart, unpack_tag_part
from earzip.formats.containers.spans import SpanFile
from earzip.formats.symbols.work import most_work, segment_work, work_limit


class ArchiveReader:
    """Reads one archive: prefix, header and index at once, the rest on demand.

    A context manager. Raises `ArchiveError` (or a subclass) with the path before anything wrong is
    used. ``salvage`` opens a file that was cut short or added to, for the sake of the segments that are
    whole; ``wrong_length`` then says what is wrong with it.
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
                require_parts(self._index, self.header)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
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

    def require_work(self) -> None:
        """Raise `TooMuchWorkError` for segments that are not worth their decoding, or a bomb."""
        with self._file.blamed():
            require_work(self._file, self.header, self._index)

    def segment(self, i: int) -> bytes:
        """Return the pieces given to `ArchiveWriter.add_segment` for segment ``i``, joined.

        At most ``header.max_segment_bytes``. Safe to call from several threads.
        """
        with self._file.blamed(self.header.segment_name(i)):
            part = self._part(PartKind.SEGMENT, i)
            return self._file.read_frames(part, self.header.max_segment_bytes)

    def stored_segment(self, i: int) -> tuple[bytes, bytes]:
        """Return the bytes of segment ``i`` in the file, and what they decompress to, as `segment`."""
        with self._file.blamed(self.header.segment_name(i)):
            stored = self._file.read_part(self._part(PartKind.SEGMENT, i))
            return stored, decompress_frames(stored, max_bytes=self.header.max_segment_bytes)

    def segment_checksums(self) -> list[bytes]:
        """Return the checksum of each segment without reading it: equal segments share it."""
        return [self._part(PartKind.SEGMENT, i).checksum for i in range(self.n_segments)]

    @property
    def tags_span(self) -> tuple[int, int] | None:
        """Where the tag part begins and ends in the file, None if there is none."""
        if not self._index.count_of(PartKind.TAGS):
            return None
        part = self._part(PartKind.TAGS, 0)
        return part.offset, part.offset + part.n_bytes

    @cached_property
    def tags(self) -> TagPart | None:
        """The neutral view and the raw tag blocks, or None if the archive has no tag part."""
        if not self._index.count_of(PartKind.TAGS):
            return None
        with self._file.blamed("tags"):
            return read_tags(self._file, self._index, self.header)

    def pictures(self) -> list[bytes]:
        """Return the image files given to `ArchiveWriter.write`, in the same order."""
        images = {i: self.picture(i) for i in dict.fromkeys(self._picture_numbers)}
        return [images[i] for i in self._picture_numbers]

    def picture(self, i: int) -> bytes:
        """Return image file ``i`` of those in the archive and then those it shares.

        `TagPart.pictures` names these numbers. Raises `MissingPictureError` if a shared one is not there.
        """
        with self._file.blamed(f"picture {i + 1}"):
            if shared := self.shared_picture(i):
                return read_shared(self.path, shared)
            return self._file.read_part(self._part(PartKind.PICTURE, i))

    def shared_picture(self, i: int) -> SharedPicture | None:
        """Return the record of picture ``i`` if it is a shared one, None if it is in the archive."""
        n_parts = self._index.count_of(PartKind.PICTURE)
        return (self.header.shared or ())[i - n_parts] if i >= n_parts else None

    def picture_checksum(self, i: int) -> bytes:
        """Return the checksum of picture ``i`` without reading it: equal pictures share it."""
        if shared := self.shared_picture(i):
            return bytes.fromhex(shared.sha256)[:CHECKSUM_BYTES]
        return self._part(PartKind.PICTURE, i).checksum

    def picture_sizes(self) -> list[int]:
        """Return the bytes of each of `pictures`, without reading them."""
        sizes = picture_sizes(self._index, self.header)
        return [sizes[i] for i in self._picture_numbers]

    @property
    def status(self) -> os.stat_result:
        """The state of the file when it was opened."""
        return self._file.status

    def exact_copy(self, on_progress: Callable[[float], None] | None = None) -> BinaryIO:
        """Return the exact copy of the source, every byte checked: a file to read and to seek in.

        Its form is ``header.exact``, which must not be None; one of the form "file" has the SHA-256
        of the source. It outlives this reader. ``on_progress`` is called with 0 for each piece, and
        may raise to end it.
        """
        assert self.header.exact is not None
        copy = CopyCheck(self.header)
        parts = [self._part(PartKind.EXACT, i) for i in range(self._index.count_of(PartKind.EXACT))]
        for i, part in enumerate(parts):
            if on_progress:
                on_progress(0)
            with self._file.blamed(f"exact copy, piece {i + 1}"):
                copy.add(self._file.read_part(part))
        with self._file.blamed("exact copy"):
            copy.finish()
            return self._file.span(parts[0].offset, self._index.bytes_of(PartKind.EXACT))

    def whole_file(self) -> BinaryIO:
        """Return the file itself, to read and to seek in. Nothing is checked; it outlives this reader."""
        return self._file.span(0, self.prefix.file_bytes)

    @property
    def _picture_numbers(self) -> tuple[int, ...]:
        return self.tags.pictures if self.tags else ()

    def _part(self, kind: PartKind, i: int) -> Part:
        if not 0 <= i < self._index.count_of(kind):
            raise IndexError(f"{kind.name.lower()} {i} of {self._index.count_of(kind)}")
        return self._index[self._index.first_of(kind) + i]


def read_tags(file: ArchiveFile, index: Index, header: Header) -> TagPart:
    """Return the tag part of an archive that has one, checked against its pictures."""
    raw = file.read_frame(index[index.first_of(PartKind.TAGS)], MAX_TAGS_BYTES, dictionary=True)
    return unpack_tag_part(raw, picture_sizes(index, header))


def picture_sizes(index: Index, header: Header) -> list[int]:
    """Return the bytes of each picture that is stored: the picture parts, then those shared."""
    return index.sizes_of(PartKind.PICTURE) + [each.n_bytes for each in header.shared or ()]


def require_parts(index: Index, header: Header) -> None:
    """Refuse an index whose parts are not those that the header tells of."""
    found = index.count_of(PartKind.SEGMENT)
    if found != header.n_segments:
        raise DamagedArchiveError(
            f"index lists {found} segments, {header.n_samples} samples take {header.n_segments}"
        )
    if header.shared and not index.count_of(PartKind.TAGS):
        raise DamagedArchiveError("the header lists shared pictures, the index has no tags")
    n_exact = index.count_of(PartKind.EXACT)
    if bool(n_exact) != (header.exact is not None):
        raise DamagedArchiveError(
            f"index lists {n_exact} parts of an exact copy, the header says {header.exact or 'none'}"
        )


def require_work(
    file: ArchiveFile, header: Header, index: Index, on_part: Callable[[], None] = lambda: None
) -> None:
    """Refuse an archive whose segments ask for more work than one of its size may.

    Reads them only if they could. A segment that is damaged asks for none. ``on_part`` is called
    before each is read, and may raise to end it.
    """
    coding, n_latents, n_segments = header.symbols, header.model.n_latents, header.n_segments
    limit = work_limit(file.n_bytes)
    if n_segments * most_work(coding, n_latents, header.geometry.core) <= limit:
        return
    units = 0
    for i in range(min(n_segments, index.count_of(PartKind.SEGMENT))):
        on_part()
        with suppress(DamagedArchiveError):
            raw = file.read_frames(index[i], header.max_segment_bytes)
            units += segment_work(raw, coding, n_latents, header.segment_frames(i))
        if units > limit:
            raise TooMuchWorkError(
                f"its sound asks for more than {limit} units of work, the limit for {file.n_bytes} bytes"
            )


class _OwnedSpan(SpanFile):
    """Closes the file that it is a part of."""

    def close(self) -> None:
        self._file.close()
        super().close()


class ArchiveFile:
    """An open file, read at given places, from several threads if need be.

    Its methods raise `DamagedArchiveError` and kin without a path, and `OSError`: call them in
    a `blamed` block.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._fill = filler_of(self.path)
        with self.blamed():
            # NONBLOCK: opening a pipe must not wait for its other end.
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                self.status = os.fstat(self._descriptor)
                if not stat.S_ISREG(self.status.st_mode):
                    raise ArchiveError("is not a regular file")
            except BaseException:
                self.close()
                raise
            self._n_bytes = self.status.st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # what was read of it has been read
            os.close(self._descriptor)

    @contextmanager
    def blamed(self, part: str = "") -> Iterator[None]:
        """Give the errors of a block this file's path, and the name of the ``part`` they are in."""
        try:
            yield
        except ArchiveError as error:
            message = f"{part}: {error.message}" if part else error.message
            raise type(error)(message, self.path) from error
        except OSError as error:
            raise ArchiveError(f"cannot be read: {error.strerror or error}", self.path) from error

    @property
    def n_bytes(self) -> int:
        """The size of the file when it was opened."""
        return self._n_bytes

    def wrong_length(self, n_bytes: int) -> str | None:
        """Return what is wrong with the length of a file that should have ``n_bytes``, or None."""
        if self._n_bytes == n_bytes:
            return None
        what = "cut short" if self._n_bytes < n_bytes else "added to"
        return f"was {what}: has {self._n_bytes} bytes, should have {n_bytes}"

    def read_prefix(self) -> Prefix:
        """Return the prefix, checked."""
        return Prefix.unpack(self._read_up_to(PREFIX_BYTES, 0))

    def begins_with_zeros(self) -> bool:
        """Return whether there are zeros, or nothing, in place of the prefix. Raises ArchiveError."""
        with self.blamed():
            return not any(self._read_up_to(PREFIX_BYTES, 0))

    def read_header(self, prefix: Prefix) -> Header:
        """Return the header, checked."""
        stored = self._read(PREFIX_BYTES, prefix.header_bytes)
        require_checksum(stored, prefix.header_checksum)
        raw = decompress_frame(stored, max_bytes=MAX_HEADER_BYTES, dictionary=True)
        return Header.from_bytes(raw)

    def read_index(self, prefix: Prefix) -> Index:
        """Return the index, checked by itself and against the prefix."""
        begin = PREFIX_BYTES + prefix.header_bytes
        stored = self._read(begin, prefix.index_bytes)
        require_checksum(stored, prefix.index_checksum)
        index = Index(stored, begin + prefix.index_bytes)
        if index.end != prefix.file_bytes:
            raise DamagedArchiveError(
                f"the parts of the index end at {index.end}, the file at {prefix.file_bytes}"
            )
        return index

    def read_part(self, part: Part) -> bytes:
        """Return the stored bytes of ``part``, checked."""
        stored = self._read(part.offset, part.n_bytes)
        require_checksum(stored, part.checksum)
        return stored

    def read_frame(self, part: Part, max_bytes: int, *, dictionary: bool) -> bytes:
        """Return what ``part`` decompresses to: 1 to ``max_bytes`` bytes."""
        return decompress_frame(self.read_part(part), max_bytes=max_bytes, dictionary=dictionary)

    def read_frames(self, part: Part, max_bytes: int) -> bytes:
        """Return what the frames of ``part`` decompress to, joined: 1 to ``max_bytes`` bytes."""
        return decompress_frames(self.read_part(part), max_bytes=max_bytes)

    def span(self, offset: int, n_bytes: int) -> BinaryIO:
        """Return ``n_bytes`` from ``offset`` on as a file of their own, which outlives this one.

        Nothing in it is checked: read its parts before.
        """
        file = os.fdopen(os.dup(self._descriptor), "rb")
        return io.BufferedReader(_OwnedSpan(file, [(offset, n_bytes)]))

    def _read(self, offset: int, n_bytes: int) -> bytes:
        # The size first: nothing is allocated for bytes that are not there.
        if offset + n_bytes > self._n_bytes:
            raise DamagedArchiveError(
                f"file ends at {self._n_bytes}, expected {n_bytes} bytes at {offset}"
            )
        data = self._read_up_to(n_bytes, offset)
        if len(data) != n_bytes:
            raise DamagedArchiveError(f"{len(data)} bytes at {offset}, expected {n_bytes}")
        return data

    def _read_up_to(self, n_bytes: int, offset: int) -> bytes:
        """Return ``n_bytes`` from ``offset`` on, fewer only at the end of the file."""
        if self._fill:
            self._fill(offset, n_bytes)
        data = os.pread(self._descriptor, n_bytes, offset)
        if len(data) in (0, n_bytes):
            return data
        pieces = [data]  # network file systems, and signals, may give less than there is
        while data and (missing := n_bytes - sum(map(len, pieces))):
            data = os.pread(self._descriptor, missing, offset + n_bytes - missing)
            pieces.append(data)
        return b"".join(pieces)
