"""ID3 values as they are stored, where mutagen changes them while it reads: dates and genres.

mutagen keeps of a date what it understands, and calls a genre without a name "Unknown".
"""

from __future__ import annotations

import re
from itertools import zip_longest

from mutagen.id3 import ID3, TCON, Frames, TextFrame, TimeStampTextFrame

from earzip.formats.tags.model import quoted
from earzip.formats.tags.names import ID3_TIME_FRAMES

_LATIN_1, _UTF8 = 0, 3
_DATE_FRAMES = {name: type(name, (TextFrame,), {}) for name in ID3_TIME_FRAMES}
KNOWN_FRAMES = {**Frames, **_DATE_FRAMES}
"""mutagen's classes, but for dates, which keep their text."""

_YEAR = re.compile(r"[0-9]{4}")
_TWO_NUMBERS = re.compile(r"([0-9]{2})([0-9]{2})")
_REFERENCES = re.compile(r"((?:\((?:[0-9]+|RX|CR)\))+)(.*)", re.DOTALL)
_ABBREVIATED = {"RX": "Remix", "CR": "Cover"}


def genre_names(texts: list[str]) -> list[str]:
    """The genres of a TCON frame: names for its numbers; texts whose numbers have none, as they are."""
    names: list[str] = []
    for text in texts:
        match = _REFERENCES.fullmatch(text)
        parts = match[1][1:-1].split(")(") if match else [text]
        if match or text in _ABBREVIATED or (text.isascii() and text.isdigit()):
            found = [_ABBREVIATED.get(part) or _numbered(part) for part in parts]
            if None in found:
                names.append(text)
                continue
            rest = match[2] if match else ""
            rest = rest[1:] if rest.startswith("((") else rest
            names += [name for name in found if name]
            names += [rest] if rest and rest not in found else []
        elif text:
            names.append(text[1:] if text.startswith("((") else text)
    return names


def _numbered(number: str) -> str | None:
    return TCON.GENRES[int(number)] if len(number) < 4 and int(number) < len(TCON.GENRES) else None


def join_dates(tags: ID3) -> list[str]:
    """Put the years, days and times of ID3v2.3 together, as the dates of 2.4; name what does not fit."""
    years, days, times = (_popped(tags, name) for name in ("TYER", "TDAT", "TIME"))
    notes = []
    dates = []
    for year, day, time in zip_longest(years, days, times, fillvalue=""):
        date = year
        if (match := _TWO_NUMBERS.fullmatch(day)) and _YEAR.fullmatch(year):
            date += f"-{match[2]}-{match[1]}"
        elif day:
            notes.append(f"TDAT frame ({quoted([day])})")
        if (match := _TWO_NUMBERS.fullmatch(time)) and _has_day(date):
            date += f"T{match[1]}:{match[2]}:00"
        elif time:
            notes.append(f"TIME frame ({quoted([time])})")
        dates += [date] if date else []
    notes += _replace(tags, "TYER", dates, "TDRC")
    return notes + _replace(tags, "TORY", _popped(tags, "TORY"), "TDOR")


def _popped(tags: ID3, name: str) -> list[str]:
    return [str(text) for text in tags.pop(name).text] if name in tags else []


def _has_day(date: str) -> bool:
    return re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", date) is not None


def _replace(tags: ID3, old: str, dates: list[str], new: str) -> list[str]:
    """Add ``dates`` as a frame ``new``; name them if there is one that says something else."""
    if not dates:
        return []
    if new in tags:
        known = [str(text) for text in tags[new].text]
        said = all(any(each.startswith(date) for each in known) for date in dates)
        return [] if said else [f"{old} frame ({quoted(dates)})"]
    encoding = _LATIN_1 if all(map(_is_latin_1, dates)) else _UTF8
    tags[new] = _DATE_FRAMES[new](encoding=encoding, text=dates)
    return []


def _is_latin_1(text: str) -> bool:
    return all(character <= "\xff" for character in text)


def keep_date_texts(tags: ID3) -> None:
    """Turn frames of mutagen's own date classes, which ID3v1 and 2.2 give, into those of texts."""
    for name in ID3_TIME_FRAMES:
        frame = tags.get(name)
        if isinstance(frame, TimeStampTextFrame):
            texts = [str(stamp).replace(" ", "T") for stamp in getattr(frame, "text", ())]
            tags[name] = _DATE_FRAMES[name](encoding=frame.encoding, text=texts)
