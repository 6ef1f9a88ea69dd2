"""Reading tags: blocks found in any container, kept as they are and seen in neutral terms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from earzip.errors import SourceError, TagError, count
from earzip.formats.containers.ends import container_end
from earzip.formats.containers.outer import leading_tags, tag_behind_junk, trailing_tags
from earzip.formats.containers.spans import SpanFile
from earzip.formats.tag_payload import MAX_ALL_CUTS, MAX_BLOCK_BYTES, MAX_BLOCKS
from earzip.formats.tags.ape import note_cut_ape_tag, parse_ape
from earzip.formats.tags.asf import HEADER_GUID, find_asf_tags, parse_asf
from earzip.formats.tags.au import AU_BYTE_ORDERS, find_au_tags, parse_au_annotation
from earzip.formats.tags.bext import parse_bext
from earzip.formats.tags.dsd import (
    DFF_FORM,
    DFF_MAGIC,
    DSF_MAGIC,
    find_dff_tags,
    find_dsf_tags,
)
from earzip.formats.tags.flac import find_flac_tags, parse_cuesheet
from earzip.formats.tags.id3 import parse_id3v1, parse_id3v2
from earzip.formats.tags.large import take_block
from earzip.formats.tags.lyrics3 import parse_lyrics3
from earzip.formats.tags.merge import Merger
from earzip.formats.tags.model import (
    BlockView,
    Found,
    Picture,
    TagSet,
    kind_name,
)
from earzip.formats.tags.mp4 import find_mp4_tags, parse_mp4_chapters, parse_mp4_items
from earzip.formats.tags.ogg import find_ogg_tags
from earzip.formats.tags.picture import decode_flac_picture, encode_flac_picture
from earzip.formats.tags.quicktime import parse_mp4_keys, parse_mp4_udta
from earzip.formats.tags.raw import RawBlock, cut_pictures
from earzip.formats.tags.riff import find_aiff_tags, find_wav_tags, parse_aiff_text, parse_riff_info
from earzip.formats.tags.unread import UNREAD_OUTER, note_unread
from earzip.formats.tags.vorbis import COMMENT_KINDS, parse_comments, picture_spans

_MAX_RAW_ONLY = 200  # names kept of fields without a neutral counterpart
_MAX_PROBLEMS = 20
_MP4_ATOMS = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
_CHUNKED = (b"RIFF", b"RF64", b"BW64", b"FORM", b"riff")  # whatever is in them is walked to the end
_LOOK_BYTES = 1 << 16
_APE_FIRST = (b"MAC ", b"wvpk", b"MPCK")  # formats whose own tag is APEv2


def _parse_flac_picture(block: bytes) -> BlockView:
    return BlockView(pictures=[decode_flac_picture(block)])


PARSERS: dict[str, Callable[[bytes], BlockView]] = {
    "aiff-text": parse_aiff_text,
    "apev2": parse_ape,
    "asf-objects": parse_asf,
    "au-annotation": parse_au_annotation,
    "flac-comment": parse_comments,
    "flac-cuesheet": parse_cuesheet,
    "flac-picture": _parse_flac_picture,
    "id3v1": parse_id3v1,
    "id3v2": parse_id3v2,
    "lyrics3": parse_lyrics3,
    "mp4-chpl": parse_mp4_chapters,
    "mp4-ilst": parse_mp4_items,
    "mp4-keys": parse_mp4_keys,
    "mp4-udta": parse_mp4_udta,
    "ogg-comment": parse_comments,
    "riff-bext": parse_bext,
    "riff-info": parse_riff_info,
}


def read_tags(path: Path) -> TagSet:
    """All tags of a file of any format, recognised by its content.

    What is malformed or too large is described in ``problems``; a malformed block is kept as raw
    bytes nevertheless. Raises SourceError if the file itself cannot be read.
    """
    try:
        with path.open("rb") as file:
            found = _find(file)
    except OSError as error:
        raise SourceError(f"its tags cannot be read: {error.strerror or error}", path) from error
    return tag_set(found)


def _find(file: BinaryIO) -> Found:
    """The tags inside the file proper, then those before and after it."""
    size = file.seek(0, 2)
    leading = leading_tags(file)
    start = min(sum(tag.size for tag in leading), size)
    trailing = list(trailing_tags(file, start, size))
    end = min([tag.start for tag in trailing], default=size)
    is_whole = (start, end) == (0, size)
    inner = file if is_whole else BufferedReader(SpanFile(file, [(start, end - start)]))
    inner.seek(0)
    head = inner.read(16)
    inside = _find_inside(inner, head)
    found = inside or Found()
    note_unread(inner, head, found)
    if inside is None and (behind := tag_behind_junk(inner, end - start)):
        take_block(found, inner, behind.kind, behind.start, behind.size)
    outer = [*leading, *trailing]
    first, last = ("apev2" if head[:4] in _APE_FIRST else ""), "id3v1"  # whose texts are cut
    outer.sort(key=lambda tag: (tag.kind == last, tag.kind != first))
    for tag in outer:
        if tag.kind in PARSERS:
            take_block(found, file, tag.kind, tag.start, tag.size)
        else:
            found.problems.append(f"the {UNREAD_OUTER[tag.kind]} is not archived")
    proper_end = container_end(file, start, end)
    if proper_end is None:
        note_cut_ape_tag(file, end, found)
    elif head[:4] not in _CHUNKED and _has_bytes(file, proper_end, end):
        found.problems.append(
            f"what is behind its end is not archived: {count(end - proper_end, 'byte')}"
        )
    return found


def _has_bytes(file: BinaryIO, start: int, end: int) -> bool:
    """Whether there is anything but zeros from ``start`` to ``end``, as far as is worth a look."""
    file.seek(start)
    return bool(file.read(min(end - start, _LOOK_BYTES)).strip(b"\0"))


def _find_inside(file: BinaryIO, head: bytes) -> Found | None:
    """The tags of the container that begins with ``head``; None where they are outside it."""
    found = None
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        found = find_wav_tags(file)
    elif head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        found = find_aiff_tags(file)
    elif head[:4] == b"OggS":
        found = find_ogg_tags(file)
    elif head[:4] == b"fLaC":
        found = find_flac_tags(file)
    elif head[:4] in AU_BYTE_ORDERS:
        found = find_au_tags(file)
    elif head == HEADER_GUID:
        found = find_asf_tags(file)
    elif head[:4] == DSF_MAGIC:
        found = find_dsf_tags(file)
    elif head[:4] == DFF_MAGIC and head[12:16] == DFF_FORM:
        found = find_dff_tags(file)
    elif head[4:8] in _MP4_ATOMS:
        found = find_mp4_tags(file)
    return found


def tag_set(found: Found) -> TagSet:
    """What the blocks say together, by precedence, and the blocks less their pictures."""
    merger = Merger(TagSet(problems=list(found.problems), is_damaged=found.is_damaged))
    tags = merger.tags
    kept: list[tuple[str, bytes, bool]] = []
    for kind, block in _within_limits(found.blocks, tags.problems):
        name = kind_name(kind)
        sound = True
        try:
            view = PARSERS[kind](block)
        except TagError as error:
            tags.problems.append(f"the {name} is malformed: {error.message}")
            view = BlockView(raw_only=["everything (it is malformed)"])
            sound = False
            tags.is_damaged = True
        else:
            if view.problem:
                tags.problems.append(f"the {name} is read in part: {view.problem}")
                sound = False
                tags.is_damaged = True
            merger.add(kind, view)
        if view.raw_only:
            names = list(dict.fromkeys(tags.raw_only.get(kind, []) + view.raw_only))
            more = [f"{len(names) - _MAX_RAW_ONLY} more"] if len(names) > _MAX_RAW_ONLY else []
            tags.raw_only[kind] = names[:_MAX_RAW_ONLY] + more
        # A FLAC picture block that its neutral form gives again byte for byte is not kept twice.
        if kind != "flac-picture" or view.pictures[:1] != [_exact_picture(block)]:
            kept.append((kind, block, sound))
    merger.add_chapter_track(found.chapters)
    data = [picture.data for picture in tags.pictures]
    n_cuts = 0
    for kind, block, sound in kept:
        spans = picture_spans(block) if sound and kind in COMMENT_KINDS else ()
        raw = cut_pictures(kind, block, data, spans)
        n_cuts += len(raw.cuts)
        tags.raw.append(raw if n_cuts <= MAX_ALL_CUTS else RawBlock(kind, block))
    if len(tags.problems) > _MAX_PROBLEMS:
        n_more = len(tags.problems) - _MAX_PROBLEMS
        tags.problems[_MAX_PROBLEMS:] = [f"{n_more} more problems with the tags"]
    return tags


def _within_limits(
    blocks: list[tuple[str, bytes]], problems: list[str]
) -> Iterator[tuple[str, bytes]]:
    """Yield the blocks that an archive has room for; ``problems`` gets a sentence for each other."""
    n_blocks = n_bytes = 0
    for kind, block in blocks:
        if n_blocks == MAX_BLOCKS or n_bytes + len(block) > MAX_BLOCK_BYTES:
            problems.append(
                f"the {kind_name(kind)} of {len(block)} bytes is not archived: "
                f"the limit is {MAX_BLOCK_BYTES} bytes in {MAX_BLOCKS} blocks"
            )
            continue
        n_blocks += 1
        n_bytes += len(block)
        yield kind, block


def _exact_picture(block: bytes) -> Picture | None:
    """The picture of a FLAC block, if encoding it gives the block again."""
    try:
        picture = decode_flac_picture(block)
    except TagError:
        return None
    return picture if encode_flac_picture(picture) == block else None
