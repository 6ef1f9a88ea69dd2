"""The tags of an archive: as they go into it, and from there into a restored file."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import BinaryIO

from earzip.errors import DamagedArchiveError, MissingPictureError
from earzip.formats.archive.header import Header
from earzip.formats.archive.layout import ArchiveSizes
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.writer import ArchiveWriter
from earzip.formats.audio.encode import Mark
from earzip.formats.tag_payload import Payload, read_payload
from earzip.formats.tags.model import TagSet
from earzip.formats.tags.raw import RawBlock
from earzip.formats.tags.timed import cut_tags
from earzip.transcode.restore_plan import RestorePlan


def write_with_tags(
    writer: ArchiveWriter, header: Header, tags: TagSet, exact: BinaryIO | None = None
) -> ArchiveSizes:
    """Write an archive whose segments ``writer`` has, as `ArchiveWriter.write` does; raises as that."""
    payload, blocks = tags.to_payload()
    return writer.write(
        header,
        tags=None if tags == TagSet() else payload,
        blocks=blocks,
        pictures=[picture.data for picture in tags.pictures],
        exact=exact,
    )


@dataclass(frozen=True)
class SavedTags:
    """What could be read of an archive's tags: all of them, unless damage was allowed for."""

    tags: TagSet | None
    lost_pictures: tuple[int, ...] = ()
    missing: tuple[str, ...] = ()
    """Names of files with shared pictures that are not there."""
    damage: tuple[str, ...] = ()

    @property
    def is_damaged(self) -> bool:
        """Whether anything is missing."""
        return bool(self.damage)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the user: what is damaged, and what this version does not know."""
        return (*self.damage, *(self.tags.problems if self.tags else ()))


def read_saved_tags(reader: ArchiveReader, *, keep_going: bool) -> SavedTags:
    """Return the tags; damage raises DamagedArchiveError, or is left out if ``keep_going``."""
    try:
        part = reader.tags
        if part is None:
            return SavedTags(None)
        images = _Images.of(reader, part.pictures, keep_going=keep_going)
        tags = TagSet.from_payload(part.payload, part.blocks, images.data)
    except DamagedArchiveError as error:
        if keep_going:
            return SavedTags(None, damage=(f"tags are lost: {error.message}",))
        raise
    lost = images.lost
    missing = tuple(dict.fromkeys(images.missing.values()))
    kept = _without_pictures(tags, lost.keys() | images.missing.keys())
    damage = (*lost.values(), *_about_missing(images.missing))
    return SavedTags(kept, tuple(lost), missing, damage)


def read_tag_payload(reader: ArchiveReader) -> Payload:
    """Return what an archive says of its tags, without their pictures. Raises DamagedArchiveError."""
    part = reader.tags
    if part is None:
        return read_payload({"family": "none"}, (), ())
    blocks = [len(block) for block in part.blocks]
    return read_payload(part.payload, blocks, reader.picture_sizes())


def tags_of_range(
    tags: TagSet | None, plan: RestorePlan, header: Header
) -> tuple[TagSet | None, list[str]]:
    """Return the tags of what ``plan`` writes, and sentences about what lies outside its range."""
    at_coded_rate = plan.position_rate == header.geometry.sample_rate
    n_all = header.n_samples if at_coded_rate else header.source.n_frames
    if tags is None or (plan.start == 0 and plan.end >= n_all):
        return tags, []
    start_ms, end_ms = (round(at * 1000 / plan.position_rate) for at in (plan.start, plan.end))
    return cut_tags(tags, start_ms, end_ms)


def chapter_marks(tags: TagSet, plan: RestorePlan) -> list[Mark]:
    """Return the chapters of a file that ``plan`` writes; each ends before the next begins."""
    last_ms = round(plan.n_out * 1000 / plan.rate)
    starts = [chapter.start_ms for chapter in tags.chapters[1:]] + [last_ms]
    marks = []
    for chapter, following in zip(tags.chapters, starts, strict=False):
        end = following if chapter.end_ms is None else min(chapter.end_ms, following)
        if chapter.start_ms < min(end, last_ms):
            marks.append(Mark(chapter.start_ms, min(end, last_ms), chapter.title))
    return marks


@dataclass(frozen=True)
class _Images:
    """The image files of the tags' pictures; of one that cannot be had, no bytes."""

    data: list[bytes]
    lost: dict[int, str]
    """A sentence on each picture that is damaged."""
    missing: dict[int, str]
    """The name of the file of each picture that is shared, and not there."""

    @classmethod
    def of(cls, reader: ArchiveReader, numbers: tuple[int, ...], *, keep_going: bool) -> _Images:
        """Return those of ``numbers``; damage raises DamagedArchiveError, unless going on."""
        images: dict[int, bytes] = {}
        why: dict[int, str] = {}
        names: dict[int, str] = {}
        for number in set(numbers):  # many pictures of the tags may be one that is stored
            images[number] = b""
            try:
                images[number] = reader.picture(number)
            except MissingPictureError:
                shared = reader.shared_picture(number)
                names[number] = shared.name if shared else ""
            except DamagedArchiveError as error:
                if not keep_going:
                    raise
                why[number] = error.message
        pictures = list(enumerate(numbers))
        lost = {i: f"picture {i + 1} is lost: {why[n]}" for i, n in pictures if n in why}
        missing = {i: names[n] for i, n in pictures if n in names}
        return cls([images[number] for number in numbers], lost, missing)


def _about_missing(missing: dict[int, str]) -> list[str]:
    """Return a sentence on each picture that is not there, by the name of its file."""
    return [
        f"picture {number + 1} is left out: {name} is not beside the archive"
        for number, name in missing.items()
    ]


def _without_pictures(tags: TagSet, lost: Collection[int]) -> TagSet:
    """Return ``tags`` less lost pictures, and less the raw blocks that would need them.

    What those blocks said is still in the neutral view, as far as it has a neutral name.
    """
    kept = [i for i in range(len(tags.pictures)) if i not in lost]
    index = {old: new for new, old in enumerate(kept)}
    raw = [
        RawBlock(
            block.kind,
            block.data,
            tuple(replace(cut, picture=index[cut.picture]) for cut in block.cuts),
        )
        for block in tags.raw
        if not any(cut.picture in lost for cut in block.cuts)
    ]
    return replace(tags, pictures=[tags.pictures[i] for i in kept], raw=raw)
