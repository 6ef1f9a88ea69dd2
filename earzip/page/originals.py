"""Where the original of an archive is, and whether it still is that: by its SHA-256."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from earzip.errors import SourceError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.atomic import sha256_of
from earzip.formats.audio.reader import SourceReader
from earzip.formats.names import name_without_archive_suffix
from earzip.page.facts import TrackFacts
from earzip.transcode.exact import open_copy


class Originals:
    """Originals in the folder ``root``: in the same tree as the archives, or right in it.

    ``roots``: the files and folders that the archives were named by, which say what tree that is.
    """

    def __init__(self, root: Path, roots: Iterable[Path]) -> None:
        self._root = root
        self._trees = [path if os.path.isdir(path) else path.parent for path in roots]  # noqa: PTH112  # raises nothing

    def find(self, facts: TrackFacts) -> Path:
        """Return the path of a track's original, checked to be what was archived.

        Raises `SourceError` where there is none, or only one whose bytes are others.
        """
        places = [p for p in self._places(facts) if os.path.isfile(p)]  # noqa: PTH113  # raises nothing
        if not places:
            raise SourceError("its original was not found", facts.path)
        for place in places:
            if sha256_of(place) == facts.source["sha256"]:
                return place
        raise SourceError("differs from the archived source (SHA-256) and is not used", places[0])

    def _places(self, facts: TrackFacts) -> list[Path]:
        names = dict.fromkeys((name_without_archive_suffix(facts.path.name), facts.source["name"]))
        folders = [
            self._root / facts.path.parent.relative_to(tree)
            for tree in self._trees
            if facts.path.is_relative_to(tree)
        ]
        return [
            folder / name
            for folder in dict.fromkeys([*folders, self._root])
            for name in names
            if name
        ]


def open_exact_copy(reader: ArchiveReader) -> SourceReader:
    """Return the sound of the exact copy of the source that an archive holds.

    Raises `DamagedArchiveError` for one that is damaged, `SourceError` where it cannot be decoded.
    """
    return open_copy(reader, reader.exact_copy())
