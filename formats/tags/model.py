"""What earzip keeps of a file's tags: neutral fields, pictures, chapters and the raw blocks.

``TagSet.to_payload`` and ``TagSet.from_payload`` are an inverse pair; the second reads archives,
which may be hostile, and believes nothing.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from earzip.errors import TagError
from earzip.formats.tags.raw import CODINGS, Cut, RawBlock

MAX_TAG_BYTES = 64 << 20  # of all tag blocks of a file, pictures included
MAX_VALUES = 20_000  # text values of one file
MAX_ENTRIES = 40_000  # comments, items, atoms or chunks that are read of one block
MAX_TEXT_BYTES = 512 << 10  # of the neutral view; escapes may take it to 3 MiB of JSON
MAX_PICTURES = 1_000
MAX_CHAPTERS = 10_000
_MAX_PICTURE_BYTES = 2 * MAX_TAG_BYTES  # ID3 may hold compressed pictures
MAX_MS = 2**53  # every number up to it is exact in JSON
_UINT32 = 2**32 - 1
_MAX_NAME = 64  # characters of a family's or kind's name
_MAX_NAMED = 5  # unknown families and kinds that a warning lists
_MAX_QUOTE = 60

# Raw block kinds, the family each belongs to, and its name in a sentence.
KINDS = {
    "flac-comment": ("vorbis", "Vorbis comment"),
    "flac-picture": ("vorbis", "FLAC picture block"),
    "flac-cuesheet": ("vorbis", "FLAC cue sheet block"),
    "ogg-comment": ("vorbis", "Vorbis comment"),
    "id3v2": ("id3", "ID3v2 tag"),
    "id3v1": ("id3", "ID3v1 tag"),
    "apev2": ("apev2", "APEv2 tag"),
    "mp4-ilst": ("mp4", "MP4 tag"),
    "mp4-keys": ("mp4", "MP4 tag with keys"),
    "mp4-udta": ("mp4", "QuickTime tag"),
    "mp4-chpl": ("mp4", "MP4 chapter list"),
    "riff-info": ("riff-info", "RIFF INFO chunk"),
    "riff-bext": ("riff-bext", "Broadcast WAV chunk"),
    "aiff-text": ("aiff", "AIFF text chunks"),
    "asf-objects": ("asf", "ASF tag"),
    "lyrics3": ("lyrics3", "Lyrics3 tag"),
}
FAMILIES = ("none", *dict.fromkeys(family for family, _ in KINDS.values()))


def kind_name(kind: str) -> str:
    """The name of a block kind in a sentence; a later version's kind is named by itself."""
    return KINDS[kind][1] if kind in KINDS else f"block of kind {kind!r}"


def quoted(values: Sequence[str]) -> str:
    """Values in a sentence, cut where they are long."""
    text = ", ".join(map(repr, values[:_MAX_QUOTE]))
    return text if len(text) <= _MAX_QUOTE else f"{text[:_MAX_QUOTE]}…"


@dataclass(frozen=True, slots=True)
class Picture:
    """An embedded picture; ``type`` is the number ID3 and FLAC share, 0 sizes are unknown ones."""

    type: int
    mime: str
    description: str
    data: bytes = field(repr=False)
    width: int = 0
    height: int = 0
    depth: int = 0  # bits per pixel
    colors: int = 0  # palette entries


@dataclass(frozen=True, slots=True)
class Chapter:
    """A named part of the track; ``end_ms`` is None where the source gives starts only."""

    start_ms: int
    end_ms: int | None
    title: str


@dataclass
class TagView:
    """Tags in neutral terms: Vorbis-like lower-case names, every value in the source's order."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    pictures: list[Picture] = field(default_factory=list)
    chapters: list[Chapter] = field(default_factory=list)

    def add(self, name: str, *values: str) -> None:
        """Append values to a field; lone surrogates, which UTF-8 cannot hold, become ``?``."""
        clean = [value.encode("utf-8", "replace").decode() for value in values]
        if clean:
            key = name.lower().encode("utf-8", "replace").decode() or "unnamed"
            self.fields.setdefault(key, []).extend(clean)

    def text_bytes(self) -> int:
        """The size of all text of the view in UTF-8."""
        texts = [text for name, values in self.fields.items() for text in (name, *values)]
        texts += [text for p in self.pictures for text in (p.mime, p.description)]
        texts += [chapter.title for chapter in self.chapters]
        return sum(len(text.encode()) for text in texts)

    def merge(self, other: TagView, *, same_family: bool) -> None:
        """Add what a block of lower precedence has more: new names, new pictures, first chapters.

        Two families may hold the same picture twice over; within one family each one counts.
        """
        for name, values in other.fields.items():
            self.fields.setdefault(name, values)
        known = set() if same_family else {(p.type, p.data) for p in self.pictures}
        self.pictures += [p for p in other.pictures if (p.type, p.data) not in known]
        self.chapters = self.chapters or other.chapters


@dataclass
class BlockView(TagView):
    """One block in neutral terms, and the names of its fields that have no neutral counterpart.

    ``problem`` is why only a part of the block could be read, None for all of it.
    """

    raw_only: list[str] = field(default_factory=list)
    problem: str | None = None

    def stop(self, reason: str) -> None:
        """Note that no more can be read. Raises TagError if nothing has been."""
        if not (self.fields or self.pictures or self.chapters):
            raise TagError(reason)
        self.problem = reason
        self.raw_only.append("the rest, which cannot be read,")


@dataclass
class TagSet(TagView):
    """All tags of a file. ``family`` is that of its leading block.

    ``raw`` holds the source's own blocks, each picture cut out and referred to by its index in
    ``pictures``. ``raw_only`` names, by block kind, what only the raw blocks hold. ``problems``
    are sentences about what could not be read; they are for the user now and are not archived.
    """

    family: str = "none"
    raw: list[RawBlock] = field(default_factory=list)
    raw_only: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list, compare=False)

    def raw_bytes(self, kind: str) -> list[bytes]:
        """The source's blocks of one kind, byte for byte, pictures put back."""
        data = [picture.data for picture in self.pictures]
        return [block.join(data) for block in self.raw if block.kind == kind]

    def to_payload(self) -> tuple[dict[str, Any], list[bytes]]:
        """A JSON-able dict without empty parts, and one blob for each raw block.

        The pictures' bytes are not in it: store ``[p.data for p in tags.pictures]`` beside it.
        """
        payload: dict[str, Any] = {
            "family": self.family,
            "fields": self.fields,
            "pictures": [_picture_payload(picture) for picture in self.pictures],
            "chapters": [_chapter_payload(chapter) for chapter in self.chapters],
            "raw": [_raw_payload(block) for block in self.raw],
            "raw_only": self.raw_only,
        }
        return {k: v for k, v in payload.items() if v}, [block.data for block in self.raw]

    @classmethod
    def from_payload(
        cls, payload: object, blobs: Sequence[bytes], pictures: Sequence[bytes]
    ) -> TagSet:
        """The TagSet that ``to_payload`` described; ``pictures`` are the bytes, in order.

        Raises TagError for a wrong type, a value out of range or a count that does not match,
        before anything of an unchecked size is allocated. What a later minor version of the format
        may add is no error: keys beside the known ones are ignored, in every object; an unknown
        family is taken as ``none``; blocks of an unknown kind are kept. ``problems`` names families
        and kinds that are unknown.
        """
        if not isinstance(payload, dict) or "family" not in payload:
            raise TagError("tags are not an object with a family")
        top: dict[str, Any] = payload
        family = _name(top["family"], "tag family")
        described = _list(top.get("pictures", []), MAX_PICTURES, "pictures")
        if len(described) != len(pictures):
            raise TagError(f"tags describe {len(described)} pictures, {len(pictures)} are stored")
        if (n_bytes := sum(map(len, pictures))) > _MAX_PICTURE_BYTES:
            raise TagError(f"pictures have {n_bytes} bytes, the limit is {_MAX_PICTURE_BYTES}")
        raw = _list(top.get("raw", []), 2 * MAX_PICTURES, "raw blocks")
        if len(raw) != len(blobs):
            raise TagError(f"tags describe {len(raw)} raw blocks, {len(blobs)} are stored")
        blocks = [
            _raw_from_payload(item, blob, pictures) for item, blob in zip(raw, blobs, strict=True)
        ]
        joined = sum(block.joined_size_bound([len(data) for data in pictures]) for block in blocks)
        if joined > 3 * MAX_TAG_BYTES:
            raise TagError(f"raw tag blocks would take {joined} bytes")
        raw_only = _names(top.get("raw_only", {}), "raw_only")
        for kind in raw_only:
            _name(kind, "raw_only kind")
        return cls(
            fields=_names(top.get("fields", {}), "fields"),
            pictures=[
                _picture_from_payload(item, data)
                for item, data in zip(described, pictures, strict=True)
            ],
            chapters=[
                _chapter_from_payload(item)
                for item in _list(top.get("chapters", []), MAX_CHAPTERS, "chapters")
            ],
            family=family if family in FAMILIES else "none",
            raw=blocks,
            raw_only=raw_only,
            problems=_unknown(family, [*(block.kind for block in blocks), *raw_only]),
        )


def _unknown(family: str, kinds: list[str]) -> list[str]:
    """One sentence about what this version does not know, or none."""
    names = [repr(family)] if family not in FAMILIES else []
    names += [repr(kind) for kind in kinds if kind not in KINDS]
    names = list(dict.fromkeys(names))
    if not names:
        return []
    more = [f"{len(names) - _MAX_NAMED} more"] if len(names) > _MAX_NAMED else []
    listed = ", ".join(names[:_MAX_NAMED] + more)
    return [f"this version does not know tags of kind {listed}; they stay in the archive"]


def _picture_payload(picture: Picture) -> dict[str, Any]:
    sizes = {name: getattr(picture, name) for name in _PICTURE_SIZES if getattr(picture, name)}
    text = {"description": picture.description} if picture.description else {}
    return {"type": picture.type, "mime": picture.mime, **text, **sizes}


_PICTURE_SIZES = ("width", "height", "depth", "colors")


def _picture_from_payload(item: object, data: bytes) -> Picture:
    entry = _object(item, {"type", "mime"}, "picture")
    return Picture(
        type=_integer(entry["type"], _UINT32, "picture type"),
        mime=_text(entry["mime"], "picture MIME type"),
        description=_text(entry.get("description", ""), "picture description"),
        data=data,
        **{
            name: _integer(entry.get(name, 0), _UINT32, f"picture {name}")
            for name in _PICTURE_SIZES
        },
    )


def _chapter_payload(chapter: Chapter) -> dict[str, Any]:
    end = {} if chapter.end_ms is None else {"end_ms": chapter.end_ms}
    return {"start_ms": chapter.start_ms, **end, "title": chapter.title}


def _chapter_from_payload(item: object) -> Chapter:
    entry = _object(item, {"start_ms", "title"}, "chapter")
    start = _integer(entry["start_ms"], MAX_MS, "chapter start")
    end = _integer(entry["end_ms"], MAX_MS, "chapter end") if "end_ms" in entry else None
    if end is not None and end < start:
        raise TagError(f"a chapter ends at {end} ms, before its start at {start} ms")
    return Chapter(start, end, _text(entry["title"], "chapter title"))


def _raw_payload(block: RawBlock) -> dict[str, Any]:
    cuts = [
        {
            "at": cut.offset,
            "picture": cut.picture,
            **({} if cut.coding == "plain" else {"coding": cut.coding}),
            **({"head": cut.head} if cut.head else {}),
        }
        for cut in block.cuts
    ]
    return {"kind": block.kind, **({"cuts": cuts} if cuts else {})}


def _raw_from_payload(item: object, blob: bytes, pictures: Sequence[bytes]) -> RawBlock:
    entry = _object(item, {"kind"}, "raw block")
    kind = _name(entry["kind"], "raw block kind")
    cuts = []
    position = 0
    for each in _list(entry.get("cuts", []), MAX_PICTURES, "cuts"):
        cut = _object(each, {"at", "picture"}, "cut")
        offset = _integer(cut["at"], len(blob), "cut offset")
        head = _integer(cut.get("head", 0), len(blob) - offset, "cut head")
        coding = cut.get("coding", "plain")
        if offset < position or coding not in CODINGS or (head and coding != "base64"):
            raise TagError(f"a cut of raw block {kind!r} at {offset} is malformed")
        index = _integer(cut["picture"], len(pictures) - 1, "cut picture")
        cuts.append(Cut(offset, index, coding, head))
        position = offset + head
    return RawBlock(kind, blob, tuple(cuts))


def _names(value: object, what: str) -> dict[str, list[str]]:
    if not isinstance(value, dict):
        raise TagError(f"{what} is not an object")
    names: dict[str, list[str]] = {}
    total = 0
    for name, entries in value.items():
        if not _text(name, what):
            raise TagError(f"{what} has an empty name")
        values = _list(entries, MAX_VALUES, f"{what} {reprlib.repr(name)}")
        total += len(values)
        if not values or total > MAX_VALUES:
            raise TagError(f"{what} {reprlib.repr(name)} has {len(values)} values of {total}")
        names[name] = [_text(entry, f"{what} {reprlib.repr(name)}") for entry in values]
    return names


def _object(value: object, required: set[str], what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TagError(f"{what} is not an object")
    if missing := required - value.keys():
        raise TagError(f"{what} lacks {sorted(missing)}")
    return value


def _list(value: object, limit: int, what: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > limit:
        raise TagError(f"{what} is not a list of at most {limit} entries")
    return value


def _integer(value: object, highest: int, what: str) -> int:
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


@dataclass
class Found:
    """The tag blocks of a file, as (kind, bytes), and what could not be taken.

    Take them in order of precedence, not of the file: an earlier one's fields win.
    """

    blocks: list[tuple[str, bytes]] = field(default_factory=list)
    chapters: list[Chapter] = field(default_factory=list)  # of an MP4 file's chapter track
    problems: list[str] = field(default_factory=list)
    _n_bytes: int = 0

    def take(self, file: BinaryIO, kind: str, offset: int, size: int) -> None:
        """Read a block; one that is too large or runs past the end becomes a problem."""
        data = self.read(file, f"{kind} block", offset, size)
        if data is not None:
            self.blocks.append((kind, data))

    def read(self, file: BinaryIO, name: str, offset: int, size: int) -> bytes | None:
        """Bytes that go into a block, counted; None, and a problem, where they are too many."""
        if self._n_bytes + size > MAX_TAG_BYTES or len(self.blocks) >= MAX_PICTURES:
            self.problems.append(
                f"the {name} of {size} bytes is not archived: "
                f"the limit is {MAX_TAG_BYTES} bytes in {MAX_PICTURES} blocks"
            )
            return None
        file.seek(offset)
        data = file.read(size)
        if len(data) < size:
            self.problems.append(f"the {name} says {size} bytes, has {len(data)}")
        self._n_bytes += len(data)
        return data
