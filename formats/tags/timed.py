"""Tags of a part of a track: the times in them, counted from where the part begins.

Chapters, cue sheets and timed lyrics are cut and moved. Blocks of the source that say such things are
written without them, so that the neutral view is what a restored file gets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from earzip.errors import TagError
from earzip.formats.tag_payload import Chapter
from earzip.formats.tags.cue_text import cut_cue_text
from earzip.formats.tags.id3 import load_id3, save_id3
from earzip.formats.tags.lyrics import cut_lrc
from earzip.formats.tags.model import TagSet
from earzip.formats.tags.names import free_name
from earzip.formats.tags.raw import RawBlock
from earzip.formats.tags.vorbis import COMMENT_KINDS, without_comments

_CUE_SHEET, _LENGTH = "cuesheet", "length"  # the second is in milliseconds, of ID3
_CHAPTER = re.compile(r"chapter\d{1,3}\w*", re.ASCII)
_CARRIED = ("CHAP", "CTOC", "TLEN")  # what the neutral view says of them is enough
# Frames with places in the sound that no view has.
_TIMED = ("ASPI", "ETCO", "MLLT", "POSS", "SYTC")


@dataclass
class _Cut:
    """What is changed, and the sentences about it."""

    start_ms: int
    end_ms: int
    fields: dict[str, list[str]]
    chapters: list[Chapter] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)
    losses: list[str] = field(default_factory=list)

    def say(self, n_dropped: int, n_all: int, what: str) -> None:
        if n_dropped:
            self.losses.append(
                f"{n_dropped} of {n_all} {what} are outside the range and are left out"
            )


def cut_tags(tags: TagSet, start_ms: int, end_ms: int) -> tuple[TagSet, list[str]]:
    """Return the tags of a track's part from ``start_ms`` to ``end_ms``, and what it leaves out.

    The blocks of the result are as ``write_tags`` takes them; they are not for an archive.
    """
    cut = _Cut(start_ms, end_ms, dict(tags.fields))
    _cut_chapters(cut, tags.chapters)
    for name in tags.fields:
        _cut_field(cut, name)
    raw = []
    for block in tags.raw:
        if block.kind == "flac-cuesheet":  # which would have to span the file
            if _CUE_SHEET in cut.fields:
                cut.losses.append("the cue sheet block becomes a comment")
            continue
        joined = block.join([picture.data for picture in tags.pictures])
        if block.kind in COMMENT_KINDS:
            joined = without_comments(
                joined, lambda key: key in cut.changed or _CHAPTER.fullmatch(key) is not None
            )
        elif block.kind == "id3v2":
            joined = _without_frames(joined, cut)
        raw.append(RawBlock(block.kind, joined))
    return replace(tags, fields=cut.fields, chapters=cut.chapters, raw=raw), cut.losses


def _cut_chapters(cut: _Cut, chapters: list[Chapter]) -> None:
    following: list[int | None] = [chapter.start_ms for chapter in chapters[1:]]
    for chapter, next_start in zip(chapters, [*following, None], strict=False):
        end = chapter.end_ms if chapter.end_ms is not None else next_start
        if chapter.start_ms < cut.end_ms and (end is None or end > cut.start_ms):
            start = max(0, chapter.start_ms - cut.start_ms)
            end = None
            if chapter.end_ms is not None:
                end = min(chapter.end_ms, cut.end_ms) - cut.start_ms
            cut.chapters.append(Chapter(start, end, chapter.title))
    cut.say(len(chapters) - len(cut.chapters), len(chapters), "chapters")


def _cut_field(cut: _Cut, name: str) -> None:
    values: list[str] = []
    for value in cut.fields[name]:
        if name == _CUE_SHEET:
            text, n_dropped, n_tracks = cut_cue_text(value, cut.start_ms, cut.end_ms)
            cut.say(n_dropped, n_tracks, "tracks of the cue sheet")
            if not n_tracks:
                cut.losses.append("the cue sheet is left out: its times are not those of one file")
        elif "lyrics" in name:
            text, n_dropped, n_lines = cut_lrc(value, cut.start_ms, cut.end_ms)
            cut.say(n_dropped, n_lines, "lines of the timed lyrics")
        elif _CHAPTER.fullmatch(name) or (name == _LENGTH and value.isdecimal()):
            text = ""
            cut.losses.append(f"field {name!r} is left out: it is about the whole track")
        else:
            text = value
        values += [text] if text or not value else []
    if values == cut.fields[name]:
        return
    cut.changed.add(name)
    del cut.fields[name]
    if values:
        cut.fields[name] = values


def _without_frames(block: bytes, cut: _Cut) -> bytes:
    """An ID3v2 tag without frames that have times; without any at all if it cannot be read."""
    try:
        tags = load_id3(block)
        frames = list(tags.items())
        for key, frame in frames:
            name = frame.FrameID
            is_changed = (
                name in _CARRIED
                or name in _TIMED
                or name == "SYLT"
                or (name == "USLT" and "lyrics" in cut.changed)
                or (name == "TXXX" and free_name(frame.desc) in cut.changed)
            )
            if is_changed:
                del tags[key]
            if name in _TIMED or (name == "SYLT" and "syncedlyrics" not in cut.changed):
                cut.losses.append(f"{key[:80]} frame is left out: it is about the whole track")
        return block if len(tags) == len(frames) else save_id3(tags)
    except TagError:
        return block
