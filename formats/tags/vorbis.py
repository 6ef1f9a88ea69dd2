"""Vorbis comments (FLAC, Ogg Vorbis, Opus, Speex) <-> neutral tags, bytes in and bytes out.

mutagen's reader replaces what is not UTF-8 and believes the comment count; this one keeps each
comment's bytes, so that a restored file has them in their order, key case and number.
"""

from __future__ import annotations

import binascii
import re
import struct
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence

from earzip.errors import TagError
from earzip.formats.tag_payload import MAX_CHAPTERS, Chapter
from earzip.formats.tags.model import MAX_ENTRIES, BlockView, TagView
from earzip.formats.tags.picture import (
    decode_flac_picture,
    flac_picture_head,
    image_mime,
    measured_picture,
)
from earzip.formats.tags.raw import Base64Span

PICTURE_KEY = "metadata_block_picture"
CHANNEL_MASK_KEY = "waveformatextensible_channel_mask"  # of the source's number of channels
_OLD_PICTURE_KEY = "coverart"  # base64 of the image alone, before PICTURE_KEY was agreed on
_OLD_MIME_KEY = "coverartmime"  # of the picture of the same number
_BASE64_LIKE = re.compile(rb"[A-Za-z0-9+/=_\s\0-]{100,}")
_PACKET_MAGICS = (b"\x03vorbis", b"OpusTags")
_CHAPTER_KEY = re.compile(r"chapter(\d{1,3})(name)?", re.ASCII)
_CHAPTER_TIME = re.compile(r"(\d{1,4}):([0-5]\d):([0-5]\d)(?:\.(\d{1,9}))?", re.ASCII)
_KEY = re.compile(r"[\x20-\x3c\x3e-\x7d]+")
_MAX_NUMBERED_CHAPTERS = 999
_FROM_URL_ALPHABET = bytes.maketrans(b"-_", b"+/")
UNREADABLE_PICTURE = "picture that cannot be read"


def split_comments(block: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """The vendor string and each comment's start and end in ``block``, an Ogg packet or FLAC block.

    Raises TagError if a length runs past the end or there are more than MAX_ENTRIES comments.
    """
    vendor, spans, problem = _split(block)
    if problem:
        raise TagError(problem)
    return vendor, spans


def _split(block: bytes) -> tuple[bytes, list[tuple[int, int]], str | None]:
    """Vendor string, comments, and why there are no more of these than could be read.

    Raises TagError if there is no count.
    """
    position = next((len(magic) for magic in _PACKET_MAGICS if block.startswith(magic)), 0)
    vendor_start, position = _counted(block, position, "vendor string")
    vendor = block[vendor_start:position]
    if position + 4 > len(block):
        raise TagError("the comment count is missing")
    (count,) = struct.unpack_from("<I", block, position)
    position += 4
    spans: list[tuple[int, int]] = []
    for number in range(min(count, MAX_ENTRIES)):
        try:
            start, position = _counted(block, position, f"comment {number + 1} of {count}")
        except TagError as error:
            return vendor, spans, error.message
        spans.append((start, position))
    problem = f"{count} comments, more than {MAX_ENTRIES}" if count > MAX_ENTRIES else None
    return vendor, spans, problem


def _counted(block: bytes, position: int, what: str) -> tuple[int, int]:
    start = position + 4
    length = int.from_bytes(block[position:start], "little")
    if start + length > len(block):
        raise TagError(f"{what} runs past the end")
    return start, start + length


def join_comments(vendor: bytes, comments: Sequence[bytes]) -> bytes:
    """A FLAC VORBIS_COMMENT body (no framing bit); the inverse of ``split_comments``."""
    parts = [struct.pack("<I", len(vendor)), vendor, struct.pack("<I", len(comments))]
    for comment in comments:
        parts += [struct.pack("<I", len(comment)), comment]
    return b"".join(parts)


COMMENT_KINDS = ("flac-comment", "ogg-comment")
"""Kinds of the raw blocks that are such comments."""


def without_comments(block: bytes, is_gone: Callable[[str], bool]) -> bytes:
    """A comment block without comments whose key ``is_gone`` holds for; a malformed one as it is."""
    try:
        vendor, spans = split_comments(block)
    except TagError:
        return block  # none that is malformed is written
    comments = [block[start:end] for start, end in spans]
    kept = [comment for comment in comments if not is_gone(comment_key(comment))]
    return block if kept == comments else join_comments(vendor, kept)


def comment_key(comment: bytes) -> str:
    """The comment's key in lower case; empty if it has none that the specification allows."""
    key, equals, _ = comment.partition(b"=")
    text = key.decode("ascii", "replace")
    return text.lower() if equals and _KEY.fullmatch(text) else ""


def parse_comments(block: bytes) -> BlockView:
    """The comments of an Ogg comment packet or a FLAC VORBIS_COMMENT body in neutral terms.

    Raises TagError if not even one can be read.
    """
    view = BlockView()
    _, spans, problem = _split(block)
    chapters: dict[int, dict[str, str]] = {}
    covers = {span.start: span for span in _picture_spans(block, spans)}
    for number, (start, end) in enumerate(spans, 1):
        key = comment_key(block[start:end])
        value_start = start + len(key) + 1
        if not key:
            view.raw_only.append(f"comment {number}, which has no valid key,")
        elif cover := covers.get(value_start):
            _add_cover(view, key, cover)
        elif is_picture_text(key, block[value_start:end]):
            view.raw_only.append(UNREADABLE_PICTURE)
        else:
            value = block[value_start:end].decode("utf-8", "replace")
            chapter = _CHAPTER_KEY.fullmatch(key)
            part = (chapter[2] or "start") if chapter else ""
            if chapter and part not in chapters.setdefault(int(chapter[1]), {}):
                chapters[int(chapter[1])][part] = value
            else:
                view.add(key, value)
            if "\ufffd" in value and value.encode() != block[value_start:end]:
                view.raw_only.append(f"the exact bytes of comment {key[:80]!r}")
    _add_chapters(view, chapters)
    if problem:
        view.stop(problem)
    return view


def _add_cover(view: TagView, key: str, cover: Base64Span) -> None:
    if key == PICTURE_KEY:
        view.pictures.append(decode_flac_picture(cover.head + cover.picture))
    elif key == _OLD_PICTURE_KEY:
        view.pictures.append(measured_picture(0, cover.mime, "", cover.picture))


def _add_chapters(view: TagView, chapters: dict[int, dict[str, str]]) -> None:
    for number, parts in sorted(chapters.items()):
        time = _CHAPTER_TIME.fullmatch(parts.get("start", ""))
        if not time or len(view.chapters) == MAX_CHAPTERS:
            for part, value in parts.items():
                view.add(f"chapter{number:03}{'' if part == 'start' else part}", value)
            continue
        hours, minutes, seconds = (int(time[i]) for i in (1, 2, 3))
        milliseconds = round(float(f"0.{time[4] or 0}") * 1000)
        start = ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds
        view.chapters.append(Chapter(start, None, parts.get("name", "")))


def picture_spans(block: bytes) -> Iterator[Base64Span]:
    """The values that are pictures in base64; of COVERART, the bare image, and its COVERARTMIME.

    A span of COVERARTMIME has no picture. Raises TagError as ``split_comments`` does.
    """
    return _picture_spans(block, split_comments(block)[1])


def _picture_spans(block: bytes, spans: Sequence[tuple[int, int]]) -> Iterator[Base64Span]:
    keyed: dict[str, list[tuple[int, int]]] = {}
    for start, end in spans:
        if block[start : start + 5].lower() in (b"metad", b"cover"):
            key = comment_key(block[start:end])
            keyed.setdefault(key, []).append((start + len(key) + 1, end))
    for start, end in keyed.get(PICTURE_KEY, ()):
        decoded = _decoded(block[start:end])
        try:
            picture = decode_flac_picture(decoded).data
        except TagError:
            continue
        head = decoded[: flac_picture_head(decoded)]
        yield Base64Span(start, end, head, picture)
    mimes = keyed.get(_OLD_MIME_KEY, [])
    for number, (start, end) in enumerate(keyed.get(_OLD_PICTURE_KEY, ())):
        picture = _decoded(block[start:end])
        is_exact = b64encode(picture) == block[start:end]
        if not picture or not (is_exact or image_mime(picture)):
            continue
        mime_start, mime_end = mimes[number] if number < len(mimes) else (0, 0)
        mime = block[mime_start:mime_end].decode("utf-8", "replace")
        yield Base64Span(start, end, b"", picture, mime)
        if mime:
            yield Base64Span(mime_start, mime_end, b"", b"")


def _decoded(text: bytes) -> bytes:
    """The bytes of a base64 text as writers are known to write it; nothing if it is none.

    It may lack its "=" or have one too many, be broken into lines, use the alphabet of URLs, or end in
    a zero byte.
    """
    plain = b"".join(text.split()).rstrip(b"\0=").translate(_FROM_URL_ALPHABET)
    plain = plain[: len(plain) - (len(plain) % 4 == 1)]
    try:
        return b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        return b""


def is_picture_text(key: str, value: bytes) -> bool:
    """Whether a value that is no picture was to be one: as a comment no player could use it."""
    return key == PICTURE_KEY or (key == _OLD_PICTURE_KEY and bool(_BASE64_LIKE.match(value)))


def comments_from_view(view: TagView, known: TagView) -> list[bytes]:
    """Comments for those fields and chapters of ``view`` that ``known`` lacks, keys in capitals.

    Fields whose name cannot be a key are left out; the caller compares what was written.
    """
    comments = [
        f"{name.upper()}={value}".encode()
        for name, values in view.fields.items()
        if name not in known.fields and name != CHANNEL_MASK_KEY and _KEY.fullmatch(name)
        for value in values
    ]
    if view.chapters and not known.chapters:
        for number, chapter in enumerate(view.chapters[:_MAX_NUMBERED_CHAPTERS], 1):
            minutes, milliseconds = divmod(chapter.start_ms, 60_000)
            seconds = f"{milliseconds // 1000:02}.{milliseconds % 1000:03}"
            time = f"{minutes // 60:02}:{minutes % 60:02}:{seconds}"
            comments.append(f"CHAPTER{number:03}={time}".encode())
            comments.append(f"CHAPTER{number:03}NAME={chapter.title}".encode())
    return comments
