"""Everything that is wrong with the bytes of an archive."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from earzip.errors import (
    DamagedArchiveError,
    NotAnArchiveError,
)
from earzip.formats.archive.exact_copy import CopyCheck
from earzip.formats.archive.header import Header
from earzip.formats.archive.layout import (
    MAX_SEGMENT_BYTES,
    Index,
    Part,
    PartKind,
)
from earzip.formats.archive.reader import ArchiveFile, read_tags, require_parts, require_work
from earzip.formats.archive.shared import read_shared, shared_path


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong with a file: where, and what was found and expected."""

    part: str  # "prefix", "header", "index", "file", "0:24–0:48", "picture 1", …
    message: str
    segment: int | None = None  # the number of the segment that is lost, if it is one
    costs_all: bool = False
    """Whether nothing can be restored, where it is not one segment, picture … that is lost."""
    shared_file: Path | None = None
    """The file of a shared picture, if that is what is wrong: it is damaged or missing."""


def verify_structure(
    path: str | os.PathLike[str],
    on_part: Callable[[], None] = lambda: None,
    *,
    with_shared: bool = True,
) -> list[Damage]:
    """Return everything that is wrong with the bytes of an archive; nothing for a whole one.

    Reads and decompresses every part, but does not decode sound. Does not stop at the first damage,
    only where nothing can be found any more (prefix, index). ``on_part`` is called before each part is
    read, and may raise to end it. ``with_shared``: also the pictures beside it. Raises `ArchiveError` for
    a file that cannot be read, and `UnsupportedArchiveError` for one that needs a newer earzip.
    """
    with ArchiveFile(path) as file:
        return _Verification(file, on_part, with_shared).run()


class _Verification:
    """The reading of one file."""

    def __init__(self, file: ArchiveFile, on_part: Callable[[], None], with_shared: bool) -> None:
        self._file = file
        self._with_shared = with_shared
        self._on_part = on_part
        self._damages: list[Damage] = []
        self._header: Header | None = None
        self._copy: CopyCheck | None = None

    def run(self) -> list[Damage]:
        """Return all that is wrong."""
        file = self._file
        prefix, index = None, None
        with self._recorded("prefix", costs_all=True):
            prefix = file.read_prefix()
        if prefix is None:
            return self._damages
        if wrong_length := file.wrong_length(prefix.file_bytes):
            self._damages.append(Damage("file", wrong_length))
        with self._recorded("header", costs_all=True):
            self._header = file.read_header(prefix)
        with self._recorded("index", costs_all=True):
            index = file.read_index(prefix)
        if index is not None:
            self._read_parts(index)
        return self._damages

    def _read_parts(self, index: Index) -> None:
        header = self._header
        if header is not None:
            with self._recorded("index", costs_all=True):
                require_parts(index, header)
            if header.exact is not None:
                self._copy = CopyCheck(header)
            n_damages = len(self._damages)
            with self._recorded("file", costs_all=True):
                require_work(self._file, header, index, self._on_part)
            if len(self._damages) > n_damages:  # nothing of this is to be done
                return
        for i, part in enumerate(index):
            self._on_part()
            self._read_part(index, i, part)
        if self._copy and not any(each.part.startswith("exact copy") for each in self._damages):
            with self._recorded("exact copy"):
                self._copy.finish()
        if self._with_shared:
            self._read_shared(index.count_of(PartKind.PICTURE))

    def _read_shared(self, n_parts: int) -> None:
        shared = self._header.shared if self._header else None
        for number, picture in enumerate(shared or (), n_parts + 1):
            self._on_part()
            try:
                read_shared(self._file.path, picture)
            except DamagedArchiveError as error:
                file = shared_path(self._file.path, picture)
                self._damages.append(Damage(f"picture {number}", error.message, shared_file=file))

    def _read_part(self, index: Index, i: int, part: Part) -> None:
        number = i - index.first_of(part.kind)
        match part.kind:
            case PartKind.SEGMENT:
                self._read_segment(part, number)
            case PartKind.TAGS:
                with self._recorded("tags"):
                    if self._header is None:  # which says how many pictures there are
                        self._file.read_part(part)
                    else:
                        read_tags(self._file, index, self._header)
            case PartKind.PICTURE:
                with self._recorded(f"picture {number + 1}"):
                    self._file.read_part(part)
            case PartKind.EXACT:
                with self._recorded(f"exact copy, piece {number + 1}"):
                    piece = self._file.read_part(part)
                    if self._copy:
                        self._copy.add(piece)
            case _:
                with self._recorded(f"part {i}"):
                    self._file.read_part(part)

    def _read_segment(self, part: Part, number: int) -> None:
        header = self._header
        if header is None or number >= header.n_segments:
            with self._recorded(f"segment {number + 1}", segment=number):
                self._file.read_frames(part, MAX_SEGMENT_BYTES)
            return
        with self._recorded(header.segment_name(number), segment=number):
            raw = self._file.read_frames(part, header.max_segment_bytes)
            header.unpack_segment(raw, number)

    @contextmanager
    def _recorded(
        self, part: str, segment: int | None = None, *, costs_all: bool = False
    ) -> Iterator[None]:
        """Note damage that is found in a block."""
        try:
            with self._file.blamed():
                yield
        except (DamagedArchiveError, NotAnArchiveError) as error:
            self._damages.append(Damage(part, error.message, segment, costs_all))
