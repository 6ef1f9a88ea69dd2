"""Shared pictures that are damaged or missing: a line for each, in place of one for each archive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from earzip.errors import count
from earzip.formats.names import is_shared_picture_name
from earzip.results import FileRecord, FileStatus
from earzip.tasks import DAMAGED_PICTURES, lacks_only_pictures


def is_told_by_its_picture(record: FileRecord) -> bool:
    """Return whether the lines of pictures tell all of a record: of one, or an archive without it."""
    is_picture = is_shared_picture_name(record.source.name)
    return record.status is FileStatus.DAMAGED and (is_picture or lacks_only_pictures(record))


@dataclass
class LostPictures:
    """What the records of a run say of pictures."""

    n_archives: int = 0
    """Archives that are intact but for them."""
    _faults: dict[str, str] = field(default_factory=dict)
    """By path."""
    _n_having: Counter[str] = field(default_factory=Counter)

    def add(self, record: FileRecord) -> None:
        """Count a record."""
        self.n_archives += lacks_only_pictures(record)
        if is_shared_picture_name(record.source.name) and record.status is FileStatus.DAMAGED:
            self._faults[str(record.source)] = record.message or ""
        pictures = record.figures.get(DAMAGED_PICTURES)
        for path, fault in pictures.items() if isinstance(pictures, Mapping) else ():
            self._faults.setdefault(path, fault)
            self._n_having[path] += 1

    def lines(self) -> Iterator[tuple[Path, str]]:
        """Yield each picture with what is wrong, and how many archives have it."""
        for path, fault in sorted(self._faults.items()):
            n = self._n_having[path]
            having = f"; {count(n, 'archive')} {'has' if n == 1 else 'have'} it" if n else ""
            yield Path(path), fault + having

    def counted(self) -> str:
        """Return how the summary counts `n_archives`."""
        return f"{self.n_archives} intact but for {count(len(self._faults), 'shared picture')}"
