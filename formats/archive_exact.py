"""The exact copy of a source on its way into an archive, in pieces."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from earzip.errors import SourceError, TargetError
from earzip.formats.archive_layout import (
    INDEX_ENTRY_BYTES,
    MAX_OTHER_PARTS,
    PartKind,
    pack_index_entry,
)

PIECE_BYTES = 8 << 20
"""Of each piece but the last. A reader holds one at a time."""
_MAX_PIECES = MAX_OTHER_PARTS // 2


class ExactPieces:
    """Index entries of a file's pieces, read when this is made, and the pieces, read once more.

    ``target`` is the archive, for the error of a copy that is too large for one. Raises
    `TargetError` and `SourceError`.
    """

    def __init__(self, file: BinaryIO, target: Path) -> None:
        self._file = file
        self.index = b""
        self.n_bytes = 0
        for piece in self._pieces():
            self.index += pack_index_entry(PartKind.EXACT, piece)
            self.n_bytes += len(piece)
            if len(self.index) > _MAX_PIECES * INDEX_ENTRY_BYTES:
                raise TargetError(
                    f"the exact copy takes more than {_MAX_PIECES * PIECE_BYTES} bytes", target
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
            while piece := self._file.read(PIECE_BYTES):
                yield piece
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror}", self._name) from error

    @property
    def _name(self) -> str | None:
        name = getattr(self._file, "name", None)  # an unnamed file has a number
        return os.fspath(name) if isinstance(name, str | os.PathLike) else None
