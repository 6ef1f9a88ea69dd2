"""The tags of a source as they go into an archive: with pictures beside it, scaled, or without any."""

from __future__ import annotations

from dataclasses import dataclass, replace

from earzip.errors import TagError
from earzip.formats.archive.header import DROPPED, Header
from earzip.formats.archive.shared import SharedPicture
from earzip.formats.tags.exchanged import exchange_pictures
from earzip.formats.tags.model import Picture, TagSet
from earzip.transcode.pictures import FIT, Storage
from earzip.transcode.scaled_pictures import scaled


@dataclass(frozen=True)
class ArrangedTags:
    """Tags as they go into an archive."""

    tags: TagSet
    pictures: str | None = None
    """What became of the source's pictures, as a header says it."""
    shares: bool = False
    """Whether the pictures go beside the archive."""
    warnings: tuple[str, ...] = ()
    """What is lost beside the pictures, and which could not be scaled."""

    def header(self, header: Header) -> Header:
        """Return ``header`` with what it says of these pictures."""
        images = dict.fromkeys(picture.data for picture in self.tags.pictures)
        shared = tuple(map(SharedPicture.of, images)) if self.shares and images else None
        return replace(header, pictures=self.pictures, shared=shared)


def arranged(tags: TagSet, storage: Storage) -> ArrangedTags:
    """Return ``tags``, a source's, with pictures as ``storage`` says."""
    if not tags.pictures:
        return ArrangedTags(tags)
    if storage.place == "drop":
        bare, lost = exchange_pictures(tags, [None] * len(tags.pictures))
        return ArrangedTags(bare, DROPPED, warnings=tuple(lost))
    shares = storage.place == "share"
    if storage.fit is None:
        return ArrangedTags(tags, shares=shares)
    pictures: list[Picture] = []
    warnings = []
    for number, picture in enumerate(tags.pictures, 1):
        try:
            pictures.append(scaled(picture, storage.fit))
        except TagError as error:
            pictures.append(picture)
            warnings.append(f"picture {number} is not scaled: it {error.message}")
    small, lost = exchange_pictures(tags, pictures)
    return ArrangedTags(small, f"{FIT}{storage.fit}", shares, (*warnings, *lost))
