"""Neutral tags -> ID3 frames, for restored WAV files.

Values are written as UTF-8 in ID3v2.4, several to a frame where there are several. What cannot be
written exactly is written as nearly as ID3 allows; the caller reads the tag back and compares.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mutagen.id3 import (
    APIC,
    CHAP,
    COMM,
    CTOC,
    ID3,
    SYLT,
    TIPL,
    TIT2,
    TMCL,
    TXXX,
    UFID,
    USLT,
    WOAR,
    WXXX,
    CTOCFlags,
    Frame,
    Frames,
    ID3TimeStamp,
)

from earzip.formats.tag_payload import Chapter
from earzip.formats.tags.lyrics import sync_from_lrc
from earzip.formats.tags.model import Picture, TagView
from earzip.formats.tags.names import (
    ID3_PAIR_FRAMES,
    ID3_ROLES,
    ID3_TEXT_FRAMES,
    ID3_TIME_FRAMES,
    ID3_URL_FRAMES,
    MUSICBRAINZ_OWNER,
    SPOKEN_NAMES,
    SYNONYMS,
)

_UTF8 = 3
_LANGUAGE = "eng"  # what writers put where the language is not known
_SYLT_MILLISECONDS = 2
_SYLT_LYRICS = 1
_UNKNOWN_OFFSET = 0xFFFFFFFF
_PICTURE_TYPES = 21
_OTHER = 0
_MAX_UFID = 64
_PERFORMER = "performer"  # the role of one whose instrument is not known
_TEXT_FRAMES = {name: frame for frame, name in reversed(ID3_TEXT_FRAMES.items())} | {
    "grouping": "TIT1"
}
_URL_FRAMES = {name: frame for frame, name in ID3_URL_FRAMES.items()}
_ROLES = {name: role for role, name in ID3_ROLES.items()}
_SPOKEN = {name: spoken for spoken, name in SPOKEN_NAMES.items()}
_CREDIT = re.compile(r"(.+) \(([^()]+)\)", re.DOTALL)
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:[\x21-\x7e\xa1-\xff]+")


def add_view(tags: ID3, view: TagView, known: TagView, duration_ms: int) -> None:
    """Add to ``tags`` the fields, pictures and chapters of ``view`` that ``known`` lacks."""
    fields = _with_frame_names(
        {name: values for name, values in view.fields.items() if name not in known.fields}
    )
    people: list[list[str]] = []
    for frame_id, (number, total) in ID3_PAIR_FRAMES.items():
        _add_pair(tags, frame_id, fields, number, total)
    for name, values in fields.items():
        if name in _ROLES:
            people += [[_ROLES[name], person] for person in values]
        else:
            _add_field(tags, name, values)
    if people:
        _add(tags, TIPL(encoding=_UTF8, people=people))
    left = list(known.pictures)
    for picture in view.pictures:
        if picture in left:
            left.remove(picture)
        else:
            _add(tags, _picture_frame(picture))
    if not known.chapters:
        _add_chapters(tags, view.chapters, duration_ms)


def _with_frame_names(fields: dict[str, list[str]]) -> dict[str, list[str]]:
    """Fields under the names that have frames of their own, where another spelling was used."""
    renamed = {}
    for name, values in fields.items():
        better = SYNONYMS.get(name, name)
        renamed[name if better in fields else better] = values
    return renamed


def _add(tags: ID3, frame: Frame) -> None:
    """Add a frame beside those of its kind, not in place of one: keys must be unique."""
    key = frame.HashKey
    while key in tags:
        key += " "
    tags[key] = frame


def _add_pair(
    tags: ID3, frame_id: str, fields: dict[str, list[str]], number: str, total: str
) -> None:
    """Take number and total out of ``fields`` into "3/12" if one frame can say just that."""
    numbers, totals = fields.get(number, []), fields.get(total, [])
    if len(numbers) != 1 or len(totals) > 1 or "/".join(numbers + totals).count("/") > 1:
        return
    _add(tags, Frames[frame_id](encoding=_UTF8, text=["/".join(numbers + totals)]))
    del fields[number]
    fields.pop(total, None)


def _add_field(tags: ID3, name: str, values: list[str]) -> None:
    if builder := _BUILDERS.get(name):
        builder(tags, values)
    elif name in _URL_FRAMES and len(values) == 1 and _URL.fullmatch(values[0]):
        _add(tags, Frames[_URL_FRAMES[name]](url=values[0]))
    elif _TEXT_FRAMES.get(name) in ID3_TIME_FRAMES:
        # ID3TimeStamp keeps what it understands; a value it changes goes in a text frame.
        exact = all(ID3TimeStamp(value).text.replace(" ", "T") == value for value in values)
        _add_text(tags, _TEXT_FRAMES[name] if exact else None, name, values)
    elif name.startswith("comment:"):
        _add(tags, COMM(encoding=_UTF8, lang=_LANGUAGE, desc=name[8:], text=values))
    elif name.startswith("url:"):
        for value in values:
            _add(tags, WXXX(encoding=_UTF8, desc=name[4:], url=value))
    else:
        _add_text(tags, _TEXT_FRAMES.get(name), name, values)


def _add_text(tags: ID3, frame_id: str | None, name: str, values: list[str]) -> None:
    if frame_id:
        _add(tags, Frames[frame_id](encoding=_UTF8, text=values))
    else:
        _add(tags, TXXX(encoding=_UTF8, desc=_SPOKEN.get(name, name.upper()), text=values))


def _add_comment(tags: ID3, values: list[str]) -> None:
    _add(tags, COMM(encoding=_UTF8, lang=_LANGUAGE, desc="", text=values))


def _add_lyrics(tags: ID3, values: list[str]) -> None:
    for number, value in enumerate(values):
        description = str(number + 1) if number else ""
        _add(tags, USLT(encoding=_UTF8, lang=_LANGUAGE, desc=description, text=value))


def _add_synced_lyrics(tags: ID3, values: list[str]) -> None:
    entries = sync_from_lrc(values[0]) if len(values) == 1 else None
    if entries is None:
        _add_text(tags, None, "syncedlyrics", values)
    else:
        _add(
            tags,
            SYLT(
                encoding=_UTF8,
                lang=_LANGUAGE,
                format=_SYLT_MILLISECONDS,
                type=_SYLT_LYRICS,
                desc="",
                text=entries,
            ),
        )


def _add_performers(tags: ID3, values: list[str]) -> None:
    people = []
    for value in values:
        credit = _CREDIT.fullmatch(value)
        if credit and credit[2].lower() not in (_PERFORMER, *ID3_ROLES):
            people.append([credit[2], credit[1]])
        else:
            people.append([_PERFORMER, value])
    _add(tags, TMCL(encoding=_UTF8, people=people))


def _add_recording_id(tags: ID3, values: list[str]) -> None:
    if len(values) == 1 and values[0].isascii() and 0 < len(values[0]) <= _MAX_UFID:
        _add(tags, UFID(owner=MUSICBRAINZ_OWNER, data=values[0].encode("ascii")))
    else:
        _add_text(tags, None, "musicbrainz_trackid", values)


def _add_websites(tags: ID3, values: list[str]) -> None:
    if all(_URL.fullmatch(value) for value in values):
        for value in values:
            _add(tags, WOAR(url=value))
    else:
        _add_text(tags, None, "website", values)


def _picture_frame(picture: Picture) -> APIC:
    return APIC(
        encoding=_UTF8,
        mime=picture.mime.encode("latin-1", "replace").decode("latin-1"),
        type=picture.type if picture.type < _PICTURE_TYPES else _OTHER,
        desc=picture.description,
        data=picture.data,
    )


def _add_chapters(tags: ID3, chapters: list[Chapter], duration_ms: int) -> None:
    names = []
    starts = [chapter.start_ms for chapter in chapters[1:]] + [duration_ms]
    for number, (chapter, next_start) in enumerate(zip(chapters, starts, strict=False)):
        end = max(chapter.start_ms, next_start) if chapter.end_ms is None else chapter.end_ms
        if end >= _UNKNOWN_OFFSET:  # 49 days: more than the field can hold
            break
        names.append(f"chp{number}")
        _add(
            tags,
            CHAP(
                element_id=names[-1],
                start_time=chapter.start_ms,
                end_time=end,
                start_offset=_UNKNOWN_OFFSET,
                end_offset=_UNKNOWN_OFFSET,
                sub_frames=[TIT2(encoding=_UTF8, text=[chapter.title])],
            ),
        )
    if 0 < len(names) < 256:  # the table of contents counts in one byte
        flags = CTOCFlags.TOP_LEVEL | CTOCFlags.ORDERED
        _add(tags, CTOC(element_id="toc", flags=flags, child_element_ids=names, sub_frames=[]))


_BUILDERS: dict[str, Callable[[ID3, list[str]], None]] = {
    "comment": _add_comment,
    "lyrics": _add_lyrics,
    "musicbrainz_trackid": _add_recording_id,
    "performer": _add_performers,
    "syncedlyrics": _add_synced_lyrics,
    "website": _add_websites,
}
