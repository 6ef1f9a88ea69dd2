"""The neutral view in an archive's tag part, checked: SPEC.md, "Payload", rule by rule.

The one place where these rules stand. `earzip.formats.archive` checks every tag part by it, read or
written, and `earzip.formats.tags` makes a `TagSet` of what comes out: so tags that ``verify`` takes are
tags that ``restore`` takes. A payload may be hostile: nothing is allocated from a number in it.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from earzip.errors import TagError

MAX_BLOCK_BYTES = 65 << 20
"""Of all raw blocks with their pictures put back: 64 MiB are read of a source, and some get a head."""
MAX_PICTURE_BYTES = 128 << 20  # of all pictures that the payload lists
MAX_BLOCKS = 2_000
MAX_PICTURES = 1_000
MAX_CUTS = 1_000  # of a block
MAX_ALL_CUTS = 10_000
MAX_CHAPTERS = 10_000
MAX_VALUES = 20_000  # text values of one file
MAX_MS = 2**53  # every number up to it is exact in JSON
CODINGS = ("plain", "unsync", "base64")
_UINT32 = 2**32 - 1
_MAX_NAME = 64  # characters of a family's or kind's name
_CAPITAL = re.compile("[A-Z]")


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What is said of a picture; ``type`` is the number ID3 and FLAC share, 0 sizes are unknown ones."""

    type: int
    mime: str
    description: str
    width: int
    height: int
    depth: int  # bits per pixel
    colors: int  # palette entries


@dataclass(frozen=True, slots=True)
class Chapter:
    """A named part of the track; ``end_ms`` is None where the source gives starts only."""

    start_ms: int
    end_ms: int | None
    title: str


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a picture was. ``offset`` counts in the block without pictures.

    ``head``: that many bytes from ``offset`` on are base64-coded together with the picture.
    """

    offset: int
    picture: int
    coding: str = "plain"
    head: int = 0


@dataclass(frozen=True, slots=True)
class Payload:
    """A payload that keeps all rules; ``raw`` has the kind and the cuts of each raw block."""

    family: str
    fields: dict[str, list[str]]
    pictures: list[PictureFacts]
    chapters: list[Chapter]
    raw: list[tuple[str, tuple[Cut, ...]]]
    raw_only: dict[str, list[str]]


def read_payload(
    payload: object, block_bytes: Sequence[int], picture_bytes: Sequence[int]
) -> Payload:
    """Return what ``payload``, parsed JSON, says; the sizes are those of its raw blocks and pictures.

    Raises TagError for a wrong type, a value out of range or a count that does not match. What a later
    minor version may add is no error: keys beside the known ones are ignored, in every object, and
    unknown families and kinds are kept.
    """
    top = _object(payload, ("family",), "tags")
    family = _name(top["family"], "tag family")
    for key in ("fields", "pictures", "chapters", "raw", "raw_only"):
        if key in top and not top[key]:
            raise TagError(f"{key} is empty, expected no such key")
    described = _list(top.get("pictures", []), MAX_PICTURES, "pictures")
    if len(described) != len(picture_bytes):
        raise TagError(f"tags describe {len(described)} pictures, {len(picture_bytes)} are stored")
    if (n_bytes := sum(picture_bytes)) > MAX_PICTURE_BYTES:
        raise TagError(f"pictures have {n_bytes} bytes, the limit is {MAX_PICTURE_BYTES}")
    blocks = _list(top.get("raw", []), MAX_BLOCKS, "raw blocks")
    if len(blocks) != len(block_bytes):
        raise TagError(f"tags describe {len(blocks)} raw blocks, {len(block_bytes)} are stored")
    raw = [
        _raw_block(item, n_bytes, len(picture_bytes))
        for item, n_bytes in zip(blocks, block_bytes, strict=True)
    ]
    if (n_cuts := sum(len(cuts) for _, cuts in raw)) > MAX_ALL_CUTS:
        raise TagError(f"raw blocks have {n_cuts} cuts, the limit is {MAX_ALL_CUTS}")
    joined = sum(block_bytes) + sum(
        _joined_bytes(cut, picture_bytes[cut.picture]) for _, cuts in raw for cut in cuts
    )
    if joined > MAX_BLOCK_BYTES:
        raise TagError(f"raw tag blocks take {joined} bytes, the limit is {MAX_BLOCK_BYTES}")
    fields = _names(top.get("fields", {}), "fields")
    if capital := next(filter(_CAPITAL.search, fields), None):
        raise TagError(f"fields has the name {reprlib.repr(capital)}, expected lower case")
    raw_only = _names(top.get("raw_only", {}), "raw_only")
    for kind in raw_only:
        _name(kind, "raw_only kind")
    chapters = _list(top.get("chapters", []), MAX_CHAPTERS, "chapters")
    return Payload(
        family,
        fields,
        [_picture(item) for item in described],
        [_chapter(item) for item in chapters],
        raw,
        raw_only,
    )


def _joined_bytes(cut: Cut, n_picture: int) -> int:
    """Return the bytes that putting back a picture adds; as ``unsync`` it may add twice as many."""
    if cut.coding == "base64":
        return 4 * (-(-(cut.head + n_picture) // 3)) - cut.head
    return n_picture


def _picture(item: object) -> PictureFacts:
    entry = _object(item, ("type", "mime"), "picture")
    sizes = (
        _optional(entry, name, partial(_integer, _UINT32), 0, "picture")
        for name in ("width", "height", "depth", "colors")
    )
    return PictureFacts(
        _integer(_UINT32, entry["type"], "picture type"),
        _text(entry["mime"], "picture MIME type"),
        _optional(entry, "description", _text, "", "picture"),
        *sizes,
    )


def _chapter(item: object) -> Chapter:
    entry = _object(item, ("start_ms", "title"), "chapter")
    start = _integer(MAX_MS, entry["start_ms"], "chapter start")
    end = _integer(MAX_MS, entry["end_ms"], "chapter end") if "end_ms" in entry else None
    if end is not None and end < start:
        raise TagError(f"a chapter ends at {end} ms, before its start at {start} ms")
    return Chapter(start, end, _text(entry["title"], "chapter title"))


def _raw_block(item: object, n_bytes: int, n_pictures: int) -> tuple[str, tuple[Cut, ...]]:
    entry = _object(item, ("kind",), "raw block")
    kind = _name(entry["kind"], "raw block kind")
    listed = _list(entry.get("cuts", []), MAX_CUTS, "cuts")
    if "cuts" in entry and not listed:
        raise TagError("cuts is empty, expected no such key")
    cuts = []
    position = 0
    for each in listed:
        cut = _object(each, ("at", "picture"), "cut")
        offset = _integer(n_bytes, cut["at"], "cut offset")
        head = _optional(cut, "head", partial(_integer, n_bytes - offset), 0, "cut")
        coding = cut.get("coding", "plain")
        is_right = coding in CODINGS and ("coding" in cut) == (coding != "plain")
        if offset < position or not is_right or (head and coding != "base64"):
            raise TagError(f"a cut of raw block {kind!r} at {offset} is malformed")
        cuts.append(
            Cut(offset, _integer(n_pictures - 1, cut["picture"], "cut picture"), coding, head)
        )
        position = offset + head
    return kind, tuple(cuts)


def _names(value: object, what: str) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    total = 0
    for name, entries in _object(value, (), what).items():
        if not _text(name, what):
            raise TagError(f"{what} has an empty name")
        values = _list(entries, MAX_VALUES, f"{what} {reprlib.repr(name)}")
        total += len(values)
        if not values or total > MAX_VALUES:
            raise TagError(f"{what} {reprlib.repr(name)} has {len(values)} values of {total}")
        names[name] = [_text(entry, f"{what} {reprlib.repr(name)}") for entry in values]
    return names


def _object(value: object, required: Collection[str], what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TagError(f"{what} is not an object")
    if missing := [key for key in required if key not in value]:
        raise TagError(f"{what} lacks {missing}")
    return value


def _list(value: object, limit: int, what: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > limit:
        raise TagError(f"{what} is not a list of at most {limit} entries")
    return value


def _optional(entry: dict[str, Any], key: str, read: Any, absent: Any, what: str) -> Any:
    """Return the value of a key that must not be there for the value ``absent``."""
    if key not in entry:
        return absent
    value = read(entry[key], f"{what} {key}")
    if value == absent:
        raise TagError(f"{what} {key} is {absent!r}, expected no such key")
    return value


def _integer(highest: int, value: object, what: str) -> int:
    if type(value) is not int or not 0 <= value <= highest:
        raise TagError(f"{what} is {reprlib.repr(value)}, expected 0 to {highest}")
    return value


def _name(value: object, what: str) -> str:
    name = _text(value, what)
    if not 1 <= len(name) <= _MAX_NAME:
        raise TagError(f"{what} is {reprlib.repr(name)}, expected 1 to {_MAX_NAME} characters")
    return name


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or (not value.isascii() and _has_surrogates(value)):
        raise TagError(f"{what} is not text")
    return value


def _has_surrogates(value: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in value)
