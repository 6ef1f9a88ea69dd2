"""Archives: files that hold the coded sound of one track, its tags and its pictures (SPEC.md).

`ArchiveWriter` and `ArchiveReader` are a pair; `verify_structure` reads everything that the reader
reads on demand. What the segments mean is the business of symbols.py: here they are bytes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from earzip.errors import (
    DamagedArchiveError,
    NotAnArchiveError,
    TagError,
    TargetError,
)
from earzip.formats.archive_file import ArchiveFile
from earzip.formats.archive_frames import MAX_FRAMES, compress_frame, compress_frames
from earzip.formats.archive_header import Header
from earzip.formats.archive_layout import (
    MAX_PART_BYTES,
    MAX_SEGMENT_BYTES,
    MAX_TAGS_BYTES,
    PREFIX_BYTES,
    Index,
    Part,
    PartKind,
    Prefix,
    checksum,
    pack_index_entry,
)
from earzip.formats.archive_tags import TagPart, pack_tag_part, unpack_tag_part
from earzip.formats.atomic import atomic_write
from earzip.formats.canonical_json import JsonValue

_SPOOL_MEMORY_BYTES = 8 << 20  # an hour at 16 kbps; a longer track goes through the disk
_COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class ArchiveSizes:
    """What the bytes of an archive are spent on; they add up to the file."""

    sound: int  # segments
    overhead: int  # prefix, header, index
    tags: int
    pictures: int

    @property
    def total(self) -> int:
        """The size of the file, in bytes."""
        return self.sound + self.overhead + self.tags + self.pictures


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong with a file: where, and what was found and expected."""

    part: str  # "prefix", "header", "index", "file", "segment 3", "tags", "picture 0"
    message: str
    segment: int | None = None  # the number of the segment that is lost, if it is one


class _UnfinishedError(Exception):
    """Makes the target's context manager undo what `finish` has not completed."""


class ArchiveWriter:
    """Writes one archive: segments as they come, then `finish` with all that is known by then.

    A context manager. A target that cannot be written is refused when it is entered, before any
    work; it appears in `finish` and only there, whole. Compressed segments wait in memory, those of
    a long track in an unnamed file in the target's folder.
    """

    def __init__(self, path: str | os.PathLike[str], *, replace: bool = True) -> None:
        self.path = Path(path)
        self._replace = replace
        self._index = bytearray()
        self._raw_bytes: list[int] = []
        self._spool = tempfile.SpooledTemporaryFile(  # noqa: SIM115  # closed by __exit__
            max_size=_SPOOL_MEMORY_BYTES, dir=str(self.path.parent)
        )
        self._target = ExitStack()

    def __enter__(self) -> Self:
        self._file = self._target.enter_context(atomic_write(self.path, replace=self._replace))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._spool.close()
        # After `finish` there is nothing left to undo.
        error = exc or _UnfinishedError()
        self._target.__exit__(type(error), error, traceback)

    def add_segment(self, *pieces: bytes) -> None:
        """Append a segment of one to `MAX_FRAMES` ``pieces``, none empty, each of one distribution.

        Raises `TargetError`: disk full.
        """
        assert 1 <= len(pieces) <= MAX_FRAMES
        stored = compress_frames(pieces)
        self._index += pack_index_entry(PartKind.SEGMENT, stored)
        self._raw_bytes.append(sum(map(len, pieces)))
        with self._disk():
            self._spool.write(stored)

    def finish(
        self,
        header: Header,
        *,
        tags: dict[str, JsonValue] | None = None,
        blocks: Sequence[bytes] = (),
        pictures: Sequence[bytes] = (),
        mtime_ns: int | None = None,
    ) -> ArchiveSizes:
        """Write the archive and return what its bytes are spent on.

        ``tags``: the neutral view; ``blocks``: the source's raw tag blocks; ``pictures``: image
        files in the order in which ``tags`` describes them, equal ones are stored once. Without
        ``tags`` there are neither. ``mtime_ns``: the file's time of modification. Raises
        `TargetError`, or `TagError` where tags are too large.
        """
        assert len(self._raw_bytes) == header.n_segments, "segments do not make up n_samples"
        assert max(self._raw_bytes, default=0) <= header.max_segment_bytes
        assert tags is not None or not (blocks or pictures)
        sound = self._spool.tell()
        images = {image: i for i, image in enumerate(dict.fromkeys(pictures))}
        tag_frame = b""
        if tags is not None:
            part = TagPart(tags, tuple(blocks), tuple(images[p] for p in pictures))
            tag_frame = self._tag_frame(part, largest=max(map(len, images), default=0))
            self._index += pack_index_entry(PartKind.TAGS, tag_frame)
        for image in images:
            self._index += pack_index_entry(PartKind.PICTURE, image)
        header_frame = compress_frame(header.to_bytes(), dictionary=True)
        sizes = ArchiveSizes(
            sound=sound,
            overhead=PREFIX_BYTES + len(header_frame) + len(self._index),
            tags=len(tag_frame),
            pictures=sum(map(len, images)),
        )
        prefix = Prefix(
            header_bytes=len(header_frame),
            index_bytes=len(self._index),
            file_bytes=sizes.total,
            header_checksum=checksum(header_frame),
            index_checksum=checksum(bytes(self._index)),
            minor=header.minor_version,
        )
        with self._disk():
            file = self._file
            file.write(prefix.pack())
            file.write(header_frame)
            file.write(self._index)
            self._spool.seek(0)
            while block := self._spool.read(_COPY_BYTES):
                file.write(block)
            file.write(tag_frame)
            for image in images:
                file.write(image)
            file.flush()
            if mtime_ns is not None:
                os.utime(file.fileno(), ns=(mtime_ns, mtime_ns))
        self._target.close()
        return sizes

    def _tag_frame(self, part: TagPart, *, largest: int) -> bytes:
        """Return the tag part as stored; ``largest``: bytes of its largest picture."""
        try:
            if largest > MAX_PART_BYTES:
                raise TagError(
                    f"a picture takes {largest} bytes, an archive holds {MAX_PART_BYTES}"
                )
            raw = pack_tag_part(part)
        except TagError as error:
            raise TagError(error.message, self.path) from error
        return compress_frame(raw, dictionary=True)

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Blame the target's folder for what the spool file meets."""
        try:
            yield
        except OSError as error:
            raise TargetError(f"cannot be written: {error.strerror or error}", self.path) from error


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
                _require_segments(self._index, self.header)
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
        overhead = self.prefix.file_bytes - sound - tags - pictures
        return ArchiveSizes(sound, overhead, tags, pictures)

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
        """Return the image files given to `ArchiveWriter.finish`, in the same order."""
        images = [self.picture(i) for i in range(self._index.count_of(PartKind.PICTURE))]
        return [images[i] for i in self._picture_numbers]

    def picture(self, i: int) -> bytes:
        """Return the image file of picture part ``i``; `TagPart.pictures` names these numbers."""
        with self._file.blamed(f"picture {i}"):
            return self._file.read_part(self._part(PartKind.PICTURE, i))

    def picture_sizes(self) -> list[int]:
        """Return the bytes of each of `pictures`, without reading them."""
        return [self._part(PartKind.PICTURE, i).n_bytes for i in self._picture_numbers]

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
                _require_segments(index, header)
        max_segment_bytes = header.max_segment_bytes if header else MAX_SEGMENT_BYTES
        n_pictures = index.count_of(PartKind.PICTURE)
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
                case _:
                    with recorded(f"part {i}"):
                        file.read_part(part)
    return damages


def _read_tags(file: ArchiveFile, part: Part, n_pictures: int) -> TagPart:
    raw = file.read_frame(part, MAX_TAGS_BYTES, dictionary=True)
    return unpack_tag_part(raw, n_picture_parts=n_pictures)


def _require_segments(index: Index, header: Header) -> None:
    found = index.count_of(PartKind.SEGMENT)
    if found != header.n_segments:
        raise DamagedArchiveError(
            f"index lists {found} segments, {header.n_samples} samples take {header.n_segments}"
        )
