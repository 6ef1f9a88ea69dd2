"""ID3 tags <-> neutral tags, through mutagen: this is its one door for ID3."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any, TypeAlias

from mutagen import MutagenError
from mutagen.id3 import ID3, Frames, Frames_2_2

from earzip.errors import TagError
from earzip.formats.containers.walk import synchsafe
from earzip.formats.tag_payload import Chapter
from earzip.formats.tags.id3_guard import Budget, check_id3v2, id3_frames
from earzip.formats.tags.id3_values import (
    KNOWN_FRAMES,
    genre_names,
    join_dates,
    keep_date_texts,
)
from earzip.formats.tags.lyrics import lrc_from_sync
from earzip.formats.tags.model import BlockView
from earzip.formats.tags.names import (
    ID3_PAIR_FRAMES,
    ID3_ROLES,
    ID3_TEXT_FRAMES,
    ID3_TIME_FRAMES,
    ID3_URL_FRAMES,
    MUSICBRAINZ_OWNER,
    free_name,
    split_pair,
)
from earzip.formats.tags.picture import measured_picture

Frame: TypeAlias = Any  # mutagen gives each class of frames its attributes at run time
_V1_SIZE = 128
# What mutagen has been seen to raise, besides its own errors, on malformed frames.
_MUTAGEN_LEAKS = (
    MutagenError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
_NO_LANGUAGE = {"eng", "xxx", "und", "\0\0\0", "   "}  # what writers put where none is meant
_SUCCESSORS = {"IPLS": "TIPL"}
_OLDEST = 2  # the version whose frames have names of three letters
_MAX_SALVAGED = 200  # frames of a tag that cannot be read whole
_SALVAGE_COST = 1 << 30
_MASTER = 1  # the channel of an RVA2 frame that is all of them
_V1_COMMENT = "ID3v1 Comment"  # how mutagen describes it
_SYLT_MILLISECONDS = 2
_SYLT_LYRICS = 1


def load_id3(v2: bytes | None, v1: bytes | None = None) -> ID3:
    """An ID3v2 tag and an ID3v1 tag together, as mutagen reads an MP3 file with both.

    Raises TagError if it is malformed or would exhaust mutagen.
    """
    return _load(v2, v1)[0]


def _load(v2: bytes | None, v1: bytes | None = None) -> tuple[ID3, list[str]]:
    """The tag in ID3v2.4 terms, and names of frames that it does not have any more."""
    if v2 is not None:
        if len(v2) < 10 or v2[:3] != b"ID3":
            raise TagError("the ID3v2 header is missing")
        if (size := 10 + synchsafe(v2[6:10])) > len(v2):
            raise TagError(f"it says {size} bytes, has {len(v2)}")
        check_id3v2(v2)
    return _load_unchecked(v2, v1)


def _load_unchecked(v2: bytes | None, v1: bytes | None = None) -> tuple[ID3, list[str]]:
    # mutagen looks for "TAG" some bytes before the last 128, and fails on a shorter file.
    file = BytesIO((v2 or b"") + bytes(_V1_SIZE) + (v1 or b""))
    known = None if v2 and v2[3] == _OLDEST else KNOWN_FRAMES
    try:
        tags = ID3(file, translate=False, load_v1=v1 is not None, known_frames=known)
        lost = _junk_frames(tags, v2) if v2 else []
        genres = genre_names(tags["TCON"].text) if "TCON" in tags else []
        lost += join_dates(tags)
        before = list(tags)
        tags.update_to_v24()
        keep_date_texts(tags)
        if "TCON" in tags:
            tags["TCON"].text = genres
    except _MUTAGEN_LEAKS as error:
        raise TagError(f"{type(error).__name__}: {error}"[:200]) from error
    dropped = [k for k in before if k not in tags and _SUCCESSORS.get(k, "") not in tags]
    return tags, [f"{key[:80]} frame" for key in dropped] + lost


def _junk_frames(tags: ID3, v2: bytes) -> list[str]:
    """Names of the frames that mutagen left out without a word."""
    taken = {frame.FrameID for frame in tags.values()}
    taken |= {_unknown_name(raw) for raw in tags.unknown_frames}
    junk = []
    for name, _ in id3_frames(v2):
        old = Frames_2_2.get(name)
        modern = old.__bases__[0].__name__ if old else name
        if not taken & {name, modern} and (old or name in Frames):
            junk.append(f"{name} frame, which cannot be read,")
    return list(dict.fromkeys(junk))


def save_id3(tags: ID3) -> bytes:
    """An ID3v2.4 tag without padding. Raises TagError if mutagen cannot write a frame."""
    file = BytesIO()
    try:
        tags.save(file, v1=0, v2_version=4, padding=lambda _: 0)
    except _MUTAGEN_LEAKS as error:
        raise TagError(f"{type(error).__name__}: {error}"[:200]) from error
    return file.getvalue()


def parse_id3v2(block: bytes) -> BlockView:
    """An ID3v2 tag (2.2, 2.3 or 2.4) in neutral terms.

    Raises TagError if not even one frame can be read.
    """
    try:
        return _id3v2_view(*_load(block))
    except TagError as error:
        view = _id3v2_view(*_load_frames(block, error))
        view.stop(error.message)
        return view


def _id3v2_view(tags: ID3, lost: list[str]) -> BlockView:
    view = _id3_view(tags)
    view.raw_only += lost
    return view


def _load_frames(block: bytes, error: TagError) -> tuple[ID3, list[str]]:
    """What ``_load`` gives of those frames that can be read alone. Raises ``error`` if none can."""
    if len(block) < 10 or block[:3] != b"ID3" or block[3] not in (2, 3, 4):
        raise error
    flags = block[5] & 0x80 if block[3] == 4 else 0  # unsynchronisation is of each frame
    budget = Budget(cost=_SALVAGE_COST)
    kept: list[bytes] = []
    try:
        frames = id3_frames(block)
    except TagError:
        raise error from None
    seen: Counter[str] = Counter()
    numbered = []
    for name, frame in frames:
        if name in Frames or name in Frames_2_2:
            numbered.append((seen[name], frame))
            seen[name] += 1
    # Thousands of one kind do not hide the first of another.
    for _, frame in sorted(numbered, key=lambda each: each[0])[:_MAX_SALVAGED]:
        left = replace(budget)
        try:
            tag = id3_tag(block[3], flags, frame)
            check_id3v2(tag, left)
            _load_unchecked(tag)
        except TagError:
            continue
        budget = left
        kept.append(frame)
    if not kept:
        raise error
    return _load(id3_tag(block[3], flags, b"".join(kept)))


def id3_tag(version: int, flags: int, frames: bytes) -> bytes:
    """An ID3v2 tag of these frames, as `id3_frames` gives them, without padding."""
    size = bytes(len(frames) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3" + bytes([version, 0, flags]) + size + frames


def parse_id3v1(block: bytes) -> BlockView:
    """An ID3v1 tag of 128 bytes in neutral terms. Raises TagError."""
    return _id3_view(load_id3(None, block))


def _id3_view(tags: ID3) -> BlockView:
    view = BlockView()
    for key, frame in sorted(tags.items(), key=lambda item: _is_second_choice(item[1])):
        try:
            _add_frame(view, key, frame)
        except _MUTAGEN_LEAKS:
            view.raw_only.append(f"{key[:80]} frame, which cannot be read,")
    view.raw_only += [f"{_unknown_name(raw)} frame" for raw in tags.unknown_frames]
    view.chapters.sort(key=lambda chapter: chapter.start_ms)
    return view


def _is_second_choice(frame: Frame) -> bool:
    """Whether another frame with the same meaning takes precedence, wherever it is in the tag."""
    return bool(frame.FrameID == "RVA2" or (frame.FrameID == "COMM" and frame.desc == _V1_COMMENT))


def _unknown_name(raw: bytes) -> str:
    return bytes(raw[:4]).decode("ascii", "replace").strip("\0")


def _add_frame(view: BlockView, key: str, frame: Frame) -> None:
    name = frame.FrameID
    if handler := _HANDLERS.get(name):
        handler(view, frame)
    elif name in ID3_PAIR_FRAMES:
        for value in frame.text:
            for part_name, part in zip(ID3_PAIR_FRAMES[name], split_pair(value), strict=True):
                view.add(part_name, *([part] if part else []))
    elif name in ID3_TIME_FRAMES:
        view.add(ID3_TEXT_FRAMES[name], *filter(None, frame.text))
        if not all(frame.text):
            view.raw_only.append(f"{name} frame that is not a date")
    elif name in ID3_TEXT_FRAMES:
        view.add(ID3_TEXT_FRAMES[name], *frame.text)
    elif name in ID3_URL_FRAMES:
        view.add(ID3_URL_FRAMES[name], frame.url)
    else:
        view.raw_only.append(f"{key[:80]} frame")


def _add_genre(view: BlockView, frame: Frame) -> None:
    view.add("genre", *frame.text)


def _add_user_text(view: BlockView, frame: Frame) -> None:
    view.add(free_name(frame.desc) or "txxx", *frame.text)


def _add_user_url(view: BlockView, frame: Frame) -> None:
    view.add(f"url:{frame.desc}" if frame.desc else "url", frame.url)


def _add_people(view: BlockView, frame: Frame) -> None:
    for role, person in frame.people:
        if name := ID3_ROLES.get(role.lower()):
            view.add(name, person)
        else:
            plain = role.lower() in ("", "performer")
            view.add("performer", person if plain else f"{person} ({role})")


def _add_comment(view: BlockView, frame: Frame) -> None:
    if frame.desc == _V1_COMMENT:
        if "comment" not in view.fields:
            view.add("comment", *frame.text)
        return
    view.add(f"comment:{frame.desc}" if frame.desc else "comment", *frame.text)
    _note_language(view, frame)


def _add_lyrics(view: BlockView, frame: Frame) -> None:
    view.add("lyrics", frame.text)
    _note_language(view, frame)
    if frame.desc:
        view.raw_only.append(f"description of the USLT frame {frame.desc[:80]!r}")


def _add_synced_lyrics(view: BlockView, frame: Frame) -> None:
    if frame.format != _SYLT_MILLISECONDS or frame.type != _SYLT_LYRICS or not frame.text:
        view.raw_only.append(f"{frame.HashKey[:80]} frame")
        return
    view.add("syncedlyrics", lrc_from_sync(frame.text))
    _note_language(view, frame)
    if frame.desc:
        view.raw_only.append(f"description of the SYLT frame {frame.desc[:80]!r}")


def _note_language(view: BlockView, frame: Frame) -> None:
    if frame.lang.lower() not in _NO_LANGUAGE:
        view.raw_only.append(f"language {frame.lang!r} of the {frame.FrameID} frame")


def _add_identifier(view: BlockView, frame: Frame) -> None:
    if frame.owner == MUSICBRAINZ_OWNER and frame.data.isascii():
        view.add("musicbrainz_trackid", frame.data.decode("ascii"))
    else:
        view.raw_only.append(f"{frame.HashKey[:80]} frame")


def _add_volume(view: BlockView, frame: Frame) -> None:
    scope = frame.desc.lower()
    if (
        scope not in ("track", "album")
        or frame.channel != _MASTER
        or f"replaygain_{scope}_gain" in view.fields
    ):
        view.raw_only.append(f"{frame.HashKey[:80]} frame")
        return
    # Two decimals, as everybody writes them, unless the frame's 512ths of a decibel need a third.
    gain = f"{frame.gain:+.2f}"
    gain = gain if round(float(gain) * 512) == round(frame.gain * 512) else f"{frame.gain:+.3f}"
    view.add(f"replaygain_{scope}_gain", f"{gain} dB")
    if frame.peak:
        is_16_bit = abs(frame.peak * 2**15 - round(frame.peak * 2**15)) < 0.001
        view.add(f"replaygain_{scope}_peak", f"{frame.peak:.{6 if is_16_bit else 10}f}")


def _add_picture(view: BlockView, frame: Frame) -> None:
    view.pictures.append(measured_picture(int(frame.type), frame.mime, frame.desc, frame.data))


def _add_chapter(view: BlockView, frame: Frame) -> None:
    title = ""
    for key, sub_frame in frame.sub_frames.items():
        if key == "TIT2":
            title = "/".join(sub_frame.text)
        elif sub_frame.FrameID == "APIC":
            _add_picture(view, sub_frame)
        else:
            view.raw_only.append(f"{key[:80]} of chapter {frame.element_id[:80]!r}")
    start, end = frame.start_time, frame.end_time
    clean = title.encode("utf-8", "replace").decode()
    view.chapters.append(Chapter(start, end if start <= end < 2**32 - 1 else None, clean))


def _add_contents(view: BlockView, frame: Frame) -> None:
    for key in frame.sub_frames:
        view.raw_only.append(f"{key[:80]} of the table of contents")


_HANDLERS: dict[str, Callable[[BlockView, Frame], None]] = {
    "APIC": _add_picture,
    "CHAP": _add_chapter,
    "COMM": _add_comment,
    "CTOC": _add_contents,
    "IPLS": _add_people,
    "RVA2": _add_volume,
    "SYLT": _add_synced_lyrics,
    "TCON": _add_genre,
    "TIPL": _add_people,
    "TMCL": _add_people,
    "TXXX": _add_user_text,
    "UFID": _add_identifier,
    "USLT": _add_lyrics,
    "WXXX": _add_user_url,
}
