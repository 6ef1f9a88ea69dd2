"""What the blocks of a file say together: an earlier block's value wins, and what loses is named.

The archive has every block as it was. Here is decided which values a restored file gets, and what is
left to the block alone: values that differ, and more than an archive's neutral view can hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

from earzip.formats.tag_payload import (
    MAX_CHAPTERS,
    MAX_PICTURE_BYTES,
    MAX_PICTURES,
    MAX_VALUES,
    Chapter,
)
from earzip.formats.tags.agreement import Agreement
from earzip.formats.tags.model import KINDS, MAX_TEXT_BYTES, BlockView, TagSet, quoted

_MAX_LISTED = 8  # fields in a sentence


@dataclass
class Merger:
    """Blocks as they are added to ``tags``, in order of precedence."""

    tags: TagSet = field(default_factory=TagSet)
    _n_bytes: int = 0
    _n_values: int = 0
    _agreement: Agreement = field(default_factory=Agreement)

    def add(self, kind: str, view: BlockView) -> None:
        """Add what a block has more than those before it; its ``raw_only`` gets the rest.

        Values that differ are named in ``tags.problems`` too.
        """
        tags = self.tags
        family, name = KINDS[kind]
        self._leave_out_excess(view)
        differing = [
            each
            for each, values in view.fields.items()
            if each in tags.fields
            and not self._agreement.says_as_much(each, tags.fields[each], values, kind)
        ]
        view.raw_only += [f"other {each!r} ({quoted(view.fields[each])})" for each in differing]
        listed = [repr(each) for each in differing]
        if tags.chapters and not _same_chapters(tags.chapters, view.chapters):
            view.raw_only.append("other chapters")
            listed.append("the chapters")
        if listed:
            more = [f"{len(listed) - _MAX_LISTED} more"] if len(listed) > _MAX_LISTED else []
            tags.problems.append(
                f"the {name} disagrees with other tags about {', '.join(listed[:_MAX_LISTED] + more)}: "
                "what it says is archived and not restored"
            )
        new = [each for each in view.fields if each not in tags.fields]
        n_pictures = len(tags.pictures)
        tags.merge(view, same_family=family == tags.family)
        tags.family = family if tags.family == "none" else tags.family
        self._n_values += sum(len(view.fields[each]) for each in new)
        added = BlockView(
            {each: view.fields[each] for each in new},
            tags.pictures[n_pictures:],
            view.chapters if tags.chapters is view.chapters else [],
        )
        self._n_bytes += added.text_bytes()

    def add_chapter_track(self, chapters: list[Chapter]) -> None:
        """Add the chapters of an MP4 file's chapter track, which no block holds.

        They replace those of its chapter list, which ends at 255 chapters and 255 bytes of a title.
        """
        tags = self.tags
        if not chapters:
            return
        titles = sum(len(chapter.title.encode()) for chapter in chapters)
        listed = sum(len(chapter.title.encode()) for chapter in tags.chapters)
        if (len(chapters), titles) <= (len(tags.chapters), listed):
            if not _same_chapters(tags.chapters[: len(chapters)], chapters):
                tags.problems.append(
                    "the chapter track disagrees with the chapter list and is not archived"
                )
        elif len(chapters) > MAX_CHAPTERS or self._n_bytes + titles - listed > MAX_TEXT_BYTES:
            tags.problems.append(
                f"the chapter track is not archived: it has {len(chapters)} chapters and {titles} "
                f"bytes of titles, the limits are {MAX_CHAPTERS} and {MAX_TEXT_BYTES}"
            )
        else:
            tags.chapters = chapters

    def _leave_out_excess(self, view: BlockView) -> None:
        """Leave to the block what an archive cannot hold: the longest fields, the last pictures."""
        n_pictures = MAX_PICTURES - len(self.tags.pictures)
        if len(view.pictures) > n_pictures:
            view.raw_only.append(f"{len(view.pictures) - n_pictures} of its pictures")
            del view.pictures[n_pictures:]
        n_bytes = sum(len(picture.data) for picture in self.tags.pictures)
        sizes_so_far = accumulate((len(picture.data) for picture in view.pictures), initial=n_bytes)
        n_fitting = sum(size <= MAX_PICTURE_BYTES for size in sizes_so_far) - 1
        if n_fitting < len(view.pictures):
            view.raw_only.append(
                f"{len(view.pictures) - n_fitting} of its pictures, which pass {MAX_PICTURE_BYTES} bytes,"
            )
            del view.pictures[n_fitting:]
        if len(view.chapters) > MAX_CHAPTERS:
            view.raw_only.append(f"its {len(view.chapters)} chapters")
            view.chapters = []
        counts = {each: len(values) for each, values in view.fields.items()}
        over = self._n_values + sum(counts.values()) - MAX_VALUES
        _leave_out(view, counts, over, "values")
        sizes = {
            each: sum(len(text.encode()) for text in (each, *view.fields[each]))
            for each in view.fields
        }
        over = self._n_bytes + view.text_bytes() - MAX_TEXT_BYTES
        over -= _leave_out(view, sizes, over, "bytes")
        if over > 0 and view.chapters:
            over -= sum(len(chapter.title.encode()) for chapter in view.chapters)
            view.raw_only.append(f"its {len(view.chapters)} chapters")
            view.chapters = []
        if over > 0:
            view.raw_only.append("its pictures")
            view.pictures = []


def _leave_out(view: BlockView, sizes: dict[str, int], over: int, unit: str) -> int:
    """Leave out the largest fields until ``over`` is used up; return how much they had."""
    left_out = 0
    for name in sorted(sizes, key=lambda name: sizes[name], reverse=True):
        if left_out >= over:
            break
        del view.fields[name]
        left_out += sizes[name]
        view.raw_only.append(f"field {name[:80]!r} of {sizes[name]} {unit}")
    return left_out


def _same_chapters(kept: list[Chapter], others: list[Chapter]) -> bool:
    """Whether ``others`` are none, or those of ``kept``, but for the rounding of their times."""
    return not others or (
        len(kept) == len(others)
        and all(
            a.title == b.title and abs(a.start_ms - b.start_ms) <= 1
            for a, b in zip(kept, others, strict=True)
        )
    )
