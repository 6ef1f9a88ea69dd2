"""Archives, written; the inverse of archive.py."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

from earzip.errors import SourceError, TagError, TargetError
from earzip.formats.archive.frames import MAX_FRAMES, compress_frame, compress_frames
from earzip.formats.archive.header import Header
from earzip.formats.archive.layout import (
    INDEX_ENTRY_BYTES,
    MAX_OTHER_PARTS,
    PREFIX_BYTES,
    ArchiveSizes,
    PartKind,
    Prefix,
    checksum,
    pack_index_entry,
)
from earzip.formats.archive.shared import SharedPicture, keep_shared
from earzip.formats.archive.tag_part import TagPart, pack_tag_part
from earzip.formats.atomic import atomic_write, set_mtime
from earzip.formats.canonical_json import JsonValue
from earzip.formats.symbols.work import WORK_HEAD_BYTES, most_work, segment_work, work_limit

_SPOOL_MEMORY_BYTES = 8 << 20  # an hour at 16 kbps; a longer track goes through the disk
_COPY_BYTES = 1 << 20
PIECE_BYTES = 8 << 20
"""Of each piece but the last. A reader holds one at a time."""
_MAX_PIECES = MAX_OTHER_PARTS // 2


class ArchiveWriter:
    """Writes one archive: segments as they come, `write` with all that is known by then, `commit`.

    A context manager. A target that cannot be written is refused when it is entered, before any
    work; it appears in `commit` and only there, whole. Before that, what `write` has written can be
    read at ``temporary``, and written again with what was found out. Compressed segments wait in
    memory, those of a long track in an unnamed file in the target's folder. ``mode``: the target's
    permissions, less the umask.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        replace: bool = True,
        mode: int = 0o666,
        piece_bytes: int = PIECE_BYTES,
    ) -> None:
        self.path = Path(path)
        self._replace = replace
        self._mode = mode
        self._piece_bytes = piece_bytes
        self._index = bytearray()
        self._raw_bytes: list[int] = []
        self._heads: list[bytes] = []
        self._sound_bytes = 0
        self._shared: list[bytes] = []
        self._spool = tempfile.SpooledTemporaryFile(  # noqa: SIM115  # closed by __exit__
            max_size=_SPOOL_MEMORY_BYTES, dir=str(self.path.parent)
        )
        self._target = ExitStack()

    def __enter__(self) -> Self:
        writing = atomic_write(self.path, replace=self._replace, mode=self._mode)
        self._file = self._target.enter_context(writing)
        return self

    def __exit__(self, *exc: Any) -> None:
        with suppress(OSError):  # writing its buffer may fail again
            self._spool.close()
        self._file.discard()  # after `commit` there is nothing left to undo
        self._target.__exit__(*exc)

    def add_segment(self, *pieces: bytes) -> None:
        """Append a segment of one to `MAX_FRAMES` ``pieces``, none empty, each of one distribution.

        Raises `TargetError`: disk full.
        """
        assert 1 <= len(pieces) <= MAX_FRAMES
        self.add_stored_segment(compress_frames(pieces), b"".join(pieces))

    def add_stored_segment(self, stored: bytes, raw: bytes) -> None:
        """Append a segment as another archive stores it, which decompresses to ``raw``.

        Raises `TargetError`: disk full.
        """
        self._index += pack_index_entry(PartKind.SEGMENT, stored)
        self._raw_bytes.append(len(raw))
        self._heads.append(raw[:WORK_HEAD_BYTES])
        self._sound_bytes += len(stored)
        with self._disk():
            self._spool.write(stored)

    def remove_segments(self) -> None:
        """Begin with the segments again: the sound is coded once more. Raises `TargetError`."""
        self._index.clear()
        self._raw_bytes.clear()
        self._heads.clear()
        self._sound_bytes = 0
        with self._disk():
            self._spool.seek(0)
            self._spool.truncate()

    @property
    def temporary(self) -> Path:
        """The file that `write` fills and to which `commit` gives the target's name."""
        return Path(self._file.name)

    def write(
        self,
        header: Header,
        *,
        tags: dict[str, JsonValue] | None = None,
        blocks: Sequence[bytes] = (),
        pictures: Sequence[bytes] = (),
        exact: BinaryIO | None = None,
    ) -> ArchiveSizes:
        """Write the whole archive to `temporary` and return what its bytes are spent on.

        What an earlier call wrote there is replaced. ``tags``: the neutral view; ``blocks``: the
        source's raw tag blocks; ``pictures``: image files in the order in which ``tags`` describes
        them, equal ones are stored once, and those that ``header`` lists as shared not here: `commit`
        puts them beside the archive. Without ``tags`` there are neither. ``exact``: the exact
        copy of the source, read twice from its beginning to its end; there if ``header`` names its
        form. Raises `TargetError`, `TagError` where tags are too large, or `SourceError` for an
        exact copy that cannot be read or changes meanwhile.
        """
        assert len(self._raw_bytes) == header.n_segments, "segments do not add up to n_samples"
        assert max(self._raw_bytes, default=0) <= header.max_segment_bytes
        assert tags is not None or not (blocks or pictures)
        assert (header.exact is None) == (exact is None)
        index = bytearray(self._index)
        images, self._shared = _parted(pictures, header.shared or ())
        stored = [*images, *self._shared]
        numbers = {image: i for i, image in enumerate(stored)}
        tag_frame = b""
        if tags is not None:
            part = TagPart(tags, tuple(blocks), tuple(numbers[p] for p in pictures))
            tag_frame = self._tag_frame(part, [len(image) for image in stored])
            index += pack_index_entry(PartKind.TAGS, tag_frame)
        for image in images:
            index += pack_index_entry(PartKind.PICTURE, image)
        pieces = ExactPieces(exact, self.path, self._piece_bytes) if exact else None
        if pieces:
            index += pieces.index
        header_frame = compress_frame(header.to_bytes(), dictionary=True)
        sizes = ArchiveSizes(
            sound=self._sound_bytes,
            overhead=PREFIX_BYTES + len(header_frame) + len(index),
            tags=len(tag_frame),
            pictures=sum(map(len, images)),
            exact=pieces.n_bytes if pieces else 0,
        )
        self._require_work(header, sizes.total)
        prefix = Prefix(
            header_bytes=len(header_frame),
            index_bytes=len(index),
            file_bytes=sizes.total,
            header_checksum=checksum(header_frame),
            index_checksum=checksum(bytes(index)),
            minor=header.minor_version,
        )
        with self._disk():
            file = self._file
            file.seek(0)
            file.truncate()
            file.write(prefix.pack())
            file.write(header_frame)
            file.write(index)
            self._spool.seek(0)
            while block := self._spool.read(_COPY_BYTES):
                file.write(block)
            file.write(tag_frame)
            for image in images:
                file.write(image)
            for piece in pieces or ():
                file.write(piece)
            file.flush()
        return sizes

    def commit(self, mtime_ns: int | None = None) -> None:
        """Give what `write` has written the target's name, and ``mtime_ns``, if any, as its time.

        Pictures that it shares are put beside it first. Raises `TargetError`.
        """
        with self._disk():
            set_mtime(self._file.fileno(), mtime_ns, self.path)
            mode = stat.S_IMODE(os.fstat(self._file.fileno()).st_mode)  # less the umask
        self._keep_shared(mode)
        self._target.close()
        # Again: a run that prunes may have taken away what no archive named until now.
        self._keep_shared(mode)

    def _keep_shared(self, mode: int) -> None:
        for image in self._shared:
            keep_shared(self.path.parent, image, mode)

    def _require_work(self, header: Header, n_bytes: int) -> None:
        """Refuse what no reader would decode. No sound is known to come to that with our models."""
        limit = work_limit(n_bytes)
        shape = header.symbols, header.model.n_latents
        if header.n_segments * most_work(*shape, header.geometry.core) <= limit:
            return
        units = sum(
            segment_work(head, *shape, header.segment_frames(i))
            for i, head in enumerate(self._heads)
        )
        if units > limit:
            raise TargetError(
                f"its sound asks a reader for {units} units of work, the limit is {limit}",
                self.path,
            )

    def _tag_frame(self, part: TagPart, picture_bytes: Sequence[int]) -> bytes:
        """Return the tag part as stored; ``picture_bytes``: of each picture part."""
        try:
            raw = pack_tag_part(part, picture_bytes)
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


def _parted(
    pictures: Sequence[bytes], shared: Sequence[SharedPicture]
) -> tuple[list[bytes], list[bytes]]:
    """Return the different ones of ``pictures``: those for the archive, and those ``shared``."""
    images = list(dict.fromkeys(pictures))
    if not shared:
        return images, []
    image_of = {SharedPicture.of(image): image for image in images}
    beside = [image_of.pop(each) for each in shared]
    return list(image_of.values()), beside


class ExactPieces:
    """Index entries of a file's pieces, read when this is made, and the pieces, read once more.

    ``target`` is the archive, for the error of a copy that is too large for one. Raises
    `TargetError` and `SourceError`.
    """

    def __init__(
        self,
        file: BinaryIO,
        target: Path,
        piece_bytes: int = PIECE_BYTES,
        max_pieces: int = _MAX_PIECES,
    ) -> None:
        self._file = file
        self._piece_bytes = piece_bytes
        self.index = b""
        self.n_bytes = 0
        for piece in self._pieces():
            self.index += pack_index_entry(PartKind.EXACT, piece)
            self.n_bytes += len(piece)
            if len(self.index) > max_pieces * INDEX_ENTRY_BYTES:
                raise TargetError(
                    f"the exact copy has more than {max_pieces * piece_bytes} bytes", target
                )

    def __iter__(self) -> Iterator[bytes]:
        """Yield the pieces; SourceError where they are not those of the index any more."""
        index = b""
        for piece in self._pieces():
            index += pack_index_entry(PartKind.EXACT, piece)
            yield piece
        if index != self.index:
            raise SourceError("changed while it was copied", self._name)

    def _pieces(self) -> Iterator[bytes]:
        try:
            self._file.seek(0)
            while piece := self._file.read(self._piece_bytes):
                yield piece
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror}", self._name) from error

    @property
    def _name(self) -> str | None:
        name = getattr(self._file, "name", None)  # an unnamed file has a number
        return os.fspath(name) if isinstance(name, str | os.PathLike) else None
