"""Tags whose pictures are exchanged for others or left out, with what else their blocks say."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from earzip.errors import TagError
from earzip.formats.tags.id3 import id3_tag
from earzip.formats.tags.id3_guard import id3_frames
from earzip.formats.tags.model import BlockView, Picture, TagSet, kind_name, quoted
from earzip.formats.tags.mp4 import mp4_atoms
from earzip.formats.tags.raw import RawBlock
from earzip.formats.tags.read import PARSERS
from earzip.formats.tags.vorbis import comment_key, join_comments, picture_spans, split_comments


def exchange_pictures(tags: TagSet, pictures: Sequence[Picture | None]) -> tuple[TagSet, list[str]]:
    """``tags`` with ``pictures`` in the place of its own, None for one that is left out.

    A raw block that has one of them is kept without its pictures; if that cannot be done, it is left
    out, and a sentence says what only it has told.
    """
    new = [picture for picture in pictures if picture is not None]
    changed = {i for i, (a, b) in enumerate(zip(tags.pictures, pictures, strict=True)) if a != b}
    if not changed:
        return tags, []
    images = [picture.data for picture in tags.pictures]
    gone = {images[i] for i in changed}
    kept = [i for i, picture in enumerate(pictures) if picture is not None]
    number = {old: at for at, old in enumerate(kept)}
    raw: list[RawBlock] = []
    lost: list[str] = []
    for block in tags.raw:
        whole = block.join(images)
        if not _has(block.kind, whole, gone):
            cuts = tuple(replace(cut, picture=number[cut.picture]) for cut in block.cuts)
            raw.append(RawBlock(block.kind, block.data, cuts))
        elif block.kind != "flac-picture":  # which has nothing else
            bare = _without_pictures(block.kind, whole)
            raw += [RawBlock(block.kind, bare)] if bare is not None else []
            lost += [block.kind] if bare is None else []
    still_there = {block.kind for block in raw}
    raw_only = {
        kind: names
        for kind, names in tags.raw_only.items()
        if kind in still_there or kind not in lost
    }
    sentences = [_about_lost(kind, tags.raw_only.get(kind, [])) for kind in dict.fromkeys(lost)]
    return replace(tags, pictures=new, raw=raw, raw_only=raw_only), sentences


def _about_lost(kind: str, names: Sequence[str]) -> str:
    without = f", without {quoted(names)}" if names else ""
    return (
        f"of the {kind_name(kind)}, whose pictures have changed, only the fields are kept{without}"
    )


def _has(kind: str, block: bytes, images: Collection[bytes]) -> bool:
    """Whether a block has one of these pictures."""
    view = _parsed(kind, block)
    return view is not None and any(picture.data in images for picture in view.pictures)


def _without_pictures(kind: str, block: bytes) -> bytes | None:
    """The block without its pictures; None unless it says the same otherwise."""
    strip = _STRIPPERS.get(kind)
    if strip is None:
        return None
    bare = strip(block)
    before, after = _parsed(kind, block), _parsed(kind, bare)
    if before is None or after is None or after.pictures:
        return None
    same = all(
        getattr(before, name) == getattr(after, name)
        for name in ("fields", "chapters", "raw_only", "problem")
    )
    return bare if same else None


def _parsed(kind: str, block: bytes) -> BlockView | None:
    parse = PARSERS.get(kind)
    try:
        return parse(block) if parse else None
    except TagError:
        return None


def _strip_id3v2(block: bytes) -> bytes:
    frames = [frame for name, frame in id3_frames(block) if name not in ("APIC", "PIC")]
    flags = block[5] & 0x80 if block[3] == 4 else 0  # unsynchronisation is of each frame
    return id3_tag(block[3], flags, b"".join(frames))


def _strip_comments(block: bytes) -> bytes:
    vendor, spans = split_comments(block)
    covers = {span.start for span in picture_spans(block)}
    comments = [block[start:end] for start, end in spans]
    kept = [
        comment
        for (start, _), comment in zip(spans, comments, strict=True)
        if start + len(comment_key(comment)) + 1 not in covers
    ]
    end = spans[-1][1]
    begin = end - len(join_comments(vendor, comments))  # behind what a packet of Ogg begins with
    return block[:begin] + join_comments(vendor, kept) + block[end:]


def _strip_mp4_items(block: bytes) -> bytes:
    return b"".join(
        struct.pack(">I4s", 8 + len(item), name) + item
        for name, item in mp4_atoms(block)
        if name != b"covr"
    )


_STRIPPERS: dict[str, Callable[[bytes], bytes]] = {
    "flac-comment": _strip_comments,
    "id3v2": _strip_id3v2,
    "mp4-ilst": _strip_mp4_items,
    "ogg-comment": _strip_comments,
}
