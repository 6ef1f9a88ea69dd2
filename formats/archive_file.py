"""An archive's file, read piece by piece at the places that its prefix and index give."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Self

from earzip.errors import ArchiveError, DamagedArchiveError
from earzip.formats.archive_frames import decompress_frame, decompress_frames
from earzip.formats.archive_header import Header
from earzip.formats.archive_layout import (
    MAX_HEADER_BYTES,
    PREFIX_BYTES,
    Index,
    Part,
    Prefix,
    require_checksum,
)
from earzip.formats.containers.spans import SpanFile


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
        with self.blamed():
            # NONBLOCK: opening a pipe must not wait for its other end.
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            status = os.fstat(self._descriptor)
            self._n_bytes = status.st_size
            if not stat.S_ISREG(status.st_mode):
                self.close()
                raise ArchiveError("is not a regular file")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
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
            raise ArchiveError(f"cannot be read: {error.strerror}", self.path) from error

    def wrong_length(self, n_bytes: int) -> str | None:
        """Return what is wrong with the length of a file that should have ``n_bytes``, or None."""
        if self._n_bytes == n_bytes:
            return None
        what = "cut short" if self._n_bytes < n_bytes else "added to"
        return f"it was {what}: file is {self._n_bytes} bytes, its prefix says {n_bytes}"

    def read_prefix(self) -> Prefix:
        """Return the prefix, checked."""
        return Prefix.unpack(os.pread(self._descriptor, PREFIX_BYTES, 0))

    def read_header(self, prefix: Prefix) -> Header:
        """Return the header, checked."""
        stored = self._read(PREFIX_BYTES, prefix.header_bytes)
        require_checksum(stored, prefix.header_checksum, "the prefix")
        raw = decompress_frame(stored, max_bytes=MAX_HEADER_BYTES, dictionary=True)
        return Header.from_bytes(raw)

    def read_index(self, prefix: Prefix) -> Index:
        """Return the index, checked by itself and against the prefix."""
        begin = PREFIX_BYTES + prefix.header_bytes
        stored = self._read(begin, prefix.index_bytes)
        require_checksum(stored, prefix.index_checksum, "the prefix")
        index = Index(stored, begin + prefix.index_bytes)
        if index.end != prefix.file_bytes:
            raise DamagedArchiveError(
                f"the parts of the index end at {index.end}, the file at {prefix.file_bytes}"
            )
        return index

    def read_part(self, part: Part) -> bytes:
        """Return the stored bytes of ``part``, checked."""
        stored = self._read(part.offset, part.n_bytes)
        require_checksum(stored, part.checksum, "the index")
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
        data = os.pread(self._descriptor, n_bytes, offset)
        if len(data) != n_bytes:
            raise DamagedArchiveError(f"{len(data)} bytes at {offset}, expected {n_bytes}")
        return data
