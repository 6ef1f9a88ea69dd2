"""Whether two tags agree: a second one often says the same in fewer bytes, or in another way of writing.

ID3v1 has 30 bytes for a text, and neither it nor RIFF INFO says which characters its bytes are. Taggers
join values where one must do, and write numbers, dates and genres as they like.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from earzip.formats.tags.riff import unmarked_text

_V1_BYTES = 30
_V1_CUT = 28  # bytes of an ID3v1 comment; its other fields have 30, and longer texts are cut
_V1_OTHER = "Other"  # what ID3v1 says of genres that it has no number for
# What taggers put between values where one must do.
_JOINTS = (" ", ", ", ",", "; ", ";", "/", " / ", "//", " // ", "|", " | ", "&", " & ", "+", " + ",
           "\\\\", " feat. ", " ft. ", " featuring ", " and ", " vs. ", "\n")  # fmt: skip
_GENRE_JOINT = re.compile(r"[,;/|\\]")
# Kinds whose bytes are text of no stated encoding: that of the system where they were written.
_UNMARKED = ("id3v1", "riff-info", "riff-bext", "aiff-text", "lyrics3", "au-annotation")
_ENCODINGS = (
    "latin-1", "utf-8", "ascii", *(f"cp{number}" for number in range(1250, 1259)),
    *(f"iso8859-{number}" for number in (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)),
    "cp437", "cp850", "cp852", "cp866", "cp874", "koi8-r", "koi8-u", "mac-roman",
    "cp932", "euc-jp", "gb18030", "big5", "big5hkscs", "cp949",
)  # fmt: skip
_REPLACEMENTS = ("?", "_", "")  # for a character that an encoding lacks
# What Windows and others write for such a character, beside the letter without its accent.
_LIKE = str.maketrans(
    {"ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ð": "d", "ħ": "h", "Ħ": "H", "ı": "i",
     "ŧ": "t", "Ŧ": "T", "þ": "th", "Þ": "Th", "ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE",
     "‘": "'", "’": "'", "‚": ",", "‛": "'", "“": '"', "”": '"', "„": '"', "′": "'", "″": '"', "«": '"',
     "»": '"', "‹": "<", "›": ">", "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-", "―": "-", "−": "-",
     "×": "x", "•": "*", "·": ".", "⁄": "/"}
)  # fmt: skip
_MAX_LISTED, _MAX_TEXT = 64, 4096  # values, and characters in all, of a field that is compared so
_MAX_FOREIGN = 10_000  # of texts that are not ASCII, in a file: a second at the most
_MEASURE = re.compile(r"\s*([+-]?\d{1,9}(?:[.,](\d{0,15}))?)\s*(?:dB|LUFS)?\s*", re.IGNORECASE)
_NO_TIME = re.compile(r"(-00)*( 00:00(:00(\.0+)?)?)?(Z|\+00:00)?$")


@dataclass
class Agreement:
    """Comparisons of a file's tags; text of unknown encoding is compared as long as that is quick."""

    _n_left: int = _MAX_FOREIGN

    def says_as_much(self, name: str, kept: list[str], values: list[str], kind: str) -> bool:
        """Whether ``values`` of a block of ``kind`` are all in ``kept``, as far as it could hold them."""
        listed = set(kept)
        others = [value for value in dict.fromkeys(values) if value not in listed]
        if kind == "flac-cuesheet":
            times = _index_times("\n".join(kept))
            return all(_index_times(value) <= times for value in others)
        if not others or _are_joined(values, kept):
            return True
        if any(len(texts) > _MAX_LISTED or _size(texts) > _MAX_TEXT for texts in (kept, others)):
            numbers = {_number(each) for each in kept} - {None}
            return all(_number(value) in numbers for value in others)
        return all(self._says_as_much(name, kept, value, kind) for value in others)

    def _says_as_much(self, name: str, kept: list[str], value: str, kind: str) -> bool:
        if value.isdecimal() and _number(value) in map(_number, kept):
            return True
        if name.startswith("replaygain_"):
            return any(_is_same_measure(each, value) for each in kept)
        if name.endswith("date"):
            return _is_in_dates(value, kept, kind)
        if name == "genre" and _is_in_genres(value, kept, kind):
            return True
        return self._is_in_texts(value, kept, kind)

    def _is_in_texts(self, value: str, kept: list[str], kind: str) -> bool:
        value = _composed(value)
        for whole in _wholes(kept, value, kind):
            if _composed(whole) == value:
                return True
            if kind in _UNMARKED:
                text = _composed(whole[: 4 * _V1_BYTES] if kind == "id3v1" else whole)
                self._n_left -= 0 if text.isascii() else len(text)
                if self._n_left >= 0 and _is_what_is_left(value, text, kind):
                    return True
        return False


def _size(texts: list[str]) -> int:
    return sum(map(len, texts))


def _index_times(cue_sheet: str) -> set[str]:
    """The times of a cue sheet: the block of a FLAC file has no titles beside them."""
    return {line.strip() for line in cue_sheet.splitlines() if line.strip().startswith("INDEX")}


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 10 else None


def _is_same_measure(kept: str, value: str) -> bool:
    """Whether two gains or peaks are the same, to the decimals that both have."""
    first, second = _MEASURE.fullmatch(kept), _MEASURE.fullmatch(value)
    if not first or not second:
        return False
    n_decimals = min(len(first[2] or ""), len(second[2] or ""))
    difference = abs(float(first[1].replace(",", ".")) - float(second[1].replace(",", ".")))
    return difference <= 0.501 * 10**-n_decimals if n_decimals else difference < 1e-6


def _is_in_dates(value: str, kept: list[str], kind: str) -> bool:
    """Whether a date is one of ``kept``, or less exact than it."""
    date = _date(value)
    if not date.strip("0"):  # a year of 0
        return True
    if any(_date(each).startswith(date) for each in kept):
        return True
    years = re.compile(rf"(?<!\d){re.escape(date)}(?!\d)")
    return kind == "id3v1" and any(years.search(each) for each in kept)


def _date(text: str) -> str:
    """A date with the usual separators, less a time of midnight and months and days of 0."""
    text = re.sub(r"^(\d{4})[/.](\d\d)[/.](\d\d)", r"\1-\2-\3", text.strip())
    text = re.sub(r"^(\d{4}-\d\d-\d\d)T", r"\1 ", text)
    return _NO_TIME.sub("", text)


def _is_in_genres(value: str, kept: list[str], kind: str) -> bool:
    if kind == "id3v1" and value == _V1_OTHER:
        return True
    named = {_letters(part) for each in kept for part in (each, *_GENRE_JOINT.split(each))}
    return bool(_letters(value)) and _letters(value) in named


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _composed(text: str) -> str:
    """The text without spaces around it, its accents as part of their letters."""
    return unicodedata.normalize("NFC", text).strip()


def _are_joined(values: list[str], kept: list[str]) -> bool:
    """Whether ``values`` are what one of ``kept`` has in a single text."""
    if len(values) < 2:
        return False
    size = sum(map(len, values))
    whole = {each for each in kept if size < len(each) <= size + 16 * len(values)}
    return bool(whole) and any(joint.join(values) in whole for joint in _JOINTS)


def _wholes(kept: list[str], value: str, kind: str) -> Iterator[str]:
    """What ``value`` may be, or in ID3v1 begin: each of ``kept``, its first line, all of them joined."""
    yield from kept
    if kind == "id3v1":
        for each in kept:
            if "\n" in each or "\r" in each:
                yield each.splitlines()[0]
                yield " ".join(each.split())
    may_be_cut = kind == "id3v1" and len(value) >= _V1_CUT
    if len(kept) > 1:
        yield from (joint.join(kept) for joint in _JOINTS if joint in value or may_be_cut)


def _is_what_is_left(value: str, whole: str, kind: str) -> bool:
    """Whether ``value`` is ``whole`` in an encoding that may lack some of it, in ID3v1 in 30 bytes."""
    is_short = kind == "id3v1"
    for data in _encoded(whole):
        text = data.decode("latin-1") if is_short else unmarked_text(data)
        if text.strip() == value:
            return True
        if is_short and len(value) >= _V1_CUT and text.startswith(value):
            return True
        if is_short and value in (text[:_V1_CUT].strip(), text[:_V1_BYTES].strip()):
            return True
    return False


def _encoded(text: str) -> Iterator[bytes]:
    """The bytes of a text in each encoding, with each replacement for what that lacks."""
    if text.isascii():
        yield text.encode()
        return
    foreign = {char for char in text if char > "\x7f"}
    for encoding in _ENCODINGS:
        encoded = {char: _in_encoding(char, encoding) for char in foreign}
        if None not in encoded.values():
            yield text.encode(encoding)
            continue
        for fit in (str, _like):
            for replacement in _REPLACEMENTS:
                table = {
                    ord(char): fit(char) if fit(char).isascii() else replacement
                    for char in foreign
                    if encoded[char] is None
                }
                yield text.translate(table).encode(encoding)


@lru_cache(1 << 14)
def _in_encoding(char: str, encoding: str) -> bytes | None:
    try:
        return char.encode(encoding)
    except UnicodeEncodeError:
        return None


@lru_cache(1 << 14)
def _like(char: str) -> str:
    """The letter without its accent, or what is like it."""
    decomposed = unicodedata.normalize("NFKD", char.translate(_LIKE))
    return "".join(each for each in decomposed if not unicodedata.combining(each)).translate(_LIKE)
