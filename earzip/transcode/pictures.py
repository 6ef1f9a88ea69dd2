"""How the pictures of an archive are stored: in it, beside it, scaled, or not at all."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from earzip.errors import ArchiveError, DamagedArchiveError
from earzip.formats.archive.header import DROPPED, Header
from earzip.formats.archive.layout import ArchiveSizes
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.shared import is_there, read_shared
from earzip.options import CompressOptions, Pictures

FIT = "fit-"
"""Begins what a header says of scaled pictures; the pixels follow."""


@dataclass(frozen=True)
class Storage:
    """Where pictures are, and the pixels that they were scaled to fit; None: as the source has them."""

    place: Pictures = "embed"
    fit: int | None = None

    def __str__(self) -> str:
        return self.place if self.fit is None else f"{self.place}, to fit {self.fit} pixels"

    @classmethod
    def of_archive(cls, header: Header) -> Storage:
        """Return how an archive has stored its pictures; of one without any, as if it had some."""
        if header.pictures == DROPPED:
            return cls("drop")
        fit = int(header.pictures.removeprefix(FIT)) if header.pictures else None
        return cls("share" if header.shared else "embed", fit)

    @classmethod
    def wanted(cls, options: CompressOptions, header: Header | None) -> Storage:
        """Return what ``options`` ask for; what they leave open is as an archive has it, if any."""
        kept = cls.of_archive(header) if header else cls()
        if options.pictures is None and options.fit_pictures is None:
            return kept
        place = options.pictures or ("embed" if kept.place == "drop" else kept.place)
        return cls(place, options.fit_pictures)

    @classmethod
    def for_target(cls, options: CompressOptions, target: Path) -> Storage:
        """Return what ``options`` ask for of ``target``, an archive that may be there."""
        with suppress(ArchiveError), ArchiveReader(target) as reader:
            return cls.wanted(options, reader.header)
        return cls.wanted(options, None)


def why_other_pictures(
    header: Header, sizes: ArchiveSizes, target: Path, storage: Storage
) -> str | None:
    """Return in words why ``target`` is to get its pictures again, None if it has them by ``storage``.

    Of those beside it only the sizes are looked at.
    """
    if not (sizes.pictures or header.shared or header.pictures):
        return None
    before = Storage.of_archive(header)
    if before != storage:
        return f"pictures: {before} → {storage}"
    if all(is_there(target, each) for each in header.shared or ()):
        return None
    return "a shared picture is missing"


def has_damaged_pictures(header: Header, target: Path) -> bool:
    """Return whether a picture beside the archive ``target`` is damaged, or not there."""
    try:
        for each in header.shared or ():
            read_shared(target, each)
    except DamagedArchiveError:
        return True
    return False


def shared_pictures_of(header: Header, target: Path) -> dict[str, int]:
    """Return the size of each file beside ``target`` that holds a picture of it, by its path."""
    return {str(target.with_name(each.name)): each.n_bytes for each in header.shared or ()}
