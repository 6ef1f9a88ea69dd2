"""Vorbis comments (FLAC, Ogg Vorbis, Opus, Speex) <-> neutral tags, bytes in and bytes out.

mutagen's reader replaces what is not UTF-8 and believes the comment count; this one keeps each
comment's bytes, so that a restored file has them in their order, key case and number.
"""

from __future__ import annotations

import binascii
import re
import struct
from base64 import b64decode
from collections.abc import Iterator, Sequence

from earzip.errors import TagError
from earzip.formats.tags.model import MAX_CHAPTERS, MAX_VALUES, BlockView, Chapter, TagView
from earzip.formats.tags.picture import decode_flac_picture, measured_picture
from earzip.formats.tags.raw import Base64Span

PICTURE_KEY = "metadata_block_picture"
CHANNEL_MASK_KEY = "waveformatextensible_channel_mask"  # of the source's number of channels
_OLD_PICTURE_KEY = "coverart"  # base64 of the image alone, before PICTURE_KEY was agreed on
_PACKET_MAGICS = (b"\x03vorbis", b"OpusTags")
_CHAPTER_KEY = re.compile(r"chapter(\d{1,3})(name)?", re.ASCII)
_CHAPTER_TIME = re.compile(r"(\d{1,4}):([0-5]\d):([0-5]\d)(?:\.(\d{1,9}))?", re.ASCII)
_KEY = re.compile(r"[\x20-\x3c\x3e-\x7d]+")
_MAX_NUMBERED_CHAPTERS = 999


def split_comments(block: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """The vendor string and each comment's start and end in ``block``, an Ogg packet or FLAC block.

    Raises TagError if a length runs past the end or there are more than MAX_VALUES comments.
    """
    position = next((len(magic) for magic in _PACKET_MAGICS if block.startswith(magic)), 0)
    vendor_start, position = _counted(block, position, "vendor string")
    vendor = block[vendor_start:position]
    if position + 4 > len(block):
        raise TagError("the comment count is missing")
    (count,) = struct.unpack_from("<I", block, position)
    if count > MAX_VALUES:
        raise TagError(f"{count} comments, more than {MAX_VALUES}")
    position += 4
    spans = []
    for number in range(count):
        start, position = _counted(block, position, f"comment {number + 1} of {count}")
        spans.append((start, position))
    return vendor, spans


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


def comment_key(comment: bytes) -> str:
    """The comment's key in lower case; empty if it has none that the specification allows."""
    key, equals, _ = comment.partition(b"=")
    text = key.decode("ascii", "replace")
    return text.lower() if equals and _KEY.fullmatch(text) else ""


def parse_comments(block: bytes) -> BlockView:
    """The comments of an Ogg comment packet or a FLAC VORBIS_COMMENT body in neutral terms."""
    view = BlockView()
    _, spans = split_comments(block)
    chapters: dict[int, dict[str, str]] = {}
    covers = {span.start: span for span in picture_spans(block)}
    for number, (start, end) in enumerate(spans, 1):
        key = comment_key(block[start:end])
        value_start = start + len(key) + 1
        if not key:
            view.raw_only.append(f"comment {number}, which has no valid key,")
        elif cover := covers.get(value_start):
            view.pictures.append(
                decode_flac_picture(cover.head + cover.picture)
                if cover.head
                else measured_picture(0, "", "", cover.picture)
            )
        else:
            value = block[value_start:end].decode("utf-8", "replace")
            chapter = _CHAPTER_KEY.fullmatch(key)
            part = (chapter[2] or "start") if chapter else ""
            if chapter and part not in chapters.setdefault(int(chapter[1]), {}):
                chapters[int(chapter[1])][part] = value
            else:
                view.add(key, value)
    _add_chapters(view, chapters)
    return view


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
    """The pictures in base64. A span without a head is a bare image (COVERART)."""
    for start, end in split_comments(block)[1]:
        key = comment_key(block[start:end])
        if key not in (PICTURE_KEY, _OLD_PICTURE_KEY):
            continue
        value_start = start + len(key) + 1
        try:
            decoded = b64decode(block[value_start:end], validate=True)
            if key == _OLD_PICTURE_KEY:
                head, picture = b"", decoded
            else:
                picture = decode_flac_picture(decoded).data
                head = decoded[: len(decoded) - len(picture)]
        except (binascii.Error, TagError):
            continue  # it stays an ordinary comment
        if picture and decoded.endswith(picture):
            yield Base64Span(value_start, end, head, picture)


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
