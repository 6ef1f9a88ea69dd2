"""What earzip keeps of a file's tags: neutral fields, pictures, chapters and the raw blocks.

``TagSet.to_payload`` and ``TagSet.from_payload`` are an inverse pair; the second reads archives,
which may be hostile, and believes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from earzip.errors import TagError
from earzip.formats.tag_payload import MAX_PICTURES, Chapter, PictureFacts, read_payload
from earzip.formats.tags.raw import RawBlock

MAX_TAG_BYTES = 64 << 20  # of all tag blocks of a file, pictures included
MAX_ENTRIES = 40_000  # comments, items, atoms or chunks that are read of one block
MAX_TEXT_BYTES = 512 << 10  # of the neutral view; escapes may take it to 3 MiB of JSON
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
    "au-annotation": ("au", "AU annotation"),
}
FAMILIES = ("none", *dict.fromkeys(family for family, _ in KINDS.values()))


def kind_name(kind: str) -> str:
    """The name of a block kind in a sentence; a later version's kind is named by itself."""
    return KINDS[kind][1] if kind in KINDS else f"block of kind {kind!r}"


def quoted(values: Sequence[str]) -> str:
    """Values in a sentence, cut where they are long."""
    text = ", ".join(map(repr, values[:_MAX_QUOTE]))
    return text if len(text) <= _MAX_QUOTE else f"{text[:_MAX_QUOTE]}…"


@dataclass(frozen=True)
class SoundFacts:
    """What tags have to know of the sound that they go to."""

    sample_rate: int
    channels: int
    n_samples: int

    @property
    def duration_ms(self) -> int:
        """The track's length, rounded."""
        return round(self.n_samples * 1000 / self.sample_rate)


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

    @classmethod
    def of(cls, facts: PictureFacts, data: bytes) -> Picture:
        """The picture that an archive says this of, with its bytes."""
        return cls(data=data, **{name: getattr(facts, name) for name in _PICTURE_FACTS})


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
    ``pictures``; of one that was too large (`earzip.formats.tags.large`), what was taken. ``raw_only``
    names, by block kind, what only the raw blocks hold. ``problems`` are sentences about what could not
    be read; they are for the user now and are not archived.
    """

    family: str = "none"
    raw: list[RawBlock] = field(default_factory=list)
    raw_only: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list, compare=False)
    is_damaged: bool = field(default=False, compare=False)
    """Whether a block is malformed, or ends too early."""

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
        read = read_payload(payload, [len(blob) for blob in blobs], [len(p) for p in pictures])
        kinds = [kind for kind, _ in read.raw]
        return cls(
            fields=read.fields,
            pictures=[
                Picture.of(facts, data) for facts, data in zip(read.pictures, pictures, strict=True)
            ],
            chapters=read.chapters,
            family=read.family if read.family in FAMILIES else "none",
            raw=[
                RawBlock(kind, blob, cuts)
                for (kind, cuts), blob in zip(read.raw, blobs, strict=True)
            ],
            raw_only=read.raw_only,
            problems=_unknown(read.family, [*kinds, *read.raw_only]),
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
_PICTURE_FACTS = ("type", "mime", "description", *_PICTURE_SIZES)


def _chapter_payload(chapter: Chapter) -> dict[str, Any]:
    end = {} if chapter.end_ms is None else {"end_ms": chapter.end_ms}
    return {"start_ms": chapter.start_ms, **end, "title": chapter.title}


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


@dataclass
class Found:
    """The tag blocks of a file, as (kind, bytes), and what could not be taken.

    Take them in order of precedence, not of the file: an earlier one's fields win.
    """

    blocks: list[tuple[str, bytes]] = field(default_factory=list)
    chapters: list[Chapter] = field(default_factory=list)  # of an MP4 file's chapter track
    problems: list[str] = field(default_factory=list)
    is_damaged: bool = False
    _n_bytes: int = 0

    @property
    def room(self) -> int:
        """How many more bytes can be taken, as one block."""
        return MAX_TAG_BYTES - self._n_bytes if len(self.blocks) < MAX_PICTURES else 0

    def keep(self, kind: str, data: bytes) -> None:
        """Take a block of ``room`` bytes at most that was read before."""
        self.blocks.append((kind, data))
        self._n_bytes += len(data)

    def take(self, file: BinaryIO, kind: str, offset: int, size: int) -> None:
        """Read a block; one that is too large or runs past the end becomes a problem."""
        data = self.read(file, f"{kind} block", offset, size)
        if data is not None:
            self.blocks.append((kind, data))

    def read(self, file: BinaryIO, name: str, offset: int, size: int) -> bytes | None:
        """Bytes that go into a block, counted; None, and a problem, where they are too many."""
        if size > self.room or len(self.blocks) >= MAX_PICTURES:
            self.problems.append(
                f"the {name} of {size} bytes is not archived: "
                f"the limit is {MAX_TAG_BYTES} bytes in {MAX_PICTURES} blocks"
            )
            return None
        file.seek(offset)
        data = file.read(size)
        if len(data) < size:
            self.problems.append(f"the {name} says {size} bytes, has {len(data)}")
            self.is_damaged = True
        self._n_bytes += len(data)
        return data
